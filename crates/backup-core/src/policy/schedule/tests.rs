use std::collections::BTreeSet;

use chrono::{Datelike, Timelike};
use proptest::prelude::*;

use super::*;

fn schedule(text: &str) -> Schedule {
    text.parse().unwrap()
}

fn utc(text: &str) -> DateTime<Utc> {
    format!("{text}:00Z").parse().unwrap()
}

/// The next runs, as UTC.
fn runs(text: &str, after: &str, zone: Tz, number: usize) -> Vec<String> {
    let schedule = schedule(text);
    let runs = schedule.runs_after(utc(after), zone).take(number);
    runs.map(|at| at.format("%Y-%m-%dT%H:%M").to_string()).collect()
}

#[test]
fn the_scripts_schedules_run_when_they_should() {
    assert_eq!(runs("0 2 * * *", "2026-11-24T02:00", Tz::UTC, 2), ["2026-11-25T02:00", "2026-11-26T02:00"]);
    let etcd = ["2026-11-24T06:00", "2026-11-24T12:00", "2026-11-24T18:00", "2026-11-25T00:00"];
    assert_eq!(runs("0 */6 * * *", "2026-11-24T02:00", Tz::UTC, 4), etcd);
    assert_eq!(runs("0 3 * * 0", "2026-11-24T02:00", Tz::UTC, 1), ["2026-11-29T03:00"]);
    assert_eq!(
        runs("0 3 * * sun", "2026-11-24T02:00", Tz::UTC, 1),
        runs("0 3 * * 7", "2026-11-24T02:00", Tz::UTC, 1)
    );
    assert_eq!(runs("@monthly", "2026-11-24T02:00", Tz::Europe__Berlin, 1), ["2026-11-30T23:00"]);
    assert_eq!(runs("0 0 29 2 *", "2026-11-24T02:00", Tz::UTC, 2), ["2028-02-29T00:00", "2032-02-29T00:00"]);
}

#[test]
fn a_day_of_the_month_or_of_the_week_will_do() {
    assert_eq!(
        runs("0 0 13 * fri", "2026-11-10T00:00", Tz::UTC, 3),
        ["2026-11-13T00:00", "2026-11-20T00:00", "2026-11-27T00:00"]
    );
    assert_eq!(
        runs("0 0 24,26 12 mon-tue", "2026-12-22T00:00", Tz::UTC, 2),
        ["2026-12-24T00:00", "2026-12-26T00:00"]
    );
}

#[test]
fn what_spring_leaves_out_runs_at_the_end_of_the_gap_once() {
    let berlin = Tz::Europe__Berlin;
    // 28 March 2027: from 02:00 to 03:00, which is 01:00 UTC.
    for text in ["0 2 * * *", "30 2 * * *", "0,15,59 2 * * *", "0 2,14 * * *", "*/5 2 * * *"] {
        let runs = runs(text, "2027-03-27T12:59", berlin, 9);
        let that_day: Vec<&String> = runs.iter().filter(|run| run.starts_with("2027-03-28T0")).collect();
        assert_eq!(that_day, ["2027-03-28T01:00"], "{text}");
    }
    assert_eq!(
        runs("0 2-3 * * *", "2027-03-27T12:00", berlin, 3),
        ["2027-03-28T01:00", "2027-03-29T00:00", "2027-03-29T01:00"]
    );
    // Hours that pass: none is missing, none is doubled.
    assert_eq!(
        runs("30 * * * *", "2027-03-28T00:00", berlin, 3),
        ["2027-03-28T00:30", "2027-03-28T01:30", "2027-03-28T02:30"]
    );
    // Half an hour on Lord Howe Island; a whole day in Samoa, which had no 30 December 2011.
    let howe = Tz::Australia__Lord_Howe;
    assert_eq!(runs("15 2 * * *", "2026-10-03T00:00", howe, 1), ["2026-10-03T15:30"]);
    assert_eq!(runs("0 12 30 12 *", "2011-12-01T00:00", Tz::Pacific__Apia, 1), ["2011-12-30T10:00"]);
}

#[test]
fn what_comes_twice_in_autumn_runs_once() {
    let berlin = Tz::Europe__Berlin;
    // 31 October 2027: 02:00 to 03:00 comes twice, at 00:00 and at 01:00 UTC.
    for text in ["0 2 * * *", "30 2 * * *", "30 2,14 * * *", "0 */2 * * *"] {
        let runs = runs(text, "2027-10-30T23:59", berlin, 6);
        let night: Vec<&String> = runs.iter().filter(|run| run.as_str() < "2027-10-31T02:00").collect();
        assert_eq!(night.len(), 1, "{text}: {runs:?}");
        assert!(night[0].starts_with("2027-10-31T00:"), "{text}: {runs:?}");
    }
    assert_eq!(
        runs("30 * * * *", "2027-10-30T23:59", berlin, 3),
        ["2027-10-31T00:30", "2027-10-31T01:30", "2027-10-31T02:30"]
    );
    // Asked in the second of both hours.
    assert_eq!(runs("45 2 * * *", "2027-10-31T01:30", berlin, 1), ["2027-11-01T01:45"]);
}

#[test]
fn what_is_no_schedule_is_refused_with_the_reason() {
    for (text, why) in [
        ("", "it has 0 fields"),
        ("0 2 * *", "it has 4 fields"),
        ("0 0 2 * * *", "it has 6 fields"),
        ("@reboot", "there is no such name"),
        ("60 2 * * *", "minute `60`: `60` is not one of 0 to 59"),
        ("0 24 * * *", "hour `24`: `24` is not one of 0 to 23"),
        ("0 0 0 * *", "day of the month `0`: `0` is not one of 1 to 31"),
        ("0 0 * 13 *", "month `13`: `13` is not one of 1 to 12"),
        ("0 0 * * 8", "day of the week `8`: `8` is not one of 0 to 7"),
        ("0 0 * * fri-mon", "`fri-mon` runs backwards"),
        ("0 0 L * *", "L, W, # and ? mean nothing"),
        ("0 0 * * 5#2", "L, W, # and ? mean nothing"),
        ("0 0 ? * *", "L, W, # and ? mean nothing"),
        ("*/0 * * * *", "`0` is no step"),
        ("5/15 * * * *", "a step needs `*` or a range"),
        ("1,,2 * * * *", "a value is missing"),
        ("-1 * * * *", "a value is missing"),
        ("0 0 30 2 *", "no day matches it, ever"),
        ("0 0 */2 * 1", "cron takes that for both, others for either"),
        ("0 0 1 * */2", "cron takes that for both, others for either"),
        ("0 0 * * sunday", "`sunday` is not one of 0 to 7"),
    ] {
        let error = text.parse::<Schedule>().unwrap_err();
        assert!(error.to_string().contains(why), "{text}: {error}");
        assert!(error.advice().is_some() && error.kind() == ErrorKind::Config);
    }
}

#[test]
fn systemd_gets_the_same_in_its_own_words() {
    let now = utc("2026-11-24T00:00");
    let on = |text: &str, zone| schedule(text).on_calendar(now, zone);
    assert_eq!(on("0 2 * * *", Tz::UTC), ["*-*-* 02:00:00 UTC"]);
    assert_eq!(on("0 */6 * * *", Tz::UTC), ["*-*-* 00,06,12,18:00:00 UTC"]);
    assert_eq!(on("0 3 * * 0", Tz::UTC), ["Sun *-*-* 03:00:00 UTC"]);
    assert_eq!(on("*/15 8-18 * 1-3 mon-fri", Tz::UTC), ["Mon..Fri *-01..03-* 08..18:00,15,30,45:00 UTC"]);
    assert_eq!(on("0 0 1,15 * mon", Tz::UTC), ["*-*-01,15 00:00:00 UTC", "Mon *-*-* 00:00:00 UTC"]);
    assert_eq!(on("* * * * *", Tz::UTC), ["*-*-* *:*:00 UTC"]);
    let berlin = on("0 2 * * *", Tz::Europe__Berlin);
    assert_eq!(
        berlin[..3],
        [
            "*-*-* 02:00:00 Europe/Berlin",
            "2027-03-28 03:00:00 Europe/Berlin",
            "2028-03-26 03:00:00 Europe/Berlin"
        ]
    );
    assert_eq!(berlin.len(), 11);
    assert_eq!(on("0 3 * * *", Tz::Europe__Berlin).len(), 1);
}

#[test]
fn the_longest_wait_is_that_between_two_runs() {
    let wait = |text: &str| schedule(text).longest_wait(utc("2027-09-01T00:00"), Tz::Europe__Berlin).unwrap();
    assert_eq!(wait("0 */6 * * *").num_hours(), 7, "the autumn day has 25 hours");
    assert_eq!(wait("0 3 * * 0").num_days(), 7);
    assert_eq!(wait("0 8,20 * * mon-fri").num_hours(), 61, "so does the one between Friday and Monday");
    assert_eq!(wait("@yearly").num_days(), 366);
}

/// Any field: lists, ranges and steps.
fn any_field(first: u8, last: u8) -> BoxedStrategy<String> {
    let range = (first..=last, first..=last).prop_map(|(a, b)| (a.min(b), a.max(b)));
    let item = prop_oneof![
        4 => (first..=last).prop_map(|value| value.to_string()),
        2 => range.clone().prop_map(|(a, b)| format!("{a}-{b}")),
        1 => (range, 1..=last.max(2)).prop_map(|((a, b), step)| format!("{a}-{b}/{step}")),
    ];
    let list = prop::collection::vec(item, 1..4).prop_map(|items| items.join(","));
    prop_oneof![2 => Just("*".to_owned()), 1 => (1..=last).prop_map(|step| format!("*/{step}")), 3 => list]
        .boxed()
}

/// Expressions that are schedules.
pub(super) fn any_schedule() -> impl Strategy<Value = Schedule> {
    (any_field(0, 59), any_field(0, 23), any_field(1, 31), any_field(1, 12), any_field(0, 7))
        .prop_map(|(minute, hour, day, month, weekday)| format!("{minute} {hour} {day} {month} {weekday}"))
        .prop_filter_map("not every expression is a schedule", |text| text.parse().ok())
}

fn any_zone() -> impl Strategy<Value = Tz> {
    prop::sample::select(vec![
        Tz::UTC,
        Tz::Europe__Berlin,
        Tz::America__New_York,
        Tz::Asia__Kathmandu,
        Tz::Australia__Lord_Howe,
        Tz::America__Havana,
    ])
}

/// Whether a clock that shows this matches, by the values alone.
fn shows(schedule: &Schedule, wall: NaiveDateTime) -> bool {
    let [minutes, hours, days, months, weekdays] = &schedule.fields;
    let day = days.has(wall.day());
    let weekday = weekdays.has(wall.weekday().num_days_from_sunday());
    let on_day = match (days.is_star, weekdays.is_star) {
        (false, false) => day || weekday,
        _ => day && weekday,
    };
    minutes.has(wall.minute()) && hours.has(wall.hour()) && months.has(wall.month()) && on_day
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Without clock changes a run is at each minute that matches, and at no other.
    #[test]
    fn runs_are_the_minutes_that_match(schedule in any_schedule(), day in 0i64..3000, length in 1i64..4000) {
        let from = utc("2024-01-01T00:00") + TimeDelta::days(day);
        let until = from + TimeDelta::minutes(length);
        let expected: Vec<_> = (1..=length)
            .map(|minute| from + TimeDelta::minutes(minute))
            .filter(|at| shows(&schedule, at.naive_utc()))
            .collect();
        let found: Vec<_> = schedule.runs_after(from, Tz::UTC).take_while(|at| *at <= until).collect();
        prop_assert_eq!(found, expected);
    }

    /// In any zone, over a year with both changes: runs go forward; each day's times come once each; a run at a time that does
    /// not match is at the end of a gap which took the time that does.
    #[test]
    fn every_time_of_the_clock_has_one_run(schedule in any_schedule(), zone in any_zone(), day in 0i64..2000) {
        prop_assume!(!schedule.hours().is_full());
        let from = utc("2024-01-01T00:00") + TimeDelta::days(day);
        let gaps: BTreeSet<_> = ends_of_gaps(from, from + TimeDelta::days(800), zone).into_iter().collect();
        let mut last = from;
        let mut walls = BTreeSet::new();
        for run in schedule.runs_after(from, zone).take(400).take_while(|at| *at < from + TimeDelta::days(780)) {
            prop_assert!(run > last);
            let wall = run.with_timezone(&zone).naive_local();
            prop_assert!(walls.insert(wall), "{wall} twice");
            prop_assert!(shows(&schedule, wall) || gaps.contains(&run), "{wall}");
            prop_assert_eq!(schedule.next_after(run - TimeDelta::seconds(1), zone), Some(run));
            last = run;
        }
    }

    /// What was written down is read back as the same schedule, and reading never panics.
    #[test]
    fn any_text_is_read_or_refused(text in "[ */,0-9a-zA-Z@-]{0,20}") {
        if let Ok(schedule) = text.parse::<Schedule>() {
            prop_assert_eq!(schedule.as_cron().parse::<Schedule>().unwrap(), schedule);
        }
    }
}

use chrono_tz::Tz;
use proptest::prelude::*;

use super::*;
use crate::policy::WatchedJob;

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn parse(text: &str, zone: Tz) -> Period {
    Period::parse(text, at("2026-03-15T12:00:00Z"), zone).unwrap()
}

fn job(limit_hours: i64) -> WatchedJob {
    WatchedJob {
        name: "full".into(),
        components: vec!["etcd".into()],
        max_age: TimeDelta::hours(limit_hours),
        optional: false,
    }
}

fn expected(since: &str, limit_hours: i64) -> Expected {
    Expected {
        since: at(since),
        jobs: vec![job(limit_hours)],
        components: vec!["etcd".into()],
        max_age: TimeDelta::hours(25),
    }
}

fn run(start: DateTime<Utc>, minutes: i64, status: RunStatus) -> PeriodSession {
    let component =
        PeriodComponent { name: "etcd".into(), good: status != RunStatus::Failed, stored_bytes: 7 };
    PeriodSession {
        id: SessionId::at(start),
        job: "full".into(),
        start,
        outcome: PeriodOutcome::Ended {
            status,
            session_type: SessionType::Daily,
            end: start + TimeDelta::minutes(minutes),
            stored_bytes: 7,
            components: vec![component],
        },
        verifications: Vec::new(),
        drills: Vec::new(),
        removed: false,
    }
}

fn report(period: &Period, expected: &Expected, sessions: Vec<PeriodSession>) -> PeriodReport {
    report_period("crm", period, at("2027-01-01T00:00:00Z"), expected, sessions)
}

#[test]
fn words_mean_the_last_one_that_is_over() {
    for (word, name, from, to) in [
        ("week", "2026-W10", "2026-03-02", "2026-03-09"),
        ("month", "2026-02", "2026-02-01", "2026-03-01"),
        ("quarter", "2025-Q4", "2025-10-01", "2026-01-01"),
        ("year", "2025", "2025-01-01", "2026-01-01"),
        ("2026-01-03..2026-01-03", "2026-01-03..2026-01-03", "2026-01-03", "2026-01-04"),
    ] {
        let period = parse(word, Tz::UTC);
        let day = |day: &str| at(&format!("{day}T00:00:00Z"));
        assert_eq!((period.name(), period.from(), period.to()), (name, day(from), day(to)));
    }
}

#[test]
fn days_are_those_of_the_time_zone_and_a_day_without_midnight_begins_when_it_begins() {
    let month = parse("2026-03", Tz::Europe__Berlin);
    assert_eq!((month.from(), month.to()), (at("2026-02-28T23:00:00Z"), at("2026-03-31T22:00:00Z")));
    // Clocks went from 23:59:59 to 01:00 there.
    let day = parse("2018-11-04..2018-11-04", Tz::America__Sao_Paulo);
    assert_eq!((day.from(), day.to() - day.from()), (at("2018-11-04T03:00:00Z"), TimeDelta::hours(23)));
}

#[test]
fn what_is_no_period_is_refused_with_examples() {
    for bad in [
        "",
        "day",
        "2026-13",
        "2026-Q5",
        "2026-W54",
        "26",
        "2026-1",
        "2026-02-30..2026-03-01",
        "2026-03-02..2026-03-01",
        "äöü4",
    ] {
        let error = Period::parse(bad, at("2026-03-15T12:00:00Z"), Tz::UTC).unwrap_err();
        assert!(error.advice().unwrap().contains("2026-Q1"), "{bad}");
    }
}

#[test]
fn the_recovery_point_is_measured_from_the_begin_of_one_good_session_to_the_end_of_the_next() {
    let period = parse("2026-03-01..2026-03-03", Tz::UTC);
    let mut sessions = vec![
        run(at("2026-02-28T02:00:00Z"), 30, RunStatus::Success),
        run(at("2026-03-01T02:00:00Z"), 30, RunStatus::Success),
        run(at("2026-03-02T02:00:00Z"), 30, RunStatus::Failed),
        run(at("2026-03-03T02:00:00Z"), 30, RunStatus::Partial),
    ];
    let made = report(&period, &expected("2026-01-01T00:00:00Z", 25), sessions.clone());
    let rpo = made.jobs[0].rpo.unwrap();
    assert_eq!((rpo.from, rpo.to), (at("2026-03-01T02:00:00Z"), at("2026-03-03T02:30:00Z")));
    assert!(!rpo.within_limit);
    assert_eq!(made.components[0].rpo, Some(rpo));
    let counts = made.sessions;
    assert_eq!((counts.all, counts.success, counts.partial, counts.failed), (3, 1, 1, 1));
    // What was written once more for other readers is no run of its own.
    let again = PeriodSession { id: SessionId::at(at("2026-03-03T12:00:00Z")), ..sessions[3].clone() };
    sessions.push(again);
    assert_eq!(report(&period, &expected("2026-01-01T00:00:00Z", 25), sessions).sessions, counts);
}

#[test]
fn nothing_is_awaited_before_the_repository_was_made_and_nothing_good_at_all_costs_all() {
    let period = parse("2026-03", Tz::UTC);
    let made = report(&period, &expected("2026-03-30T00:00:00Z", 25), Vec::new());
    let rpo = made.jobs[0].rpo.unwrap();
    assert_eq!((rpo.from, rpo.to, rpo.within_limit), (at("2026-03-30T00:00:00Z"), period.to(), false));
    let made = report(&period, &expected("2026-04-30T00:00:00Z", 25), Vec::new());
    assert_eq!(made.jobs[0].rpo, None);
}

#[test]
fn recovery_times_are_those_of_drills_that_passed_in_the_period() {
    let period = parse("2026-03", Tz::UTC);
    let mut session = run(at("2026-02-01T02:00:00Z"), 1, RunStatus::Success);
    let drill = |day: &str, verdict, rto_seconds| PeriodDrill {
        component: "etcd".into(),
        at: at(&format!("{day}T04:00:00Z")),
        verdict,
        rto_seconds,
    };
    session.drills = vec![
        drill("2026-02-27", DrillVerdict::Passed, 99.0),
        drill("2026-03-01", DrillVerdict::Passed, 3.0),
        drill("2026-03-02", DrillVerdict::Passed, 5.0),
        drill("2026-03-03", DrillVerdict::Failed, 77.0),
        drill("2026-03-04", DrillVerdict::NotRun, 0.0),
    ];
    let made = report(&period, &expected("2026-01-01T00:00:00Z", 25), vec![session]);
    assert_eq!(made.drills, DrillCounts { passed: 2, failed: 1, not_run: 1 });
    let rto = made.components[0].rto.unwrap();
    assert_eq!((rto.drills, rto.median_seconds, rto.largest_seconds), (2, 5.0, 5.0));
}

fn zones() -> impl Strategy<Value = Tz> {
    prop::sample::select(vec![
        Tz::UTC,
        Tz::Europe__Berlin,
        Tz::America__Sao_Paulo,
        Tz::Australia__Lord_Howe,
        Tz::Asia__Kathmandu,
    ])
}

fn outcome() -> impl Strategy<Value = RunStatus> {
    prop::sample::select(vec![RunStatus::Success, RunStatus::Partial, RunStatus::Failed])
}

proptest! {
    #[test]
    fn periods_tile(year in 1971i32..2200, zone in zones()) {
        let period = |name: String| parse(&name, zone);
        let of_year = period(year.to_string());
        let months: Vec<Period> = (1..=12).map(|month| period(format!("{year}-{month:02}"))).collect();
        let quarters: Vec<Period> = (1..=4).map(|quarter| period(format!("{year}-Q{quarter}"))).collect();
        for parts in [&months, &quarters] {
            prop_assert_eq!((parts[0].from(), parts.last().unwrap().to()), (of_year.from(), of_year.to()));
            for pair in parts.windows(2) {
                prop_assert_eq!(pair[0].to(), pair[1].from());
            }
        }
        let weeks: Vec<Period> = (1..=52).map(|week| period(format!("{year}-W{week:02}"))).collect();
        for pair in weeks.windows(2) {
            prop_assert_eq!(pair[0].to(), pair[1].from());
        }
    }

    #[test]
    fn the_last_period_is_over_and_the_one_after_it_is_not(seconds in 0i64..7_000_000_000, zone in zones()) {
        let now = DateTime::from_timestamp(seconds + 63_072_000, 0).unwrap();
        for (word, longest) in [("week", 7), ("month", 31), ("quarter", 92), ("year", 366)] {
            let period = Period::parse(word, now, zone).unwrap();
            prop_assert!(period.to() <= now && !period.contains(now));
            prop_assert!(now - period.to() <= TimeDelta::days(longest) + TimeDelta::hours(2));
        }
    }

    #[test]
    fn counts_add_up_and_the_exposure_is_the_worst_of_all_moments(
        starts in prop::collection::btree_map(0i64..60 * 24 * 6, (1i64..300, outcome()), 0..30),
        made in 0i64..60 * 24 * 6,
    ) {
        let origin = at("2026-02-01T00:00:00Z");
        let sessions: Vec<PeriodSession> = starts
            .iter()
            .map(|(start, (minutes, status))| run(origin + TimeDelta::minutes(10 * *start), 10 * *minutes, *status))
            .collect();
        let period = parse("2026-03-01..2026-03-15", Tz::UTC);
        let since = origin + TimeDelta::minutes(10 * made);
        let expected = Expected { since, ..expected("2026-01-01T00:00:00Z", 25) };
        let report = report(&period, &expected, sessions.clone());
        let counts = report.sessions;
        prop_assert_eq!(counts.all, counts.success + counts.partial + counts.failed);
        prop_assert_eq!(counts.all, report.runs.len() as u64);
        prop_assert_eq!(counts.all, report.types.values().sum::<u64>());
        prop_assert_eq!(counts, report.jobs[0].sessions);
        prop_assert_eq!(report.components[0].good, counts.success + counts.partial);
        prop_assert_eq!(report.stored_bytes, 7 * (counts.success + counts.partial));
        // Ten minutes after ten minutes, as somebody with a watch would do it.
        let good: Vec<_> = sessions.iter().filter_map(PeriodSession::good_span).collect();
        let lowest = good.iter().filter(|(_, end)| *end <= period.from()).map(|(start, _)| *start).max();
        let lowest = lowest.unwrap_or(since.max(period.from()));
        let mut worst = None;
        let mut moment = period.from().max(lowest);
        while moment <= period.to() {
            // Just before what ends at this moment counts.
            let newest = good.iter().filter(|(_, end)| *end < moment).map(|(start, _)| *start).max();
            let point = newest.map_or(lowest, |newest| newest.max(lowest));
            worst = worst.max(Some(moment - point));
            moment += TimeDelta::minutes(10);
        }
        let found = report.jobs[0].rpo.map(|rpo| i64::try_from(rpo.seconds).unwrap());
        if lowest < period.to() {
            prop_assert_eq!(found, worst.map(|worst| worst.num_seconds()));
        } else {
            prop_assert_eq!(found, None);
        }
    }
}

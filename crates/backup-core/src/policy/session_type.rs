//! The type of a run, from the calendar and from what the job has missed.

use chrono::{DateTime, Datelike, Days, NaiveDate, Utc, Weekday};
use chrono_tz::Tz;

use crate::words::SessionType;

/// A finished session of the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PastSession {
    /// When it began.
    pub start: DateTime<Utc>,
    /// The type that it took.
    pub session_type: SessionType,
    /// True for SUCCESS and PARTIAL.
    pub good: bool,
}

/// The type of the next run, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChosenType {
    /// The type.
    pub session_type: SessionType,
    /// Why, in words.
    pub reason: String,
}

/// What the calendar gives to a day: 1 January yearly; else the 1st monthly; else Sunday weekly; else daily.
pub fn calendar_type(day: NaiveDate) -> SessionType {
    match (day.month(), day.day(), day.weekday()) {
        (1, 1, _) => SessionType::Yearly,
        (_, 1, _) => SessionType::Monthly,
        (_, _, Weekday::Sun) => SessionType::Weekly,
        _ => SessionType::Daily,
    }
}

/// The type of a run that begins at `now`, its day being that of `zone`.
///
/// `first` is the start of the job's first session, `None` before there is one: a new job makes up for nothing.
/// `history` holds the job's finished sessions in any order. `fixed` is the type that the job always takes, if it has one.
pub fn choose_type(
    now: DateTime<Utc>,
    zone: Tz,
    history: &[PastSession],
    first: Option<DateTime<Utc>>,
    fixed: Option<SessionType>,
) -> ChosenType {
    if let Some(session_type) = fixed {
        return ChosenType { session_type, reason: format!("the job always takes {session_type}") };
    }
    let day = |at: DateTime<Utc>| at.with_timezone(&zone).date_naive();
    let today = day(now);
    let by_calendar = calendar_type(today);
    let longer = SessionType::ALL.into_iter().rev().filter(|t| *t > by_calendar);
    for session_type in longer {
        let Some(missed) = last_day_of(session_type, today) else { continue };
        let begun = first.is_some_and(|first| day(first) <= missed);
        let made = |s: &PastSession| s.good && s.session_type >= session_type && day(s.start) >= missed;
        if begun && !history.iter().any(made) {
            let reason = format!("takes the place of the {session_type} of {missed}, which was missed");
            return ChosenType { session_type, reason };
        }
    }
    ChosenType { session_type: by_calendar, reason: format!("{today} is {}", in_words(by_calendar, today)) }
}

/// The last day before `today` to which the calendar gave this type.
fn last_day_of(session_type: SessionType, today: NaiveDate) -> Option<NaiveDate> {
    // A year back always holds one of each type.
    (1..=366)
        .filter_map(|back| today.checked_sub_days(Days::new(back)))
        .find(|d| calendar_type(*d) == session_type)
}

fn in_words(session_type: SessionType, day: NaiveDate) -> String {
    match session_type {
        SessionType::Yearly => "1 January".to_owned(),
        SessionType::Monthly => "the 1st of a month".to_owned(),
        SessionType::Weekly => "a Sunday".to_owned(),
        SessionType::Daily => format!("a {}", day.format("%A")),
    }
}

#[cfg(test)]
mod tests {
    use SessionType::{Daily, Monthly, Weekly, Yearly};
    use chrono::TimeZone;
    use proptest::prelude::*;

    use super::*;

    fn utc(year: i32, month: u32, day: u32, hour: u32) -> DateTime<Utc> {
        Utc.with_ymd_and_hms(year, month, day, hour, 0, 0).unwrap()
    }

    fn past(start: DateTime<Utc>, session_type: SessionType) -> PastSession {
        PastSession { start, session_type, good: true }
    }

    fn choose(now: DateTime<Utc>, history: &[PastSession], first: Option<DateTime<Utc>>) -> SessionType {
        choose_type(now, Tz::UTC, history, first, None).session_type
    }

    #[test]
    fn the_first_run_takes_what_the_calendar_gives() {
        for (day, expected) in [
            (utc(2027, 1, 1, 2), Yearly),
            (utc(2026, 2, 1, 2), Monthly), // also a Sunday
            (utc(2026, 11, 29, 2), Weekly),
            (utc(2026, 11, 30, 2), Daily),
            (utc(2028, 2, 29, 2), Daily), // a leap day, a Tuesday
        ] {
            assert_eq!(choose(day, &[], None), expected, "{day}");
        }
    }

    #[test]
    fn the_run_after_a_missed_sunday_is_weekly_and_the_next_one_daily() {
        let first = Some(utc(2026, 11, 25, 2));
        let mut history = vec![past(utc(2026, 11, 25, 2), Daily)];
        let chosen = choose_type(utc(2026, 11, 30, 2), Tz::UTC, &history, first, None);
        assert_eq!(chosen.session_type, Weekly);
        assert_eq!(chosen.reason, "takes the place of the weekly of 2026-11-29, which was missed");
        history.push(past(utc(2026, 11, 30, 2), Weekly));
        assert_eq!(choose(utc(2026, 11, 30, 9), &history, first), Daily);
    }

    #[test]
    fn a_failed_weekly_does_not_count_and_a_monthly_does() {
        let first = Some(utc(2026, 10, 1, 2));
        let monthly = past(utc(2026, 11, 1, 2), Monthly); // 1 November 2026 is a Sunday
        let failed = PastSession { good: false, ..past(utc(2026, 11, 8, 2), Weekly) };
        assert_eq!(choose(utc(2026, 11, 2, 2), &[monthly], first), Daily);
        assert_eq!(choose(utc(2026, 11, 9, 2), &[monthly, failed], first), Weekly);
    }

    #[test]
    fn what_was_missed_for_longest_goes_first_and_makes_up_for_all() {
        let first = Some(utc(2026, 12, 28, 2));
        // Off from 30 December to 3 January: 1 January (a Friday) and Sunday 3 January were missed.
        let mut history = vec![past(utc(2026, 12, 29, 2), Daily)];
        assert_eq!(choose(utc(2027, 1, 4, 2), &history, first), Yearly);
        history.push(past(utc(2027, 1, 4, 2), Yearly));
        assert_eq!(choose(utc(2027, 1, 5, 2), &history, first), Daily);
    }

    #[test]
    fn a_job_begun_after_the_day_makes_up_for_nothing() {
        let history = [past(utc(2026, 11, 30, 2), Daily)];
        assert_eq!(choose(utc(2026, 12, 1, 2), &history, Some(history[0].start)), Monthly);
        assert_eq!(choose(utc(2026, 12, 2, 2), &history, Some(history[0].start)), Monthly);
        let late = [past(utc(2026, 12, 2, 2), Daily)];
        assert_eq!(choose(utc(2026, 12, 3, 2), &late, Some(late[0].start)), Daily);
    }

    #[test]
    fn the_day_is_that_of_the_time_zone_also_when_the_clock_changes() {
        let zone = Tz::Europe__Berlin;
        let chosen = |at| choose_type(at, zone, &[], None, None).session_type;
        // 31 October, 23:30 UTC, is 1 November in Berlin; 25 October 2026 has 25 hours there.
        assert_eq!(chosen(Utc.with_ymd_and_hms(2026, 10, 31, 23, 30, 0).unwrap()), Monthly);
        assert_eq!(chosen(utc(2026, 10, 24, 22)), Weekly);
        assert_eq!(chosen(utc(2026, 10, 25, 22)), Weekly);
        assert_eq!(chosen(utc(2026, 10, 25, 23)), Daily);
        // Samoa skipped 30 December 2011 altogether.
        let samoa = choose_type(utc(2011, 12, 31, 12), Tz::Pacific__Apia, &[], None, None);
        assert_eq!(samoa.session_type, Yearly);
    }

    #[test]
    fn a_fixed_type_is_taken_whatever_the_day() {
        let chosen = choose_type(utc(2027, 1, 1, 2), Tz::UTC, &[], None, Some(Daily));
        assert_eq!(chosen.session_type, Daily);
    }

    fn any_zone() -> impl Strategy<Value = Tz> {
        prop::sample::select(vec![
            Tz::UTC,
            Tz::Europe__Berlin,
            Tz::America__New_York,
            Tz::Asia__Kathmandu,
            Tz::Australia__Lord_Howe,
            Tz::Pacific__Apia,
        ])
    }

    proptest! {
        /// Run every day from any start, with some runs lost or failed: no missed day stays unmade after the next good run,
        /// and no run is shorter than what the calendar gives.
        #[test]
        fn every_missed_day_is_made_up_for_by_the_next_good_run(
            zone in any_zone(),
            start in 0i64..1500,
            fates in prop::collection::vec(0u8..4, 1..90),
        ) {
            let begin = utc(2023, 1, 1, 12) + chrono::TimeDelta::days(start);
            let day = |at: DateTime<Utc>| at.with_timezone(&zone).date_naive();
            let mut history: Vec<PastSession> = Vec::new();
            let mut first = None;
            for (n, fate) in fates.into_iter().enumerate() {
                let now = begin + chrono::TimeDelta::days(n as i64);
                if fate == 0 {
                    continue;
                }
                let chosen = choose_type(now, zone, &history, first, None).session_type;
                prop_assert!(chosen >= calendar_type(day(now)));
                first = first.or(Some(now));
                history.push(PastSession { start: now, session_type: chosen, good: fate != 1 });
                if fate == 1 {
                    continue;
                }
                let mut on = day(first.unwrap());
                while on <= day(now) {
                    let due = calendar_type(on);
                    prop_assert!(history.iter().any(|s| s.good && s.session_type >= due && day(s.start) >= on));
                    on = on + Days::new(1);
                }
            }
        }

        /// A job that misses nothing follows the calendar to the day.
        #[test]
        fn a_job_that_misses_nothing_follows_the_calendar(zone in any_zone(), start in 0i64..1500) {
            let begin = utc(2023, 1, 1, 12) + chrono::TimeDelta::days(start);
            let mut history = Vec::new();
            for n in 0..60 {
                let now = begin + chrono::TimeDelta::days(n);
                let chosen = choose_type(now, zone, &history, Some(begin), None).session_type;
                prop_assert_eq!(chosen, calendar_type(now.with_timezone(&zone).date_naive()));
                history.push(past(now, chosen));
            }
        }
    }
}

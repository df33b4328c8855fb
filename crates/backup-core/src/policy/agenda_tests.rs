//! A simulated year and more of jobs: exactly the right runs.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use proptest::prelude::*;

use super::{Next, PastRun, Timetable, jitter_of};

fn utc(text: &str) -> DateTime<Utc> {
    format!("{text}:00Z").parse().unwrap()
}

fn table(text: &str, zone: Tz) -> Timetable {
    Timetable::new(text.parse().unwrap(), zone)
}

fn done(start: DateTime<Utc>) -> PastRun {
    PastRun { start, end: start + TimeDelta::minutes(3), done: true }
}

fn failed(start: DateTime<Utc>) -> PastRun {
    PastRun { done: false, ..done(start) }
}

/// A daemon and its world, minute by minute: what it knows is what the store would tell.
struct World {
    table: Timetable,
    since: DateTime<Utc>,
    past: Vec<PastRun>,
    /// For which time of the schedule each run was.
    answered: Vec<DateTime<Utc>>,
    busy_until: Option<DateTime<Utc>>,
    takes: TimeDelta,
}

impl World {
    fn new(table: Timetable, since: DateTime<Utc>) -> Self {
        Self {
            table,
            since,
            past: Vec::new(),
            answered: Vec::new(),
            busy_until: None,
            takes: TimeDelta::minutes(3),
        }
    }

    /// A look at the agenda; when the next one is wanted.
    fn look(&mut self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        if let Some(end) = self.busy_until {
            if now < end {
                return Some(end);
            }
            self.busy_until = None;
        }
        match self.table.next(&self.past, self.since, now) {
            Next::Due { occurrence, .. } => {
                self.past.push(PastRun { start: now, end: now + self.takes, done: true });
                self.answered.push(occurrence);
                self.busy_until = Some(now + self.takes);
                self.busy_until
            }
            Next::At(time) => Some(time),
            Next::Never => None,
        }
    }

    /// Follows its own wishes from `from` to `until`.
    fn live(&mut self, from: DateTime<Utc>, until: DateTime<Utc>) {
        let mut now = from;
        while now < until {
            let Some(next) = self.look(now) else { return };
            assert!(next > now, "it would turn without end at {now}");
            now = next;
        }
    }
}

#[test]
fn a_year_with_a_leap_day_and_both_changes_of_clocks_has_exactly_its_runs() {
    let (from, until) = (utc("2028-01-01T00:00"), utc("2029-01-01T00:00"));
    for (text, number) in [
        ("0 2 * * *", 366),
        ("30 2 * * *", 366),
        ("0 */6 * * *", 4 * 366),
        ("0 3 * * 0", 53),
        ("0 4 1 * *", 12),
        ("0 0 29 2 *", 1),
    ] {
        for zone in [Tz::UTC, Tz::Europe__Berlin, Tz::America__New_York, Tz::Australia__Lord_Howe] {
            let mut world = World::new(table(text, zone), from);
            world.live(from, until);
            let wanted: Vec<_> =
                world.table.schedule.runs_after(from, zone).take_while(|run| *run < until).collect();
            assert_eq!(world.answered, wanted, "{text} in {zone}");
            assert!(wanted.len().abs_diff(number) <= 1, "{text} in {zone}: {}", wanted.len());
        }
    }
}

#[test]
fn what_was_missed_is_caught_up_with_once() {
    let mut world = World::new(table("0 2 * * *", Tz::UTC), utc("2026-01-01T12:00"));
    world.live(utc("2026-01-01T12:00"), utc("2026-01-03T12:00"));
    assert_eq!(world.answered.len(), 2);
    // Down from the 3rd to the 20th.
    world.live(utc("2026-01-20T09:30"), utc("2026-01-22T00:00"));
    let starts: Vec<_> = world.past.iter().map(|run| run.start).collect();
    assert_eq!(starts[2..], [utc("2026-01-20T09:30"), utc("2026-01-21T02:00")]);
}

#[test]
fn an_installation_that_was_made_a_moment_ago_has_missed_nothing() {
    let (table, since) = (table("0 2 * * *", Tz::UTC), utc("2026-01-01T12:00"));
    assert_eq!(table.next(&[], since, utc("2026-01-01T12:01")), Next::At(utc("2026-01-02T02:00")));
    let missed = Next::Due { occurrence: utc("2026-01-02T02:00"), attempt: 1 };
    assert_eq!(table.next(&[], since, utc("2026-01-02T12:00")), missed);
}

#[test]
fn a_run_that_somebody_else_began_answers_too() {
    let table = table("0 2 * * *", Tz::UTC);
    let by_hand = [done(utc("2026-01-02T02:30"))];
    let next = table.next(&by_hand, utc("2026-01-01T12:00"), utc("2026-01-02T09:00"));
    assert_eq!(next, Next::At(utc("2026-01-03T02:00")));
    // One that began before the time does not.
    let before = [done(utc("2026-01-02T01:59"))];
    let next = table.next(&before, utc("2026-01-01T12:00"), utc("2026-01-02T02:00"));
    assert_eq!(next, Next::Due { occurrence: utc("2026-01-02T02:00"), attempt: 1 });
}

#[test]
fn a_failure_is_tried_again_with_longer_pauses_until_its_window_is_past() {
    let (table, since) = (table("0 2 * * *", Tz::UTC), utc("2026-01-01T12:00"));
    let (mut past, mut now, until) = (Vec::new(), utc("2026-01-02T02:00"), utc("2026-01-03T02:00"));
    let mut tries = Vec::new();
    while now < until {
        match table.next(&past, since, now) {
            Next::Due { attempt, .. } => {
                assert_eq!(attempt, tries.len() + 1);
                tries.push(now.format("%H:%M").to_string());
                past.push(failed(now));
            }
            Next::At(time) => now = time,
            Next::Never => unreachable!("every day has a run"),
        }
    }
    // Each takes 3 minutes; the pauses are 1, 2, 4, 8, 16 minutes; the next would begin after the hour.
    assert_eq!(tries, ["02:00", "02:04", "02:09", "02:16", "02:27", "02:46"]);
    assert_eq!(table.next(&past, since, until), Next::Due { occurrence: until, attempt: 1 });
    let never =
        Timetable { retries: super::Retries { window: TimeDelta::zero(), ..Default::default() }, ..table };
    assert_eq!(never.next(&past[..1], since, utc("2026-01-02T02:30")), Next::At(until));
}

#[test]
fn a_restart_at_every_minute_of_a_day_loses_no_run_and_doubles_none() {
    let day = utc("2027-03-28T00:00");
    for zone in [Tz::UTC, Tz::Europe__Berlin] {
        for text in ["0 2 * * *", "0 */6 * * *", "*/20 * * * *", "59 23 * * *"] {
            let mut world = World::new(table(text, zone), day - TimeDelta::days(1));
            let mut now = day - TimeDelta::days(1);
            // A daemon that knows nothing but what the store says, each minute a new one; a run goes on meanwhile.
            while now <= day + TimeDelta::days(1) {
                world.look(now);
                now += TimeDelta::minutes(1);
            }
            let runs = world.table.schedule.runs_after(day - TimeDelta::days(1), zone);
            let wanted: Vec<_> = runs.take_while(|run| *run <= day + TimeDelta::days(1)).collect();
            assert_eq!(world.answered, wanted, "{text} in {zone}");
        }
    }
}

#[test]
fn clocks_that_jump_lose_nothing_and_double_nothing() {
    let mut world = World::new(table("0 2 * * *", Tz::UTC), utc("2026-01-01T12:00"));
    world.live(utc("2026-01-01T12:00"), utc("2026-01-02T02:05"));
    // Back by an hour: two o'clock comes again.
    world.live(utc("2026-01-02T01:05"), utc("2026-01-02T12:00"));
    assert_eq!(world.answered.len(), 1);
    // Forward over two o'clock.
    world.live(utc("2026-01-03T08:00"), utc("2026-01-03T09:00"));
    assert_eq!(world.answered.len(), 2);
    // Into another year and home again: what has run there keeps nothing here from running.
    world.live(utc("2031-06-01T00:00"), utc("2031-06-02T00:00"));
    assert_eq!(world.answered.len(), 4);
    world.live(utc("2026-01-03T09:10"), utc("2026-01-06T00:00"));
    let here: Vec<_> = world.answered[4..].iter().map(|at| at.format("%d %H:%M").to_string()).collect();
    assert_eq!(here, ["04 02:00", "05 02:00"]);
    // A failure in the future is no reason to wait for it.
    let table = table("0 2 * * *", Tz::UTC);
    let next = table.next(&[failed(utc("2026-01-04T23:00"))], world.since, utc("2026-01-04T02:00"));
    assert_eq!(next, Next::Due { occurrence: utc("2026-01-04T02:00"), attempt: 2 });
}

#[test]
fn jitter_is_the_same_each_time_and_spread() {
    let hour = TimeDelta::hours(1);
    let mut quarters: BTreeMap<i64, usize> = BTreeMap::new();
    for number in 0..400 {
        let name = format!("stack-{number}");
        let jitter = jitter_of(&name, "full", hour);
        assert_eq!(jitter, jitter_of(&name, "full", hour));
        assert!((TimeDelta::zero()..hour).contains(&jitter));
        *quarters.entry(jitter.num_minutes() / 15).or_default() += 1;
    }
    assert!(quarters.len() == 4 && quarters.values().all(|number| *number > 60), "{quarters:?}");
    assert_eq!(jitter_of("crm", "full", TimeDelta::zero()), TimeDelta::zero());
}

fn tables() -> impl Strategy<Value = Timetable> {
    let texts = ["0 2 * * *", "0 */6 * * *", "*/30 * * * *", "0 3 * * 0", "15 1,13 * * *"];
    let zones = [Tz::UTC, Tz::Europe__Berlin, Tz::Australia__Lord_Howe];
    (proptest::sample::select(texts.to_vec()), proptest::sample::select(zones.to_vec()), 0..1800_i64)
        .prop_map(|(text, zone, jitter)| Timetable {
            jitter: TimeDelta::seconds(jitter),
            ..table(text, zone)
        })
}

proptest! {
    /// Whatever times the daemon is up: no time of the schedule has two runs, a run is for the newest one that has none, and
    /// at the end of a time up nothing is open.
    #[test]
    fn ups_and_downs_double_nothing_and_leave_nothing_open(
        table in tables(),
        spans in proptest::collection::vec((1..3000_i64, 1..6000_i64), 1..8),
        takes in 1..90_i64,
    ) {
        let begin = utc("2027-03-20T00:00");
        let mut world = World { takes: TimeDelta::minutes(takes), ..World::new(table, begin) };
        let mut now = begin;
        for (up, down) in spans {
            let end = now + TimeDelta::minutes(up);
            world.live(now, end);
            // A run that the end falls into goes on alone, as one begun by hand would.
            if world.busy_until.is_none_or(|busy| busy < end) {
                let open = world.table.next(&world.past, world.since, end - TimeDelta::seconds(1));
                prop_assert!(!matches!(open, Next::Due { .. }), "open at {}: {:?}", end, open);
            }
            now = end + TimeDelta::minutes(down);
        }
        prop_assert!(world.answered.windows(2).all(|pair| pair[0] < pair[1]), "{:?}", world.answered);
        for (run, occurrence) in world.past.iter().zip(&world.answered) {
            prop_assert!(run.start >= *occurrence + world.table.jitter);
            let newest = world.table.schedule.latest_until(run.start - world.table.jitter, world.table.zone);
            prop_assert_eq!(newest, Some(*occurrence));
        }
    }

    /// It never asks to be woken in the past, and what it asks for is no later than the next time of the schedule.
    #[test]
    fn the_next_look_is_ahead(table in tables(), minutes in 0..600_000_i64, runs in proptest::collection::vec((0..600_000_i64, any::<bool>()), 0..6)) {
        let begin = utc("2027-01-01T00:00");
        let now = begin + TimeDelta::minutes(minutes);
        let past: Vec<PastRun> = runs.into_iter().map(|(at, good)| {
            let start = begin + TimeDelta::minutes(at);
            if good { done(start) } else { failed(start) }
        }).collect();
        if let Next::At(time) = table.next(&past, begin, now) {
            prop_assert!(time > now);
            let following = table.schedule.next_after(now - table.jitter, table.zone).unwrap() + table.jitter;
            prop_assert!(time <= following);
        }
    }

    /// The last run until a moment is the one that the runs after an earlier moment lead to.
    #[test]
    fn the_latest_time_is_the_last_one_before_the_next(table in tables(), minutes in 0..600_000_i64) {
        let at = utc("2027-01-01T00:00") + TimeDelta::minutes(minutes);
        let latest = table.schedule.latest_until(at, table.zone).unwrap();
        prop_assert!(latest <= at);
        prop_assert!(table.schedule.next_after(latest, table.zone).unwrap() > at);
    }
}

//! When a removal that retention has decided on may be done, where it is announced days before.

use chrono::{DateTime, TimeDelta, Utc};

/// A notice that nobody has acted on for so long says nothing any more: the session was kept meanwhile, and who pins or copies
/// must be told anew.
const LAPSES: TimeDelta = TimeDelta::days(30);

/// How far a removal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// To be announced: it goes at this time, not before.
    Announce(DateTime<Utc>),
    /// Was announced for this time.
    Wait(DateTime<Utc>),
    /// May go.
    Go,
}

/// How far the removal of a session is that is announced for `announce` before it is done; `notice` is the time for which it
/// was announced. What was announced holds, though the rules have changed since.
pub fn stage(now: DateTime<Utc>, announce: TimeDelta, notice: Option<DateTime<Utc>>) -> Stage {
    match notice.filter(|due| now - *due < LAPSES) {
        Some(due) if due > now => Stage::Wait(due),
        Some(_) => Stage::Go,
        None if announce > TimeDelta::zero() => Stage::Announce(now + announce),
        None => Stage::Go,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_removal_is_announced_waits_goes_and_lapses() {
        let now: DateTime<Utc> = "2026-11-24T02:00:00Z".parse().unwrap();
        let days = TimeDelta::days;
        let zero = TimeDelta::zero();
        assert_eq!(stage(now, zero, None), Stage::Go);
        assert_eq!(stage(now, days(3), None), Stage::Announce(now + days(3)));
        let due = Some(now + days(3));
        assert_eq!(stage(now + days(2), days(3), due), Stage::Wait(now + days(3)));
        assert_eq!(stage(now + days(2), zero, due), Stage::Wait(now + days(3)));
        assert_eq!(stage(now + days(3), days(3), due), Stage::Go);
        assert_eq!(stage(now + days(32), days(3), due), Stage::Go);
        assert_eq!(stage(now + days(33), days(3), due), Stage::Announce(now + days(36)));
    }
}

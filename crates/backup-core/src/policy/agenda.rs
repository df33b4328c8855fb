//! Which run of a job is due: catch up once on what was missed, try again what failed, whatever clocks do.

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use sha2::{Digest, Sha256};

use super::Schedule;

/// So far in the future a run may have begun without anything being wrong: clocks are corrected, and those of hosts differ.
const CLOCKS_DIFFER: TimeDelta = TimeDelta::minutes(5);

/// When a job that failed is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retries {
    /// The pause after the first failure; each further one is twice as long.
    pub first_pause: TimeDelta,
    /// No pause is longer.
    pub longest_pause: TimeDelta,
    /// How long after the first try another one may begin; zero for never.
    pub window: TimeDelta,
}

impl Default for Retries {
    fn default() -> Self {
        Self {
            first_pause: TimeDelta::minutes(1),
            longest_pause: TimeDelta::minutes(30),
            window: TimeDelta::hours(1),
        }
    }
}

impl Retries {
    /// The pause after so many failures.
    fn pause(self, failures: usize) -> TimeDelta {
        let doublings = u32::try_from(failures.saturating_sub(1)).unwrap_or(u32::MAX);
        let factor = 2_i32.checked_pow(doublings.min(30)).unwrap_or(i32::MAX);
        self.first_pause.checked_mul(factor).unwrap_or(self.longest_pause).min(self.longest_pause)
    }
}

/// A run of a job that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PastRun {
    /// When it began.
    pub start: DateTime<Utc>,
    /// When it ended; its start when nobody knows.
    pub end: DateTime<Utc>,
    /// Whether the job is done by it; else it is tried again.
    pub done: bool,
}

/// What is to be done about a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Run it now, for what the schedule wanted at `occurrence`.
    Due {
        /// The newest time of the schedule that no run answers to; older ones are made up for by the same run.
        occurrence: DateTime<Utc>,
        /// The number of this try, from 1.
        attempt: usize,
    },
    /// Look again then.
    At(DateTime<Utc>),
    /// The schedule has no further time.
    Never,
}

/// When a job runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timetable {
    /// Its times.
    pub schedule: Schedule,
    /// The zone that they are meant in.
    pub zone: Tz,
    /// How much later it begins: see [`jitter_of`].
    pub jitter: TimeDelta,
    /// What happens after a failure.
    pub retries: Retries,
}

impl Timetable {
    /// Begins on time and tries again as by default.
    pub fn new(schedule: Schedule, zone: Tz) -> Self {
        Self { schedule, zone, jitter: TimeDelta::zero(), retries: Retries::default() }
    }

    /// What is to be done at `now`, by the job's past runs, in the order in which they became known. Nothing that the schedule
    /// wanted until `since` is made up for. Must not be asked while the job runs: no job overlaps itself.
    ///
    /// A time of the schedule is answered by any run that began since: whoever began it. A run that began in the future, by a
    /// clock that has been put back, answers to its own time of the schedule and to no other.
    pub fn next(&self, past: &[PastRun], since: DateTime<Utc>, now: DateTime<Utc>) -> Next {
        let latest = self.schedule.latest_until(now - self.jitter, self.zone);
        let wanted = latest.filter(|occurrence| *occurrence > since);
        let later = self.following(now);
        let Some(occurrence) = wanted else { return later };
        let answers: Vec<&PastRun> = past.iter().filter(|run| self.answers(run, occurrence, now)).collect();
        if answers.iter().any(|run| run.done) {
            return later;
        }
        let (Some(first), Some(last)) = (answers.first(), answers.last()) else {
            return Next::Due { occurrence, attempt: 1 };
        };
        let again = last.end + self.retries.pause(answers.len());
        let (in_window, clock_was_put_back) =
            (again <= first.start + self.retries.window, last.end > now + CLOCKS_DIFFER);
        if !in_window {
            later
        } else if now >= again || clock_was_put_back {
            Next::Due { occurrence, attempt: answers.len() + 1 }
        } else {
            match later {
                Next::At(time) => Next::At(time.min(again)),
                _ => Next::At(again),
            }
        }
    }

    /// The first time after `now` at which the job would begin.
    fn following(&self, now: DateTime<Utc>) -> Next {
        match self.schedule.next_after(now - self.jitter, self.zone) {
            Some(occurrence) => Next::At(occurrence + self.jitter),
            None => Next::Never,
        }
    }

    fn answers(&self, run: &PastRun, occurrence: DateTime<Utc>, now: DateTime<Utc>) -> bool {
        if run.start <= now + CLOCKS_DIFFER {
            return run.start >= occurrence;
        }
        self.schedule.latest_until(run.start - self.jitter, self.zone) == Some(occurrence)
    }
}

/// How much later a job begins, up to `most` (which is left out): always the same for the same installation and job, and
/// spread evenly over those of others. In whole seconds.
pub fn jitter_of(installation: &str, job: &str, most: TimeDelta) -> TimeDelta {
    let Ok(seconds @ 1..) = u64::try_from(most.num_seconds()) else { return TimeDelta::zero() };
    let hash = Sha256::digest(format!("{installation}\n{job}"));
    let number = hash.iter().take(8).fold(0_u64, |number, byte| (number << 8) | u64::from(*byte));
    TimeDelta::seconds((number % seconds).cast_signed())
}

//! What auditors ask: in a month, which sessions were there, how much would have been lost at worst, how long did restores take.
//! Pure: a period, the sessions and limits in, a report out.

mod calendar;
mod reckon;
mod report;
#[cfg(test)]
mod tests;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

pub use calendar::Period;
pub use reckon::report_period;
pub use report::{
    ComponentPeriod, DrillCounts, Exposure, JobPeriod, PeriodReport, Recovery, SessionCounts, SessionLine,
    VerificationCounts,
};

use super::{DrillVerdict, EvidenceFacts, RunStatus, WatchedJob};
use crate::words::{SessionId, SessionType};

/// A run, as far as a report of a period must know it.
#[derive(Clone, Debug, PartialEq)]
pub struct PeriodSession {
    /// Its session.
    pub id: SessionId,
    /// Its job.
    pub job: String,
    /// When it began.
    pub start: DateTime<Utc>,
    /// How it ended.
    pub outcome: PeriodOutcome,
    /// Verifications of it; those of a removed session are not known.
    pub verifications: Vec<EvidenceFacts>,
    /// Drills of it.
    pub drills: Vec<PeriodDrill>,
    /// True when retention has removed it since: what is known of it is what its removal wrote down.
    pub removed: bool,
}

/// What became of a run.
#[derive(Clone, Debug, PartialEq)]
pub enum PeriodOutcome {
    /// It came to an end.
    Ended {
        /// How.
        status: RunStatus,
        /// The type of its session.
        session_type: SessionType,
        /// When its last byte was stored.
        end: DateTime<Utc>,
        /// Bytes in the store, without the unified archive.
        stored_bytes: u64,
        /// Its components.
        components: Vec<PeriodComponent>,
    },
    /// It died.
    Died,
    /// It is under way.
    Running,
    /// Its manifest cannot be read, or its removal did not write down what it was.
    Unknown,
}

/// A component of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeriodComponent {
    /// Its name.
    pub name: String,
    /// Whether it counts.
    pub good: bool,
    /// Its bytes in the store.
    pub stored_bytes: u64,
}

/// A drill of one component.
#[derive(Clone, Debug, PartialEq)]
pub struct PeriodDrill {
    /// Which component.
    pub component: String,
    /// When.
    pub at: DateTime<Utc>,
    /// How it came out.
    pub verdict: DrillVerdict,
    /// The measured recovery time in seconds.
    pub rto_seconds: f64,
}

/// What a period is held against.
#[derive(Clone, Debug)]
pub struct Expected {
    /// When the repository was made: nothing can be awaited before.
    pub since: DateTime<Utc>,
    /// The jobs, with their limits.
    pub jobs: Vec<WatchedJob>,
    /// The components' names.
    pub components: Vec<String>,
    /// The limit of a component that is in no job.
    pub max_age: TimeDelta,
}

/// Seconds, none below zero.
fn seconds(length: TimeDelta) -> u64 {
    u64::try_from(length.num_seconds()).unwrap_or(0)
}

/// The period as the report names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PeriodLine {
    /// "2026-04", or as it was asked for.
    pub name: String,
    /// Its first moment.
    pub from: DateTime<Utc>,
    /// The first moment after it.
    pub to: DateTime<Utc>,
    /// The time zone of its days.
    pub time_zone: String,
    /// Whether it is over: of one that is not, the rest is not known.
    pub over: bool,
}

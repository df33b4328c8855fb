//! What the report of a period says.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::PeriodLine;
use crate::words::SessionId;

/// How the backups did in a period.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PeriodReport {
    /// The installation.
    pub installation: String,
    /// Which period.
    pub period: PeriodLine,
    /// When the report was made.
    pub at: DateTime<Utc>,
    /// All runs that began in the period.
    pub sessions: SessionCounts,
    /// Their sessions by type.
    pub types: BTreeMap<String, u64>,
    /// Bytes that their good sessions stored, without unified archives and copies.
    pub stored_bytes: u64,
    /// Verifications that were made in the period, of whatever session.
    pub verifications: VerificationCounts,
    /// Drills of components that were made in the period, of whatever session.
    pub drills: DrillCounts,
    /// Every job.
    pub jobs: Vec<JobPeriod>,
    /// Every component.
    pub components: Vec<ComponentPeriod>,
    /// Every run, oldest first.
    pub runs: Vec<SessionLine>,
    /// What was not known when the report was made.
    pub unknown: Vec<String>,
}

/// Runs by how they ended. `all` is the sum of the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SessionCounts {
    /// All.
    pub all: u64,
    /// All of it is good.
    pub success: u64,
    /// Some of it is good.
    pub partial: u64,
    /// None of it is.
    pub failed: u64,
    /// Died.
    pub died: u64,
    /// Under way.
    pub running: u64,
    /// Cannot be read.
    pub unknown: u64,
}

/// Verifications by how they came out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct VerificationCounts {
    /// All was right.
    pub passed: u64,
    /// Something was not.
    pub failed: u64,
}

/// Drills by how they came out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DrillCounts {
    /// Restored, and as it should be.
    pub passed: u64,
    /// Something was wrong.
    pub failed: u64,
    /// Nothing was restored.
    pub not_run: u64,
}

/// The recovery point that was reached: how much a loss would have cost at the worst moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Exposure {
    /// From `from` to `to`.
    pub seconds: u64,
    /// When the last good session before began; without one, the beginning of the period or of the repository.
    pub from: DateTime<Utc>,
    /// When the next good one had ended; without one, the end of the period or now.
    pub to: DateTime<Utc>,
    /// How much it may be.
    pub limit_seconds: u64,
    /// Whether it was no more.
    pub within_limit: bool,
}

/// The recovery time that was measured, in drills that passed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Recovery {
    /// Of how many drills.
    pub drills: u64,
    /// The one in the middle; of an even number the longer one.
    pub median_seconds: f64,
    /// The longest.
    pub largest_seconds: f64,
}

/// A job in a period.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct JobPeriod {
    /// Its name.
    pub job: String,
    /// Its runs.
    pub sessions: SessionCounts,
    /// Bytes that its good sessions stored.
    pub stored_bytes: u64,
    /// The longest run that came to an end, in seconds.
    pub longest_seconds: Option<u64>,
    /// The recovery point that was reached; none for a job that is not in the configuration any more, and where the period has
    /// not begun.
    pub rpo: Option<Exposure>,
}

/// A component in a period.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ComponentPeriod {
    /// Its name.
    pub component: String,
    /// How often it was captured.
    pub good: u64,
    /// How often that failed.
    pub failed: u64,
    /// Bytes in the store of its first good backup in the period.
    pub first_bytes: Option<u64>,
    /// Bytes in the store of its last one.
    pub last_bytes: Option<u64>,
    /// The recovery point that was reached.
    pub rpo: Option<Exposure>,
    /// Its drills.
    pub drills: DrillCounts,
    /// The recovery time that was measured.
    pub rto: Option<Recovery>,
}

/// A run on one line.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SessionLine {
    /// Its session.
    pub session_id: SessionId,
    /// Its job.
    pub job: String,
    /// When it began.
    pub start: DateTime<Utc>,
    /// SUCCESS, PARTIAL, FAILED, DIED, RUNNING or UNKNOWN.
    pub status: &'static str,
    /// Its type.
    #[serde(rename = "type")]
    pub session_type: Option<String>,
    /// How long it took.
    pub duration_seconds: Option<u64>,
    /// Bytes in the store.
    pub stored_bytes: Option<u64>,
    /// Whether retention has removed it since.
    pub removed: bool,
}

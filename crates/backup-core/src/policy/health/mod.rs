//! Whether the backups are well: facts of the catalogue, the time and limits in, one finding for each check out.

mod drills;
mod history;
mod jobs;
mod sessions;
mod sizes;
mod stores;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

pub use history::{ComponentFacts, DrillFacts, EvidenceFacts, History, Outcome, RunStatus, SessionFacts};
pub use stores::{AwayFacts, CopyFacts, StoreFacts};

/// How a check came out, in the words of monitoring systems; the worst is the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthState {
    /// Looked at and well.
    Ok,
    /// Should be looked at by a person.
    Warning,
    /// Could not be looked at.
    Unknown,
    /// Wrong: a restore may fail or lose much.
    Critical,
}

/// What a check is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// A store.
    Store,
    /// All sessions of the repository.
    Sessions,
    /// A job.
    Job,
    /// A component.
    Component,
    /// A notifier: what it is for could be wrong unheard.
    Notifier,
}

impl Scope {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::Sessions => "sessions",
            Self::Job => "job",
            Self::Component => "component",
            Self::Notifier => "notifier",
        }
    }
}

/// What a measured number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
    /// Percent.
    Percent,
    /// Things.
    Count,
}

/// Where a measured number begins to be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// Above this.
    AtMost(u64),
    /// Below this.
    AtLeast(u64),
}

/// A number behind a check, for graphs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Measure {
    /// How much.
    pub value: u64,
    /// Of what.
    pub unit: Unit,
    /// Where it becomes a warning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warning: Option<Limit>,
    /// Where it becomes critical.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub critical: Option<Limit>,
}

impl Measure {
    fn new(value: u64, unit: Unit) -> Self {
        Self { value, unit, warning: None, critical: None }
    }

    fn warning(self, limit: Limit) -> Self {
        Self { warning: Some(limit), ..self }
    }

    fn critical(self, limit: Limit) -> Self {
        Self { critical: Some(limit), ..self }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HealthCheck {
    /// What it is about.
    pub scope: Scope,
    /// The store's, job's or component's name; empty for sessions.
    pub name: String,
    /// What was looked at: "age", "space", "rows".
    pub check: String,
    /// How it came out.
    pub state: HealthState,
    /// How it is, on one line.
    pub message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The number behind it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub measure: Option<Measure>,
}

impl HealthCheck {
    /// A check of `scope` `name` that came out as `state`. The message is brought onto one line.
    pub fn new(
        scope: Scope,
        name: impl Into<String>,
        check: impl Into<String>,
        state: HealthState,
        message: &str,
    ) -> Self {
        Self {
            scope,
            name: name.into(),
            check: check.into(),
            state,
            message: message.split_whitespace().collect::<Vec<_>>().join(" "),
            hint: None,
            measure: None,
        }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    fn measure(mut self, measure: Measure) -> Self {
        self.measure = Some(measure);
        self
    }
}

/// From where on something is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HealthLimits {
    /// How old the newest good session may be, of jobs without a limit of their own.
    pub max_age: TimeDelta,
    /// How long ago a component's newest verification may be.
    pub verify_max_age: TimeDelta,
    /// How long ago a component's last good drill may be; none where drills are not awaited.
    pub drill_max_age: Option<TimeDelta>,
    /// How full a store may be, in percent.
    pub disk_limit_percent: u8,
    /// Stored bytes that a component's session has at least, by component.
    pub min_size: BTreeMap<String, u64>,
    /// How much smaller than the last ones a session may be, in percent.
    pub shrink_percent: u8,
    /// How much larger than the last ones a session may be, in percent.
    pub growth_percent: u32,
    /// Warnings of components that hold one of these texts are known and accepted.
    pub accepted_warnings: Vec<String>,
}

impl Default for HealthLimits {
    fn default() -> Self {
        Self {
            max_age: TimeDelta::hours(25),
            verify_max_age: TimeDelta::days(8),
            drill_max_age: None,
            disk_limit_percent: 85,
            min_size: BTreeMap::new(),
            shrink_percent: 30,
            growth_percent: 100,
            accepted_warnings: Vec::new(),
        }
    }
}

/// A job whose sessions are awaited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchedJob {
    /// Its name.
    pub name: String,
    /// Its components.
    pub components: Vec<String>,
    /// How old its newest good session may be.
    pub max_age: TimeDelta,
    /// True for a job that nobody asked for: it is looked at once it has a session.
    pub optional: bool,
}

/// What should be there.
#[derive(Clone, Debug)]
pub struct Watched {
    /// From where on something is wrong.
    pub limits: HealthLimits,
    /// The jobs.
    pub jobs: Vec<WatchedJob>,
    /// The components' names.
    pub components: Vec<String>,
}

/// Looks at everything that is watched. The order is fixed: stores, sessions, jobs, components.
pub fn judge(
    now: DateTime<Utc>,
    watched: &Watched,
    stores: &[StoreFacts],
    away: &[AwayFacts],
    history: &History,
) -> Vec<HealthCheck> {
    let mut checks = stores::checks(now, &watched.limits, stores, history);
    checks.extend(away.iter().map(stores::away));
    checks.extend(sessions::checks(now, history));
    checks.extend(watched.jobs.iter().flat_map(|job| jobs::job_checks(now, job, history)));
    for component in &watched.components {
        checks.push(jobs::component_age(now, watched, component, history));
        checks.extend(sizes::checks(&watched.limits, component, history));
        checks.push(jobs::component_verified(now, &watched.limits, component, history));
        checks.extend(drills::component_drilled(now, &watched.limits, component, history));
        checks.push(jobs::component_warnings(&watched.limits, component, history));
    }
    checks
}

/// Seconds from `then` to `now`, none below zero.
fn seconds_since(then: DateTime<Utc>, now: DateTime<Utc>) -> u64 {
    u64::try_from((now - then).num_seconds()).unwrap_or(0)
}

fn limit_seconds(limit: TimeDelta) -> u64 {
    u64::try_from(limit.num_seconds()).unwrap_or(0)
}

//! How the last sessions went: what is drawn, and what went wrong.

use std::collections::{BTreeMap, VecDeque};

use backup_core::{
    engine::Session,
    policy::Watched,
    repository::{Manifest, SessionState, Status},
    words::SessionId,
};
use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

/// So many sessions are drawn.
const RECENT: usize = 30;
/// So many problems are shown.
const PROBLEMS: usize = 5;
/// As much is said of each.
const SAID: usize = 120;

/// The last good sessions, oldest first.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Recent {
    pub(super) stored_bytes: VecDeque<u64>,
    pub(super) duration_seconds: VecDeque<f64>,
}

impl Recent {
    fn push(&mut self, bytes: u64, seconds: f64) {
        self.stored_bytes.push_back(bytes);
        self.duration_seconds.push_back(seconds);
        if self.stored_bytes.len() > RECENT {
            self.stored_bytes.pop_front();
            self.duration_seconds.pop_front();
        }
    }
}

/// A component's good backups.
#[derive(Debug, Serialize)]
pub(super) struct ComponentPast {
    pub(super) component: String,
    pub(super) newest_good: Option<SessionId>,
    pub(super) age_seconds: Option<i64>,
    /// How old it may be.
    pub(super) max_age_seconds: i64,
    pub(super) too_old: bool,
    pub(super) recent: Recent,
}

/// A session that is not SUCCESS.
#[derive(Debug, Serialize)]
pub(super) struct Problem {
    pub(super) session_id: SessionId,
    pub(super) status: &'static str,
    pub(super) job: Option<String>,
    pub(super) start: DateTime<Utc>,
    pub(super) problem: String,
}

/// Memory holds what is shown, not the sessions.
#[derive(Debug, Default)]
pub(super) struct Past {
    pub(super) types: BTreeMap<String, usize>,
    /// By job.
    pub(super) jobs: BTreeMap<String, Recent>,
    /// By component, with its newest good session.
    components: BTreeMap<String, (Option<SessionId>, Recent)>,
    /// Oldest first.
    pub(super) problems: VecDeque<Problem>,
}

impl Past {
    /// The next one; the oldest comes first.
    pub(super) fn take(&mut self, session: &Session) {
        let entry = &session.entry;
        match (entry.state, &entry.manifest) {
            (SessionState::Committed, Some(manifest)) => {
                *self.types.entry(manifest.session_type.to_string()).or_default() += 1;
                self.take_run(manifest);
            }
            (SessionState::Dead, _) => {
                let job = entry.begin.as_ref().map(|begin| begin.job.clone());
                self.wrong(entry.id, "died", job, "its run did not come to an end".to_owned());
            }
            (SessionState::Unreadable, _) => {
                let why = entry.problem.clone().unwrap_or_default();
                self.wrong(entry.id, "unreadable", None, why);
            }
            _ => {}
        }
    }

    fn take_run(&mut self, manifest: &Manifest) {
        let status = match manifest.status {
            Status::Success => None,
            Status::Partial => Some("PARTIAL"),
            Status::Failed => Some("FAILED"),
        };
        if let Some(status) = status {
            let errors = manifest.components.iter().flat_map(|record| {
                let coverage = record.coverage.iter().filter(|left_out| left_out.missing);
                let missing = coverage.map(|left_out| format!("{}: {}", left_out.what, left_out.why));
                record.errors.iter().cloned().chain(missing).map(|text| format!("{}: {text}", record.name))
            });
            let said = errors.take(1).next().unwrap_or_else(|| "some of it is missing".to_owned());
            self.wrong(manifest.session, status, Some(manifest.job.clone()), said);
        }
        // The same backup for other readers says nothing of how long it took.
        if manifest.rewrapped_from.is_some() {
            return;
        }
        if manifest.status != Status::Failed {
            let took = (manifest.end - manifest.start).num_milliseconds() as f64 / 1000.0;
            self.jobs.entry(manifest.job.clone()).or_default().push(manifest.stored_bytes(), took);
        }
        for record in manifest.components.iter().filter(|record| record.is_good()) {
            let (newest, recent) = self.components.entry(record.name.clone()).or_default();
            *newest = Some(manifest.session);
            recent.push(record.stored_bytes(), record.duration_seconds);
        }
    }

    fn wrong(&mut self, session_id: SessionId, status: &'static str, job: Option<String>, problem: String) {
        let line: String = problem.split_whitespace().collect::<Vec<_>>().join(" ");
        let problem = line.chars().take(SAID).collect();
        self.problems.push_back(Problem { session_id, status, job, start: session_id.time(), problem });
        if self.problems.len() > PROBLEMS {
            self.problems.pop_front();
        }
    }

    /// Those that are watched.
    pub(super) fn components(&mut self, watched: &Watched, now: DateTime<Utc>) -> Vec<ComponentPast> {
        let mut found = Vec::new();
        for name in &watched.components {
            let (newest_good, recent) = self.components.remove(name).unwrap_or_default();
            let jobs = watched.jobs.iter().filter(|job| !job.optional && job.components.contains(name));
            let max_age: TimeDelta = jobs.map(|job| job.max_age).min().unwrap_or(watched.limits.max_age);
            let age = newest_good.map(|id| now - id.time());
            found.push(ComponentPast {
                component: name.clone(),
                newest_good,
                age_seconds: age.map(|age| age.num_seconds()),
                max_age_seconds: max_age.num_seconds(),
                too_old: age.is_some_and(|age| age > max_age),
                recent,
            });
        }
        found
    }
}

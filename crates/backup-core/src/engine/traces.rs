//! What the stores tell of past runs: when each job last ran, and what was last verified and drilled.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use super::{Engine, Level, union::each_group};
use crate::{
    policy::PastRun,
    repository::{SessionEntry, SessionState, Status},
    traits::Context,
    words::Result,
};

/// So many of a job's newest runs are told of.
const RUNS: usize = 400;

/// What the stores that answer tell of past runs.
#[derive(Clone, Debug)]
pub struct Traces {
    /// When the repository was made.
    pub since: DateTime<Utc>,
    /// The newest sessions of each job, oldest first. Done is SUCCESS and PARTIAL; FAILED and died is not.
    pub backups: BTreeMap<String, Vec<PastRun>>,
    /// Jobs that a run is at, wherever that is.
    pub running: BTreeSet<String>,
    /// When each component was last looked at so thoroughly, whatever was found.
    verified: BTreeMap<(String, Level), DateTime<Utc>>,
    /// When each component was last drilled, however that ended.
    drilled: BTreeMap<String, DateTime<Utc>>,
    closed: bool,
}

impl Traces {
    /// When the last verification of all these components was, by the one that waits longest; none when one never had any.
    /// A host that cannot read content leaves traces of checksums: these will do there.
    pub fn verified(&self, components: &[String], level: Level) -> Option<DateTime<Utc>> {
        let least = if self.closed { level.min(Level::Checksum) } else { level };
        let last = |component: &String| {
            let levels = [Level::Size, Level::Checksum, Level::Content].into_iter();
            levels
                .filter(|level| *level >= least)
                .filter_map(|level| self.verified.get(&(component.clone(), level)))
                .max()
                .copied()
        };
        components.iter().map(last).collect::<Option<Vec<_>>>()?.into_iter().min()
    }

    /// When the last drill of all these components was, by the one that waits longest; none when one never had any.
    pub fn drilled(&self, components: &[String]) -> Option<DateTime<Utc>> {
        let last = components.iter().map(|component| self.drilled.get(component).copied());
        last.collect::<Option<Vec<_>>>()?.into_iter().min()
    }

    fn take(&mut self, entries: &[(usize, SessionEntry)]) {
        let manifest = entries.iter().find_map(|(_, entry)| entry.manifest.as_ref());
        if let Some(manifest) = manifest {
            let done = manifest.status != Status::Failed;
            self.push(&manifest.job, PastRun { start: manifest.start, end: manifest.end, done });
            let evidence: Vec<_> = entries.iter().flat_map(|(_, entry)| &entry.evidence).collect();
            for record in manifest.components.iter().filter(|record| record.is_good()) {
                for (level, at) in evidence.iter().filter_map(|e| Some((e.level.parse().ok()?, e.at))) {
                    let newest = self.verified.entry((record.name.clone(), level)).or_insert(at);
                    *newest = at.max(*newest);
                }
            }
            for drill in entries.iter().flat_map(|(_, entry)| &entry.drills) {
                for component in &drill.components {
                    let newest = self.drilled.entry(component.name.clone()).or_insert(drill.at);
                    *newest = drill.at.max(*newest);
                }
            }
            return;
        }
        let claims = entries.iter().filter_map(|(_, entry)| Some((entry.begin.as_ref()?, entry.state)));
        // What the run's home says stands above what it left elsewhere.
        let Some((begin, state)) = claims.max_by_key(|(begin, _)| begin.home) else { return };
        match state {
            SessionState::Running => drop(self.running.insert(begin.job.clone())),
            SessionState::Dead => {
                self.push(&begin.job.clone(), PastRun { start: begin.begun, end: begin.begun, done: false });
            }
            SessionState::Committed | SessionState::Unreadable | SessionState::Purged => {}
        }
    }

    fn push(&mut self, job: &str, run: PastRun) {
        let runs = self.backups.entry(job.to_owned()).or_default();
        runs.push(run);
        if runs.len() > RUNS {
            runs.remove(0);
        }
    }
}

impl Engine {
    /// What the stores that answer tell of past runs. Reads the sessions one by one.
    ///
    /// # Errors
    /// When no store can be read.
    pub async fn traces(&self, cx: &Context) -> Result<Traces> {
        let reached = self.reach(cx).await?;
        let made = reached.sites.iter().map(|site| site.repository.identity().created).min();
        let mut traces = Traces {
            since: made.unwrap_or_else(|| cx.now()),
            backups: BTreeMap::new(),
            running: BTreeSet::new(),
            verified: BTreeMap::new(),
            drilled: BTreeMap::new(),
            closed: !self.recipients.is_empty() && !self.identities.are_given(),
        };
        let lost = each_group(cx, &reached, |entries, _| traces.take(&entries)).await?;
        for away in lost {
            tracing::warn!(
                store = away.store,
                error = away.problem,
                "could not be read: runs that only it shows are not known"
            );
        }
        Ok(traces)
    }
}

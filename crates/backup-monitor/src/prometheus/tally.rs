//! What is kept of the sessions, taken in one by one: it does not grow with their number.

use std::collections::BTreeMap;

use backup_core::{
    engine::{CopyState, Level, Session},
    policy::DrillVerdict,
    repository::{Manifest, SessionEntry, SessionState, Status},
    words::{ComponentRecord, Count},
};
use chrono::{DateTime, TimeDelta, Utc};

/// A session that begins further in the future is some clock's mistake, and stands for nothing; as `health` has it.
const CLOCK_SLACK: TimeDelta = TimeDelta::minutes(5);

/// All that was seen.
#[derive(Debug)]
pub(super) struct Tally {
    now: DateTime<Utc>,
    pub(super) jobs: BTreeMap<String, JobTally>,
    pub(super) components: BTreeMap<String, ComponentTally>,
    pub(super) stores: BTreeMap<String, StoreTally>,
}

/// What is known of a job.
#[derive(Debug, Default)]
pub(super) struct JobTally {
    /// When its newest good session began.
    pub(super) good: Option<DateTime<Utc>>,
    pub(super) last: Option<Last>,
    pub(super) running: bool,
}

/// A job's newest session.
#[derive(Debug)]
pub(super) struct Last {
    pub(super) begun: DateTime<Utc>,
    pub(super) status: &'static str,
    pub(super) duration: Option<f64>,
    pub(super) bytes: Option<u64>,
    pub(super) skew: Option<f64>,
}

impl Last {
    /// Died: its run did not come to an end.
    pub(super) const STATUSES: [&str; 4] = ["success", "partial", "failed", "died"];
}

/// What is known of a component.
#[derive(Debug, Default)]
pub(super) struct ComponentTally {
    pub(super) good: Option<GoodBackup>,
    /// When one of its backups last passed, every byte of it read.
    pub(super) verified: Option<DateTime<Utc>>,
    /// The newest verification, and whether it passed.
    pub(super) last_verification: Option<(DateTime<Utc>, bool)>,
    /// The newest drill that passed, and how many seconds the restore took.
    pub(super) drilled: Option<(DateTime<Utc>, f64)>,
    /// The newest drill, and whether it passed.
    pub(super) last_drill: Option<(DateTime<Utc>, bool)>,
}

/// A component's newest good backup.
#[derive(Debug)]
pub(super) struct GoodBackup {
    pub(super) begun: DateTime<Utc>,
    pub(super) stored_bytes: u64,
    pub(super) plain_bytes: u64,
    pub(super) duration: f64,
    /// What was counted in all of its source.
    pub(super) counts: BTreeMap<String, u64>,
}

/// What a store holds.
#[derive(Debug, Default)]
pub(super) struct StoreTally {
    success: usize,
    partial: usize,
    failed: usize,
    unreadable: usize,
    pub(super) bytes: u64,
}

impl StoreTally {
    pub(super) fn by_status(&self) -> [(&'static str, usize); 4] {
        [
            ("success", self.success),
            ("partial", self.partial),
            ("failed", self.failed),
            ("unreadable", self.unreadable),
        ]
    }
}

impl Tally {
    pub(super) fn new(now: DateTime<Utc>) -> Self {
        Self { now, jobs: BTreeMap::new(), components: BTreeMap::new(), stores: BTreeMap::new() }
    }

    /// Takes in one session; the oldest comes first.
    pub(super) fn take(&mut self, session: &Session, counts: impl Fn(&ComponentRecord) -> Vec<Count>) {
        self.take_copies(session);
        let entry = &session.entry;
        if entry.id.time() > self.now + CLOCK_SLACK {
            return;
        }
        let claimed = entry.begin.as_ref().map(|begin| begin.job.clone());
        match (entry.state, &entry.manifest, claimed) {
            (SessionState::Committed, Some(manifest), _) => {
                self.take_run(manifest);
                for record in manifest.components.iter().filter(|record| record.is_good()) {
                    self.take_component(entry, manifest, record, || counts(record));
                }
            }
            (SessionState::Running, _, Some(job)) => self.jobs.entry(job).or_default().running = true,
            (SessionState::Dead, _, Some(job)) if !entry.is_from_elsewhere() => {
                let begun = entry.id.time();
                let last = Last { begun, status: "died", duration: None, bytes: None, skew: None };
                self.jobs.entry(job).or_default().last = Some(last);
            }
            _ => {}
        }
    }

    fn take_copies(&mut self, session: &Session) {
        let manifest = session.entry.manifest.as_ref();
        for copy in &session.copies {
            let store = self.stores.entry(copy.store.clone()).or_default();
            match (copy.state, manifest) {
                (CopyState::Held, Some(manifest)) => {
                    store.bytes += manifest.stored_bytes();
                    match manifest.status {
                        Status::Success => store.success += 1,
                        Status::Partial => store.partial += 1,
                        Status::Failed => store.failed += 1,
                    }
                }
                (CopyState::Unreadable, _) => store.unreadable += 1,
                _ => {}
            }
        }
    }

    fn take_run(&mut self, manifest: &Manifest) {
        // The same backup for other readers is as old as it was, and no run.
        let begun = manifest.start;
        let job = self.jobs.entry(manifest.job.clone()).or_default();
        let status = match manifest.status {
            Status::Success => "success",
            Status::Partial => "partial",
            Status::Failed => "failed",
        };
        if manifest.status != Status::Failed {
            job.good = job.good.max(Some(begun));
        }
        if manifest.rewrapped_from.is_some() {
            return;
        }
        job.last = Some(Last {
            begun,
            status,
            duration: Some((manifest.end - manifest.start).num_milliseconds() as f64 / 1000.0),
            bytes: Some(manifest.stored_bytes()),
            skew: Some(manifest.skew_seconds),
        });
    }

    fn take_component(
        &mut self,
        entry: &SessionEntry,
        manifest: &Manifest,
        record: &ComponentRecord,
        counts: impl FnOnce() -> Vec<Count>,
    ) {
        let component = self.components.entry(record.name.clone()).or_default();
        if component.good.as_ref().is_none_or(|good| good.begun <= manifest.start) {
            let all = counts().into_iter().filter(|count| count.of.is_none());
            component.good = Some(GoodBackup {
                begun: manifest.start,
                stored_bytes: record.stored_bytes(),
                plain_bytes: record.artifacts.iter().map(|artifact| artifact.plain.size).sum(),
                duration: record.duration_seconds,
                counts: all.map(|count| (count.what, count.number)).collect(),
            });
        }
        for proof in &entry.evidence {
            let reads = proof.level.parse().is_ok_and(|level: Level| level >= Level::Checksum);
            if proof.passed && reads {
                component.verified = component.verified.max(Some(proof.at));
            }
            // Of two at one moment the one that failed counts.
            let newest = (proof.at, !proof.passed);
            if component.last_verification.is_none_or(|(at, passed)| (at, !passed) <= newest) {
                component.last_verification = Some((proof.at, proof.passed));
            }
        }
        let drills = entry.drills.iter().flat_map(|drill| drill.components.iter().map(|one| (drill.at, one)));
        for (at, drill) in drills.filter(|(_, drill)| drill.name == record.name) {
            let passed = drill.verdict == DrillVerdict::Passed;
            if component.last_drill.is_none_or(|(last, _)| last <= at) {
                component.last_drill = Some((at, passed));
            }
            if passed && component.drilled.is_none_or(|(last, _)| last <= at) {
                component.drilled = Some((at, drill.rto_seconds));
            }
        }
    }
}

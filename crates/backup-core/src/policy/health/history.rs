//! What the checks must know of all sessions, taken in one by one: it does not grow with their number.

use std::collections::{BTreeMap, VecDeque};

use chrono::{DateTime, Utc};

use crate::{
    policy::DrillVerdict,
    words::{Count, SessionId},
};

/// Sessions that the newest one is compared with.
pub(super) const WINDOW: usize = 10;
/// Parts of a component whose counts are compared.
const PARTS: usize = 200;
/// Warnings that are kept of a component's newest session.
const WARNINGS: usize = 20;
/// Sessions that are named where there are many.
const NAMED: usize = 3;

/// What a session says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionFacts {
    /// Which session.
    pub id: SessionId,
    /// What became of it.
    pub outcome: Outcome,
    /// Verifications of it.
    pub evidence: Vec<EvidenceFacts>,
    /// Drills of its components.
    pub drills: Vec<DrillFacts>,
}

/// A drill of one component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DrillFacts {
    /// Which component.
    pub component: String,
    /// When.
    pub at: DateTime<Utc>,
    /// How it came out.
    pub verdict: DrillVerdict,
    /// The measured recovery time in seconds.
    pub rto_seconds: u64,
    /// What failed, or why it was not run.
    pub problem: Option<String>,
}

/// What became of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It has a manifest.
    Ended {
        /// Its job.
        job: String,
        /// How it ended.
        status: RunStatus,
        /// The first thing that went wrong.
        problem: Option<String>,
        /// Its components.
        components: Vec<ComponentFacts>,
    },
    /// Its manifest cannot be read.
    Unreadable {
        /// Why.
        why: String,
    },
    /// A run is at it.
    Running {
        /// Its job, where the claim says it.
        job: Option<String>,
    },
    /// A run died at it.
    Dead {
        /// Its job, where the claim says it.
        job: Option<String>,
    },
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunStatus {
    /// All of it is good.
    Success,
    /// Some of it is good.
    Partial,
    /// None of it is.
    Failed,
}

/// What a session says of a component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComponentFacts {
    /// Its name.
    pub name: String,
    /// Whether it counts.
    pub good: bool,
    /// Its bytes in the store.
    pub stored_bytes: u64,
    /// Its bytes before compression.
    pub plain_bytes: u64,
    /// What was counted in its source.
    pub counts: Vec<Count>,
    /// What should be looked at.
    pub warnings: Vec<String>,
}

/// A verification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvidenceFacts {
    /// When.
    pub at: DateTime<Utc>,
    /// "size", "checksum", "content".
    pub level: String,
    /// Whether all was right.
    pub passed: bool,
}

impl EvidenceFacts {
    fn depth(&self) -> u8 {
        match self.level.as_str() {
            "content" => 3,
            "checksum" => 2,
            "size" => 1,
            _ => 0,
        }
    }
}

/// Sessions of a kind: how many, and the newest few.
#[derive(Clone, Debug, Default)]
pub(super) struct Several {
    pub(super) number: u64,
    pub(super) newest: VecDeque<(SessionId, String)>,
}

impl Several {
    fn push(&mut self, id: SessionId, why: String) {
        self.number += 1;
        self.newest.push_front((id, why));
        self.newest.truncate(NAMED);
    }

    /// "backup_1, backup_2 and 3 more".
    pub(super) fn names(&self) -> String {
        let mut text = self.newest.iter().map(|(id, _)| id.to_string()).collect::<Vec<_>>().join(", ");
        let more = self.number - self.newest.len() as u64;
        if more > 0 {
            text.push_str(&format!(" and {more} more"));
        }
        text
    }
}

/// A run that ended.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) id: SessionId,
    pub(super) status: RunStatus,
    pub(super) problem: Option<String>,
}

/// What is known of a job.
#[derive(Clone, Debug, Default)]
pub(super) struct JobPast {
    pub(super) newest_good: Option<SessionId>,
    pub(super) last: Option<Run>,
    /// The newest run that died.
    pub(super) dead: Option<SessionId>,
    /// The oldest run that is under way.
    pub(super) running: Option<SessionId>,
    /// Whether each of the last runs failed.
    pub(super) failed: VecDeque<bool>,
    /// Stored bytes of the newest good session.
    pub(super) stored_bytes: u64,
}

/// One good session of a component.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub(super) id: SessionId,
    pub(super) stored_bytes: u64,
    pub(super) plain_bytes: u64,
    /// By what is counted and where; "" for all of the source.
    pub(super) counts: BTreeMap<(String, String), u64>,
    /// Whether there were too many parts to keep all.
    pub(super) cut: bool,
}

/// What is known of a component.
#[derive(Clone, Debug, Default)]
pub(super) struct ComponentPast {
    /// Oldest first; the last one is the newest good session.
    pub(super) samples: VecDeque<Sample>,
    pub(super) first_good: Option<SessionId>,
    pub(super) verified: Option<(EvidenceFacts, SessionId)>,
    /// The last drill.
    pub(super) drilled: Option<(DrillFacts, SessionId)>,
    /// When the last one passed.
    pub(super) drill_passed: Option<DateTime<Utc>>,
    pub(super) warnings: Vec<String>,
    /// Warnings that were not kept.
    pub(super) more_warnings: usize,
}

/// All that was seen. Memory is bounded by the number of jobs and components that are watched.
#[derive(Clone, Debug)]
pub struct History {
    now: DateTime<Utc>,
    pub(super) jobs: BTreeMap<String, JobPast>,
    pub(super) components: BTreeMap<String, ComponentPast>,
    pub(super) sessions: u64,
    pub(super) unreadable: Several,
    pub(super) dead: Several,
    pub(super) future: Several,
    pub(super) damaged: Several,
}

impl History {
    /// Nothing yet; only these jobs and components will be remembered.
    pub fn new<'a>(
        now: DateTime<Utc>,
        jobs: impl IntoIterator<Item = &'a str>,
        components: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        Self {
            now,
            jobs: jobs.into_iter().map(|name| (name.to_owned(), JobPast::default())).collect(),
            components: components
                .into_iter()
                .map(|name| (name.to_owned(), ComponentPast::default()))
                .collect(),
            sessions: 0,
            unreadable: Several::default(),
            dead: Several::default(),
            future: Several::default(),
            damaged: Several::default(),
        }
    }

    /// Takes in one session. They must come oldest first.
    pub fn add(&mut self, session: SessionFacts) {
        self.sessions += 1;
        let id = session.id;
        if let Some(failed) = standing_failure(&session.evidence) {
            self.damaged.push(id, failed.level.clone());
        }
        if id.time() > self.now + super::sessions::CLOCK_SLACK {
            // Which one is wrong, its clock or ours, is not known: it stands for nothing.
            self.future.push(id, String::new());
            return;
        }
        match session.outcome {
            Outcome::Ended { job, status, problem, components } => {
                self.add_run(&job, Run { id, status, problem }, &components);
                for component in components.into_iter().filter(|component| component.good) {
                    self.add_component(id, component, &session.evidence, &session.drills);
                }
            }
            Outcome::Unreadable { why } => self.unreadable.push(id, why),
            Outcome::Running { job } => {
                if let Some(past) = job.and_then(|job| self.jobs.get_mut(&job)) {
                    past.running = past.running.or(Some(id));
                }
            }
            Outcome::Dead { job } => {
                if let Some(past) = job.as_ref().and_then(|job| self.jobs.get_mut(job)) {
                    past.dead = Some(id);
                }
                self.dead.push(id, job.unwrap_or_default());
            }
        }
    }

    fn add_run(&mut self, job: &str, run: Run, components: &[ComponentFacts]) {
        let Some(past) = self.jobs.get_mut(job) else { return };
        let failed = run.status == RunStatus::Failed;
        if !failed {
            past.newest_good = Some(run.id);
            past.stored_bytes = components.iter().map(|component| component.stored_bytes).sum();
        }
        past.failed.push_back(failed);
        if past.failed.len() > WINDOW {
            past.failed.pop_front();
        }
        past.last = Some(run);
    }

    fn add_component(
        &mut self,
        id: SessionId,
        facts: ComponentFacts,
        evidence: &[EvidenceFacts],
        drills: &[DrillFacts],
    ) {
        let Some(past) = self.components.get_mut(&facts.name) else { return };
        past.first_good = past.first_good.or(Some(id));
        past.more_warnings = facts.warnings.len().saturating_sub(WARNINGS);
        past.warnings = facts.warnings.into_iter().take(WARNINGS).collect();
        for drill in drills.iter().filter(|drill| drill.component == facts.name) {
            if past.drilled.as_ref().is_none_or(|(last, _)| last.at <= drill.at) {
                past.drilled = Some((drill.clone(), id));
            }
            if drill.verdict == DrillVerdict::Passed {
                past.drill_passed = past.drill_passed.max(Some(drill.at));
            }
        }
        let (counts, cut) = largest(facts.counts);
        let (stored_bytes, plain_bytes) = (facts.stored_bytes, facts.plain_bytes);
        past.samples.push_back(Sample { id, stored_bytes, plain_bytes, counts, cut });
        if past.samples.len() > WINDOW + 1 {
            past.samples.pop_front();
        }
        for proof in evidence.iter().filter(|proof| proof.passed && proof.depth() >= 2) {
            if past.verified.as_ref().is_none_or(|(best, _)| best.at <= proof.at) {
                past.verified = Some((proof.clone(), id));
            }
        }
    }
}

/// The newest failure that no later verification, at least as thorough, has taken back.
fn standing_failure(evidence: &[EvidenceFacts]) -> Option<&EvidenceFacts> {
    let taken_back = |failed: &&EvidenceFacts| {
        evidence.iter().any(|e| e.passed && e.at > failed.at && e.depth() >= failed.depth())
    };
    evidence.iter().filter(|e| !e.passed).filter(|failed| !taken_back(failed)).max_by_key(|e| e.at)
}

/// The counts of the whole source and the largest of its parts; true when some were left out.
fn largest(mut counts: Vec<Count>) -> (BTreeMap<(String, String), u64>, bool) {
    counts.sort_by(|a, b| {
        a.of.is_some().cmp(&b.of.is_some()).then(b.number.cmp(&a.number)).then_with(|| a.cmp(b))
    });
    let cut = counts.len() > PARTS;
    counts.truncate(PARTS);
    (counts.into_iter().map(|c| ((c.what, c.of.unwrap_or_default()), c.number)).collect(), cut)
}

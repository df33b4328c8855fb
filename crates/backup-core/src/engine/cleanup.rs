//! Retention, and what dead runs left behind.

use std::{collections::BTreeMap, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use super::{Away, Engine};
use crate::{
    policy::{Candidate, Content, DrillVerdict, RetentionPolicy, Stage, Verdict, decide, stage},
    repository::{Leftover, Removed, Repository, SessionEntry, SessionState},
    traits::Context,
    words::{Need, Result, SessionId, SessionType},
};

/// Uploads that nobody has gone on with for so long are dropped, wherever their writer was.
const STALE_UPLOAD: Duration = Duration::from_secs(2 * 86_400);

/// What becomes of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// It stays.
    Kept,
    /// Its removal is announced.
    Announced,
    /// The store does not let it go yet.
    Locked,
    /// It goes now.
    Removed,
}

/// What becomes of one session, and why.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CleanupDecision {
    /// The session.
    pub session: SessionId,
    /// The store that it is about: a session may go in one and stay in another.
    pub store: String,
    /// Its type, when it can be read.
    #[serde(rename = "type")]
    pub session_type: Option<SessionType>,
    /// Its job, when it can be read.
    pub job: Option<String>,
    /// Its bytes, without the unified archive.
    pub bytes: u64,
    /// What becomes of it.
    pub fate: Fate,
    /// Whether it is still there afterwards.
    pub kept: bool,
    /// When it goes, where that is known and later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_before: Option<DateTime<Utc>>,
    /// Why.
    pub reasons: Vec<String>,
}

impl CleanupDecision {
    /// It stays for now.
    fn postpone(&mut self, fate: Fate, not_before: Option<DateTime<Utc>>, why: String) {
        (self.fate, self.kept, self.not_before) = (fate, true, not_before);
        self.reasons.push(why);
    }
}

/// What a clean-up did, or would do.
#[derive(Clone, Debug, Default, Serialize)]
pub struct CleanupReport {
    /// True when nothing was done.
    pub dry_run: bool,
    /// Every session, oldest first.
    pub decisions: Vec<CleanupDecision>,
    /// What dead runs, failed attempts and unfinished removals left.
    pub leftovers: Vec<Leftover>,
    /// Uploads that were dropped.
    pub uploads: u64,
    /// What could not be removed.
    pub errors: Vec<String>,
    /// Stores that did not answer: nothing was done there.
    pub away: Vec<Away>,
}

impl Engine {
    /// Applies retention and clears what dead runs left behind, in this engine's only store.
    ///
    /// # Errors
    /// When the store cannot be read; what could not be removed is in the report.
    pub(super) async fn cleanup_here(&self, cx: &Context, dry_run: bool) -> Result<CleanupReport> {
        let repository = self.repository().await?;
        let sessions = repository.sessions(cx.now()).await?;
        let mut report = CleanupReport { dry_run, ..Default::default() };
        if dry_run {
            report.leftovers = repository.leftovers(&sessions, cx.now()).await?;
        } else {
            match self.clear_leftovers(cx, &repository, &sessions).await {
                Ok((leftovers, uploads)) => (report.leftovers, report.uploads) = (leftovers, uploads),
                Err(error) => report.errors.push(error.chain()),
            }
        }
        let (decisions, errors) = self.apply_retention(cx, &repository, &sessions, dry_run).await?;
        report.decisions = decisions;
        report.errors.extend(errors);
        if !dry_run {
            repository.forget_old_removals(&sessions, cx.now()).await?;
        }
        Ok(report)
    }

    /// Removes what retention no longer keeps, after a run: what went, and what could not be removed.
    pub(super) async fn retain(
        &self,
        cx: &Context,
        repository: &Repository,
    ) -> Result<(Vec<SessionId>, Vec<String>)> {
        let sessions = repository.sessions(cx.now()).await?;
        let (decisions, errors) = self.apply_retention(cx, repository, &sessions, false).await?;
        let gone = decisions.iter().filter(|decision| !decision.kept).map(|decision| decision.session);
        Ok((gone.collect(), errors))
    }

    /// Decides on every session and does it, unless `dry_run`; what could not be removed is said beside.
    async fn apply_retention(
        &self,
        cx: &Context,
        repository: &Repository,
        sessions: &[SessionEntry],
        dry_run: bool,
    ) -> Result<(Vec<CleanupDecision>, Vec<String>)> {
        let policy = self.retention_policy();
        let (mut decisions, mut errors) = (self.decide(cx.now(), &policy, sessions), Vec::new());
        for decision in &mut decisions {
            cx.check_cancelled("clean up")?;
            let Some(entry) = sessions.iter().find(|entry| entry.id == decision.session) else { continue };
            let announce = policy.rules(decision.job.as_deref().unwrap_or_default()).announce;
            let announce = announce.map_or(TimeDelta::zero(), |length| length.0);
            if let Err(error) = settle(repository, entry, decision, announce, cx.now(), dry_run).await {
                errors.push(format!("{}: {}", decision.session, error.chain()));
                decision.kept = true;
            }
        }
        Ok((decisions, errors))
    }

    /// Clears what dead runs, failed attempts and unfinished removals left behind.
    pub(super) async fn clear_leftovers(
        &self,
        cx: &Context,
        repository: &Repository,
        sessions: &[SessionEntry],
    ) -> Result<(Vec<Leftover>, u64)> {
        let uploads = self.store.clear_uploads(STALE_UPLOAD).await?;
        let mut cleared = Vec::new();
        for leftover in repository.leftovers(sessions, cx.now()).await? {
            cx.check_cancelled("clean up")?;
            if let Removed::Gone(_) = repository.clear(&leftover, cx.now()).await? {
                tracing::info!(session = %leftover.session, bytes = leftover.bytes, "cleared what was left behind");
                cleared.push(leftover);
            }
        }
        Ok((cleared, uploads))
    }

    pub(super) fn retention_policy(&self) -> RetentionPolicy {
        let jobs = self.jobs.iter().filter_map(|job| Some((job.name.clone(), job.retention?))).collect();
        RetentionPolicy { default: self.retention, jobs }
    }

    fn decide(
        &self,
        now: DateTime<Utc>,
        policy: &RetentionPolicy,
        sessions: &[SessionEntry],
    ) -> Vec<CleanupDecision> {
        let candidates: Vec<Candidate> = sessions.iter().filter_map(candidate).collect();
        let decisions = decide(now, self.time_zone, policy, &candidates);
        let by_id: BTreeMap<SessionId, &SessionEntry> =
            sessions.iter().map(|entry| (entry.id, entry)).collect();
        decisions
            .into_iter()
            .map(|decision| {
                let manifest = by_id.get(&decision.session).and_then(|entry| entry.manifest.as_ref());
                let kept = decision.verdict == Verdict::Kept;
                CleanupDecision {
                    session: decision.session,
                    store: self.store_name.clone(),
                    session_type: manifest.map(|manifest| manifest.session_type),
                    job: manifest.map(|manifest| manifest.job.clone()),
                    bytes: manifest.map_or(0, crate::repository::Manifest::stored_bytes),
                    fate: if kept { Fate::Kept } else { Fate::Removed },
                    kept,
                    not_before: None,
                    reasons: decision.reasons,
                }
            })
            .collect()
    }
}

/// Does what was decided on one session.
async fn settle(
    repository: &Repository,
    entry: &SessionEntry,
    decision: &mut CleanupDecision,
    announce: TimeDelta,
    now: DateTime<Utc>,
    dry_run: bool,
) -> Result<()> {
    if decision.fate == Fate::Kept {
        if entry.notice.is_some() && !dry_run {
            repository.take_back_notices(entry).await?;
        }
        return Ok(());
    }
    let why = decision.reasons.join("; ");
    match stage(now, announce, entry.notice) {
        Stage::Announce(due) => {
            decision.postpone(Fate::Announced, Some(due), announced(due));
            if dry_run { Ok(()) } else { repository.give_notice(entry.id, due, &why, now).await }
        }
        Stage::Wait(due) => {
            decision.postpone(Fate::Announced, Some(due), announced(due));
            Ok(())
        }
        Stage::Go => {
            let hold = repository.hold_of(entry).await?;
            if hold.holds() {
                decision.postpone(Fate::Locked, hold.until.filter(|_| !hold.legal), hold.to_string());
                return Ok(());
            }
            if dry_run {
                return Ok(());
            }
            if let Removed::Stays(why) = repository.remove(entry, &why, now).await? {
                (decision.fate, decision.kept, decision.reasons) = (Fate::Kept, true, vec![why]);
            }
            Ok(())
        }
    }
}

fn announced(due: DateTime<Utc>) -> String {
    format!("announced: it goes after {}, unless it is pinned", due.format("%Y-%m-%d %H:%M UTC"))
}

/// What retention must know of a session; none for those that are not its business.
pub(super) fn candidate(entry: &SessionEntry) -> Option<Candidate> {
    let content = match (entry.state, &entry.manifest) {
        (SessionState::Committed, Some(manifest)) => Content::Known {
            job: manifest.job.clone(),
            session_type: manifest.session_type,
            components: manifest.components.iter().map(|c| (c.name.clone(), c.is_good())).collect(),
        },
        (SessionState::Unreadable, _) => Content::Unknown { why: entry.problem.clone().unwrap_or_default() },
        _ => return None,
    };
    let passed = entry.evidence.iter().filter(|e| e.passed && e.level != "size");
    Some(Candidate {
        id: entry.id,
        content,
        needs: entry.manifest.as_ref().map(needed_sessions),
        pinned: entry.pinned,
        verified: passed.map(|e| e.at).max(),
        drilled: drilled(entry),
    })
}

fn drilled(entry: &SessionEntry) -> Vec<(String, DateTime<Utc>)> {
    let components =
        entry.drills.iter().flat_map(|drill| drill.components.iter().map(move |c| (c, drill.at)));
    let passed = components.filter(|(component, _)| component.verdict == DrillVerdict::Passed);
    passed.map(|(component, at)| (component.name.clone(), at)).collect()
}

fn needed_sessions(manifest: &crate::repository::Manifest) -> Vec<SessionId> {
    let artifacts = manifest.components.iter().flat_map(|component| &component.artifacts);
    let needs = artifacts.flat_map(|artifact| &artifact.needs);
    needs
        .filter_map(|need| match need {
            Need::Artifact { session, .. } => Some(*session),
            Need::Log { .. } => None,
        })
        .filter(|session| *session != manifest.session)
        .collect()
}

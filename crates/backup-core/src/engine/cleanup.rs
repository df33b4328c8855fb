//! Retention, and what dead runs left behind.

use std::{collections::BTreeMap, time::Duration};

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{Away, Engine};
use crate::{
    policy::{Candidate, Content, RetentionPolicy, Verdict, decide},
    repository::{Leftover, Removed, Repository, SessionEntry, SessionState},
    traits::Context,
    words::{Need, Result, SessionId, SessionType},
};

/// Uploads that nobody has gone on with for so long are dropped, wherever their writer was.
const STALE_UPLOAD: Duration = Duration::from_secs(2 * 86_400);

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
    /// Whether it stays.
    pub kept: bool,
    /// Why.
    pub reasons: Vec<String>,
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
        let mut report =
            CleanupReport { dry_run, decisions: self.decide(cx.now(), &sessions), ..Default::default() };
        if dry_run {
            report.leftovers = repository.leftovers(&sessions, cx.now()).await?;
            return Ok(report);
        }
        match self.clear_leftovers(cx, &repository, &sessions).await {
            Ok((leftovers, uploads)) => (report.leftovers, report.uploads) = (leftovers, uploads),
            Err(error) => report.errors.push(error.chain()),
        }
        for decision in report.decisions.iter_mut().filter(|decision| !decision.kept) {
            cx.check_cancelled("clean up")?;
            let Some(entry) = sessions.iter().find(|entry| entry.id == decision.session) else { continue };
            match repository.remove(entry, &decision.reasons.join("; "), cx.now()).await {
                Ok(Removed::Gone(_)) => {}
                Ok(Removed::Stays(why)) => (decision.kept, decision.reasons) = (true, vec![why]),
                Err(error) => report.errors.push(format!("{}: {}", decision.session, error.chain())),
            }
        }
        repository.forget_old_removals(&sessions, cx.now()).await?;
        Ok(report)
    }

    /// Removes what retention no longer keeps, after a run.
    pub(super) async fn retain(&self, cx: &Context, repository: &Repository) -> Result<Vec<SessionId>> {
        let sessions = repository.sessions(cx.now()).await?;
        let mut removed = Vec::new();
        for decision in self.decide(cx.now(), &sessions).into_iter().filter(|decision| !decision.kept) {
            let Some(entry) = sessions.iter().find(|entry| entry.id == decision.session) else { continue };
            if let Removed::Gone(_) = repository.remove(entry, &decision.reasons.join("; "), cx.now()).await?
            {
                removed.push(decision.session);
            }
        }
        Ok(removed)
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

    fn decide(&self, now: DateTime<Utc>, sessions: &[SessionEntry]) -> Vec<CleanupDecision> {
        let candidates: Vec<Candidate> = sessions.iter().filter_map(candidate).collect();
        let decisions = decide(now, self.time_zone, &self.retention_policy(), &candidates);
        let by_id: BTreeMap<SessionId, &SessionEntry> =
            sessions.iter().map(|entry| (entry.id, entry)).collect();
        decisions
            .into_iter()
            .map(|decision| {
                let manifest = by_id.get(&decision.session).and_then(|entry| entry.manifest.as_ref());
                CleanupDecision {
                    session: decision.session,
                    store: self.store_name.clone(),
                    session_type: manifest.map(|manifest| manifest.session_type),
                    job: manifest.map(|manifest| manifest.job.clone()),
                    bytes: manifest.map_or(0, crate::repository::Manifest::stored_bytes),
                    kept: decision.verdict == Verdict::Kept,
                    reasons: decision.reasons,
                }
            })
            .collect()
    }
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
    })
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

//! Filling a store with what it lacks, after each run and by `copy`.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use super::{
    Away, Copied, Engine,
    cleanup::candidate,
    copy::SessionCopy,
    stores::{Reached, Site},
    union::Views,
};
use crate::{
    policy::{Candidate, Verdict, decide},
    repository::{
        Leftover, LeftoverKind, Manifest, Missing, SessionEntry, SessionState, Standing, missing_copies,
        session_key,
    },
    traits::Context,
    words::{Error, ErrorKind, Result, SessionId},
};

/// How long a claim without bytes stays that its run or copy never made a session of.
const CLAIM_STAYS: TimeDelta = TimeDelta::days(400);
/// So many copies that failed are told of one by one.
const TOLD: usize = 3;

/// A session that was not copied, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NotCopied {
    /// Which.
    pub session: SessionId,
    /// Why.
    pub why: String,
}

/// What a store got.
#[derive(Clone, Debug, Serialize)]
pub struct CopyReport {
    /// The store.
    pub store: String,
    /// What was copied to it, newest first.
    pub copied: Vec<Copied>,
    /// What it should have got and did not.
    pub failed: Vec<NotCopied>,
    /// Whether the session that was asked for was there already.
    pub was_there: bool,
    /// What it does not get: it was removed there, would not be kept there, or is too large for it.
    pub left: Vec<NotCopied>,
    /// Stores that did not answer: what only they hold was not copied.
    pub away: Vec<Away>,
}

/// What became of the copies after a run.
#[derive(Clone, Debug, Default)]
pub(super) struct AfterRun {
    /// The other stores that hold the run's session.
    pub(super) stores: Vec<String>,
    /// Copies that are missing where they must be.
    pub(super) errors: Vec<String>,
    /// Copies that are missing elsewhere.
    pub(super) warnings: Vec<String>,
}

impl Engine {
    /// Copies a session (its id, or "latest") to the store called `to`, or without one every session that it lacks and would
    /// keep. Finishes copies that had died, and brings back objects that have gone from the session that was asked for. What failed is in the report.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is no such store or session; when the store does not answer.
    pub async fn copy(&self, cx: &Context, which: Option<&str>, to: &str) -> Result<CopyReport> {
        self.only(to)?;
        let session = match which {
            Some(which) => Some(self.find(cx, which).await?.entry),
            None => None,
        };
        if let Some(entry) = &session {
            entry.committed()?;
        }
        let mut reached = self.reach(cx).await?;
        let views = self.views(cx, &mut reached).await?;
        let Some(target) = reached.sites.iter().position(|site| site.name() == to) else {
            let why = reached.away.iter().find(|away| away.store == to).map(|away| away.problem.clone());
            return Err(Error::new(ErrorKind::Unreachable, "copy to the store", to)
                .detail(why.unwrap_or_default())
                .hint("`ha-backup check` says what is wrong with it; `ha-backup init` makes a new store one of the repository"));
        };
        let session = session.map(|entry| entry.id);
        let mut report = self.fill(cx, &reached, &views, target, session).await?;
        report.away = reached.away;
        Ok(report)
    }

    /// Copies what the store at `target` lacks, newest first, or one session of it.
    async fn fill(
        &self,
        cx: &Context,
        reached: &Reached,
        views: &Views,
        target: usize,
        only: Option<SessionId>,
    ) -> Result<CopyReport> {
        let to = &reached.sites[target];
        let mut report = CopyReport {
            store: to.name().to_owned(),
            copied: Vec::new(),
            failed: Vec::new(),
            was_there: false,
            left: Vec::new(),
            away: Vec::new(),
        };
        let missing = missing_copies(&views.holdings(), target);
        let kept = kept_there(cx.now(), to, views, target, &missing);
        let mut gone: Option<String> = None;
        let asked = |one: &&Missing| only.is_none_or(|id| id == one.session);
        for one in missing.iter().rev().filter(asked) {
            cx.check_cancelled("copy")?;
            let not = |why: &str| NotCopied { session: one.session, why: why.to_owned() };
            if one.taken {
                report.failed.push(not("another run's session has this id there"));
            } else if !kept.contains(&one.session) {
                report.left.push(not("the store's retention would not keep it"));
            } else if views.entry(one.from[0], one.session).is_some_and(|entry| !fits(entry, to)) {
                report.left.push(not("it has objects that are larger than the store takes"));
            } else if let Some(why) = &gone {
                report.failed.push(not(why));
            } else {
                match self.copy_one(cx, reached, views, target, one).await {
                    Ok(copied) => report.copied.push(copied),
                    Err(error) if error.kind() == ErrorKind::Cancelled => return Err(error),
                    Err(error) => {
                        report.failed.push(not(&error.chain()));
                        gone = keeps_failing(&error).then(|| format!("not tried: {}", error.chain()));
                    }
                }
            }
        }
        match only {
            Some(id) if !missing.iter().any(|one| one.session == id) => {
                self.mend(cx, reached, views, target, id, &mut report).await?;
            }
            Some(_) => {}
            None => self.tidy(cx, to, &views.0[target], &missing, &kept).await?,
        }
        Ok(report)
    }

    /// Looks at a session that is not missing: objects that have gone from it are brought back.
    async fn mend(
        &self,
        cx: &Context,
        reached: &Reached,
        views: &Views,
        target: usize,
        session: SessionId,
        report: &mut CopyReport,
    ) -> Result<()> {
        let there = views.entry(target, session);
        if let Some(why) = why_not_missing(there) {
            report.left.push(NotCopied { session, why });
            return Ok(());
        }
        let standing = |at: usize| views.entry(at, session).map(Standing::of);
        let same = |at: &usize| *at != target && standing(*at) == standing(target);
        let from: Vec<&Site> = (0..reached.sites.len()).filter(same).map(|at| &reached.sites[at]).collect();
        report.was_there = true;
        if from.is_empty() {
            return Ok(());
        }
        let to = &reached.sites[target];
        match (SessionCopy { session, from, to, archive: false }).mend(cx).await {
            Ok(copied) if copied.objects > 0 => report.copied.push(copied),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Cancelled => return Err(error),
            Err(error) => report.failed.push(NotCopied { session, why: error.chain() }),
        }
        Ok(())
    }

    async fn copy_one(
        &self,
        cx: &Context,
        reached: &Reached,
        views: &Views,
        target: usize,
        one: &Missing,
    ) -> Result<Copied> {
        let mut from: Vec<&Site> = one.from.iter().map(|at| &reached.sites[*at]).collect();
        from.sort_by_key(|site| site.settings.remote);
        let job = views.entry(one.from[0], one.session).and_then(|entry| entry.manifest.as_ref());
        let job = job.and_then(|manifest| self.job(&manifest.job).ok());
        let to = &reached.sites[target];
        let archive = !(to.settings.remote && job.is_some_and(|job| job.unified_local));
        SessionCopy { session: one.session, from, to, archive }.run(cx).await
    }

    /// Brings every store that answers up to date after a run, the run's session first.
    pub(super) async fn copy_after_run(
        &self,
        cx: &Context,
        reached: &mut Reached,
        session: SessionId,
    ) -> Result<AfterRun> {
        let mut after = AfterRun::default();
        if self.stores.len() == 1 {
            return Ok(after);
        }
        let views = self.views(cx, reached).await?;
        for target in 0..reached.sites.len() {
            let site = &reached.sites[target];
            let filled = self.fill(cx, reached, &views, target, None).await;
            let problems = match &filled {
                Ok(report) => {
                    let failed = report.failed.iter();
                    let told = failed.clone().take(TOLD);
                    let mut problems: Vec<String> = told
                        .map(|not| format!("store {}: no copy of {}: {}", site.name(), not.session, not.why))
                        .collect();
                    if failed.len() > TOLD {
                        problems.push(format!(
                            "store {}: {} more are missing",
                            site.name(),
                            failed.len() - TOLD
                        ));
                    }
                    problems
                }
                Err(error) if error.kind() == ErrorKind::Cancelled => return Err(Error::cancelled("copy")),
                Err(error) => vec![format!("store {}: {}", site.name(), error.chain())],
            };
            let here =
                views.entry(target, session).is_some_and(|entry| entry.state == SessionState::Committed);
            if here || filled.is_ok_and(|report| report.copied.iter().any(|copied| copied.session == session))
            {
                after.stores.push(site.name().to_owned());
            }
            if site.settings.required { &mut after.errors } else { &mut after.warnings }.extend(problems);
        }
        for away in &reached.away {
            let problem = format!("store {}: no copy of {session}: {}", away.store, away.problem);
            if away.required { &mut after.errors } else { &mut after.warnings }.push(problem);
        }
        Ok(after)
    }

    /// Removes halves of copies that nobody will finish, and claims that are very old.
    async fn tidy(
        &self,
        cx: &Context,
        to: &Site,
        entries: &[SessionEntry],
        missing: &[Missing],
        kept: &BTreeSet<SessionId>,
    ) -> Result<()> {
        let now = cx.now();
        let dead = entries.iter().filter(|e| e.state == SessionState::Dead && e.is_from_elsewhere());
        let (old, young): (Vec<_>, Vec<_>) = dead.partition(|entry| now - entry.id.time() > CLAIM_STAYS);
        let unwanted = |entry: &&&SessionEntry| {
            missing.iter().any(|one| one.session == entry.id && !one.taken) && !kept.contains(&entry.id)
        };
        let halves: Vec<SessionId> = young.iter().filter(unwanted).map(|entry| entry.id).collect();
        if old.is_empty() && halves.is_empty() {
            return Ok(());
        }
        let mut objects = to.repository.objects_by_session().await?;
        let old_ones = old.iter().map(|entry| entry.id);
        for session in halves.into_iter().chain(old_ones) {
            let Some(metas) = objects.remove(&session) else { continue };
            let bytes = metas.iter().map(|meta| meta.size).sum();
            let keys = metas.into_iter().map(|meta| meta.key).collect();
            let half = Leftover { session, kind: LeftoverKind::DeadRun, keys, bytes };
            to.repository.clear(&half, now).await?;
        }
        for entry in old.iter().filter(|entry| !entry.has("manifest.json")) {
            for file in &entry.files {
                to.repository.store.delete(&session_key(entry.id, file)?).await?;
            }
        }
        Ok(())
    }
}

/// Those of the missing sessions that the store's own retention would keep beside what it has.
fn kept_there(
    now: DateTime<Utc>,
    to: &Site,
    views: &Views,
    target: usize,
    missing: &[Missing],
) -> BTreeSet<SessionId> {
    let absent = missing.iter().filter(|one| !one.taken);
    let coming = absent.filter_map(|one| views.entry(one.from[0], one.session).and_then(candidate));
    kept(now, to, views.0[target].iter().filter_map(candidate), coming.collect())
}

/// Those of `coming` that the store would keep beside what it has.
pub(super) fn kept(
    now: DateTime<Utc>,
    to: &Site,
    there: impl Iterator<Item = Candidate>,
    coming: Vec<Candidate>,
) -> BTreeSet<SessionId> {
    let ids: BTreeSet<SessionId> = coming.iter().map(|candidate| candidate.id).collect();
    if ids.is_empty() {
        return ids;
    }
    // A verification speaks for its own store.
    let coming = coming.into_iter().map(|candidate| Candidate { verified: None, ..candidate });
    let all: Vec<Candidate> = there.filter(|candidate| !ids.contains(&candidate.id)).chain(coming).collect();
    let decisions = decide(now, to.engine.time_zone, &to.engine.retention_policy(), &all);
    let kept = decisions.into_iter().filter(|decision| decision.verdict == Verdict::Kept);
    kept.map(|decision| decision.session).filter(|session| ids.contains(session)).collect()
}

/// Whether the store takes objects as large as those of the session: it may be older than the store's place in the configuration.
pub(super) fn fits(entry: &SessionEntry, to: &Site) -> bool {
    let most = to.settings.store.limits().object_bytes;
    entry.manifest.iter().flat_map(Manifest::volumes).all(|volume| volume.stored.size <= most)
}

/// What failed for one session would fail for the next.
fn keeps_failing(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Unreachable | ErrorKind::TimedOut | ErrorKind::Denied | ErrorKind::NoSpace
    )
}

/// None when it is there.
fn why_not_missing(there: Option<&SessionEntry>) -> Option<String> {
    let why = match there.map(|entry| entry.state) {
        Some(SessionState::Committed) => return None,
        Some(SessionState::Purged) => "it was removed there, for ever",
        Some(_) => "what is there cannot be read: it is left alone",
        None => "no store that answers holds it",
    };
    Some(why.to_owned())
}

//! A run: plan, clean up, claim, open all, stream all, commit, unify, report, retain.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use futures::{FutureExt, future::join_all};
use serde::Serialize;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;

use super::{
    Engine, JobSettings, Report,
    capture::Capturing,
    commit::Committer,
    copy_all::AfterRun,
    keys::RunKeys,
    stores::{Reached, Site},
    union::Views,
    watched::Watched,
};
use crate::{
    pipeline::CodecPool,
    policy::{PastSession, choose_type},
    repository::{Claim, Manifest, Repository, SessionEntry, SessionState, Signer, Status, UnifiedRecord},
    traits::{Context, Event, Store},
    words::{ComponentRecord, Error, ErrorKind, Result, SessionId, SessionType},
};

/// So long a run with a larger id may take to see ours and to give up.
const RIVALS_GIVE_UP: Duration = Duration::from_secs(30);

/// What to back up.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BackupRequest {
    /// The job.
    pub job: String,
    /// These components only; empty for the job's.
    pub components: Vec<String>,
    /// This type, whatever the job and the date say.
    pub session_type: Option<SessionType>,
    /// How long to wait for another run of the job to end.
    pub wait: Duration,
}

impl BackupRequest {
    /// All of the job, its type, without waiting for another run.
    pub fn new(job: impl Into<String>) -> Self {
        Self { job: job.into(), components: Vec::new(), session_type: None, wait: Duration::ZERO }
    }
}

/// What a run would do.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BackupPlan {
    /// The job.
    pub job: String,
    /// The session's type.
    #[serde(rename = "type")]
    pub session_type: SessionType,
    /// Why it has that type.
    pub type_reason: String,
    /// The components.
    pub components: Vec<String>,
    /// Whether the unified archive is made.
    pub unified: bool,
    /// The store that it is written to.
    pub store: String,
    /// The stores that it is copied to.
    pub copies: Vec<String>,
    /// Another run of the job that is under way.
    pub running: Option<SessionId>,
}

/// What a run did.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BackupOutcome {
    /// Its report.
    pub report: Report,
    /// Problems after the commit (unified archive, retention): the session is good all the same.
    pub problems: Vec<String>,
}

/// A run's session after its commit.
struct Committed {
    manifest: Manifest,
    keys: RunKeys,
    claim: Claim,
}

impl Engine {
    /// What [`backup`](Self::backup) would do now; changes nothing.
    ///
    /// # Errors
    /// When the job or a component is not configured, or the store cannot be read.
    pub async fn plan_backup(&self, cx: &Context, request: &BackupRequest) -> Result<BackupPlan> {
        let mut reached = self.reach(cx).await?;
        let sessions = entries(self.views(cx, &mut reached).await?, &reached);
        self.plan_with(cx, request, &sessions, reached.sites[0].name())
    }

    fn plan_with(
        &self,
        cx: &Context,
        request: &BackupRequest,
        sessions: &[SessionEntry],
        store: &str,
    ) -> Result<BackupPlan> {
        let job = self.job(&request.job)?;
        let components = self.chosen_components(job, request)?;
        let (history, first) = history_of(&job.name, sessions);
        let fixed = request.session_type.or(job.session_type);
        let choice = choose_type(cx.now(), self.time_zone, &history, first, fixed);
        Ok(BackupPlan {
            job: job.name.clone(),
            session_type: choice.session_type,
            type_reason: choice.reason,
            unified: job.unified.unwrap_or(components.len() > 1),
            components,
            store: store.to_owned(),
            copies: self.stores.iter().map(|s| s.name.clone()).filter(|name| name != store).collect(),
            running: running_of(&job.name, sessions.iter(), &[]),
        })
    }

    fn chosen_components(&self, job: &JobSettings, request: &BackupRequest) -> Result<Vec<String>> {
        let all: Vec<String> = if job.components.is_empty() {
            self.component_names().map(str::to_owned).collect()
        } else {
            job.components.clone()
        };
        for name in &request.components {
            self.component(name)?;
            if !all.contains(name) {
                return Err(Error::new(ErrorKind::Config, "back up the component", name.clone())
                    .detail(format!("the job {} does not have it; it has {}", job.name, all.join(", "))));
            }
        }
        let chosen: Vec<String> = all
            .into_iter()
            .filter(|name| request.components.is_empty() || request.components.contains(name))
            .collect();
        if chosen.is_empty() {
            return Err(Error::new(ErrorKind::Config, "back up", job.name.clone())
                .detail("there is no component")
                .hint("add a [[component]] to the configuration"));
        }
        Ok(chosen)
    }

    /// Makes one recovery point, in the first store that can take it, and copies it to the others. A run in which some component
    /// failed is an outcome, not an error: look at the report's status.
    ///
    /// # Errors
    /// When nothing could be committed in any store, another run of the job is under way ([`ErrorKind::Locked`]), or the caller
    /// cancelled.
    pub async fn backup(&self, cx: &Context, request: &BackupRequest) -> Result<BackupOutcome> {
        let mut reached = self.reach(cx).await?;
        let views = self.wait_for_other_runs(cx, &mut reached, request).await?;
        let first = &reached.sites[0];
        let cleared = first.engine.clear_leftovers(cx, &first.repository, &views.0[0]).await;
        let sessions = entries(views, &reached);
        let plan = self.plan_with(cx, request, &sessions, first.name())?;
        let signer = self.signer().await?;
        let (mut moved, mut home, mut last) = (Vec::new(), 0, None);
        let committed = loop {
            let site = &reached.sites[home];
            match self.run_in(cx, &reached, home, &mut last, &plan, signer.as_ref()).await {
                Ok(committed) => break committed,
                Err(error)
                    if home + 1 == reached.sites.len()
                        || !is_the_stores(&error)
                        || cx.cancel.is_cancelled() =>
                {
                    return Err(error);
                }
                Err(error) => {
                    let next = reached.sites[home + 1].name();
                    let message = format!(
                        "store {} failed, the run begins again in {next}: {}",
                        site.name(),
                        error.chain()
                    );
                    cx.observer.event(Event::Warning { component: None, message: message.clone() });
                    moved.push(message);
                    home += 1;
                }
            }
        };
        let span = tracing::info_span!("session", session = %committed.manifest.session);
        let after = self.after_commit(cx, reached, home, &plan, committed, moved);
        let mut outcome = after.instrument(span).await;
        outcome.problems.extend(cleared.err().map(|error| format!("clean-up: {}", error.chain())));
        let report = &outcome.report;
        tracing::info!(session = %report.session_id, job = plan.job, status = ?report.status, "backup ended");
        Ok(outcome)
    }

    /// Captures and commits in one store, under a claim in all: of an id after `last`, which is that of this try then. Nothing of
    /// a run that failed stays.
    async fn run_in(
        &self,
        cx: &Context,
        reached: &Reached,
        home: usize,
        last: &mut Option<SessionId>,
        plan: &BackupPlan,
        signer: Option<&Signer>,
    ) -> Result<Committed> {
        let site = &reached.sites[home];
        let others = reached.repositories_but(home);
        let claim = site.repository.claim_with(&others, *last, &plan.job, cx.clock.clone()).await?;
        let session = claim.begin.session;
        *last = Some(session);
        let span = tracing::info_span!("session", %session);
        let run = async {
            cx.observer.event(Event::SessionBegun { session });
            self.look_for_rival(cx, reached, &claim).await?;
            let move_on = home + 1 < reached.sites.len();
            site.engine.run_claimed(cx, &site.repository, plan, &claim, signer, move_on).await
        };
        match run.instrument(span).await {
            Ok((manifest, keys)) => Ok(Committed { manifest, keys, claim }),
            Err(error) => {
                if let Err(left) = site.repository.abandon(session, cx.now()).await {
                    tracing::warn!(%session, error = %left.chain(), "could not clear our own run; the next one will");
                }
                claim.withdraw_elsewhere().await;
                Err(error)
            }
        }
    }

    /// `move_on` says that another store can take the run if this one fails.
    async fn run_claimed(
        &self,
        cx: &Context,
        repository: &Repository,
        plan: &BackupPlan,
        claim: &Claim,
        signer: Option<&Signer>,
        move_on: bool,
    ) -> Result<(Manifest, RunKeys)> {
        let committer = Committer::begin(self, repository, plan, claim).await?;
        let keys = RunKeys::new(&self.recipients);
        let stop = cx.cancel.child_token();
        let watched = Watched::new(&self.store_name, self.store.clone(), stop.clone());
        let records = if move_on {
            let (cx, store) = (cx.clone().with_cancel(stop), Arc::new(watched.clone()));
            self.capture_all(&cx, plan, store, claim.begin.session, &keys).await
        } else {
            self.capture_all(cx, plan, self.store.clone(), claim.begin.session, &keys).await
        };
        cx.check_cancelled("back up")?;
        if let Some(failure) = watched.failure() {
            return Err(failure);
        }
        cx.observer.event(Event::Phase { name: "commit".to_owned() });
        let manifest = committer.commit(cx, records?, signer).await?;
        Ok((manifest, keys))
    }

    /// From here on the session is good, whatever happens: what fails is said.
    async fn after_commit(
        &self,
        cx: &Context,
        mut reached: Reached,
        home: usize,
        plan: &BackupPlan,
        committed: Committed,
        moved: Vec<String>,
    ) -> BackupOutcome {
        let Committed { manifest, keys, claim } = committed;
        let site = reached.sites[home].clone();
        let mut problems = Vec::new();
        let unified = site.engine.unify(cx, &site.repository, plan, &manifest, &keys, &mut problems).await;
        problems.extend(site.engine.verify_run(cx, &site.repository, &manifest, &keys).await);
        let after = match self.copy_after_run(cx, &mut reached, manifest.session).await {
            Ok(after) => after,
            Err(error) => {
                AfterRun { errors: vec![format!("copies: {}", error.chain())], ..Default::default() }
            }
        };
        drop(claim);
        let mut report = Report::of(&manifest, unified.as_ref());
        report.stores = vec![site.name().to_owned()];
        report.stores.extend(after.stores.into_iter().filter(|store| store != site.name()));
        report.warnings.extend(moved.iter().chain(&problems).chain(&after.warnings).cloned());
        report.errors.extend(after.errors.iter().cloned());
        problems.extend(after.errors);
        let holds = |other: &&Site| report.stores.iter().any(|store| store == other.name());
        let holders: Vec<&Site> = reached.sites.iter().filter(holds).collect();
        for other in &holders {
            if let Err(error) = other.engine.write_report(&other.repository, &report).await {
                problems.push(format!("report in {}: {}", other.name(), error.chain()));
            }
        }
        cx.observer.event(Event::Phase { name: "retention".to_owned() });
        // Where the new session is missing, old ones stay.
        for other in holders {
            match other.engine.retain(cx, &other.repository).await {
                Ok((removed, errors)) => {
                    report.removed.extend(removed);
                    let said = |error: String| format!("retention in {}: {error}", other.name());
                    problems.extend(errors.into_iter().map(said));
                }
                Err(error) => problems.push(format!("retention in {}: {}", other.name(), error.chain())),
            }
        }
        report.removed.sort_unstable();
        report.removed.dedup();
        BackupOutcome { report, problems }
    }

    /// The unified archive, where it is wanted in this store.
    async fn unify(
        &self,
        cx: &Context,
        repository: &Repository,
        plan: &BackupPlan,
        manifest: &Manifest,
        keys: &RunKeys,
        problems: &mut Vec<String>,
    ) -> Option<UnifiedRecord> {
        let elsewhere = self.stores[0].remote && self.job(&plan.job).is_ok_and(|job| job.unified_local);
        if !plan.unified || manifest.status == Status::Failed || elsewhere {
            return None;
        }
        cx.observer.event(Event::Phase { name: "unified archive".to_owned() });
        let made = self.make_unified(cx, repository, manifest, keys).await;
        made.map_err(|error| problems.push(format!("unified archive: {}", error.chain()))).ok()
    }

    /// Opens every component, and only when all have answered streams them side by side.
    async fn capture_all(
        &self,
        cx: &Context,
        plan: &BackupPlan,
        store: Arc<dyn Store>,
        session: SessionId,
        run: &RunKeys,
    ) -> Result<Vec<ComponentRecord>> {
        let pool = CodecPool::new(self.compression, self.workers);
        let mut capturing = Vec::new();
        for name in &plan.components {
            capturing.push(Capturing::new(
                self,
                &store,
                name,
                self.component(name)?,
                (session, plan.session_type),
                &pool,
                run.seal.as_ref(),
            ));
        }
        let span = |name: &str| tracing::info_span!("component", component = %name);
        let opening: Vec<_> = capturing
            .iter()
            .zip(&plan.components)
            .map(|(capturing, name)| capturing.open(cx, 1).instrument(span(name)).boxed())
            .collect();
        let opened = join_all(opening).await;
        cx.check_cancelled("back up")?;
        let runs =
            capturing.into_iter().zip(opened).zip(&plan.components).map(|((capturing, opened), name)| {
                let cx = cx.clone();
                let run = capturing.run(cx, opened).instrument(span(name));
                // Whoever drops the run frees what the captures hold.
                AbortOnDropHandle::new(tokio::spawn(run))
            });
        let mut records = Vec::new();
        for ended in join_all(runs).await {
            records.push(
                ended.map_err(|e| Error::new(ErrorKind::Internal, "back up", plan.job.clone()).because(e))?,
            );
        }
        Ok(records)
    }

    async fn wait_for_other_runs(
        &self,
        cx: &Context,
        reached: &mut Reached,
        request: &BackupRequest,
    ) -> Result<Views> {
        let deadline = tokio::time::Instant::now() + request.wait;
        loop {
            let views = self.views(cx, reached).await?;
            let all = views.0.iter().flatten();
            let Some(running) = running_of(&request.job, all, &[]) else { return Ok(views) };
            if tokio::time::Instant::now() >= deadline {
                return Err(locked(&request.job, running));
            }
            cx.or_cancelled("wait for another run", async {
                tokio::time::sleep(Duration::from_secs(1)).await;
                Ok(())
            })
            .await?;
        }
    }

    /// Of runs that began at once at least the one whose claim came last sees the others now. Whoever sees a smaller id gives
    /// up. Whoever sees a larger one can't know whether that run had looked before our claim was there, for clocks differ: it
    /// waits until the other has given up, and gives up itself when the other goes on.
    async fn look_for_rival(&self, cx: &Context, reached: &Reached, claim: &Claim) -> Result<()> {
        let deadline = tokio::time::Instant::now() + RIVALS_GIVE_UP;
        let ours = [&[claim.begin.session], claim.given_up.as_slice()].concat();
        loop {
            let views = self.views(cx, &mut reached.clone()).await?;
            let Some(rival) = running_of(&claim.begin.job, views.0.iter().flatten(), &ours) else {
                return Ok(());
            };
            if rival < claim.begin.session || tokio::time::Instant::now() >= deadline {
                return Err(locked(&claim.begin.job, rival));
            }
            cx.or_cancelled("wait for a rival", async {
                tokio::time::sleep(Duration::from_secs(1)).await;
                Ok(())
            })
            .await?;
        }
    }
}

/// The sessions of all stores.
fn entries(views: Views, reached: &Reached) -> Vec<SessionEntry> {
    views.union(&reached.sites).into_iter().map(|session| session.entry).collect()
}

/// Whether another store might do better: all but what the run itself or another one is the cause of.
fn is_the_stores(error: &Error) -> bool {
    !matches!(
        error.kind(),
        ErrorKind::Cancelled | ErrorKind::Locked | ErrorKind::Conflict | ErrorKind::Internal
    )
}

fn locked(job: &str, running: SessionId) -> Error {
    Error::new(ErrorKind::Locked, "back up", job)
        .detail(format!("another run of the job is under way: {running}"))
        .hint("wait for it to end; a run that died elsewhere stops counting 40 minutes after its last sign of life")
}

/// A session of the job that a run is at, in whatever store it shows; not one whose home knows that it is over, or that a store
/// holds whole already.
fn running_of<'e>(
    job: &str,
    entries: impl Iterator<Item = &'e SessionEntry> + Clone,
    but: &[SessionId],
) -> Option<SessionId> {
    let is_over = |entry: &SessionEntry| match entry.state {
        SessionState::Running => false,
        SessionState::Dead => !entry.is_from_elsewhere(),
        SessionState::Committed | SessionState::Unreadable | SessionState::Purged => true,
    };
    let done = |id| entries.clone().any(|entry| entry.id == id && is_over(entry));
    entries
        .clone()
        .filter(|entry| entry.state == SessionState::Running && !but.contains(&entry.id))
        .filter(|entry| entry.begin.as_ref().is_some_and(|begin| begin.job == job))
        .map(|entry| entry.id)
        .filter(|id| !done(*id))
        .min()
}

/// What the job has done so far, and when it first ran, for the choice of a type.
fn history_of(job: &str, sessions: &[SessionEntry]) -> (Vec<PastSession>, Option<DateTime<Utc>>) {
    let past =
        sessions.iter().filter_map(|entry| entry.manifest.as_ref()).filter(|manifest| manifest.job == job);
    let history: Vec<PastSession> = past
        .map(|manifest| PastSession {
            start: manifest.start,
            session_type: manifest.session_type,
            good: manifest.status != Status::Failed,
        })
        .collect();
    let first = history.iter().map(|session| session.start).min();
    (history, first)
}

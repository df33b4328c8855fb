//! A run: plan, clean up, claim, open all, stream all, commit, unify, report, retain.

use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::{FutureExt, future::join_all};
use serde::Serialize;

use super::{Engine, JobSettings, Report, capture::Capturing, commit::Committer, keys::RunKeys};
use crate::{
    pipeline::CodecPool,
    policy::{PastSession, choose_type},
    repository::{Claim, Repository, SessionEntry, SessionState, Signer, Status},
    traits::{Context, Event},
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
    /// The store.
    pub store: String,
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

impl Engine {
    /// What [`backup`](Self::backup) would do now; changes nothing.
    ///
    /// # Errors
    /// When the job or a component is not configured, or the store cannot be read.
    pub async fn plan_backup(&self, cx: &Context, request: &BackupRequest) -> Result<BackupPlan> {
        let sessions = self.repository().await?.sessions(cx.now()).await?;
        self.plan_with(cx, request, &sessions)
    }

    fn plan_with(
        &self,
        cx: &Context,
        request: &BackupRequest,
        sessions: &[SessionEntry],
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
            store: self.store_name.clone(),
            running: running_of(&job.name, sessions, None),
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

    /// Makes one recovery point. A run in which some component failed is an outcome, not an error: look at the report's status.
    ///
    /// # Errors
    /// When nothing could be committed, another run of the job is under way ([`ErrorKind::Locked`]), or the caller cancelled.
    pub async fn backup(&self, cx: &Context, request: &BackupRequest) -> Result<BackupOutcome> {
        let repository = self.repository().await?;
        let sessions = self.wait_for_other_runs(cx, &repository, request).await?;
        let cleared = self.clear_leftovers(cx, &repository, &sessions).await;
        let plan = self.plan_with(cx, request, &sessions)?;
        let signer = self.signer().await?;
        let claim = repository.claim(&plan.job, cx.clock.clone()).await?;
        let session = claim.begin.session;
        cx.observer.event(Event::SessionBegun { session });
        let run = self.run_claimed(cx, &repository, &plan, &claim, signer).await;
        match run {
            Ok(mut outcome) => {
                outcome.problems.extend(cleared.err().map(|error| format!("clean-up: {}", error.chain())));
                Ok(outcome)
            }
            Err(error) => {
                if let Err(left) = repository.abandon(session, cx.now()).await {
                    tracing::warn!(%session, error = %left.chain(), "could not clear our own run; the next one will");
                }
                Err(error)
            }
        }
    }

    async fn run_claimed(
        &self,
        cx: &Context,
        repository: &Repository,
        plan: &BackupPlan,
        claim: &Claim,
        signer: Option<Signer>,
    ) -> Result<BackupOutcome> {
        self.look_for_rival(cx, repository, claim).await?;
        let committer = Committer::begin(self, repository, plan, claim).await?;
        let run = RunKeys::new(&self.recipients);
        let records = self.capture_all(cx, plan, claim.begin.session, &run).await?;
        cx.check_cancelled("back up")?;
        cx.observer.event(Event::Phase { name: "commit".to_owned() });
        let manifest = committer.commit(cx, records, signer.as_ref()).await?;
        let mut problems = Vec::new();
        // From here on the session is good, whatever happens: what fails is said.
        let unified = if plan.unified && manifest.status != Status::Failed {
            cx.observer.event(Event::Phase { name: "unified archive".to_owned() });
            let made = self.make_unified(cx, repository, &manifest, &run).await;
            made.map_err(|error| problems.push(format!("unified archive: {}", error.chain()))).ok()
        } else {
            None
        };
        problems.extend(self.verify_run(cx, repository, &manifest, &run).await);
        let mut report = Report::of(&manifest, unified.as_ref());
        report.warnings.extend(problems.iter().cloned());
        if let Err(error) = self.write_report(repository, &report).await {
            problems.push(format!("report: {}", error.chain()));
        }
        cx.observer.event(Event::Phase { name: "retention".to_owned() });
        match self.retain(cx, repository).await {
            Ok(removed) => report.removed = removed,
            Err(error) => problems.push(format!("retention: {}", error.chain())),
        }
        Ok(BackupOutcome { report, problems })
    }

    /// Opens every component, and only when all have answered streams them side by side.
    async fn capture_all(
        &self,
        cx: &Context,
        plan: &BackupPlan,
        session: SessionId,
        run: &RunKeys,
    ) -> Result<Vec<ComponentRecord>> {
        let pool = CodecPool::new(self.compression, self.workers);
        let mut capturing = Vec::new();
        for name in &plan.components {
            capturing.push(Capturing::new(
                self,
                name,
                self.component(name)?,
                session,
                plan.session_type,
                &pool,
                run.seal.as_ref(),
            ));
        }
        let opening: Vec<_> = capturing.iter().map(|capturing| capturing.open(cx, 1).boxed()).collect();
        let opened = join_all(opening).await;
        cx.check_cancelled("back up")?;
        let runs = capturing.into_iter().zip(opened).map(|(capturing, opened)| {
            let cx = cx.clone();
            tokio::spawn(capturing.run(cx, opened))
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
        repository: &Repository,
        request: &BackupRequest,
    ) -> Result<Vec<SessionEntry>> {
        let deadline = tokio::time::Instant::now() + request.wait;
        loop {
            let sessions = repository.sessions(cx.now()).await?;
            let Some(running) = running_of(&request.job, &sessions, None) else { return Ok(sessions) };
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
    async fn look_for_rival(&self, cx: &Context, repository: &Repository, claim: &Claim) -> Result<()> {
        let deadline = tokio::time::Instant::now() + RIVALS_GIVE_UP;
        loop {
            let sessions = repository.sessions(cx.now()).await?;
            let Some(rival) = running_of(&claim.begin.job, &sessions, Some(claim.begin.session)) else {
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

fn locked(job: &str, running: SessionId) -> Error {
    Error::new(ErrorKind::Locked, "back up", job)
        .detail(format!("another run of the job is under way: {running}"))
        .hint("wait for it to end; a run that died elsewhere stops counting 40 minutes after its last sign of life")
}

fn running_of(job: &str, sessions: &[SessionEntry], but: Option<SessionId>) -> Option<SessionId> {
    sessions
        .iter()
        .filter(|entry| entry.state == SessionState::Running && Some(entry.id) != but)
        .find(|entry| entry.begin.as_ref().is_some_and(|begin| begin.job == job))
        .map(|entry| entry.id)
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

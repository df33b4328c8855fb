//! `health`: the catalogue's facts, gathered for the checks.

use std::{future::Future, time::Duration};

use chrono::{DateTime, Utc};
use futures::StreamExt;
use serde::Serialize;

use super::Engine;
use crate::{
    policy::{
        ComponentFacts, EvidenceFacts, HealthCheck, HealthState, History, Outcome, RunStatus, Scope,
        SessionFacts, StoreFacts, Watched, WatchedJob, judge,
    },
    repository::{Manifest, Repository, SessionEntry, SessionState, Status},
    traits::Context,
    words::{ComponentRecord, Error, ErrorKind, Result},
};

/// How long the store may take to be opened, and for each session.
const STEP: Duration = Duration::from_secs(60);
/// How long the store may take to list all sessions.
const LISTING: Duration = Duration::from_secs(300);
/// As much is said of what went wrong in a run.
const PROBLEM: usize = 200;

/// What was looked at, and how it is.
#[derive(Debug, Serialize)]
pub struct HealthReport {
    /// When.
    pub at: DateTime<Utc>,
    /// The worst state of all checks.
    pub state: HealthState,
    /// Every check, in a fixed order.
    pub checks: Vec<HealthCheck>,
    /// Why the store could not be looked at; there is one check then, about the store.
    #[serde(skip)]
    pub unreachable: Option<Error>,
}

impl Engine {
    /// Looks at all sessions of the store, its space and its clock. Changes nothing; reaches no source.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`] only: a store that cannot be looked at is a finding.
    pub async fn health(&self, cx: &Context) -> Result<HealthReport> {
        let now = cx.now();
        match self.look(cx, now).await {
            Ok((stores, history)) => Ok(report(now, judge(now, &self.watched(), &stores, &history), None)),
            Err(error) if error.kind() == ErrorKind::Cancelled => Err(error),
            Err(error) => {
                let message = format!("nothing can be looked at: {}", error.chain());
                let check = HealthCheck::new(
                    Scope::Store,
                    &self.store_name,
                    "reachable",
                    HealthState::Critical,
                    &message,
                );
                let check = match error.advice() {
                    Some(hint) => check.hint(hint),
                    None => check,
                };
                Ok(report(now, vec![check], Some(error)))
            }
        }
    }

    fn watched(&self) -> Watched {
        let job = |job: &super::JobSettings| WatchedJob {
            name: job.name.clone(),
            components: if job.components.is_empty() {
                self.component_names().map(str::to_owned).collect()
            } else {
                job.components.clone()
            },
            max_age: job.max_age.unwrap_or(self.health.max_age),
            optional: job.optional,
        };
        Watched {
            limits: self.health.clone(),
            jobs: self.jobs.iter().map(job).collect(),
            components: self.component_names().map(str::to_owned).collect(),
        }
    }

    async fn look(&self, cx: &Context, now: DateTime<Utc>) -> Result<(Vec<StoreFacts>, History)> {
        let repository = self.bounded(cx, STEP, "open the repository", self.repository()).await?;
        let mut survey = self.bounded(cx, LISTING, "list the sessions", repository.survey(now)).await?;
        let jobs = self.jobs.iter().map(|job| job.name.as_str());
        let mut history = History::new(now, jobs, self.component_names());
        loop {
            let next = async { survey.sessions.next().await.transpose() };
            let Some(entry) = self.bounded(cx, STEP, "read the sessions", next).await? else { break };
            if let Some(facts) = self.session_facts(entry) {
                history.add(facts);
            }
        }
        let store = self.store_facts(cx, &repository, survey.newest_object).await?;
        Ok((vec![store], history))
    }

    async fn store_facts(
        &self,
        cx: &Context,
        repository: &Repository,
        newest_object: Option<DateTime<Utc>>,
    ) -> Result<StoreFacts> {
        let space = match self.store.space() {
            None => None,
            Some(space) => Some(match self.bounded(cx, STEP, "ask for the space", space.space()).await {
                Err(error) if error.kind() == ErrorKind::Cancelled => return Err(error),
                answer => answer.map_err(|error| error.chain()),
            }),
        };
        let repository = repository.identity().id.clone();
        Ok(StoreFacts { name: self.store_name.clone(), repository, space, newest_object })
    }

    /// A store that hangs is one that cannot be reached.
    async fn bounded<T>(
        &self,
        cx: &Context,
        limit: Duration,
        operation: &str,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        cx.or_cancelled("look at the health", async {
            tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
                Err(Error::new(ErrorKind::TimedOut, operation, format!("store {}", self.store_name))
                    .detail(format!("no answer in {} s", limit.as_secs())))
            })
        })
        .await
    }

    /// None for a session that was removed.
    fn session_facts(&self, entry: SessionEntry) -> Option<SessionFacts> {
        let job = entry.begin.as_ref().map(|begin| begin.job.clone());
        let outcome = match (entry.state, entry.manifest) {
            (SessionState::Purged, _) => return None,
            (SessionState::Committed, Some(manifest)) => self.ended(manifest),
            (SessionState::Running, _) => Outcome::Running { job },
            (SessionState::Dead, _) => Outcome::Dead { job },
            (SessionState::Unreadable | SessionState::Committed, _) => {
                Outcome::Unreadable { why: entry.problem.unwrap_or_default() }
            }
        };
        let proof =
            |e: crate::repository::Evidence| EvidenceFacts { at: e.at, level: e.level, passed: e.passed };
        Some(SessionFacts {
            id: entry.id,
            outcome,
            evidence: entry.evidence.into_iter().map(proof).collect(),
        })
    }

    fn ended(&self, manifest: Manifest) -> Outcome {
        let status = match manifest.status {
            Status::Success => RunStatus::Success,
            Status::Partial => RunStatus::Partial,
            Status::Failed => RunStatus::Failed,
        };
        let errors =
            manifest.components.iter().flat_map(|c| c.errors.iter().map(|e| format!("{}: {e}", c.name)));
        let problem = errors.take(1).next().map(|text| text.chars().take(PROBLEM).collect());
        let components = manifest.components.into_iter().map(|record| self.component_facts(record)).collect();
        Outcome::Ended { job: manifest.job, status, problem, components }
    }

    fn component_facts(&self, record: ComponentRecord) -> ComponentFacts {
        let counts = match self.component(&record.name) {
            Ok(component) if component.kind().name == record.kind.name => component.counts(&record),
            _ => Vec::new(),
        };
        ComponentFacts {
            good: record.is_good(),
            stored_bytes: record.stored_bytes(),
            plain_bytes: record.artifacts.iter().map(|artifact| artifact.plain.size).sum(),
            counts,
            warnings: record.warnings,
            name: record.name,
        }
    }
}

fn report(at: DateTime<Utc>, checks: Vec<HealthCheck>, unreachable: Option<Error>) -> HealthReport {
    let state = checks.iter().map(|check| check.state).max().unwrap_or(HealthState::Unknown);
    HealthReport { at, state, checks, unreachable }
}

//! `health`: the catalogue's facts, gathered for the checks.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    time::Duration,
};

use chrono::{DateTime, Utc};
use futures::StreamExt;
use serde::Serialize;

use super::{
    Away, Engine, Session,
    cleanup::candidate,
    copy_all::{fits, kept},
    stores::Site,
    union::{merge, side_by_side},
};
use crate::{
    policy::{
        AwayFacts, Candidate, ComponentFacts, CopyFacts, DrillFacts, EvidenceFacts, HealthCheck, HealthState,
        History, Outcome, RunStatus, Scope, SessionFacts, StoreFacts, Watched, WatchedJob, judge,
    },
    repository::{Holdings, Manifest, SessionEntry, SessionState, Standing, Status, missing_copies},
    traits::Context,
    words::{ComponentRecord, Count, Error, ErrorKind, Result, SessionId},
};

/// How long the stores may take to be opened.
const OPENING: Duration = Duration::from_secs(60);
/// How long a store may take for each session.
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
    /// What the stores that answered say of themselves.
    #[serde(skip)]
    pub stores: Vec<StoreFacts>,
    /// The stores that did not.
    #[serde(skip)]
    pub away: Vec<AwayFacts>,
}

/// What was seen of all stores.
struct Looked {
    stores: Vec<StoreFacts>,
    away: Vec<AwayFacts>,
    history: History,
}

/// Which store holds what, and what retention must know of it: a line for each session, where there are several stores.
struct CopyBooks {
    holdings: Vec<Holdings>,
    candidates: Vec<BTreeMap<SessionId, Candidate>>,
    /// Copies that are not missing: they are under way, or the store cannot take them.
    excused: Vec<BTreeSet<SessionId>>,
}

impl CopyBooks {
    fn new(stores: usize) -> Self {
        Self {
            holdings: vec![Holdings::new(); stores],
            candidates: vec![BTreeMap::new(); stores],
            excused: vec![BTreeSet::new(); stores],
        }
    }

    fn enter(&mut self, entries: &[(usize, SessionEntry)], sites: &[Site]) {
        if self.holdings.len() == 1 {
            return;
        }
        for (at, entry) in entries {
            self.holdings[*at].insert(entry.id, Standing::of(entry));
            self.candidates[*at].extend(candidate(entry).map(|candidate| (entry.id, candidate)));
            if entry.state == SessionState::Running {
                self.excused[*at].insert(entry.id);
            }
            for (excused, site) in self.excused.iter_mut().zip(sites) {
                if !fits(entry, site) {
                    excused.insert(entry.id);
                }
            }
        }
    }

    /// What the store at `target` lacks; none where there is only one.
    fn facts(&self, now: DateTime<Utc>, sites: &[Site], target: usize) -> Option<CopyFacts> {
        if self.holdings.len() == 1 {
            return None;
        }
        let missing = missing_copies(&self.holdings, target);
        let coming = missing.iter().filter(|one| !self.excused[target].contains(&one.session));
        let coming = coming.filter_map(|one| self.candidates[one.from[0]].get(&one.session)).cloned();
        let there = self.candidates[target].values().cloned();
        let kept = kept(now, &sites[target], there, coming.collect());
        let held = self.holdings[target].values().filter(|standing| matches!(standing, Standing::Held(_)));
        Some(CopyFacts {
            required: sites[target].settings.required,
            held: held.count(),
            missing: kept.into_iter().collect(),
        })
    }
}

impl Engine {
    /// Looks at all sessions of the stores, their space and their clocks. Changes nothing; reaches no source.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`] only: a store that cannot be looked at is a finding.
    pub async fn health(&self, cx: &Context) -> Result<HealthReport> {
        self.health_with(cx, |_| {}).await
    }

    /// As [`health`](Self::health); `each` gets every session that is looked at, oldest first, those that were removed included.
    /// What it got says nothing when the report has an [`unreachable`](HealthReport::unreachable).
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`] only: a store that cannot be looked at is a finding.
    pub async fn health_with(
        &self,
        cx: &Context,
        mut each: impl FnMut(&Session) + Send,
    ) -> Result<HealthReport> {
        let now = cx.now();
        match self.look(cx, now, &mut each).await {
            Ok(Looked { stores, away, history }) => {
                let checks = judge(now, &self.watched(), &stores, &away, &history);
                Ok(HealthReport { stores, away, ..report(now, checks, None) })
            }
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

    /// What `health` looks at, and from where on it finds something wrong.
    pub fn watched(&self) -> Watched {
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

    /// All sessions once, of all stores side by side: memory does not grow with their number, but for what says which copies
    /// are missing.
    async fn look(
        &self,
        cx: &Context,
        now: DateTime<Utc>,
        each: &mut (dyn FnMut(&Session) + Send),
    ) -> Result<Looked> {
        let mut reached = self.bounded(cx, OPENING, "open the repository", self.reach(cx)).await?;
        let repositories: Vec<_> = reached.sites.iter().map(|site| site.repository.clone()).collect();
        let mut listed = Vec::new();
        for (site, repository) in std::mem::take(&mut reached.sites).into_iter().zip(&repositories) {
            match self.bounded(cx, LISTING, "list the sessions", repository.survey(now)).await {
                Ok(survey) => {
                    listed.push(survey);
                    reached.sites.push(site);
                }
                Err(error) if self.stores.len() == 1 || error.kind() == ErrorKind::Cancelled => {
                    return Err(error);
                }
                Err(error) => reached.away.push(Away::new(&site.settings, &error)),
            }
        }
        let sites = &reached.sites;
        let newest: Vec<_> = listed.iter().map(|survey| survey.newest_object).collect();
        let mut sessions = side_by_side(listed.into_iter().map(|survey| survey.sessions).collect());
        let jobs = self.jobs.iter().map(|job| job.name.as_str());
        let mut history = History::new(now, jobs, self.component_names());
        let mut copies = CopyBooks::new(sites.len());
        let mut failed: BTreeMap<usize, Error> = BTreeMap::new();
        loop {
            let next = async { Ok(sessions.next().await) };
            let entries = match self.bounded(cx, STEP, "read the sessions", next).await? {
                None => break,
                Some(Ok(entries)) => entries,
                Some(Err((_, error))) if self.stores.len() == 1 => return Err(error),
                Some(Err((at, error))) => {
                    failed.insert(at, error);
                    continue;
                }
            };
            copies.enter(&entries, sites);
            let Some(mut session) = merge(entries, sites) else { continue };
            session.copies.retain(|copy| !failed.keys().any(|at| sites[*at].name() == copy.store));
            each(&session);
            if let Some(facts) = self.session_facts(session.entry) {
                history.add(facts);
            }
        }
        let mut stores = Vec::new();
        for (at, site) in sites.iter().enumerate() {
            match failed.remove(&at) {
                Some(error) => reached.away.push(Away::new(&site.settings, &error)),
                None => {
                    stores.push(self.store_facts(cx, site, newest[at], copies.facts(now, sites, at)).await?)
                }
            }
        }
        let away = reached.away.into_iter();
        let away = away.map(|a| AwayFacts { name: a.store, required: a.required, why: a.problem }).collect();
        Ok(Looked { stores, away, history })
    }

    async fn store_facts(
        &self,
        cx: &Context,
        site: &Site,
        newest_object: Option<DateTime<Utc>>,
        copies: Option<CopyFacts>,
    ) -> Result<StoreFacts> {
        let space = match site.settings.store.space() {
            None => None,
            Some(space) => Some(match self.bounded(cx, STEP, "ask for the space", space.space()).await {
                Err(error) if error.kind() == ErrorKind::Cancelled => return Err(error),
                answer => answer.map_err(|error| error.chain()),
            }),
        };
        let repository = site.repository.identity().id.clone();
        Ok(StoreFacts { name: site.name().to_owned(), repository, space, copies, newest_object })
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
            drills: entry.drills.into_iter().flat_map(drill_facts).collect(),
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

    /// What a component counted in its source; none where the component is not of that kind any more, or not there.
    pub fn counts(&self, record: &ComponentRecord) -> Vec<Count> {
        match self.component(&record.name) {
            Ok(component) if component.kind().name == record.kind.name => component.counts(record),
            _ => Vec::new(),
        }
    }

    fn component_facts(&self, record: ComponentRecord) -> ComponentFacts {
        let counts = self.counts(&record);
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

fn drill_facts(drill: crate::repository::DrillRecord) -> impl Iterator<Item = DrillFacts> {
    drill.components.into_iter().map(move |component| DrillFacts {
        component: component.name,
        at: drill.at,
        verdict: component.verdict,
        rto_seconds: component.rto_seconds.ceil() as u64,
        problem: component.problem.map(|text| text.chars().take(PROBLEM).collect()),
    })
}

fn report(at: DateTime<Utc>, checks: Vec<HealthCheck>, unreachable: Option<Error>) -> HealthReport {
    let state = checks.iter().map(|check| check.state).max().unwrap_or(HealthState::Unknown);
    HealthReport { at, state, checks, unreachable, stores: Vec::new(), away: Vec::new() }
}

//! A run's claim on its session id, and the lease that shows it alive.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use futures::future::join_all;
use serde::{Deserialize, Serialize};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    Manifest, ProcessIdentity, Repository,
    identity::random_id,
    layout::session_key,
    objects::{create_json, create_own_json, read_json},
};
use crate::{
    traits::{Clock, Created},
    words::{Error, ErrorKind, Result, SessionId},
};

/// How long a lease lasts without being renewed.
const LEASE: TimeDelta = TimeDelta::minutes(10);
/// How often it is renewed.
const RENEW: Duration = Duration::from_secs(180);
/// How long past its deadline a claim still counts: clocks differ, and a paused run may wake.
const GRACE: TimeDelta = TimeDelta::minutes(30);
/// How many seconds after its start a run may look for a free id.
const TRIES: usize = 120;

/// `begin.json`: who claimed the session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begin {
    /// The repository's id.
    pub repository: String,
    /// The session.
    pub session: SessionId,
    /// The job.
    pub job: String,
    /// Random; tells two claims apart.
    pub nonce: String,
    /// Whether the run writes to this store first.
    pub home: bool,
    /// The process.
    #[serde(flatten)]
    pub process: ProcessIdentity,
    /// When it began.
    pub begun: DateTime<Utc>,
    /// Until when the claim counts, if no lease says more.
    pub deadline: DateTime<Utc>,
}

/// How a try to claim an id ended.
enum Stake {
    /// It is ours, here and in these.
    Ours(Vec<Repository>),
    /// Another run has it in this store.
    TakenHere,
    /// Another run has it in another store; nothing of ours stays.
    TakenElsewhere,
}

#[derive(Debug, Serialize, Deserialize)]
struct Lease {
    nonce: String,
    deadline: DateTime<Utc>,
}

impl Begin {
    /// What stands for the claim of a committed session in a store that it is copied to, where the run itself left none.
    pub(crate) fn of_copy(manifest: &Manifest, now: DateTime<Utc>) -> Self {
        Self {
            repository: manifest.repository.clone(),
            session: manifest.session,
            job: manifest.job.clone(),
            nonce: manifest.nonce.clone(),
            home: false,
            process: ProcessIdentity::current(),
            begun: manifest.start,
            deadline: now + LEASE,
        }
    }

    /// True when the claim does not count any more; `deadline` is the newest that a lease gave.
    pub fn is_dead(&self, deadline: Option<DateTime<Utc>>, now: DateTime<Utc>) -> bool {
        self.process.is_gone() || now > deadline.unwrap_or(self.deadline).max(self.deadline) + GRACE
    }
}

/// A claim that is ours; renewed until it is dropped.
#[derive(Debug)]
pub struct Claim {
    /// What was claimed.
    pub begin: Begin,
    /// Ids that were claimed before and taken back, because another run has them in some store. Where a store lets nothing go,
    /// they still look like ours.
    pub(crate) given_up: Vec<SessionId>,
    /// The other stores that have it.
    elsewhere: Vec<Repository>,
    _renewal: DropGuard,
}

impl Claim {
    /// Takes the claim back in the stores that are not its home: nothing of the session was written there.
    pub(crate) async fn withdraw_elsewhere(&self) {
        withdraw(&self.elsewhere, self.begin.session).await;
    }
}

/// Takes back claims that are ours and that nothing was written under.
async fn withdraw(repositories: &[Repository], session: SessionId) {
    let Ok(key) = session_key(session, "begin.json") else { return };
    for repository in repositories {
        if let Err(error) = repository.store.delete(&key).await {
            tracing::warn!(%session, error = %error.chain(), "could not take the claim back; it does no harm");
        }
    }
}

/// What stands for the job in the claim of a copy: no job's name has a space.
pub(crate) fn rewrap_job(session: SessionId) -> String {
    format!("rewrap {session}")
}

impl Repository {
    /// Claims the first free session id from `now` on, and keeps the claim alive.
    ///
    /// # Errors
    /// When the store refuses, or two minutes of ids are taken.
    pub async fn claim(&self, job: &str, clock: Arc<dyn Clock>) -> Result<Claim> {
        self.claim_with(&[], None, job, clock).await
    }

    /// Claims, in this store as the run's home and in `others`, the first id from `now` on, and after `last`, that is free in all
    /// of them. One that does not answer is passed over.
    ///
    /// # Errors
    /// As [`claim`](Self::claim).
    pub(crate) async fn claim_with(
        &self,
        others: &[Repository],
        last: Option<SessionId>,
        job: &str,
        clock: Arc<dyn Clock>,
    ) -> Result<Claim> {
        let now = SessionId::at(clock.now());
        let first = last.map_or(now, |last| now.max(last.next()));
        self.claim_from(others, first, job, clock).await
    }

    /// Claims the first free session id after `session`, for a copy of it: no job's runs are kept from running by that.
    ///
    /// # Errors
    /// As [`claim`](Self::claim).
    pub(crate) async fn claim_beside(
        &self,
        others: &[Repository],
        session: SessionId,
        clock: Arc<dyn Clock>,
    ) -> Result<Claim> {
        self.claim_from(others, session.next(), &rewrap_job(session), clock).await
    }

    async fn claim_from(
        &self,
        others: &[Repository],
        first: SessionId,
        job: &str,
        clock: Arc<dyn Clock>,
    ) -> Result<Claim> {
        let now = clock.now();
        let (mut session, mut given_up) = (first, Vec::new());
        for _ in 0..TRIES {
            let begin = Begin {
                repository: self.identity().id.clone(),
                session,
                job: job.to_owned(),
                nonce: random_id(),
                home: true,
                process: ProcessIdentity::current(),
                begun: now,
                deadline: now + LEASE,
            };
            match self.stake(others, &begin).await? {
                Stake::Ours(elsewhere) => {
                    let stop = CancellationToken::new();
                    tokio::spawn(self.clone().renew(begin.clone(), clock, stop.clone()));
                    return Ok(Claim { begin, given_up, elsewhere, _renewal: stop.drop_guard() });
                }
                Stake::TakenHere => session = session.next(),
                // Two runs that met may meet again: each goes on by a number of seconds of its own.
                Stake::TakenElsewhere => {
                    given_up.push(session);
                    (0..1 + begin.nonce.as_bytes()[0] % 4).for_each(|_| session = session.next());
                }
            }
        }
        Err(Error::new(ErrorKind::Conflict, "claim a session", session.to_string())
            .detail("every id of two minutes is taken")
            .hint("is the clock right, and does something start backups in a loop?"))
    }

    /// Claims one id in all stores, or in none.
    async fn stake(&self, others: &[Repository], begin: &Begin) -> Result<Stake> {
        let key = session_key(begin.session, "begin.json")?;
        if create_json(&self.store, &key, begin).await? == Created::Exists {
            return Ok(Stake::TakenHere);
        }
        let there = Begin { home: false, ..begin.clone() };
        let creating = others.iter().map(|other| create_json(&other.store, &key, &there));
        let (mut staked, mut taken) = (Vec::new(), false);
        for (other, created) in others.iter().zip(join_all(creating).await) {
            match created {
                Ok(Created::Made(_)) => staked.push(other.clone()),
                Ok(Created::Exists) => taken = true,
                Err(error) => {
                    tracing::warn!(session = %begin.session, error = %error.chain(), "could not claim in another store");
                }
            }
        }
        if !taken {
            return Ok(Stake::Ours(staked));
        }
        staked.push(self.clone());
        withdraw(&staked, begin.session).await;
        Ok(Stake::TakenElsewhere)
    }

    async fn renew(self, begin: Begin, clock: Arc<dyn Clock>, stop: CancellationToken) {
        for number in 1_u32.. {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(RENEW) => {}
            }
            let lease = Lease { nonce: begin.nonce.clone(), deadline: clock.now() + LEASE };
            let written = match session_key(begin.session, &format!("lease-{number:04}.json")) {
                Ok(key) => create_own_json(&self.store, &key, &lease).await,
                Err(error) => Err(error),
            };
            if let Err(error) = written {
                tracing::warn!(session = %begin.session, error = %error.chain(), "could not renew the claim");
            }
        }
    }

    /// Until when the newest lease among a session's files lets its claim count.
    pub(crate) async fn newest_deadline(
        &self,
        session: SessionId,
        newest_lease: &str,
    ) -> Option<DateTime<Utc>> {
        let key = session_key(session, newest_lease).ok()?;
        read_json::<Lease>(&self.store, &key).await.ok().map(|lease| lease.deadline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(process: ProcessIdentity, now: DateTime<Utc>) -> Begin {
        Begin {
            repository: String::new(),
            session: SessionId::at(now),
            job: "full".into(),
            nonce: random_id(),
            home: true,
            process,
            begun: now,
            deadline: now + LEASE,
        }
    }

    #[test]
    fn a_claim_dies_with_its_process_at_once_and_elsewhere_with_its_deadline() {
        let now = Utc::now();
        let gone = ProcessIdentity { pid: u32::MAX, ..ProcessIdentity::current() };
        assert!(begin(gone.clone(), now).is_dead(None, now));
        assert!(!begin(ProcessIdentity::current(), now).is_dead(None, now));
        let elsewhere = begin(ProcessIdentity { host: "other".into(), ..gone }, now);
        assert!(!elsewhere.is_dead(None, now + LEASE + GRACE));
        let later = now + LEASE + GRACE + TimeDelta::seconds(1);
        assert!(elsewhere.is_dead(None, later));
        assert!(!elsewhere.is_dead(Some(now + LEASE * 2), later));
    }
}

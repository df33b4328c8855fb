//! Keeping a session by hand.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{Away, Engine, stores::Site};
use crate::{
    repository::{Pin, ProcessIdentity, SessionEntry, Unpinned},
    traits::Context,
    words::{Error, ErrorKind, Result, SessionId},
};

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PinChange {
    /// A pin.
    Pinned,
    /// The end of a pin.
    Unpinned,
    /// The end of a pin, where there was none.
    NotPinned,
    /// The end of a pin, and somebody pinned it again at the same time.
    PinnedAgain,
}

/// What was done to a session's pin, for people and for an audit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PinOutcome {
    /// The session.
    pub session_id: SessionId,
    /// What became of it.
    pub change: PinChange,
    /// When.
    pub at: DateTime<Utc>,
    /// On which host.
    pub host: String,
    /// Why, in the words of who did it.
    pub reason: Option<String>,
    /// The stores where it was done.
    pub stores: Vec<String>,
    /// Stores that did not answer: it was not done there.
    pub away: Vec<Away>,
}

impl Engine {
    /// Keeps a session until it is unpinned, whatever retention says, in every store that holds it and answers.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::words::ErrorKind) when there is no such session that is committed,
    /// [`ErrorKind::Conflict`](crate::words::ErrorKind) when it is being removed in a store; it is pinned in the others then.
    pub async fn pin(&self, cx: &Context, which: &str, reason: Option<&str>) -> Result<PinOutcome> {
        let held = self.holders(cx, which).await?;
        let (mut pinned, mut refused) = (None, None);
        for site in &held.sites {
            match site.repository.pin(held.session, reason, cx.now()).await {
                Ok(pin) => pinned = pinned.or(Some(pin)),
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        match (pinned, refused) {
            (_, Some(error)) => Err(error),
            (None, None) => Err(not_held(held.session)),
            (Some(pin), None) => Ok(held.outcome(PinChange::Pinned, pin.at, pin.host, pin.reason)),
        }
    }

    /// Who pinned it and why, in the first store that has a pin of it; none when it is not pinned.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn pin_of(&self, cx: &Context, entry: &SessionEntry) -> Result<Option<Pin>> {
        if !entry.pinned {
            return Ok(None);
        }
        for site in self.reach(cx).await?.sites {
            let there = match site.repository.session(entry.id, cx.now()).await {
                Ok(there) => there,
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            if let Some(pin) = site.repository.pin_of(&there).await? {
                return Ok(Some(pin));
            }
        }
        Ok(None)
    }

    /// Leaves a session to retention again, in every store that holds it and answers.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::words::ErrorKind) when there is no such session that is committed.
    pub async fn unpin(&self, cx: &Context, which: &str, reason: Option<&str>) -> Result<PinOutcome> {
        let held = self.holders(cx, which).await?;
        let mut change = None;
        for site in &held.sites {
            let here = match site.repository.unpin(held.session, reason, cx.now()).await? {
                Unpinned::Done => PinChange::Unpinned,
                Unpinned::Needless => PinChange::NotPinned,
                Unpinned::PinnedAgain => PinChange::PinnedAgain,
            };
            change = Some(match (change, here) {
                (Some(PinChange::PinnedAgain), _) | (_, PinChange::PinnedAgain) => PinChange::PinnedAgain,
                (Some(PinChange::Unpinned), _) => PinChange::Unpinned,
                (_, here) => here,
            });
        }
        let change = change.ok_or_else(|| not_held(held.session))?;
        let host = ProcessIdentity::current().host;
        Ok(held.outcome(change, cx.now(), host, reason.map(str::to_owned)))
    }

    async fn holders(&self, cx: &Context, which: &str) -> Result<Holders> {
        let found = self.find(cx, which).await?;
        let reached = self.reach(cx).await?;
        // Of one that nowhere counts, the first store says why.
        let all = found.held_in().next().is_none();
        let holds = |site: &Site| all || found.held_in().any(|store| store == site.name());
        let mut sites: Vec<Site> = reached.sites.into_iter().filter(holds).collect();
        sites.truncate(if all { 1 } else { usize::MAX });
        Ok(Holders { session: found.entry.id, sites, away: reached.away })
    }
}

/// The stores that hold a session.
struct Holders {
    session: SessionId,
    sites: Vec<Site>,
    away: Vec<Away>,
}

impl Holders {
    fn outcome(
        self,
        change: PinChange,
        at: DateTime<Utc>,
        host: String,
        reason: Option<String>,
    ) -> PinOutcome {
        let stores = self.sites.iter().map(|site| site.name().to_owned()).collect();
        PinOutcome { session_id: self.session, change, at, host, reason, stores, away: self.away }
    }
}

fn not_held(session: SessionId) -> Error {
    Error::new(ErrorKind::NotFound, "pin", session.to_string()).detail("no store that answers holds it")
}

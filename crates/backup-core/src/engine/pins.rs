//! Keeping a session by hand.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::Engine;
use crate::{
    repository::{Pin, ProcessIdentity, SessionEntry, Unpinned},
    traits::Context,
    words::{Result, SessionId},
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
}

impl Engine {
    /// Keeps a session until it is unpinned, whatever retention says.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::words::ErrorKind) when there is no such session that is committed,
    /// [`ErrorKind::Conflict`](crate::words::ErrorKind) when it is being removed.
    pub async fn pin(&self, cx: &Context, which: &str, reason: Option<&str>) -> Result<PinOutcome> {
        let session = self.session(cx, which).await?.id;
        let pin = self.repository().await?.pin(session, reason, cx.now()).await?;
        Ok(PinOutcome {
            session_id: session,
            change: PinChange::Pinned,
            at: pin.at,
            host: pin.host,
            reason: pin.reason,
        })
    }

    /// Who pinned it and why; none when it is not pinned.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn pin_of(&self, entry: &SessionEntry) -> Result<Option<Pin>> {
        self.repository().await?.pin_of(entry).await
    }

    /// Leaves a session to retention again.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::words::ErrorKind) when there is no such session that is committed.
    pub async fn unpin(&self, cx: &Context, which: &str, reason: Option<&str>) -> Result<PinOutcome> {
        let session = self.session(cx, which).await?.id;
        let change = match self.repository().await?.unpin(session, reason, cx.now()).await? {
            Unpinned::Done => PinChange::Unpinned,
            Unpinned::Needless => PinChange::NotPinned,
            Unpinned::PinnedAgain => PinChange::PinnedAgain,
        };
        Ok(PinOutcome {
            session_id: session,
            change,
            at: cx.now(),
            host: ProcessIdentity::current().host,
            reason: reason.map(str::to_owned),
        })
    }
}

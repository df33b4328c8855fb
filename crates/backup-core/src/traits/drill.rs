//! The optional ability to be drilled: restored for real into a throwaway place, and looked at there.

use std::{fmt::Debug, path::Path, sync::Arc};

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{Context, Place, Source};
use crate::{
    policy::Ladder,
    words::{ComponentRecord, Result, SessionId},
};

/// A folder that is thrown away, and what runs there. The engine ends every program that was started at its place and removes
/// the folder, whatever becomes of the drill; when this process is killed, the next drill does it.
pub trait Throwaway: Send + Sync + Debug {
    /// An empty folder of our own (0700). A server that must not run as us is given it.
    fn folder(&self) -> &Path;

    /// Where programs of the drill run: this host, in the folder, without the variables by which the caller's shell would lead
    /// them to another server. A program that is dropped there is asked to end (SIGQUIT), and ended soon after.
    fn place(&self) -> Arc<dyn Place>;

    /// The session that is drilled.
    fn session(&self) -> SessionId;

    /// When the drill has ended at the latest: what it made elsewhere and is there later was left behind.
    fn ends_by(&self) -> DateTime<Utc>;
}

/// Restores a session's component into a throwaway place and looks at what came of it. Reaches neither the source nor anything
/// outside the place.
#[async_trait]
pub trait Drill: Send + Sync {
    /// Bytes on disk that a restore of `record` takes there.
    fn space(&self, record: &ComponentRecord) -> u64 {
        record.artifacts.iter().map(|artifact| artifact.plain.size).sum()
    }

    /// Climbs from [`Rung::Structure`](crate::policy::Rung) on, and reports each rung on `ladder`. When the bytes are read their
    /// hashes have been compared already.
    ///
    /// # Errors
    /// What broke the drill: the first rung without a report has failed then. A rung that cannot be climbed here is no error:
    /// [`Ladder::not_run`].
    async fn drill(
        &self,
        cx: &Context,
        place: &dyn Throwaway,
        from: &dyn Source,
        ladder: &mut Ladder,
    ) -> Result<()>;

    /// Removes what the drill made outside of `place` and did not remove: in a cluster, say. The engine calls it after every
    /// drill, also after one that failed, was cancelled or took too long.
    ///
    /// # Errors
    /// When something may still be there: it is said, and the next drill is to look for it.
    async fn remove(&self, place: &dyn Throwaway) -> Result<()> {
        let _ = place;
        Ok(())
    }
}

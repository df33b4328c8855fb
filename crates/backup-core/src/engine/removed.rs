//! Sessions that are gone for readers and whose bytes are still there.

use std::{collections::BTreeMap, sync::Arc};

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{Engine, Session, stores::Reached, union::Views};
use crate::{
    repository::{Manifest, SessionEntry, SessionState},
    stores::MemoryStore,
    traits::{Context, Store},
    words::{Key, Result, SessionId},
};

/// How a session came to be gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "how", rename_all = "snake_case")]
pub enum Gone {
    /// Its removal was decided here: by retention, or by somebody who writes what we write.
    Purged {
        /// When.
        at: DateTime<Utc>,
        /// Why, as it was written down.
        reason: String,
    },
    /// Its manifest was removed, and the store keeps versions.
    Hidden,
    /// Its manifest was written over, and the store keeps versions.
    Replaced,
}

/// What one store still has of a session that is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Remains {
    /// The store.
    pub store: String,
    /// How many objects its manifest names.
    pub objects: usize,
    /// Those that are not there any more, or not with their size.
    pub missing: Vec<Key>,
}

/// A session that is gone for readers.
#[derive(Clone, Debug)]
pub struct RemovedSession {
    /// As it was written.
    pub session: Session,
    /// How it came to be gone.
    pub gone: Gone,
    /// What each store that still has its manifest has of it.
    pub remains: Vec<Remains>,
}

impl RemovedSession {
    /// Whether some store has all its bytes, by their lengths.
    pub fn is_whole(&self) -> bool {
        self.remains.iter().any(|remains| remains.missing.is_empty())
    }
}

impl Engine {
    /// Sessions that were purged, hidden or written over and whose manifest can still be read, oldest first;
    /// [`as_written`](Self::as_written) reads them. Says nothing of sessions that are still there in some store.
    ///
    /// # Errors
    /// When no store can be read.
    pub async fn removed(&self, cx: &Context) -> Result<Vec<RemovedSession>> {
        let now: BTreeMap<SessionId, SessionEntry> =
            self.sessions(cx).await?.into_iter().map(|entry| (entry.id, entry)).collect();
        let notes: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let before = self.as_written(&notes);
        let mut reached = before.reach(cx).await?;
        let views = before.views(cx, &mut reached).await?;
        let mut kept = Vec::new();
        for site in &reached.sites {
            kept.push((site.name().to_owned(), site.repository.objects_by_session().await?));
        }
        let remains = |views: &Views, id: SessionId| -> Vec<Remains> {
            let looked = kept.iter().enumerate().filter_map(|(at, (store, objects))| {
                let manifest = views.entry(at, id)?.manifest.as_ref()?;
                let sizes = objects.get(&id).map(Vec::as_slice).unwrap_or_default();
                let there = |key: &Key, size: u64| sizes.iter().any(|m| m.key == *key && m.size == size);
                let (objects, missing) = remains_of(manifest, there);
                Some(Remains { store: store.clone(), objects, missing })
            });
            looked.collect()
        };
        let (mut removed, here) = (Vec::new(), self.reach(cx).await?);
        for session in views.clone().union(&reached.sites) {
            let id = session.entry.id;
            let Some(manifest) = session.entry.committed().ok() else { continue };
            let Some(gone) = gone(&here, manifest, now.get(&id)).await? else { continue };
            removed.push(RemovedSession { remains: remains(&views, id), session, gone });
        }
        Ok(removed)
    }
}

/// How the session came to be gone; none for one that is there.
async fn gone(here: &Reached, written: &Manifest, now: Option<&SessionEntry>) -> Result<Option<Gone>> {
    let Some(entry) = now else { return Ok(Some(Gone::Hidden)) };
    match entry.state {
        SessionState::Committed if entry.manifest.as_ref() == Some(written) => Ok(None),
        SessionState::Committed | SessionState::Unreadable => Ok(Some(Gone::Replaced)),
        SessionState::Running | SessionState::Dead => Ok(Some(Gone::Hidden)),
        SessionState::Purged => {
            for site in &here.sites {
                if let Some((at, reason)) = site.repository.purge_of(entry.id).await? {
                    return Ok(Some(Gone::Purged { at, reason }));
                }
            }
            Ok(Some(Gone::Hidden))
        }
    }
}

/// How many objects the manifest names, and which of them are not there.
fn remains_of(manifest: &Manifest, there: impl Fn(&Key, u64) -> bool) -> (usize, Vec<Key>) {
    let volumes: Vec<_> = manifest.volumes().collect();
    let missing = volumes.iter().filter(|volume| !there(&volume.key, volume.stored.size));
    (volumes.len(), missing.map(|volume| volume.key.clone()).collect())
}

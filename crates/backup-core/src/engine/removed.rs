//! Sessions that are gone for readers and whose bytes are still there.

use std::{collections::BTreeMap, sync::Arc};

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{
    Engine, Session,
    stores::Reached,
    union::{each_group, merge},
};
use crate::{
    repository::{Manifest, SessionEntry, SessionState},
    stores::MemoryStore,
    traits::{Context, Meta, Store},
    words::{Key, Result, SessionId, Volume},
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
        let before = self.as_written(&notes).reach(cx).await?;
        let mut kept = Vec::new();
        for site in &before.sites {
            kept.push((site.name(), site.repository.objects_by_session().await?));
        }
        let remains_at = |(at, entry): &(usize, SessionEntry)| {
            let (manifest, (store, objects)) = (entry.manifest.as_ref()?, &kept[*at]);
            let objects = objects.get(&entry.id).map(Vec::as_slice).unwrap_or_default();
            Some(remains_of(store, manifest, objects))
        };
        let mut written = Vec::new();
        each_group(cx, &before, |entries, _| {
            let remains = entries.iter().filter_map(remains_at).collect();
            written.extend(merge(entries, &before.sites).map(|session| (session, remains)));
        })
        .await?;
        let (mut removed, here) = (Vec::new(), self.reach(cx).await?);
        for (session, remains) in written {
            let Ok(manifest) = session.entry.committed() else { continue };
            if let Some(gone) = gone(&here, manifest, now.get(&session.entry.id)).await? {
                removed.push(RemovedSession { session, gone, remains });
            }
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

/// Which of the objects that the manifest names are not among `objects`.
fn remains_of(store: &str, manifest: &Manifest, objects: &[Meta]) -> Remains {
    let there =
        |volume: &&Volume| objects.iter().any(|m| m.key == volume.key && m.size == volume.stored.size);
    let missing = manifest.volumes().filter(|volume| !there(volume)).map(|volume| volume.key.clone());
    Remains { store: store.to_owned(), objects: manifest.volumes().count(), missing: missing.collect() }
}

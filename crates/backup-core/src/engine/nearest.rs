//! Which copy of a session is read: the nearest that can be, and another where its bytes are bad.

use std::sync::Arc;

use super::{
    Engine,
    stores::{Reached, Site},
};
use crate::{
    pipeline::{Keyring, NearestStore, StoreSource},
    repository::{Manifest, Repository, SessionEntry, SessionState},
    traits::{Context, Event, Store},
    words::{ComponentRecord, Error, ErrorKind, Result},
};

/// A session as it is read: one store says what it is, all that hold the same give its bytes.
#[derive(Clone, Debug)]
pub(super) struct NearCopy {
    /// The store that is read first.
    pub(super) site: Site,
    pub(super) entry: SessionEntry,
    pub(super) manifest: Manifest,
    bytes: NearestStore,
}

impl NearCopy {
    /// The repository in the store that is read first.
    pub(super) fn repository(&self) -> &Repository {
        &self.site.repository
    }

    /// Reads one of its components.
    pub(super) fn source(&self, record: &ComponentRecord, keys: &Keyring) -> StoreSource {
        let store: Arc<dyn Store> = Arc::new(self.bytes.clone());
        StoreSource::new(store, record.clone()).with_keys(keys.clone())
    }

    /// Looks at all stored bytes of these components, so that later reads find good ones; fails at the first that no store has.
    pub(super) async fn settle<'r>(
        &self,
        cx: &Context,
        records: impl Iterator<Item = &'r ComponentRecord>,
    ) -> Result<()> {
        for record in records {
            cx.observer.event(Event::Phase { name: format!("verify {}", record.name) });
            for volume in record.artifacts.iter().flat_map(|artifact| &artifact.volumes) {
                self.bytes.settle(cx, volume).await?;
            }
        }
        Ok(())
    }

    /// Whether several stores hold it.
    pub(super) fn is_elsewhere_too(&self) -> bool {
        self.bytes.has_others()
    }

    /// Whether reading again could find better bytes than those that gave `error`.
    pub(super) fn has_others(&self, error: &Error) -> bool {
        let bytes = [ErrorKind::Corrupt, ErrorKind::Truncated, ErrorKind::NotFound];
        self.bytes.has_others() && bytes.contains(&error.kind())
    }
}

impl Engine {
    /// The nearest copy of a session that can be read and, where `trusted`, is signed by a trusted key.
    ///
    /// # Errors
    /// When the session is not there, or no store has it readable and signed.
    pub(super) async fn near_copy(&self, cx: &Context, which: &str, trusted: bool) -> Result<NearCopy> {
        let wanted = self.find(cx, which).await?.entry;
        let reached = self.reach(cx).await?;
        let mut sites = reached.sites.clone();
        sites.sort_by_key(|site| site.settings.remote);
        let mut found: Vec<(Site, SessionEntry, Manifest)> = Vec::new();
        let mut first_error = None;
        for site in sites {
            match self.looked_at(cx, &site, &wanted, trusted).await {
                Ok((entry, manifest)) => found.push((site, entry, manifest)),
                Err(error) if error.kind() == ErrorKind::Cancelled => return Err(error),
                Err(error) => {
                    first_error = match first_error {
                        None => Some(error),
                        // That it is not there says less than what is wrong with it.
                        Some(first) if is_missing(&first) && !is_missing(&error) => Some(error),
                        first => first,
                    };
                }
            }
        }
        let Some((site, entry, manifest)) = found.first().cloned() else {
            return Err(first_error.unwrap_or_else(|| gone(&reached, &wanted)));
        };
        let same = found.iter().filter(|(_, _, other)| other.nonce == manifest.nonce);
        let stores = same.map(|(site, ..)| (site.name().to_owned(), site.repository.store.clone())).collect();
        let bytes = NearestStore::new(stores, cx.observer.clone());
        Ok(NearCopy { site, entry, manifest, bytes })
    }

    async fn looked_at(
        &self,
        cx: &Context,
        site: &Site,
        wanted: &SessionEntry,
        trusted: bool,
    ) -> Result<(SessionEntry, Manifest)> {
        let entry = site.repository.session(wanted.id, cx.now()).await?;
        if entry.state != SessionState::Committed {
            // Says what is wrong with it, also where it was removed and its manifest is still there.
            let absent = SessionEntry { manifest: None, ..entry };
            return Err(absent.committed().err().unwrap_or_else(|| gone_here(site, wanted)));
        }
        let manifest = match trusted {
            true => site.repository.trusted_manifest(&entry, &self.trusted).await?,
            false => entry.committed()?.clone(),
        };
        Ok((entry, manifest))
    }
}

fn is_missing(error: &Error) -> bool {
    error.kind() == ErrorKind::NotFound
}

fn gone_here(site: &Site, wanted: &SessionEntry) -> Error {
    Error::new(ErrorKind::NotFound, "read", wanted.id.to_string())
        .detail(format!("it is not in {}", site.name()))
}

fn gone(reached: &Reached, wanted: &SessionEntry) -> Error {
    let names: Vec<&str> = reached.sites.iter().map(Site::name).collect();
    Error::new(ErrorKind::NotFound, "read", wanted.id.to_string())
        .detail(format!("it is not in {}", names.join(", ")))
}

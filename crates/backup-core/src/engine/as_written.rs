//! A store as it was written: what was purged, hidden or written over since is there, as far as its bytes are.

use std::{ops::Range, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, future, stream::BoxStream};

use super::Engine;
use crate::{
    traits::{ByteStream, CreateIfAbsent, Depth, Meta, Store, StoreLimits, Upload},
    words::{Error, ErrorKind, Key, Result},
};

/// Only read; what is written (journals, evidence) goes to another store and is seen with the rest.
#[derive(Clone, Debug)]
struct AsWritten {
    inner: Arc<dyn Store>,
    notes: Arc<dyn Store>,
}

impl Engine {
    /// The same engine on stores that show every session as it was written: sessions that were purged, hidden by removals in a
    /// bucket that keeps versions, or written over since are committed again, as far as their bytes are there. Nothing
    /// is written to these stores: journals and evidence go to `notes`.
    #[must_use]
    pub fn as_written(&self, notes: &Arc<dyn Store>) -> Self {
        let seen = |inner: &Arc<dyn Store>| -> Arc<dyn Store> {
            Arc::new(AsWritten { inner: inner.clone(), notes: notes.clone() })
        };
        let mut engine = self.clone();
        engine.store = seen(&engine.store);
        for settings in &mut engine.stores {
            settings.store = seen(&settings.store);
        }
        engine
    }
}

/// What takes a session away from readers.
fn hides(key: &Key) -> bool {
    let name = key.file_name();
    key.as_str().starts_with("sessions/") && (name.starts_with("purge-") || name.starts_with("delete-"))
}

fn read_only(key: &Key) -> Error {
    Error::new(ErrorKind::Refused, "remove", key.to_string())
        .detail("sessions that were removed are only read")
}

fn or_missing<T>(found: Result<T>) -> Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(missing) if missing.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[async_trait]
impl Store for AsWritten {
    fn limits(&self) -> StoreLimits {
        self.inner.limits()
    }

    async fn begin(&self, key: &Key) -> Result<Box<dyn Upload>> {
        self.notes.begin(key).await
    }

    async fn put(&self, key: &Key, body: Bytes) -> Result<Meta> {
        self.notes.put(key, body).await
    }

    async fn head(&self, key: &Key) -> Result<Meta> {
        if let Some(note) = or_missing(self.notes.head(key).await)? {
            return Ok(note);
        }
        match self.inner.first_versions() {
            Some(first) => first.get_first(key, Some(0..0)).await.map(|(meta, _)| meta),
            None => self.inner.head(key).await,
        }
    }

    async fn get(&self, key: &Key, range: Option<Range<u64>>) -> Result<(Meta, ByteStream)> {
        if let Some(note) = or_missing(self.notes.get(key, range.clone()).await)? {
            return Ok(note);
        }
        match self.inner.first_versions() {
            Some(first) => first.get_first(key, range).await,
            None => self.inner.get(key, range).await,
        }
    }

    fn list<'a>(&'a self, prefix: &'a Key, depth: Depth) -> BoxStream<'a, Result<Meta>> {
        let written = match self.inner.first_versions() {
            // Folders are not asked for where sessions are read.
            Some(first) if depth == Depth::All => first.list_first(prefix),
            _ => self.inner.list(prefix, depth),
        };
        let written = written.try_filter(|meta| future::ready(!hides(&meta.key)));
        written.chain(self.notes.list(prefix, depth)).boxed()
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        match or_missing(self.notes.head(key).await)? {
            Some(_) => self.notes.delete(key).await,
            None => Err(read_only(key)),
        }
    }

    async fn clear_uploads(&self, older_than: Duration) -> Result<u64> {
        self.notes.clear_uploads(older_than).await
    }

    async fn exclusive(&self) -> Result<Option<&dyn CreateIfAbsent>> {
        self.notes.exclusive().await
    }
}

//! A run's home as its components write to it: the first write that fails is remembered, for it fails the run and not a source.

use std::{
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use tokio_util::sync::CancellationToken;

use crate::{
    traits::{ByteStream, CreateIfAbsent, Depth, Locks, Meta, Space, Store, StoreLimits, Upload},
    words::{Error, ErrorKind, Key, Result},
};

/// The store, and what became of it.
#[derive(Clone, Debug)]
pub(super) struct Watched {
    inner: Arc<dyn Store>,
    failure: Failure,
}

#[derive(Clone, Debug)]
struct Failure {
    name: String,
    first: Arc<Mutex<Option<Error>>>,
    /// Cancelled at the first failure: what the other components write would be lost.
    stop: CancellationToken,
}

impl Failure {
    fn seen<T>(&self, outcome: Result<T>) -> Result<T> {
        if let Err(error) = &outcome
            && !matches!(error.kind(), ErrorKind::Cancelled | ErrorKind::AlreadyExists | ErrorKind::Internal)
        {
            let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
            first.get_or_insert_with(|| {
                let kept = Error::new(error.kind(), "write to the store", self.name.clone());
                match error.advice() {
                    Some(hint) => kept.detail(error.chain()).hint(hint),
                    None => kept.detail(error.chain()),
                }
            });
            self.stop.cancel();
        }
        outcome
    }
}

impl Watched {
    pub(super) fn new(name: &str, inner: Arc<dyn Store>, stop: CancellationToken) -> Self {
        Self { inner, failure: Failure { name: name.to_owned(), first: Arc::default(), stop } }
    }

    /// What failed, if anything did.
    pub(super) fn failure(&self) -> Option<Error> {
        self.failure.first.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

struct WatchedUpload {
    inner: Box<dyn Upload>,
    failure: Failure,
}

#[async_trait]
impl Upload for WatchedUpload {
    async fn write(&mut self, chunk: Bytes) -> Result<()> {
        self.failure.seen(self.inner.write(chunk).await)
    }

    async fn finish(self: Box<Self>) -> Result<Meta> {
        let finished = self.inner.finish().await;
        self.failure.seen(finished)
    }

    async fn abort(self: Box<Self>) -> Result<()> {
        self.inner.abort().await
    }
}

#[async_trait]
impl Store for Watched {
    fn limits(&self) -> StoreLimits {
        self.inner.limits()
    }

    async fn begin(&self, key: &Key) -> Result<Box<dyn Upload>> {
        let inner = self.failure.seen(self.inner.begin(key).await)?;
        Ok(Box::new(WatchedUpload { inner, failure: self.failure.clone() }))
    }

    async fn put(&self, key: &Key, body: Bytes) -> Result<Meta> {
        self.inner.put(key, body).await
    }

    async fn head(&self, key: &Key) -> Result<Meta> {
        self.inner.head(key).await
    }

    async fn get(&self, key: &Key, range: Option<Range<u64>>) -> Result<(Meta, ByteStream)> {
        self.inner.get(key, range).await
    }

    fn list<'a>(&'a self, prefix: &'a Key, depth: Depth) -> BoxStream<'a, Result<Meta>> {
        self.inner.list(prefix, depth)
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        self.inner.delete(key).await
    }

    async fn clear_uploads(&self, older_than: Duration) -> Result<u64> {
        self.inner.clear_uploads(older_than).await
    }

    async fn exclusive(&self) -> Result<Option<&dyn CreateIfAbsent>> {
        self.inner.exclusive().await
    }

    fn locks(&self) -> Option<&dyn Locks> {
        self.inner.locks()
    }

    fn space(&self) -> Option<&dyn Space> {
        self.inner.space()
    }
}

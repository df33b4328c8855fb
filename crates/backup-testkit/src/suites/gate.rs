//! A store in memory that holds the first bytes back until it is told: whoever writes stands in mid-stream.

use std::{ops::Range, time::Duration};

use async_trait::async_trait;
use backup_core::{
    stores::MemoryStore,
    traits::{ByteStream, CreateIfAbsent, Depth, Meta, Space, Store, StoreLimits, Upload},
    words::{Key, Result},
};
use bytes::Bytes;
use futures::stream::BoxStream;
use tokio::sync::watch;

/// A store in memory whose uploads stand still at their first bytes until [`open`](Self::open).
#[derive(Debug)]
pub struct GatedStore {
    inner: MemoryStore,
    reached: watch::Sender<bool>,
    open: watch::Sender<bool>,
}

impl GatedStore {
    /// An empty store, closed.
    pub fn new() -> Self {
        Self {
            inner: MemoryStore::new(),
            reached: watch::Sender::new(false),
            open: watch::Sender::new(false),
        }
    }

    /// Waits until the first bytes of an artifact have come.
    ///
    /// # Panics
    /// When they do not come within a minute.
    pub async fn reached(&self) {
        let mut reached = self.reached.subscribe();
        let waiting = reached.wait_for(|reached| *reached);
        tokio::time::timeout(Duration::from_secs(60), waiting).await.expect("bytes within a minute").unwrap();
    }

    /// Lets all bytes through from now on.
    pub fn open(&self) {
        self.open.send_replace(true);
    }

    /// Keys of the artifacts of the component `name`.
    pub fn artifacts(&self, name: &str) -> Vec<String> {
        let folder = format!("/{name}/");
        self.inner.keys().into_iter().filter(|key| key.contains(&folder)).collect()
    }
}

impl Default for GatedStore {
    fn default() -> Self {
        Self::new()
    }
}

struct GatedUpload {
    inner: Box<dyn Upload>,
    reached: watch::Sender<bool>,
    open: watch::Receiver<bool>,
}

#[async_trait]
impl Store for GatedStore {
    fn limits(&self) -> StoreLimits {
        self.inner.limits()
    }

    async fn begin(&self, key: &Key) -> Result<Box<dyn Upload>> {
        let inner = self.inner.begin(key).await?;
        Ok(Box::new(GatedUpload { inner, reached: self.reached.clone(), open: self.open.subscribe() }))
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

    fn space(&self) -> Option<&dyn Space> {
        self.inner.space()
    }
}

#[async_trait]
impl Upload for GatedUpload {
    async fn write(&mut self, chunk: Bytes) -> Result<()> {
        self.reached.send_replace(true);
        let _ = self.open.wait_for(|open| *open).await;
        self.inner.write(chunk).await
    }

    async fn finish(self: Box<Self>) -> Result<Meta> {
        self.inner.finish().await
    }

    async fn abort(self: Box<Self>) -> Result<()> {
        self.inner.abort().await
    }
}

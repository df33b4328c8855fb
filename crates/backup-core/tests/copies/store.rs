//! A store in memory that goes away, breaks in the middle and damages what it keeps, as it is told.

use std::{
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use backup_core::{
    stores::MemoryStore,
    traits::{ByteStream, CreateIfAbsent, Created, Depth, Meta, Store, StoreLimits, Upload},
    words::{Error, ErrorKind, Key, Result},
};
use bytes::Bytes;
use futures::{StreamExt, stream, stream::BoxStream};

#[derive(Clone, Debug, Default)]
pub(crate) struct Moody {
    pub(crate) inner: MemoryStore,
    away: Arc<AtomicBool>,
    /// Bytes of uploads that it still takes.
    room: Arc<Mutex<Option<u64>>>,
    /// Bytes after which reads of artifacts break.
    breaks: Arc<Mutex<Option<u64>>>,
    uploads: Arc<AtomicU64>,
}

impl Moody {
    pub(crate) fn with_limit(bytes: u64) -> Self {
        Self { inner: MemoryStore::with_limit(bytes), ..Self::default() }
    }

    /// Nothing is answered from now on, or all is again.
    pub(crate) fn away(&self, away: bool) {
        self.away.store(away, Ordering::SeqCst);
    }

    /// After so many bytes of uploads the store goes away; none: never.
    pub(crate) fn goes_away_after(&self, bytes: Option<u64>) {
        *self.room.lock().unwrap() = bytes;
    }

    /// Reads of artifacts break after so many bytes.
    pub(crate) fn reads_break_after(&self, bytes: u64) {
        *self.breaks.lock().unwrap() = Some(bytes);
    }

    /// How many objects were uploaded.
    pub(crate) fn uploads(&self) -> u64 {
        self.uploads.load(Ordering::SeqCst)
    }

    /// Keys of artifacts.
    pub(crate) fn artifacts(&self) -> Vec<String> {
        let mut keys = self.inner.keys();
        keys.retain(|key| !key.starts_with("sessions/") && key != "repository.json");
        keys
    }

    pub(crate) async fn bytes(&self, key: &str) -> Vec<u8> {
        let (_, stream) = self.inner.get(&Key::new(key).unwrap(), None).await.unwrap();
        let chunks: Vec<Bytes> = stream.map(Result::unwrap).collect().await;
        chunks.concat()
    }

    /// Another byte in the middle.
    pub(crate) async fn damage(&self, key: &str) {
        let mut bytes = self.bytes(key).await;
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        self.inner.put(&Key::new(key).unwrap(), bytes.into()).await.unwrap();
    }

    pub(crate) async fn lose(&self, key: &str) {
        self.inner.delete(&Key::new(key).unwrap()).await.unwrap();
    }

    fn here(&self) -> Result<()> {
        if self.away.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::Unreachable, "reach", "the moody store"));
        }
        Ok(())
    }
}

struct MoodyUpload(Box<dyn Upload>, Moody);

#[async_trait]
impl Upload for MoodyUpload {
    async fn write(&mut self, chunk: Bytes) -> Result<()> {
        let full = match &mut *self.1.room.lock().unwrap() {
            None => false,
            Some(room) if *room >= chunk.len() as u64 => {
                *room -= chunk.len() as u64;
                false
            }
            Some(_) => true,
        };
        if full {
            self.1.away(true);
        }
        self.1.here()?;
        self.0.write(chunk).await
    }

    async fn finish(self: Box<Self>) -> Result<Meta> {
        self.1.here()?;
        self.1.uploads.fetch_add(1, Ordering::SeqCst);
        self.0.finish().await
    }

    async fn abort(self: Box<Self>) -> Result<()> {
        self.0.abort().await
    }
}

#[async_trait]
impl Store for Moody {
    fn limits(&self) -> StoreLimits {
        self.inner.limits()
    }

    async fn begin(&self, key: &Key) -> Result<Box<dyn Upload>> {
        self.here()?;
        Ok(Box::new(MoodyUpload(self.inner.begin(key).await?, self.clone())))
    }

    async fn put(&self, key: &Key, body: Bytes) -> Result<Meta> {
        self.here()?;
        self.inner.put(key, body).await
    }

    async fn head(&self, key: &Key) -> Result<Meta> {
        self.here()?;
        self.inner.head(key).await
    }

    async fn get(&self, key: &Key, range: Option<Range<u64>>) -> Result<(Meta, ByteStream)> {
        self.here()?;
        let (meta, bytes) = self.inner.get(key, range).await?;
        let breaks = self.breaks.lock().unwrap().filter(|_| !key.as_str().starts_with("sessions/"));
        let Some(most) = breaks.filter(|most| *most < meta.size) else { return Ok((meta, bytes)) };
        let mut given = 0;
        let until = bytes.take_while(move |chunk| {
            given += chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
            futures::future::ready(given <= most)
        });
        let broken = Error::new(ErrorKind::Unreachable, "read", key.to_string()).detail("the line broke");
        Ok((meta, until.chain(stream::iter([Err(broken)])).boxed()))
    }

    fn list<'a>(&'a self, prefix: &'a Key, depth: Depth) -> BoxStream<'a, Result<Meta>> {
        match self.here() {
            Ok(()) => self.inner.list(prefix, depth),
            Err(error) => stream::iter([Err(error)]).boxed(),
        }
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        self.here()?;
        self.inner.delete(key).await
    }

    async fn clear_uploads(&self, older_than: Duration) -> Result<u64> {
        self.here()?;
        self.inner.clear_uploads(older_than).await
    }

    async fn exclusive(&self) -> Result<Option<&dyn CreateIfAbsent>> {
        self.here()?;
        Ok(Some(self))
    }
}

#[async_trait]
impl CreateIfAbsent for Moody {
    async fn create(&self, key: &Key, body: Bytes) -> Result<Created> {
        self.here()?;
        self.inner.create(key, body).await
    }
}

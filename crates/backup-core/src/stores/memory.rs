//! A store in memory, for tests and for programs that embed the engine.

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};
use futures::{StreamExt, stream, stream::BoxStream};

use crate::{
    traits::{ByteStream, CreateIfAbsent, Created, Depth, Meta, Store, StoreLimits, Upload},
    words::{Error, ErrorKind, Key, Result},
};

type Objects = BTreeMap<Key, (Bytes, DateTime<Utc>)>;

/// Keeps objects in memory. Clones share them.
#[derive(Clone, Debug)]
pub struct MemoryStore {
    objects: Arc<Mutex<Objects>>,
    limit: u64,
}

impl MemoryStore {
    /// An empty store that takes objects of any size.
    pub fn new() -> Self {
        Self::with_limit(u64::MAX)
    }

    /// An empty store whose largest object has `object_bytes`.
    pub fn with_limit(object_bytes: u64) -> Self {
        Self { objects: Arc::default(), limit: object_bytes }
    }

    /// Every key, in order.
    pub fn keys(&self) -> Vec<String> {
        self.objects().keys().map(ToString::to_string).collect()
    }

    fn objects(&self) -> MutexGuard<'_, Objects> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn insert(&self, key: &Key, body: Bytes) -> Meta {
        let now = Utc::now();
        let meta = Meta::new(key.clone(), body.len() as u64, now);
        self.objects().insert(key.clone(), (body, now));
        meta
    }

    fn find(&self, key: &Key) -> Result<(Bytes, Meta)> {
        match self.objects().get(key) {
            Some((body, modified)) => {
                Ok((body.clone(), Meta::new(key.clone(), body.len() as u64, *modified)))
            }
            None => Err(Error::new(ErrorKind::NotFound, "find the object", key.to_string())),
        }
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Store for MemoryStore {
    fn limits(&self) -> StoreLimits {
        StoreLimits::new(self.limit)
    }

    async fn begin(&self, key: &Key) -> Result<Box<dyn Upload>> {
        Ok(Box::new(MemoryUpload { store: self.clone(), key: key.clone(), body: BytesMut::new() }))
    }

    async fn put(&self, key: &Key, body: Bytes) -> Result<Meta> {
        Ok(self.insert(key, body))
    }

    async fn head(&self, key: &Key) -> Result<Meta> {
        self.find(key).map(|(_, meta)| meta)
    }

    async fn get(&self, key: &Key, range: Option<Range<u64>>) -> Result<(Meta, ByteStream)> {
        let (body, meta) = self.find(key)?;
        let range = range.unwrap_or(0..meta.size);
        if range.start > range.end || range.end > meta.size {
            return Err(Error::new(ErrorKind::Truncated, "read", key.to_string()).detail(format!(
                "it has {} bytes, {}..{} were asked for",
                meta.size, range.start, range.end
            )));
        }
        let mut rest = body.slice(range.start as usize..range.end as usize);
        let mut chunks = Vec::new();
        while !rest.is_empty() {
            chunks.push(Ok(rest.split_to(rest.len().min(64 << 10))));
        }
        Ok((meta, stream::iter(chunks).boxed()))
    }

    fn list<'a>(&'a self, prefix: &'a Key, depth: Depth) -> BoxStream<'a, Result<Meta>> {
        let folder = if prefix.as_str().is_empty() { String::new() } else { format!("{prefix}/") };
        let mut metas: BTreeMap<Key, Meta> = BTreeMap::new();
        for (key, (body, modified)) in self.objects().iter() {
            let Some(rest) = key.as_str().strip_prefix(&folder) else { continue };
            let (shown, size) = match (depth, rest.split_once('/')) {
                (Depth::Children, Some((child, _))) => (prefix.join(child), 0),
                _ => (Ok(key.clone()), body.len() as u64),
            };
            if let Ok(shown) = shown {
                metas.insert(shown.clone(), Meta::new(shown, size, *modified));
            }
        }
        stream::iter(metas.into_values().map(Ok)).boxed()
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        self.objects().remove(key);
        Ok(())
    }

    async fn clear_uploads(&self, _: Duration) -> Result<u64> {
        // An upload lives in its handle only.
        Ok(0)
    }

    async fn exclusive(&self) -> Result<Option<&dyn CreateIfAbsent>> {
        Ok(Some(self))
    }
}

#[async_trait]
impl CreateIfAbsent for MemoryStore {
    async fn create(&self, key: &Key, body: Bytes) -> Result<Created> {
        let mut objects = self.objects();
        if objects.contains_key(key) {
            return Ok(Created::Exists);
        }
        let now = Utc::now();
        let meta = Meta::new(key.clone(), body.len() as u64, now);
        objects.insert(key.clone(), (body, now));
        Ok(Created::Made(meta))
    }
}

struct MemoryUpload {
    store: MemoryStore,
    key: Key,
    body: BytesMut,
}

#[async_trait]
impl Upload for MemoryUpload {
    async fn write(&mut self, chunk: Bytes) -> Result<()> {
        if self.body.len() as u64 + chunk.len() as u64 > self.store.limit {
            return Err(Error::new(ErrorKind::NoSpace, "write", self.key.to_string())
                .detail("the object is too large"));
        }
        self.body.extend_from_slice(&chunk);
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<Meta> {
        match self.store.create(&self.key, self.body.freeze()).await? {
            Created::Made(meta) => Ok(meta),
            Created::Exists => Err(Error::new(ErrorKind::AlreadyExists, "store", self.key.to_string())
                .detail("an object is there; objects are never rewritten")),
        }
    }

    async fn abort(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

//! One store over every vendor's client.

mod create;
mod first;
mod list;
mod locks;
mod read;
mod upload;

use std::{
    collections::BTreeSet,
    fmt,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use backup_core::{
    traits::{
        ByteStream, CreateIfAbsent, Depth, Finding, FirstVersions, Hold, Locks, Meta, Store, StoreLimits,
        Upload,
    },
    words::{Error, ErrorKind, Key, Result},
};
use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};
use futures::stream::BoxStream;
use object_store::{
    ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutResult, list::PaginatedListStore,
    multipart::MultipartStore, path::Path,
};
use tokio::sync::{OnceCell, Semaphore};

use crate::{
    config::Limits,
    trouble::Trouble,
    wire::{ServerTime, Wire},
};

/// What a vendor's client does for us.
pub(crate) trait Objects: ObjectStore + MultipartStore + PaginatedListStore {}

impl<T: ObjectStore + MultipartStore + PaginatedListStore> Objects for T {}

/// Finding uploads that were begun and not finished.
#[async_trait]
pub(crate) trait Unfinished: Send + Sync + fmt::Debug {
    /// One page of those below `prefix`; `after` is what the last page ended with.
    async fn page(&self, prefix: &str, after: Option<&Marker>) -> Result<UploadPage, Trouble>;

    /// When the newest of its parts came; none when it has none.
    async fn newest_part(&self, key: &str, id: &str) -> Result<Option<DateTime<Utc>>, Trouble>;
}

/// What the bucket keeps of an object besides its newest version, and for how long.
#[async_trait]
pub(crate) trait Versions: Send + Sync + fmt::Debug {
    /// One page of the versions of all objects whose names begin with `prefix`, by name; `after` is what the last page ended
    /// with.
    async fn page(&self, prefix: &str, after: Option<&Marker>) -> Result<VersionPage, Trouble>;

    /// What keeps the object from going.
    async fn hold(&self, key: &str) -> Result<Hold, Trouble>;

    /// Removes every version of the object; true when that is how objects are removed here.
    async fn remove(&self, key: &str) -> Result<bool, Trouble>;

    /// What the bucket says of versions and locks.
    async fn findings(&self) -> Result<Vec<Finding>, Trouble>;
}

/// One version of an object.
#[derive(Clone, Debug)]
pub(crate) struct Version {
    pub(crate) key: String,
    pub(crate) id: String,
    pub(crate) size: u64,
    pub(crate) modified: DateTime<Utc>,
    /// It says that the object was removed, and has no bytes.
    pub(crate) is_marker: bool,
}

/// A page of versions.
#[derive(Debug)]
pub(crate) struct VersionPage {
    /// By name, those of one object newest first.
    pub(crate) versions: Vec<Version>,
    pub(crate) next: Option<Marker>,
}

/// Where a page of uploads or versions ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Marker {
    pub(crate) key: String,
    pub(crate) id: String,
}

/// An upload that was begun.
#[derive(Clone, Debug)]
pub(crate) struct Begun {
    pub(crate) key: String,
    pub(crate) id: String,
    pub(crate) at: DateTime<Utc>,
}

/// A page of uploads.
#[derive(Debug)]
pub(crate) struct UploadPage {
    pub(crate) uploads: Vec<Begun>,
    pub(crate) next: Option<Marker>,
    /// The server's clock.
    pub(crate) now: DateTime<Utc>,
}

/// A bucket, or a prefix in one.
#[derive(Clone)]
pub(crate) struct CloudStore(Arc<Inner>);

struct Inner {
    objects: Box<dyn Objects>,
    /// None where unfinished uploads go by themselves.
    unfinished: Option<Box<dyn Unfinished>>,
    /// None where we do not know of any.
    versions: Option<Box<dyn Versions>>,
    wire: Wire,
    limits: Limits,
    /// For people: `s3://bucket/prefix`.
    shown: String,
    bucket: String,
    prefix: String,
    flights: Arc<Semaphore>,
    conditional: OnceCell<bool>,
    /// Buffers of parts that arrived, to be filled again: giving them back to the system and taking new ones scatters memory.
    spare: Mutex<Vec<BytesMut>>,
    /// Uploads of this process that go on, by the server's names for them.
    living: Mutex<BTreeSet<Arc<str>>>,
}

/// What a [`CloudStore`] is made of.
pub(crate) struct Parts {
    pub(crate) objects: Box<dyn Objects>,
    pub(crate) unfinished: Option<Box<dyn Unfinished>>,
    pub(crate) versions: Option<Box<dyn Versions>>,
    pub(crate) wire: Wire,
    pub(crate) limits: Limits,
    pub(crate) scheme: &'static str,
    pub(crate) bucket: String,
    pub(crate) prefix: String,
}

impl CloudStore {
    pub(crate) fn new(parts: Parts) -> Self {
        let slash = if parts.prefix.is_empty() { "" } else { "/" };
        Self(Arc::new(Inner {
            shown: format!("{}://{}{slash}{}", parts.scheme, parts.bucket, parts.prefix),
            flights: Arc::new(Semaphore::new(parts.limits.parallel)),
            conditional: OnceCell::new_with(parts.limits.conditional),
            living: Mutex::default(),
            spare: Mutex::default(),
            objects: parts.objects,
            unfinished: parts.unfinished,
            versions: parts.versions,
            wire: parts.wire,
            limits: parts.limits,
            bucket: parts.bucket,
            prefix: parts.prefix,
        }))
    }
}

impl Inner {
    /// The object's name in the bucket.
    fn path(&self, key: &Key) -> Result<Path> {
        Path::parse(self.full(key.as_str()))
            .map_err(|e| Error::new(ErrorKind::Refused, "use the key", key.to_string()).because(e))
    }

    fn full(&self, key: &str) -> String {
        match (self.prefix.as_str(), key) {
            ("", key) => key.to_owned(),
            (prefix, "") => prefix.to_owned(),
            (prefix, key) => format!("{prefix}/{key}"),
        }
    }

    /// The key of a name in the bucket; none for what is not below our prefix, or has a name that no key can have.
    fn key(&self, name: &str) -> Option<Key> {
        let rest = match self.prefix.as_str() {
            "" => name,
            prefix => name.strip_prefix(prefix)?.strip_prefix('/')?,
        };
        Key::new(rest).ok().filter(|key| !key.as_str().is_empty())
    }

    /// A call that may be done twice.
    async fn again<T, F>(&self, what: &'static str, call: impl FnMut() -> F) -> Result<T, Trouble>
    where
        F: Future<Output = Result<T, Trouble>>,
    {
        self.limits.patience.again(what, || self.wire.has_answered(), call).await
    }

    /// The error for people.
    fn explain(&self, trouble: &Trouble, operation: &str, key: &Key) -> Error {
        let subject = match key.as_str() {
            "" => self.shown.clone(),
            key => format!("{}/{key}", self.shown),
        };
        if trouble.is_missing() {
            return Error::new(ErrorKind::NotFound, operation, subject);
        }
        trouble.explain(operation, subject, &self.bucket)
    }

    async fn head(&self, key: &Key) -> Result<Meta> {
        let path = self.path(key)?;
        let found = self.again("head", || async { Ok(self.objects.head(&path).await?) }).await;
        found.map(|found| meta(key, &found)).map_err(|trouble| self.explain(&trouble, "look at", key))
    }

    /// An empty buffer for one part.
    fn buffer(&self) -> BytesMut {
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop();
        spare.unwrap_or_else(|| BytesMut::with_capacity(self.limits.part_bytes))
    }

    /// Takes a buffer back, unless somebody still holds bytes of it.
    fn give_back(&self, bytes: Bytes) {
        let Ok(mut buffer) = bytes.try_into_mut() else { return };
        buffer.clear();
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        if buffer.capacity() >= self.limits.part_bytes && spare.len() <= self.limits.parallel {
            spare.push(buffer);
        }
    }

    fn living(&self) -> MutexGuard<'_, BTreeSet<Arc<str>>> {
        self.living.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One write of a whole object, without another try.
    async fn put_once(&self, path: &Path, body: Bytes, mode: PutMode) -> Result<PutResult, Trouble> {
        let options = PutOptions { mode, ..PutOptions::default() };
        Ok(self.objects.put_opts(path, body.into(), options).await?)
    }
}

fn meta(key: &Key, found: &ObjectMeta) -> Meta {
    Meta::new(key.clone(), found.size, found.last_modified)
}

/// What was just written, at the server's time.
fn written(key: &Key, size: usize, result: &PutResult) -> Meta {
    let at = result.extensions.get::<ServerTime>().map_or_else(Utc::now, |time| time.0);
    Meta::new(key.clone(), size as u64, at)
}

#[async_trait]
impl Store for CloudStore {
    fn limits(&self) -> StoreLimits {
        let limits = &self.0.limits;
        StoreLimits::new(limits.part_bytes as u64 * limits.parts as u64)
    }

    async fn begin(&self, key: &Key) -> Result<Box<dyn Upload>> {
        Ok(Box::new(upload::CloudUpload::new(self.0.clone(), key)?))
    }

    async fn put(&self, key: &Key, body: Bytes) -> Result<Meta> {
        let (inner, path) = (&self.0, self.0.path(key)?);
        let put = inner.again("put", || inner.put_once(&path, body.clone(), PutMode::Overwrite)).await;
        put.map(|result| written(key, body.len(), &result))
            .map_err(|trouble| inner.explain(&trouble, "write", key))
    }

    async fn head(&self, key: &Key) -> Result<Meta> {
        self.0.head(key).await
    }

    async fn get(&self, key: &Key, range: Option<Range<u64>>) -> Result<(Meta, ByteStream)> {
        read::get(self.0.clone(), key, range, None).await
    }

    fn list<'a>(&'a self, prefix: &'a Key, depth: Depth) -> BoxStream<'a, Result<Meta>> {
        list::list(&self.0, prefix, depth)
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        let (inner, path) = (&self.0, self.0.path(key)?);
        if locks::remove_versions(inner, key).await? {
            return Ok(());
        }
        match inner.again("delete", || async { Ok(inner.objects.delete(&path).await?) }).await {
            Err(trouble) if !trouble.is_missing() => Err(inner.explain(&trouble, "remove", key)),
            _ => Ok(()),
        }
    }

    async fn clear_uploads(&self, older_than: Duration) -> Result<u64> {
        list::clear_uploads(&self.0, older_than).await
    }

    async fn exclusive(&self) -> Result<Option<&dyn CreateIfAbsent>> {
        let can = self.0.conditional().await?;
        Ok(can.then_some(self as &dyn CreateIfAbsent))
    }

    fn locks(&self) -> Option<&dyn Locks> {
        self.0.versions.is_some().then_some(self as &dyn Locks)
    }

    fn first_versions(&self) -> Option<&dyn FirstVersions> {
        self.0.versions.is_some().then_some(self as &dyn FirstVersions)
    }
}

impl fmt::Debug for CloudStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.shown)
    }
}

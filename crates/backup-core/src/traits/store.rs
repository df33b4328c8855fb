//! The trait of a place that keeps keys and bytes.

use std::{
    fmt::{self, Debug},
    ops::Range,
};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::stream::BoxStream;

use super::{ByteStream, Finding};
use crate::words::{Key, Result};

/// What a store takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreLimits {
    /// The largest object in bytes: longer artifacts are split into volumes.
    pub object_bytes: u64,
}

impl StoreLimits {
    /// A store whose largest object has `object_bytes`.
    pub fn new(object_bytes: u64) -> Self {
        Self { object_bytes }
    }
}

/// What a store says of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Meta {
    /// Its key.
    pub key: Key,
    /// Its size in bytes.
    pub size: u64,
    /// When it was written, on the store's clock.
    pub modified: DateTime<Utc>,
}

impl Meta {
    /// An object's key, size and time.
    pub fn new(key: Key, size: u64, modified: DateTime<Utc>) -> Self {
        Self { key, size, modified }
    }
}

/// How deep a listing goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Objects and folders directly below the prefix; a folder is a [`Meta`] of size 0 whose key ends without an object.
    Children,
    /// Every object below the prefix.
    All,
}

/// A place that keeps keys and bytes. Strongly consistent: what was written is read and listed at once.
#[async_trait]
pub trait Store: Send + Sync + Debug {
    /// What it takes.
    fn limits(&self) -> StoreLimits;

    /// Begins an upload of unknown length. Nothing is visible before [`Upload::finish`].
    ///
    /// # Errors
    /// When the store cannot be reached or refuses.
    async fn begin(&self, key: &Key) -> Result<Box<dyn Upload>>;

    /// Writes a small object whole; an object that is there is replaced.
    ///
    /// # Errors
    /// When the store cannot be reached or refuses.
    async fn put(&self, key: &Key, body: Bytes) -> Result<Meta>;

    /// What it says of one object.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::words::ErrorKind) when there is none.
    async fn head(&self, key: &Key) -> Result<Meta>;

    /// An object's bytes, or a range of them. A range beyond the end is an error.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::words::ErrorKind) when there is none.
    async fn get(&self, key: &Key, range: Option<Range<u64>>) -> Result<(Meta, ByteStream)>;

    /// What lies below `prefix`, in any order. A prefix that is not there is an empty listing.
    fn list<'a>(&'a self, prefix: &'a Key, depth: Depth) -> BoxStream<'a, Result<Meta>>;

    /// Removes an object. A missing key is `Ok`.
    ///
    /// # Errors
    /// When the store refuses.
    async fn delete(&self, key: &Key) -> Result<()>;

    /// Removes uploads that nobody has gone on with for `older_than`, wherever the store keeps them.
    ///
    /// # Errors
    /// When the store refuses.
    async fn clear_uploads(&self, older_than: std::time::Duration) -> Result<u64>;

    /// Creating conditionally, where the store can. A store that cannot know beforehand finds out here, once: what it claims to
    /// do and does not must be `None`.
    ///
    /// # Errors
    /// When it could not find out.
    async fn exclusive(&self) -> Result<Option<&dyn CreateIfAbsent>> {
        Ok(None)
    }

    /// What the store itself does not let go before a time, where it can hold objects.
    fn locks(&self) -> Option<&dyn Locks> {
        None
    }

    /// How full it is, where the store knows.
    fn space(&self) -> Option<&dyn Space> {
        None
    }

    /// What was written first under each key, where the store keeps versions.
    fn first_versions(&self) -> Option<&dyn FirstVersions> {
        None
    }
}

/// An upload in the making. Dropped without `finish`, nothing becomes visible.
#[async_trait]
pub trait Upload: Send {
    /// Takes the next bytes.
    ///
    /// # Errors
    /// When the store failed; the upload is then lost.
    async fn write(&mut self, chunk: Bytes) -> Result<()>;

    /// Makes the object visible, whole and durable. The key must be new: an object that is there is
    /// [`ErrorKind::AlreadyExists`](crate::words::ErrorKind).
    ///
    /// # Errors
    /// When the store failed; whether the object is visible is then not known for
    /// [`ErrorKind::Unknown`](crate::words::ErrorKind), and it is not for any other kind.
    async fn finish(self: Box<Self>) -> Result<Meta>;

    /// Drops the upload and what it stored.
    ///
    /// # Errors
    /// When the store failed; a later clean-up removes the rest.
    async fn abort(self: Box<Self>) -> Result<()>;
}

/// The outcome of a conditional create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Created {
    /// We made it.
    Made(Meta),
    /// It was there.
    Exists,
}

/// Creating only what is not there, atomically.
#[async_trait]
pub trait CreateIfAbsent: Send + Sync {
    /// Writes `body` under `key` unless something is there.
    ///
    /// # Errors
    /// When it failed; [`ErrorKind::Unknown`](crate::words::ErrorKind) when it may have happened all the same: read it back.
    async fn create(&self, key: &Key, body: Bytes) -> Result<Created>;
}

/// What keeps an object from being removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Hold {
    /// Until then, by the store's retention.
    pub until: Option<DateTime<Utc>>,
    /// Until a person lifts it.
    pub legal: bool,
}

impl Hold {
    /// Held until then, and beyond with `legal`.
    pub fn new(until: Option<DateTime<Utc>>, legal: bool) -> Self {
        Self { until, legal }
    }

    /// Whether anything keeps it.
    pub fn holds(self) -> bool {
        self.legal || self.until.is_some()
    }

    /// What keeps both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { until: self.until.max(other.until), legal: self.legal || other.legal }
    }
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.until, self.legal) {
            (_, true) => f.write_str("under legal hold, until somebody lifts it"),
            (Some(until), false) => write!(f, "locked until {}", until.format("%Y-%m-%d %H:%M UTC")),
            (None, false) => f.write_str("not locked"),
        }
    }
}

/// Objects that the store itself does not let go before a time.
#[async_trait]
pub trait Locks: Send + Sync {
    /// What keeps the object; nothing for one that is not there.
    ///
    /// # Errors
    /// When the store does not say.
    async fn hold(&self, key: &Key) -> Result<Hold>;

    /// What the store says of versions and locks, and what that means.
    async fn findings(&self) -> Vec<Finding>;
}

/// What was written first under each key, though it was hidden by a removal or written over since: every object of a
/// repository is written once, so that the first version is the true one.
#[async_trait]
pub trait FirstVersions: Send + Sync {
    /// The first version of every object below `prefix` that has one left, in any order.
    fn list_first<'a>(&'a self, prefix: &'a Key) -> BoxStream<'a, Result<Meta>>;

    /// Bytes of an object's first version, or a range of them. A range beyond the end is an error.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::words::ErrorKind) when it has none left.
    async fn get_first(&self, key: &Key, range: Option<Range<u64>>) -> Result<(Meta, ByteStream)>;
}

/// How full a store is.
#[async_trait]
pub trait Space: Send + Sync {
    /// Bytes free for us, and bytes in all.
    ///
    /// # Errors
    /// When the store does not say.
    async fn space(&self) -> Result<(u64, u64)>;

    /// Keeps `bytes` free for us until the reservation is dropped.
    ///
    /// # Errors
    /// [`ErrorKind::NoSpace`](crate::words::ErrorKind) when there is not that much.
    async fn reserve(&self, bytes: u64) -> Result<Box<dyn Reservation>>;
}

/// Space kept free; dropping it frees it.
pub trait Reservation: Send + Sync + Debug {}

//! A session's bytes in several stores: read from the nearest that has them right.

use std::{
    collections::BTreeSet,
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};

use crate::{
    traits::{
        ByteStream, Context, CreateIfAbsent, Depth, Event, Locks, Meta, Observer, Space, Store, StoreLimits,
        Upload,
    },
    words::{Error, ErrorKind, Key, Result, Volume},
};

use super::{hash_object, same_digest};

/// Several stores that hold the same, the nearest first; all that is not reading goes to it. What one lacks, or fails to give in
/// the middle, is read from the next from there on, and that is said.
#[derive(Clone, Debug)]
pub(crate) struct NearestStore {
    stores: Arc<[(String, Arc<dyn Store>)]>,
    /// Objects that are known to be bad in the store at that place.
    bad: Arc<Mutex<BTreeSet<(usize, Key)>>>,
    observer: Arc<dyn Observer>,
}

impl NearestStore {
    /// `stores` with their names for people; at least one.
    pub(crate) fn new(stores: Vec<(String, Arc<dyn Store>)>, observer: Arc<dyn Observer>) -> Self {
        Self { stores: stores.into(), bad: Arc::default(), observer }
    }

    /// Looks for a store that has the object with the right bytes: later reads take that one.
    ///
    /// # Errors
    /// When none has; the nearest store's reason.
    pub(crate) async fn settle(&self, cx: &Context, volume: &Volume) -> Result<()> {
        let mut first_error = None;
        for at in self.good_for(&volume.key) {
            let (_, store) = &self.stores[at];
            let looked = async {
                let found = hash_object(cx, store, &volume.key).await?;
                same_digest(volume.key.as_str(), &volume.stored, &found)
            };
            match looked.await {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Cancelled => return Err(error),
                Err(error) => {
                    self.give_up(at, &volume.key, &error);
                    first_error = first_error.or(Some(error));
                }
            }
        }
        Err(first_error.unwrap_or_else(|| nowhere(&volume.key)))
    }

    /// Whether another store could have what the nearest lacks.
    pub(crate) fn has_others(&self) -> bool {
        self.stores.len() > 1
    }

    fn nearest(&self) -> &Arc<dyn Store> {
        &self.stores[0].1
    }

    /// Places of the stores where the object is not known to be bad.
    fn good_for(&self, key: &Key) -> Vec<usize> {
        let bad = self.bad.lock().unwrap_or_else(PoisonError::into_inner);
        (0..self.stores.len()).filter(|at| !bad.contains(&(*at, key.clone()))).collect()
    }

    fn give_up(&self, at: usize, key: &Key, error: &Error) {
        let fresh = self.bad.lock().unwrap_or_else(PoisonError::into_inner).insert((at, key.clone()));
        let next = self.good_for(key).first().map(|next| self.stores[*next].0.clone());
        if let (true, Some(next)) = (fresh, next) {
            let message =
                format!("{key} in store {}: {}; read from store {next}", self.stores[at].0, error.chain());
            self.observer.event(Event::Warning { component: None, message });
        }
    }

    /// Opens the object, or its rest from `from` on, in the first store that gives it.
    async fn open(&self, key: &Key, range: Option<Range<u64>>) -> Result<(Meta, ByteStream, usize)> {
        let mut first_error = None;
        for at in self.good_for(key) {
            match self.stores[at].1.get(key, range.clone()).await {
                Ok((meta, bytes)) => return Ok((meta, bytes, at)),
                Err(error) => {
                    self.give_up(at, key, &error);
                    first_error = first_error.or(Some(error));
                }
            }
        }
        Err(first_error.unwrap_or_else(|| nowhere(key)))
    }
}

fn nowhere(key: &Key) -> Error {
    Error::new(ErrorKind::Corrupt, "read", key.to_string()).detail("no store has it with the right bytes")
}

/// A read that goes on elsewhere where it broke.
struct Reading {
    nearest: NearestStore,
    key: Key,
    bytes: ByteStream,
    at: usize,
    /// What is still to come.
    rest: Range<u64>,
}

impl Reading {
    async fn next(mut self) -> Option<(Result<Bytes>, Option<Self>)> {
        loop {
            let error = match self.bytes.next().await {
                None => return None,
                Some(Ok(chunk)) => {
                    self.rest.start += chunk.len() as u64;
                    return Some((Ok(chunk), Some(self)));
                }
                Some(Err(error)) => error,
            };
            self.nearest.give_up(self.at, &self.key, &error);
            if self.rest.is_empty() {
                return None;
            }
            match self.nearest.open(&self.key, Some(self.rest.clone())).await {
                Ok((_, bytes, at)) => (self.bytes, self.at) = (bytes, at),
                Err(_) => return Some((Err(error), None)),
            }
        }
    }
}

#[async_trait]
impl Store for NearestStore {
    fn limits(&self) -> StoreLimits {
        self.nearest().limits()
    }

    async fn begin(&self, key: &Key) -> Result<Box<dyn Upload>> {
        self.nearest().begin(key).await
    }

    async fn put(&self, key: &Key, body: Bytes) -> Result<Meta> {
        self.nearest().put(key, body).await
    }

    async fn head(&self, key: &Key) -> Result<Meta> {
        self.nearest().head(key).await
    }

    async fn get(&self, key: &Key, range: Option<Range<u64>>) -> Result<(Meta, ByteStream)> {
        let (meta, bytes, at) = self.open(key, range.clone()).await?;
        if !self.has_others() {
            return Ok((meta, bytes));
        }
        let rest = range.unwrap_or(0..meta.size);
        let reading = Reading { nearest: self.clone(), key: key.clone(), bytes, at, rest };
        let bytes = stream::unfold(Some(reading), |reading| async { reading?.next().await });
        Ok((meta, bytes.boxed()))
    }

    fn list<'a>(&'a self, prefix: &'a Key, depth: Depth) -> BoxStream<'a, Result<Meta>> {
        self.nearest().list(prefix, depth)
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        self.nearest().delete(key).await
    }

    async fn clear_uploads(&self, older_than: Duration) -> Result<u64> {
        self.nearest().clear_uploads(older_than).await
    }

    async fn exclusive(&self) -> Result<Option<&dyn CreateIfAbsent>> {
        self.nearest().exclusive().await
    }

    fn locks(&self) -> Option<&dyn Locks> {
        self.nearest().locks()
    }

    fn space(&self) -> Option<&dyn Space> {
        self.nearest().space()
    }
}

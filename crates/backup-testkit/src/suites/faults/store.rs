//! The store itself.

use std::{collections::BTreeMap, fmt, ops::Range, sync::Arc, time::Duration};

use async_trait::async_trait;
use backup_core::{
    traits::{
        ByteStream, CreateIfAbsent, Created, Depth, Locks, Meta, Reservation, Space, Store, StoreLimits,
        Upload,
    },
    words::{Error, ErrorKind, Key, Result},
};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream, stream::BoxStream};

use super::{
    Call, Fault, Script, Trace,
    control::Control,
    streams::{FaultyUpload, faulty_read},
};

/// A store that goes wrong when its script says so. Clones share count, script, trace and fate; another
/// [`new`](Self::new) over the same store is another host with a fate of its own.
#[derive(Clone)]
pub struct FaultyStore {
    inner: Arc<dyn Store>,
    control: Arc<Control>,
    exclusive: bool,
}

impl FaultyStore {
    /// `inner`, seen by a host called `name`; nothing goes wrong until a script is given.
    pub fn new(name: impl Into<String>, inner: Arc<dyn Store>, trace: Trace) -> Self {
        let control = Control::new(name.into(), trace, Box::new(Vec::new()));
        Self { inner, control: Arc::new(control), exclusive: true }
    }

    /// The same store, which does not say that it creates conditionally.
    #[must_use]
    pub fn without_exclusive(mut self) -> Self {
        self.exclusive = false;
        self
    }

    /// What goes wrong from now on. Numbers go on.
    pub fn script(&self, script: impl Script + 'static) {
        self.control.set_script(Box::new(script));
    }

    /// How many operations there were.
    pub fn operations(&self) -> u64 {
        self.control.operations()
    }

    /// How many of each kind.
    pub fn counts(&self) -> BTreeMap<Call, u64> {
        self.control.counts()
    }

    /// True once the host is dead: nothing reaches the store any more.
    pub fn is_dead(&self) -> bool {
        self.control.is_dead()
    }

    /// Waits until the host is dead.
    pub async fn died(&self) {
        self.control.died().await;
    }

    /// Kills the host now.
    pub fn kill(&self) {
        self.control.die();
    }

    async fn op<T>(&self, call: Call, key: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
        if self.is_dead() {
            return self.control.dead().await;
        }
        self.control.run(&self.control.turn(call, key), work).await
    }

    /// A listing of what is there when it begins, given when it is done; half of it when it breaks off.
    async fn listing(&self, prefix: &Key, depth: Depth) -> Result<Vec<Result<Meta>>> {
        if self.is_dead() {
            return self.control.dead().await;
        }
        let turn = self.control.turn(Call::List, prefix.as_str());
        let metas: Vec<Meta> = match turn.fault() {
            Some(Fault::DieBefore | Fault::Before(_)) => Vec::new(),
            _ => self.inner.list(prefix, depth).try_collect().await?,
        };
        let mut shown: Vec<Result<Meta>> = metas.into_iter().map(Ok).collect();
        if turn.fault() == Some(Fault::Midway) {
            self.control.tell(&turn, "breaks off");
            shown.truncate(shown.len() / 2);
            shown.push(Err(turn.error(ErrorKind::Unreachable, "breaks off")));
            return Ok(shown);
        }
        self.control.run(&turn, async { Ok(shown) }).await
    }
}

impl fmt::Debug for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a faulty view of {:?}", self.inner)
    }
}

#[async_trait]
impl Store for FaultyStore {
    fn limits(&self) -> StoreLimits {
        self.inner.limits()
    }

    async fn begin(&self, key: &Key) -> Result<Box<dyn Upload>> {
        let inner = self.op(Call::Begin, key.as_str(), self.inner.begin(key)).await?;
        Ok(Box::new(FaultyUpload::new(inner, key, &self.control)))
    }

    async fn put(&self, key: &Key, body: Bytes) -> Result<Meta> {
        self.op(Call::Put, key.as_str(), self.inner.put(key, body)).await
    }

    async fn head(&self, key: &Key) -> Result<Meta> {
        self.op(Call::Head, key.as_str(), self.inner.head(key)).await
    }

    async fn get(&self, key: &Key, range: Option<Range<u64>>) -> Result<(Meta, ByteStream)> {
        if self.is_dead() {
            return self.control.dead().await;
        }
        let turn = self.control.turn(Call::Get, key.as_str());
        if let Some(cut @ (Fault::Midway | Fault::Short)) = turn.fault() {
            let (meta, stream) = self.inner.get(key, range.clone()).await?;
            let asked = range.map_or(meta.size, |range| range.end - range.start);
            self.control.tell(&turn, if cut == Fault::Short { "ends early" } else { "breaks off" });
            let error = (cut == Fault::Midway).then(|| turn.error(ErrorKind::Unreachable, "breaks off"));
            return Ok((meta, faulty_read(stream, key, &self.control, Some((asked / 2, error)))));
        }
        let (meta, stream) = self.control.run(&turn, self.inner.get(key, range)).await?;
        Ok((meta, faulty_read(stream, key, &self.control, None)))
    }

    fn list<'a>(&'a self, prefix: &'a Key, depth: Depth) -> BoxStream<'a, Result<Meta>> {
        stream::once(self.listing(prefix, depth))
            .flat_map(|listed| stream::iter(listed.unwrap_or_else(|error| vec![Err(error)])))
            .boxed()
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        self.op(Call::Delete, key.as_str(), self.inner.delete(key)).await
    }

    async fn clear_uploads(&self, older_than: Duration) -> Result<u64> {
        self.op(Call::ClearUploads, "", self.inner.clear_uploads(older_than)).await
    }

    async fn exclusive(&self) -> Result<Option<&dyn CreateIfAbsent>> {
        if self.is_dead() {
            return self.control.dead().await;
        }
        let can = self.exclusive && self.inner.exclusive().await?.is_some();
        Ok(can.then_some(self as &dyn CreateIfAbsent))
    }

    fn locks(&self) -> Option<&dyn Locks> {
        self.inner.locks()
    }

    fn space(&self) -> Option<&dyn Space> {
        self.inner.space().is_some().then_some(self as &dyn Space)
    }
}

#[async_trait]
impl CreateIfAbsent for FaultyStore {
    async fn create(&self, key: &Key, body: Bytes) -> Result<Created> {
        let create = async {
            match self.inner.exclusive().await? {
                Some(exclusive) => exclusive.create(key, body).await,
                None => Err(Error::new(ErrorKind::Unsupported, "create", key.to_string())),
            }
        };
        self.op(Call::Create, key.as_str(), create).await
    }
}

impl FaultyStore {
    fn inner_space(&self) -> Result<&dyn Space> {
        self.inner.space().ok_or_else(|| Error::new(ErrorKind::Unsupported, "measure", "the store"))
    }
}

#[async_trait]
impl Space for FaultyStore {
    async fn space(&self) -> Result<(u64, u64)> {
        self.op(Call::Space, "", self.inner_space()?.space()).await
    }

    async fn reserve(&self, bytes: u64) -> Result<Box<dyn Reservation>> {
        self.op(Call::Reserve, "", self.inner_space()?.reserve(bytes)).await
    }
}

//! A store whose every operation waits for its turn, and a search through all orders of turns.

use std::{
    cell::Cell,
    collections::{BTreeSet, hash_map::DefaultHasher},
    future::Future,
    hash::{Hash, Hasher},
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context as TaskContext, Poll, Waker},
};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::stream::BoxStream;

use super::super::{FORMAT, Manifest, Repository, Status, session_key};
use crate::{
    stores::MemoryStore,
    traits::{ByteStream, CreateIfAbsent, Created, Depth, Meta, Store, StoreLimits, Upload},
    words::{
        Artifact, Codec, ComponentRecord, ComponentStatus, Digest, Key, Kind, Result, SessionId, SessionType,
        Volume,
    },
};

/// Lets each operation wait for its turn once, so that whoever polls decides on the order. Reading an object that is found in a
/// listing is no step of its own: it was written whole and is never rewritten.
#[derive(Clone, Debug)]
struct Stepped(MemoryStore);

async fn turn() {
    let mut waited = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut waited, true) {
            return Poll::Ready(());
        }
        // Streams of several futures poll only those that woke them.
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[async_trait]
impl Store for Stepped {
    fn limits(&self) -> StoreLimits {
        self.0.limits()
    }
    async fn begin(&self, key: &Key) -> Result<Box<dyn Upload>> {
        turn().await;
        self.0.begin(key).await
    }
    async fn put(&self, key: &Key, body: Bytes) -> Result<Meta> {
        turn().await;
        self.0.put(key, body).await
    }
    async fn head(&self, key: &Key) -> Result<Meta> {
        turn().await;
        self.0.head(key).await
    }
    async fn get(&self, key: &Key, range: Option<std::ops::Range<u64>>) -> Result<(Meta, ByteStream)> {
        self.0.get(key, range).await
    }
    fn list<'a>(&'a self, prefix: &'a Key, depth: Depth) -> BoxStream<'a, Result<Meta>> {
        use futures::StreamExt;
        futures::stream::once(turn()).flat_map(move |()| self.0.list(prefix, depth)).boxed()
    }
    async fn delete(&self, key: &Key) -> Result<()> {
        turn().await;
        self.0.delete(key).await
    }
    async fn clear_uploads(&self, older_than: std::time::Duration) -> Result<u64> {
        self.0.clear_uploads(older_than).await
    }
    async fn exclusive(&self) -> Result<Option<&dyn CreateIfAbsent>> {
        Ok(Some(self))
    }
}

#[async_trait]
impl CreateIfAbsent for Stepped {
    async fn create(&self, key: &Key, body: Bytes) -> Result<Created> {
        turn().await;
        self.0.create(key, body).await
    }
}

pub(super) fn now() -> DateTime<Utc> {
    "2026-01-05T02:00:00Z".parse().unwrap()
}

pub(super) fn id() -> SessionId {
    SessionId::at(now())
}

pub(super) fn data_key() -> Key {
    Key::new("daily/db/db_backup_20260105_020000.bin.gz").unwrap()
}

pub(super) fn manifest() -> Manifest {
    let digest = Digest::of(b"bytes");
    let artifact = Artifact {
        name: "db_backup_20260105_020000.bin".into(),
        suffix: None,
        media_type: "application/octet-stream".into(),
        plain: digest.clone(),
        codec: Codec::None,
        recipients: Vec::new(),
        volumes: vec![Volume { key: data_key(), stored: digest }],
        parts: Vec::new(),
        needs: Vec::new(),
        evidence: Vec::new(),
    };
    let record = ComponentRecord {
        name: "db".into(),
        kind: Kind { name: "scripted".into(), format: 1 },
        status: ComponentStatus::Success,
        point: None,
        facts: Default::default(),
        duration_seconds: 0.0,
        errors: Vec::new(),
        warnings: Vec::new(),
        coverage: Vec::new(),
        artifacts: vec![artifact],
    };
    Manifest {
        rewrapped_from: None,
        format: FORMAT,
        requires: Vec::new(),
        repository: "r".into(),
        nonce: "n".into(),
        session: id(),
        job: "full".into(),
        session_type: SessionType::Daily,
        type_reason: String::new(),
        name: "crm".into(),
        host: "h".into(),
        tool: "t".into(),
        status: Status::Success,
        start: now(),
        end: now(),
        skew_seconds: 0.0,
        components: vec![record],
    }
}

/// What the actors said.
#[derive(Clone, Default)]
pub(super) struct Said {
    pub(super) success: Rc<Cell<bool>>,
    pub(super) retention_removed: Rc<Cell<bool>>,
    /// How many pins were granted.
    pub(super) pinned: Rc<Cell<usize>>,
}

pub(super) type Actor = Pin<Box<dyn Future<Output = ()>>>;
pub(super) type Role = fn(Repository, Said) -> Actor;

/// What there is before anybody moves.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// Bytes and a claim.
    Running,
    /// And the manifest.
    Committed,
    /// And an unpin: numbers are taken whose pins are not there.
    Unpinned,
}

pub(super) struct World {
    memory: MemoryStore,
    actors: Vec<Option<Actor>>,
    said: Said,
    /// What each actor found at each of its steps.
    found: Vec<Vec<u64>>,
}

fn poll_now<F: Future + Unpin>(mut future: F) -> Poll<F::Output> {
    Pin::new(&mut future).poll(&mut TaskContext::from_waker(Waker::noop()))
}

/// Runs a future to its end, whoever waits for a turn.
pub(super) fn finished<T>(future: &mut (impl Future<Output = T> + Unpin)) -> T {
    loop {
        if let Poll::Ready(value) = poll_now(&mut *future) {
            return value;
        }
    }
}

/// Runs a future over a store that never waits.
fn ready<T>(future: impl Future<Output = T>) -> T {
    match poll_now(Box::pin(future)) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("a store in memory never waits"),
    }
}

impl World {
    pub(super) fn new(start: Start, roles: &[Role], schedule: &[usize]) -> Self {
        let memory = MemoryStore::new();
        ready(async {
            memory.put(&data_key(), Bytes::from_static(b"bytes")).await.unwrap();
            let claim = session_key(id(), "begin.json").unwrap();
            memory.put(&claim, Bytes::from_static(b"{}")).await.unwrap();
            if start != Start::Running {
                let body = serde_json::to_vec(&manifest()).unwrap();
                memory.put(&session_key(id(), "manifest.json").unwrap(), body.into()).await.unwrap();
            }
            if start == Start::Unpinned {
                memory.put(&session_key(id(), "unpin-1.json").unwrap(), "{}".into()).await.unwrap();
            }
            Repository::init(Arc::new(memory.clone()), "crm", now()).await.unwrap();
        });
        let said = Said::default();
        let actors: Vec<_> = roles
            .iter()
            .map(|role| {
                let stepped: Arc<dyn Store> = Arc::new(Stepped(memory.clone()));
                // Opening the repository is one step too; it is done before the race begins.
                let repository = finished(&mut Box::pin(Repository::open(stepped))).unwrap();
                Some(role(repository, said.clone()))
            })
            .collect();
        let found = vec![Vec::new(); actors.len()];
        let mut world = Self { memory, actors, said, found };
        for &actor in schedule {
            world.step(actor);
            world.check(schedule);
        }
        world
    }

    fn step(&mut self, index: usize) {
        let there = hash(&self.names());
        if let Some(actor) = &mut self.actors[index] {
            self.found[index].push(there);
            if poll_now(actor).is_ready() {
                self.actors[index] = None;
            }
        }
    }

    fn alive(&self) -> Vec<usize> {
        (0..self.actors.len()).filter(|&index| self.actors[index].is_some()).collect()
    }

    /// Every key, without the random parts of names.
    fn names(&self) -> Vec<String> {
        let plain = |key: String| match key.rsplit_once('-') {
            Some((head, tail)) if tail.len() > 32 => format!("{head}-*"),
            _ => key,
        };
        self.memory.keys().into_iter().map(plain).collect()
    }

    /// Equal for two schedules after which the same can happen: nothing is rewritten, so what an actor knows is which keys it
    /// has found, and when; of one that has ended only what it said is left.
    fn signature(&self) -> u64 {
        let knows: Vec<Option<&Vec<u64>>> =
            self.actors.iter().zip(&self.found).map(|(actor, found)| actor.as_ref().map(|_| found)).collect();
        let said = (self.said.success.get(), self.said.retention_removed.get(), self.said.pinned.get());
        hash(&(knows, said, self.names()))
    }

    fn check(&self, schedule: &[usize]) {
        let keys = self.memory.keys();
        let has = |part: &str| keys.iter().any(|key| key.contains(part));
        let good = has("/manifest.json") && !has("/purge-");
        assert!(!good || has("daily/db/"), "a session looks good without its bytes: {schedule:?}\n{keys:#?}");
        if self.said.success.get() && !self.said.retention_removed.get() {
            assert!(good, "a run that reported success was lost: {schedule:?}\n{keys:#?}");
        }
        if self.said.pinned.get() > 0 {
            assert!(good, "a pinned session was removed: {schedule:?}\n{keys:#?}");
            let names: Vec<String> =
                keys.iter().map(|key| key.rsplit('/').next().unwrap().to_owned()).collect();
            assert!(
                super::super::pins::Marks::of(&names).pinned(),
                "a pin was taken back: {schedule:?}\n{keys:#?}"
            );
        }
    }
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// Tries every schedule, but one of those that end alike; each prefix is also the crash of all who have not ended. Once a purge
/// stands, only the first `looking` actors go on: who only deletes changes nothing that they look for. Returns how many states
/// there were.
pub(super) fn explore(start: Start, roles: &[Role], looking: usize) -> usize {
    let mut stack = vec![Vec::new()];
    let mut seen = BTreeSet::new();
    while let Some(schedule) = stack.pop() {
        let world = World::new(start, roles, &schedule);
        if !seen.insert(world.signature()) {
            continue;
        }
        let purged = world.names().iter().any(|name| name.contains("/purge-"));
        for actor in world.alive().into_iter().filter(|actor| !purged || *actor < looking) {
            let mut next = schedule.clone();
            next.push(actor);
            stack.push(next);
        }
    }
    seen.len()
}

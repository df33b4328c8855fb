//! Commit against removal: every interleaving of two actors, and many of three, each actor also dying anywhere.

use std::{
    cell::Cell,
    future::Future,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context as TaskContext, Poll, Waker},
};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::stream::BoxStream;

use super::{
    FORMAT, Leftover, LeftoverKind, Manifest, Removed, Repository, SessionState, Status, create_json,
    session_key,
};
use crate::{
    stores::MemoryStore,
    traits::{ByteStream, CreateIfAbsent, Created, Depth, Meta, Store, StoreLimits, Upload},
    words::{
        Artifact, Codec, ComponentRecord, ComponentStatus, Digest, Key, Kind, Result, SessionId, SessionType,
        Volume,
    },
};

/// Lets each operation wait for its turn once, so that whoever polls decides on the order.
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
        turn().await;
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

fn now() -> DateTime<Utc> {
    "2026-01-05T02:00:00Z".parse().unwrap()
}

fn id() -> SessionId {
    SessionId::at(now())
}

fn data_key() -> Key {
    Key::new("daily/db/db_backup_20260105_020000.bin.gz").unwrap()
}

fn manifest() -> Manifest {
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
struct Said {
    success: Rc<Cell<bool>>,
    retention_removed: Rc<Cell<bool>>,
}

type Actor = Pin<Box<dyn Future<Output = ()>>>;

fn writer(repository: Repository, said: Said) -> Actor {
    Box::pin(async move {
        let key = session_key(id(), "manifest.json").unwrap();
        if let Ok(Created::Made(_)) = create_json(&repository.store, &key, &manifest()).await
            && repository.look_for_removals(id()).await.is_ok()
        {
            said.success.set(true);
        }
    })
}

/// Takes the run for dead and clears it.
fn cleaner(repository: Repository, _: Said) -> Actor {
    Box::pin(async move {
        let leftover =
            Leftover { session: id(), kind: LeftoverKind::DeadRun, keys: vec![data_key()], bytes: 5 };
        repository.clear(&leftover, now()).await.unwrap();
    })
}

fn retention(repository: Repository, said: Said) -> Actor {
    Box::pin(async move {
        let Ok(entry) = repository.session(id(), now()).await else { return };
        // Set before the removal: it may die after its purge.
        if entry.state == SessionState::Committed {
            said.retention_removed.set(true);
        }
        if let Ok(Removed::Stays(_)) = repository.remove(&entry, "old", now()).await {
            said.retention_removed.set(false);
        }
    })
}

/// Finishes whatever removal it sees.
fn finisher(repository: Repository, _: Said) -> Actor {
    Box::pin(async move {
        let Ok(sessions) = repository.sessions(now()).await else { return };
        for leftover in repository.leftovers(&sessions, now()).await.unwrap() {
            if leftover.kind == LeftoverKind::UnfinishedRemoval {
                repository.clear(&leftover, now()).await.unwrap();
            }
        }
    })
}

type Role = fn(Repository, Said) -> Actor;

struct World {
    memory: MemoryStore,
    actors: Vec<Option<Actor>>,
    said: Said,
}

fn poll_now<F: Future + Unpin>(mut future: F) -> Poll<F::Output> {
    Pin::new(&mut future).poll(&mut TaskContext::from_waker(Waker::noop()))
}

/// Runs a future over a store that never waits.
fn ready<T>(future: impl Future<Output = T>) -> T {
    match poll_now(Box::pin(future)) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("a store in memory never waits"),
    }
}

impl World {
    fn new(roles: &[Role], schedule: &[usize]) -> Self {
        let memory = MemoryStore::new();
        ready(async {
            memory.put(&data_key(), Bytes::from_static(b"bytes")).await.unwrap();
            let claim = session_key(id(), "begin.json").unwrap();
            memory.put(&claim, Bytes::from_static(b"{}")).await.unwrap();
            Repository::init(Arc::new(memory.clone()), "crm", now()).await.unwrap();
        });
        let said = Said::default();
        let actors = roles
            .iter()
            .map(|role| {
                let stepped: Arc<dyn Store> = Arc::new(Stepped(memory.clone()));
                // Opening the repository is one step too; it is done before the race begins.
                let mut opening = Box::pin(Repository::open(stepped));
                let repository = loop {
                    if let Poll::Ready(repository) = poll_now(&mut opening) {
                        break repository.unwrap();
                    }
                };
                Some(role(repository, said.clone()))
            })
            .collect();
        let mut world = Self { memory, actors, said };
        for &actor in schedule {
            world.step(actor);
            world.check(schedule);
        }
        world
    }

    fn step(&mut self, index: usize) {
        if let Some(actor) = &mut self.actors[index]
            && poll_now(actor).is_ready()
        {
            self.actors[index] = None;
        }
    }

    fn alive(&self) -> Vec<usize> {
        (0..self.actors.len()).filter(|&index| self.actors[index].is_some()).collect()
    }

    fn check(&self, schedule: &[usize]) {
        let keys = self.memory.keys();
        let has = |part: &str| keys.iter().any(|key| key.contains(part));
        let good = has("/manifest.json") && !has("/purge-");
        assert!(!good || has("daily/db/"), "a session looks good without its bytes: {schedule:?}\n{keys:#?}");
        if self.said.success.get() && !self.said.retention_removed.get() {
            assert!(good, "a run that reported success was lost: {schedule:?}\n{keys:#?}");
        }
    }
}

/// Tries every schedule; each prefix is also the crash of all who have not ended. Returns how many there were.
fn explore(roles: &[Role]) -> usize {
    let mut stack = vec![Vec::new()];
    let mut count = 0;
    while let Some(schedule) = stack.pop() {
        let world = World::new(roles, &schedule);
        count += 1;
        for actor in world.alive() {
            let mut next = schedule.clone();
            next.push(actor);
            stack.push(next);
        }
    }
    count
}

#[test]
fn commit_and_clean_up_of_a_run_taken_for_dead_never_both_win() {
    let schedules = explore(&[writer, cleaner]);
    assert!(schedules > 100, "only {schedules} schedules: the actors did not interleave");
}

#[test]
fn a_committed_session_is_never_good_without_its_bytes_while_it_is_removed() {
    let schedules = explore(&[writer, retention]);
    assert!(schedules > 100, "only {schedules} schedules: the actors did not interleave");
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(2_000))]
    #[test]
    fn three_actors_in_any_order_lose_nothing(
        schedule in proptest::collection::vec(0_usize..3, 0..80),
        trio in 0_usize..4,
    ) {
        let trios: [[Role; 3]; 4] =
            [[writer, cleaner, cleaner], [writer, cleaner, finisher], [writer, retention, cleaner], [writer, retention, finisher]];
        World::new(&trios[trio], &schedule);
    }
}

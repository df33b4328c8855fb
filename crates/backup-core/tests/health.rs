//! `health` over a store in memory: what the engine gathers, and how often it asks for it.

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use backup_core::{
    engine::{BackupRequest, Engine, HealthReport, Level},
    policy::{HealthState, Scope},
    repository::{Begin, ProcessIdentity},
    stores::MemoryStore,
    traits::{
        ArtifactSpec, ByteStream, Capture, CaptureAsk, Captured, Clock, Component, Context, CreateIfAbsent,
        Depth, EndEvidence, Meta, Sink, Store, StoreLimits, Upload,
    },
    words::{ErrorKind, Key, Kind, Point, Result, SessionId, Span},
};
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use futures::stream::BoxStream;

/// A clock that is set.
#[derive(Debug)]
struct Hands(Mutex<DateTime<Utc>>);

impl Clock for Hands {
    fn now(&self) -> DateTime<Utc> {
        *self.0.lock().unwrap()
    }
}

/// Backs up a text and says how many rows it has, as it is told.
#[derive(Debug)]
struct Counted(Arc<AtomicU64>);

#[async_trait]
impl Component for Counted {
    fn kind(&self) -> Kind {
        Kind { name: "counted".into(), format: 1 }
    }

    async fn open(&self, cx: &Context, _: &CaptureAsk) -> Result<Box<dyn Capture>> {
        let point = Point::pinned(Span { from: cx.now(), to: cx.now() });
        Ok(Box::new(CountedCapture(point, self.0.load(Ordering::SeqCst))))
    }
}

#[derive(Debug)]
struct CountedCapture(Point, u64);

#[async_trait]
impl Capture for CountedCapture {
    async fn run(self: Box<Self>, _: &Context, sink: &dyn Sink) -> Result<Captured> {
        let mut writer = sink.create(ArtifactSpec::new("txt", "text/plain")).await?;
        writer.write(Bytes::from_static(b"text")).await?;
        let receipt = writer.finish(EndEvidence::new("all of it was written")).await?;
        Ok(Captured::new(self.0, vec![receipt]).fact("rows", self.1))
    }
}

/// Counts what is asked of it, and hangs when told to.
#[derive(Clone, Debug)]
struct Watched {
    inner: MemoryStore,
    lists: Arc<AtomicU64>,
    reads: Arc<Mutex<BTreeMap<String, u64>>>,
    hangs: bool,
}

#[async_trait]
impl Store for Watched {
    fn limits(&self) -> StoreLimits {
        self.inner.limits()
    }
    async fn begin(&self, key: &Key) -> Result<Box<dyn Upload>> {
        self.inner.begin(key).await
    }
    async fn put(&self, key: &Key, body: Bytes) -> Result<Meta> {
        self.inner.put(key, body).await
    }
    async fn head(&self, key: &Key) -> Result<Meta> {
        self.inner.head(key).await
    }
    async fn get(&self, key: &Key, range: Option<Range<u64>>) -> Result<(Meta, ByteStream)> {
        *self.reads.lock().unwrap().entry(key.file_name().to_owned()).or_default() += 1;
        self.inner.get(key, range).await
    }
    fn list<'a>(&'a self, prefix: &'a Key, depth: Depth) -> BoxStream<'a, Result<Meta>> {
        self.lists.fetch_add(1, Ordering::SeqCst);
        if self.hangs {
            return Box::pin(futures::stream::pending());
        }
        self.inner.list(prefix, depth)
    }
    async fn delete(&self, key: &Key) -> Result<()> {
        self.inner.delete(key).await
    }
    async fn clear_uploads(&self, older_than: std::time::Duration) -> Result<u64> {
        self.inner.clear_uploads(older_than).await
    }
    async fn exclusive(&self) -> Result<Option<&dyn CreateIfAbsent>> {
        self.inner.exclusive().await
    }
}

struct Rig {
    store: MemoryStore,
    rows: Arc<AtomicU64>,
    clock: Arc<Hands>,
    cx: Context,
}

impl Rig {
    /// The clock stands ahead of the store's, so that no object is from the future.
    async fn new() -> Self {
        let clock = Arc::new(Hands(Mutex::new("2099-06-08T02:00:00Z".parse().unwrap())));
        let cx = Context::new().with_clock(clock.clone());
        let rig = Self { store: MemoryStore::new(), rows: Arc::new(AtomicU64::new(1000)), clock, cx };
        rig.engine(Arc::new(rig.store.clone())).init(&rig.cx).await.unwrap();
        rig
    }

    fn engine(&self, store: Arc<dyn Store>) -> Engine {
        let component = Arc::new(Counted(self.rows.clone()));
        Engine::builder("crm").store("memory", store).component("pg", component).build().unwrap()
    }

    fn wait(&self, length: TimeDelta) {
        *self.clock.0.lock().unwrap() += length;
    }

    async fn days(&self, number: usize) {
        let engine = self.engine(Arc::new(self.store.clone()));
        for _ in 0..number {
            self.wait(TimeDelta::days(1));
            engine.backup(&self.cx, &BackupRequest::new("full")).await.unwrap();
        }
    }

    async fn health(&self) -> HealthReport {
        self.engine(Arc::new(self.store.clone())).health(&self.cx).await.unwrap()
    }
}

/// What is not well, as "check: message".
fn wrong(report: &HealthReport) -> Vec<String> {
    let bad = report.checks.iter().filter(|check| check.state != HealthState::Ok);
    bad.map(|check| format!("{}: {}", check.check, check.message)).collect()
}

#[tokio::test]
async fn fewer_rows_than_before_are_seen_in_the_first_session_that_has_them() {
    let rig = Rig::new().await;
    rig.days(3).await;
    assert_eq!(wrong(&rig.health().await), Vec::<String>::new());
    rig.rows.store(500, Ordering::SeqCst);
    rig.days(1).await;
    let report = rig.health().await;
    assert_eq!(report.state, HealthState::Critical);
    let said = wrong(&report);
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(
        said[0].starts_with("rows: 50 % fewer rows: 500; median of the 3 before: 1000, in backup_"),
        "{said:?}"
    );
}

#[tokio::test]
async fn a_session_grows_old_and_a_verification_too() {
    let rig = Rig::new().await;
    rig.days(2).await;
    let engine = rig.engine(Arc::new(rig.store.clone()));
    engine.verify(&rig.cx, "latest", Level::Content).await.unwrap();
    rig.wait(TimeDelta::hours(25));
    assert_eq!(wrong(&rig.health().await), Vec::<String>::new());
    rig.wait(TimeDelta::days(8));
    let said = wrong(&rig.health().await);
    assert_eq!(said.len(), 3, "{said:?}");
    assert!(said[0].starts_with("age: newest good session is 9 days old (at most 25 h)"), "{said:?}");
    assert!(said[2].starts_with("verified: content of backup_"), "{said:?}");
}

#[tokio::test]
async fn a_run_that_died_is_told_from_one_that_goes_on() {
    let rig = Rig::new().await;
    rig.days(1).await;
    rig.wait(TimeDelta::hours(1));
    let alive = ProcessIdentity::current();
    let put = |process: ProcessIdentity| {
        let now = rig.cx.now();
        let session = SessionId::at(now);
        let begin = Begin {
            repository: "x".into(),
            session,
            job: "full".into(),
            nonce: "n".into(),
            home: true,
            process,
            begun: now,
            deadline: now + TimeDelta::minutes(10),
        };
        let key = Key::new(format!("sessions/{session}/begin.json")).unwrap();
        let store = rig.store.clone();
        async move { store.put(&key, serde_json::to_vec(&begin).unwrap().into()).await.unwrap() }
    };
    put(alive.clone()).await;
    assert_eq!(wrong(&rig.health().await), Vec::<String>::new());
    put(ProcessIdentity { pid: u32::MAX, ..alive }).await;
    let said = wrong(&rig.health().await);
    assert!(said[0].starts_with("ended: runs that did not come to an end: backup_"), "{said:?}");
    assert!(said[1].ends_with("did not come to an end"), "{said:?}");
}

#[tokio::test]
async fn a_store_without_its_repository_is_one_clear_finding() {
    let rig = Rig::new().await;
    let report = rig.engine(Arc::new(MemoryStore::new())).health(&rig.cx).await.unwrap();
    assert_eq!(report.checks.len(), 1);
    assert_eq!((report.state, report.checks[0].scope), (HealthState::Critical, Scope::Store));
    assert!(report.checks[0].message.contains("repository.json is not there"), "{:?}", report.checks);
    assert_eq!(report.unreachable.unwrap().kind(), ErrorKind::NotFound);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_is_given_up() {
    let rig = Rig::new().await;
    let store =
        Watched { inner: rig.store.clone(), lists: Arc::default(), reads: Arc::default(), hangs: true };
    let report = rig.engine(Arc::new(store)).health(&rig.cx).await.unwrap();
    assert_eq!(report.unreachable.unwrap().kind(), ErrorKind::TimedOut);
    assert!(report.checks[0].message.contains("store memory: no answer in 300 s"), "{:?}", report.checks);
}

#[tokio::test]
async fn a_damaged_manifest_is_named() {
    let rig = Rig::new().await;
    rig.days(2).await;
    let key = rig.store.keys().into_iter().find(|key| key.ends_with("manifest.json")).unwrap();
    rig.store.put(&Key::new(key).unwrap(), Bytes::from_static(b"{")).await.unwrap();
    let said = wrong(&rig.health().await);
    assert!(said[0].starts_with("readable: 1 cannot be read: backup_"), "{said:?}");
}

#[tokio::test]
async fn many_sessions_are_listed_once_and_each_manifest_is_read_once() {
    const MANY: i64 = 2000;
    let rig = Rig::new().await;
    rig.days(1).await;
    let folder = |id: SessionId| format!("sessions/{id}");
    let first: SessionId =
        rig.store.keys().iter().find_map(|key| key.split('/').nth(1)?.parse().ok()).unwrap();
    for n in 1..MANY {
        let id = SessionId::at(first.time() - TimeDelta::hours(n));
        for file in ["begin.json", "manifest.json", "report.json"] {
            let (_, mut body) =
                rig.store.get(&Key::new(format!("{}/{file}", folder(first))).unwrap(), None).await.unwrap();
            let bytes = futures::StreamExt::next(&mut body).await.unwrap().unwrap();
            let text =
                String::from_utf8(bytes.to_vec()).unwrap().replace(&first.to_string(), &id.to_string());
            rig.store.put(&Key::new(format!("{}/{file}", folder(id))).unwrap(), text.into()).await.unwrap();
        }
    }
    let store =
        Watched { inner: rig.store.clone(), lists: Arc::default(), reads: Arc::default(), hangs: false };
    let report = rig.engine(Arc::new(store.clone())).health(&rig.cx).await.unwrap();
    let sessions = report.checks.iter().find(|check| check.check == "readable").unwrap();
    assert_eq!(sessions.message, "2000 in the store");
    assert_eq!(store.lists.load(Ordering::SeqCst), 1);
    let expected = [("manifest.json".to_owned(), 2000), ("repository.json".to_owned(), 1)].into();
    assert_eq!(*store.reads.lock().unwrap(), expected);
}

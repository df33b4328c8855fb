//! Clean-up over a whole repository: announced removals, pins, and a process that dies at any step.

use std::{
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use backup_core::{
    engine::{BackupRequest, CleanupDecision, Engine, Fate, JobSettings, PinChange},
    policy::RetentionRules,
    repository::SessionState,
    stores::MemoryStore,
    traits::{
        ByteStream, Clock, Context, CreateIfAbsent, Created, Depth, Finding, Hold, Locks, Meta, Store,
        StoreLimits, Upload,
    },
    words::{Error, ErrorKind, Key, Result, SessionId, SessionType},
};
use backup_testkit::suites::{Act, ScriptedComponent};
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use futures::{StreamExt, TryStreamExt, stream::BoxStream};

#[derive(Clone, Debug)]
struct Hands(Arc<Mutex<DateTime<Utc>>>);

impl Clock for Hands {
    fn now(&self) -> DateTime<Utc> {
        *self.0.lock().unwrap()
    }
}

/// A repository with a daily job of one component.
struct Rig {
    store: MemoryStore,
    clock: Hands,
    cx: Context,
    rules: RetentionRules,
}

impl Rig {
    /// Keeps one day, and what `more` says.
    async fn new(more: RetentionRules) -> Self {
        let clock = Hands(Arc::new(Mutex::new("2024-05-06T02:00:00Z".parse().unwrap())));
        let cx = Context::new().with_clock(Arc::new(clock.clone()));
        let rig = Self { store: MemoryStore::new(), clock, cx, rules: RetentionRules { daily: 1, ..more } };
        rig.engine().init(&rig.cx).await.unwrap();
        rig
    }

    fn engine(&self) -> Engine {
        self.engine_on(Arc::new(self.store.clone()))
    }

    fn engine_on(&self, store: Arc<dyn Store>) -> Engine {
        Engine::builder("crm")
            .store("memory", store)
            .component("db", Arc::new(ScriptedComponent::new(Act::Plain(Bytes::from_static(b"rows")))))
            .job(JobSettings::new("full").session_type(SessionType::Daily).retention(self.rules))
            .build()
            .unwrap()
    }

    async fn backup(&self) -> SessionId {
        let outcome = self.engine().backup(&self.cx, &BackupRequest::new("full")).await.unwrap();
        assert_eq!(outcome.problems, Vec::<String>::new());
        outcome.report.session_id
    }

    fn days(&self, days: i64) {
        *self.clock.0.lock().unwrap() += TimeDelta::days(days);
    }

    async fn cleanup(&self, dry_run: bool) -> Vec<CleanupDecision> {
        let report = self.engine().cleanup(&self.cx, dry_run).await.unwrap();
        assert_eq!(report.errors, Vec::<String>::new());
        report.decisions
    }

    async fn fate(&self, session: SessionId, dry_run: bool) -> Fate {
        self.cleanup(dry_run).await.into_iter().find(|decision| decision.session == session).unwrap().fate
    }

    async fn state(&self, session: SessionId) -> SessionState {
        self.engine().session(&self.cx, &session.to_string()).await.unwrap().state
    }

    fn has(&self, session: SessionId, part: &str) -> bool {
        self.store.keys().iter().any(|key| key.contains(&session.stamp()) && key.contains(part))
    }
}

fn length(text: &str) -> RetentionRules {
    RetentionRules { announce: text.parse().ok(), ..RetentionRules::default() }
}

#[tokio::test]
async fn an_announced_removal_waits_its_days_and_is_then_done() {
    let rig = Rig::new(length("3d")).await;
    let first = rig.backup().await;
    rig.days(1);
    rig.backup().await;
    let decision = &rig.cleanup(true).await[0];
    let due: DateTime<Utc> = "2024-05-10T02:00:00Z".parse().unwrap();
    assert_eq!((decision.fate, decision.kept, decision.not_before), (Fate::Announced, true, Some(due)));
    assert!(
        decision.reasons[1].contains("goes after 2024-05-10 02:00 UTC, unless it is pinned"),
        "{decision:?}"
    );
    rig.days(2);
    assert_eq!(rig.fate(first, false).await, Fate::Announced);
    assert_eq!(rig.state(first).await, SessionState::Committed);
    rig.days(1);
    assert_eq!(rig.fate(first, true).await, Fate::Removed);
    assert_eq!(rig.state(first).await, SessionState::Committed);
    assert_eq!(rig.fate(first, false).await, Fate::Removed);
    assert_eq!(rig.state(first).await, SessionState::Purged);
    assert!(!rig.has(first, "/db/"));
}

#[tokio::test]
async fn a_pin_saves_what_is_announced_and_after_an_unpin_it_is_announced_anew() {
    let rig = Rig::new(length("3d")).await;
    let first = rig.backup().await;
    rig.days(1);
    rig.backup().await;
    rig.days(2);
    let pinned = rig.engine().pin(&rig.cx, &first.to_string(), Some("audit")).await.unwrap();
    assert_eq!((pinned.change, pinned.reason.as_deref()), (PinChange::Pinned, Some("audit")));
    rig.days(5);
    assert_eq!(rig.fate(first, false).await, Fate::Kept);
    assert!(!rig.has(first, "notice-"), "what is kept is announced no longer");
    let unpinned = rig.engine().unpin(&rig.cx, &first.to_string(), None).await.unwrap();
    assert_eq!(unpinned.change, PinChange::Unpinned);
    assert_eq!(rig.fate(first, false).await, Fate::Announced);
    rig.days(2);
    assert_eq!(rig.fate(first, false).await, Fate::Announced);
    rig.days(1);
    assert_eq!(rig.fate(first, false).await, Fate::Removed);
}

#[tokio::test]
async fn a_purge_holds_the_report_and_stays_400_days_and_until_the_last_byte_is_gone() {
    let rig = Rig::new(RetentionRules::default()).await;
    let first = rig.backup().await;
    rig.days(2);
    rig.backup().await;
    let key = rig.store.keys().into_iter().find(|key| key.contains("/purge-")).unwrap();
    let (_, body) = rig.store.get(&Key::new(key).unwrap(), None).await.unwrap();
    let body = body.try_collect::<Vec<Bytes>>().await.unwrap().concat();
    let purge: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(purge["report"]["session_id"], first.to_string());
    rig.days(399);
    rig.cleanup(false).await;
    assert!(rig.has(first, "/purge-"));
    // A writer that slept for more than a year.
    let late = Key::new(format!("daily/db/db_backup_{}_r2.bin.gz", first.stamp())).unwrap();
    rig.store.put(&late, "late".into()).await.unwrap();
    rig.days(2);
    let sessions = rig.engine().sessions(&rig.cx).await.unwrap();
    assert!(sessions.iter().any(|entry| entry.id == first));
    rig.cleanup(false).await;
    assert!(!rig.has(first, "/db/"), "the late bytes are a left-over");
    rig.cleanup(false).await;
    assert!(!rig.has(first, ""), "{:?}", rig.store.keys());
}

/// A store of a process that dies after so many operations: nothing it asks for happens any more. Holds every object, if told.
#[derive(Debug)]
struct Dying {
    inner: MemoryStore,
    left: AtomicUsize,
    hold: Hold,
}

impl Dying {
    fn step(&self) -> Result<()> {
        self.left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1))
            .map(drop)
            .map_err(|_| Error::new(ErrorKind::Internal, "use", "the store").detail("the process is dead"))
    }
}

#[async_trait]
impl Store for Dying {
    fn limits(&self) -> StoreLimits {
        self.inner.limits()
    }
    async fn begin(&self, key: &Key) -> Result<Box<dyn Upload>> {
        self.step()?;
        self.inner.begin(key).await
    }
    async fn put(&self, key: &Key, body: Bytes) -> Result<Meta> {
        self.step()?;
        self.inner.put(key, body).await
    }
    async fn head(&self, key: &Key) -> Result<Meta> {
        self.step()?;
        self.inner.head(key).await
    }
    async fn get(&self, key: &Key, range: Option<Range<u64>>) -> Result<(Meta, ByteStream)> {
        self.step()?;
        self.inner.get(key, range).await
    }
    fn list<'a>(&'a self, prefix: &'a Key, depth: Depth) -> BoxStream<'a, Result<Meta>> {
        match self.step() {
            Ok(()) => self.inner.list(prefix, depth),
            Err(error) => futures::stream::iter([Err(error)]).boxed(),
        }
    }
    async fn delete(&self, key: &Key) -> Result<()> {
        self.step()?;
        self.inner.delete(key).await
    }
    async fn clear_uploads(&self, older_than: std::time::Duration) -> Result<u64> {
        self.step()?;
        self.inner.clear_uploads(older_than).await
    }
    async fn exclusive(&self) -> Result<Option<&dyn CreateIfAbsent>> {
        Ok(Some(self))
    }
    fn locks(&self) -> Option<&dyn Locks> {
        Some(self)
    }
}

#[async_trait]
impl Locks for Dying {
    async fn hold(&self, _: &Key) -> Result<Hold> {
        self.step()?;
        Ok(self.hold)
    }
    async fn findings(&self) -> Vec<Finding> {
        Vec::new()
    }
}

#[async_trait]
impl CreateIfAbsent for Dying {
    async fn create(&self, key: &Key, body: Bytes) -> Result<Created> {
        self.step()?;
        self.inner.create(key, body).await
    }
}

/// The same repository once more, in a store of its own.
async fn twin(rig: &Rig) -> Rig {
    let store = MemoryStore::new();
    for key in rig.store.keys() {
        let key = Key::new(key).unwrap();
        let (_, body) = rig.store.get(&key, None).await.unwrap();
        store.put(&key, body.try_collect::<Vec<Bytes>>().await.unwrap().concat().into()).await.unwrap();
    }
    Rig { store, clock: rig.clock.clone(), cx: rig.cx.clone(), rules: rig.rules }
}

/// No session counts without its bytes.
async fn assert_whole(rig: &Rig, steps: usize) {
    for entry in rig.engine().sessions(&rig.cx).await.unwrap() {
        let Some(manifest) = entry.manifest.filter(|_| entry.state == SessionState::Committed) else {
            continue;
        };
        for volume in manifest.volumes() {
            let found = rig.store.head(&volume.key).await;
            assert!(found.is_ok(), "after {steps} steps {} counts without {}", entry.id, volume.key);
        }
    }
}

#[tokio::test]
async fn a_clean_up_that_dies_at_any_step_shows_nothing_half_and_is_finished_by_the_next() {
    let origin = Rig::new(RetentionRules { keep_last: 9, ..RetentionRules::default() }).await;
    let first = origin.backup().await;
    origin.days(2);
    let second = origin.backup().await;
    let (mut steps, mut refused, mut saved) = (0, 0, 0);
    loop {
        for pin in [false, true] {
            let mut rig = twin(&origin).await;
            rig.rules.keep_last = 0;
            let store = Arc::new(Dying {
                inner: rig.store.clone(),
                left: AtomicUsize::new(steps),
                hold: Hold::default(),
            });
            let died = match rig.engine_on(store).cleanup(&rig.cx, false).await {
                Ok(report) => !report.errors.is_empty(),
                Err(_) => true,
            };
            assert_whole(&rig, steps).await;
            let pinned = pin && rig.engine().pin(&rig.cx, &first.to_string(), None).await.is_ok();
            rig.cleanup(false).await;
            assert_whole(&rig, steps).await;
            assert_eq!(rig.state(second).await, SessionState::Committed);
            let expected = if pinned { SessionState::Committed } else { SessionState::Purged };
            assert_eq!(rig.state(first).await, expected, "after {steps} steps, pinned {pinned}");
            assert_eq!(rig.has(first, "/db/"), pinned);
            (refused, saved) = (refused + usize::from(pin && !pinned), saved + usize::from(pinned));
            if !died {
                assert!(
                    steps > 20 && saved > 5 && refused > 5,
                    "{steps} steps, {saved} saved, {refused} refused"
                );
                return;
            }
        }
        steps += 1;
    }
}

#[tokio::test]
async fn what_the_store_holds_is_left_whole_and_clean_up_says_until_when() {
    let rig = Rig::new(RetentionRules { keep_last: 9, ..RetentionRules::default() }).await;
    let first = rig.backup().await;
    rig.days(2);
    rig.backup().await;
    let dead = SessionId::at(rig.clock.now() - TimeDelta::days(2)).next();
    let left = Key::new(format!("daily/db/db_backup_{}.bin.gz", dead.stamp())).unwrap();
    rig.store.put(&left, "half".into()).await.unwrap();
    rig.store.put(&Key::new(format!("sessions/{dead}/begin.json")).unwrap(), "{}".into()).await.unwrap();
    let mut rig = rig;
    rig.rules.keep_last = 0;
    let before = rig.store.keys();
    let until: DateTime<Utc> = "2024-06-06T02:00:00Z".parse().unwrap();
    for (hold, not_before, word) in [
        (Hold::new(Some(until), false), Some(until), "locked until 2024-06-06 02:00 UTC"),
        (Hold::new(Some(until), true), None, "legal hold"),
    ] {
        for dry_run in [true, false] {
            let held = Dying { inner: rig.store.clone(), left: AtomicUsize::new(usize::MAX), hold };
            let report = rig.engine_on(Arc::new(held)).cleanup(&rig.cx, dry_run).await.unwrap();
            let decision = report.decisions.iter().find(|decision| decision.session == first).unwrap();
            assert_eq!((decision.fate, decision.kept, decision.not_before), (Fate::Locked, true, not_before));
            assert!(decision.reasons.last().unwrap().contains(word), "{decision:?}");
            assert_eq!((report.errors, rig.store.keys()), (Vec::new(), before.clone()));
        }
    }
    rig.cleanup(false).await;
    assert!(!rig.has(first, "/db/") && !rig.has(dead, "/db/"));
}

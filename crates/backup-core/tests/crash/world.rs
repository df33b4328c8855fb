//! A repository with a past, copied for every point at which a run dies.

use std::{path::Path, sync::Arc};

use backup_core::{
    engine::{BackupRequest, Engine, JobSettings, Level, RestoreRequest},
    policy::{RetentionPolicy, RetentionRules},
    stores::{LocalStore, MemoryStore},
    traits::{Context, Depth, Store},
    words::{Key, Result, SessionType},
};
use backup_testkit::suites::{
    Act, HandClock, ScriptedComponent, bury,
    faults::{Fault, FaultyStore, Op, Script, Trace},
    invariants::{Expect, Ledger, Violation},
    until_death,
};
use chrono::{DateTime, TimeDelta, Utc};
use futures::TryStreamExt;

/// Which store a world stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// In memory.
    Memory,
    /// In memory, without a conditional create.
    Plain,
    /// In a folder.
    Local,
}

/// What a run does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    Backup,
    Verify,
    Cleanup,
    Restore,
}

const RULES: RetentionRules = RetentionRules {
    daily: 2,
    weekly: 1,
    monthly: 1,
    yearly: 1,
    keep_last: 0,
    keep_within: None,
    announce: None,
};

/// 02:00 on a day of the tested time.
pub(super) fn day(number: i64) -> DateTime<Utc> {
    "2026-03-02T02:00:00Z".parse::<DateTime<Utc>>().unwrap() + TimeDelta::days(number)
}

/// One store with what is known of it.
pub(super) struct World {
    kind: Kind,
    pub(super) store: Arc<dyn Store>,
    pub(super) ledger: Ledger,
    pub(super) trace: Trace,
    _folder: tempfile::TempDir,
}

/// Dies where an object of that name is written.
fn death(name: &'static str, fault: Fault) -> impl Script {
    move |op: &Op<'_>| (op.call.changes() && op.key.contains(name)).then_some(fault)
}

fn engine(store: Arc<dyn Store>) -> Engine {
    let parts = vec![("globals".to_owned(), "one".into()), ("database a".to_owned(), "two".into())];
    let job = JobSettings::new("full").session_type(SessionType::Daily).verify(Level::Content);
    Engine::builder("crm")
        .store("store", store)
        .component("db", Arc::new(ScriptedComponent::new(Act::Yield(parts))))
        .component("web", Arc::new(ScriptedComponent::new(Act::ReopenThen(1, "three".into()))))
        .job(job)
        .retention(RULES)
        .workers(1)
        .build()
        .unwrap()
}

fn context(at: DateTime<Utc>) -> Context {
    Context::new().with_clock(Arc::new(HandClock::new(at)))
}

impl World {
    fn empty(kind: Kind) -> Self {
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        let folder = folder.unwrap();
        let store: Arc<dyn Store> = match kind {
            Kind::Memory | Kind::Plain => Arc::new(MemoryStore::new()),
            Kind::Local => Arc::new(LocalStore::new(folder.path().join("store"))),
        };
        let policy = RetentionPolicy { default: RULES, jobs: Default::default() };
        let ledger = Ledger::new(policy, chrono_tz::UTC);
        Self { kind, store, ledger, trace: Trace::default(), _folder: folder }
    }

    /// Another world, just like this one.
    pub(super) async fn copy(&self) -> Self {
        let world = Self { ledger: self.ledger.clone(), ..Self::empty(self.kind) };
        let root = Key::root();
        let mut metas = self.store.list(&root, Depth::All);
        while let Some(meta) = metas.try_next().await.unwrap() {
            let (_, body) = self.store.get(&meta.key, None).await.unwrap();
            let body = body.try_collect::<Vec<bytes::Bytes>>().await.unwrap().concat();
            world.store.put(&meta.key, body.into()).await.unwrap();
        }
        world
    }

    /// Several days: good sessions, one of them pinned, a run that died, a removal that died, and things that are not ours.
    pub(super) async fn with_a_past(kind: Kind) -> Self {
        let mut world = Self::empty(kind);
        engine(world.store.clone()).init(&context(day(0))).await.unwrap();
        for name in ["daily/db/notes.txt", "daily/db/db_backup_20200101_000000.bin.gz", "other/place"] {
            world.ledger.plant(&*world.store, Key::new(name).unwrap(), "not ours".into()).await.unwrap();
        }
        for number in 0..4 {
            world.good_run(day(number)).await;
        }
        world.good_run(day(3) + TimeDelta::hours(12)).await;
        let pinned = engine(world.store.clone()).sessions(&context(day(4))).await.unwrap()[2].id;
        let pin = Key::new(format!("sessions/{pinned}/pin-1.json")).unwrap();
        world.store.put(&pin, "{}".into()).await.unwrap();
        world.ledger.pin(pinned);
        let died = world.run(Deed::Backup, day(4), death("manifest.json", Fault::DieBefore)).await;
        assert!(died.1.is_dead());
        let late = day(4) + TimeDelta::hours(14);
        let died = world.run(Deed::Cleanup, late, death("purge-", Fault::DieAfter)).await;
        assert!(died.1.is_dead());
        assert_eq!(world.check(day(5), Expect::LeftOvers).await, []);
        assert_ne!(world.check(day(5), Expect::Tidy).await, [], "the dead left something");
        world
    }

    async fn good_run(&mut self, at: DateTime<Utc>) {
        self.normal_run(at).await.unwrap();
        assert_eq!(self.check(at, Expect::LeftOvers).await, []);
    }

    pub(super) async fn check(&mut self, now: DateTime<Utc>, expect: Expect) -> Vec<Violation> {
        self.ledger.check(&self.store, now, expect).await
    }

    /// Does something on a host of its own, which goes wrong as `script` says. The outcome is none when the host died.
    pub(super) async fn run(
        &mut self,
        deed: Deed,
        at: DateTime<Utc>,
        script: impl Script + 'static,
    ) -> (Option<Result<()>>, FaultyStore) {
        let mut host = FaultyStore::new("host", self.store.clone(), self.trace.clone());
        if self.kind == Kind::Plain {
            host = host.without_exclusive();
        }
        host.script(script);
        let outcome = until_death(&host, self.do_it(deed, &host, at)).await;
        let told =
            outcome.map(|outcome| outcome.map(|report| report.iter().for_each(|r| self.ledger.report(r))));
        (told, host)
    }

    async fn do_it(
        &self,
        deed: Deed,
        host: &FaultyStore,
        at: DateTime<Utc>,
    ) -> Result<Option<backup_core::engine::Report>> {
        let (engine, cx) = (engine(Arc::new(host.clone())), context(at));
        match deed {
            Deed::Backup => {
                return engine.backup(&cx, &BackupRequest::new("full")).await.map(|done| Some(done.report));
            }
            Deed::Verify => drop(engine.verify(&cx, "latest", Level::Content).await?),
            Deed::Cleanup => drop(engine.cleanup(&cx, false).await?),
            Deed::Restore => {
                if let Some(unfinished) = engine.unfinished_restore(&cx, "latest").await? {
                    assert!(engine.resume_restore(&cx, &unfinished).await?.is_done());
                } else {
                    let plan = engine.plan_restore(&cx, &RestoreRequest::new("latest")).await?;
                    assert!(engine.restore(&cx, &plan).await?.is_done());
                }
            }
        }
        Ok(None)
    }

    /// A run on which nothing goes wrong.
    pub(super) async fn normal_run(&mut self, at: DateTime<Utc>) -> Result<()> {
        let (outcome, host) = self.run(Deed::Backup, at, Vec::new()).await;
        assert!(!host.is_dead());
        outcome.unwrap()
    }

    /// Every process that was at work has ended, and it can be seen.
    pub(super) async fn bury(&self) {
        bury(&self.store).await.unwrap();
    }
}

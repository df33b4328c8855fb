//! A drill's evidence: in every store that holds the session, kept by retention, and in the purge when the session goes.

use std::sync::{Arc, Mutex};

use backup_core::{
    components::files::{Files, FilesConfig},
    engine::{BackupRequest, DrillSettings, Engine, JobSettings},
    policy::{DrillReport, DrillVerdict, RetentionRules},
    stores::MemoryStore,
    traits::{Clock, Component, Context, Store},
    words::{Key, SessionId, SessionType},
};
use backup_testkit::suites::{Act, ScriptedComponent};
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use futures::TryStreamExt;

#[derive(Clone, Debug)]
struct Hands(Arc<Mutex<DateTime<Utc>>>);

impl Clock for Hands {
    fn now(&self) -> DateTime<Utc> {
        *self.0.lock().unwrap()
    }
}

struct Rig {
    near: MemoryStore,
    far: MemoryStore,
    folder: tempfile::TempDir,
    clock: Hands,
    cx: Context,
}

impl Rig {
    async fn new() -> Self {
        let clock = Hands(Arc::new(Mutex::new("2024-05-06T02:00:00Z".parse().unwrap())));
        let cx = Context::new().with_clock(Arc::new(clock.clone()));
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("data")).unwrap();
        std::fs::write(folder.path().join("data/file"), "x").unwrap();
        let rig = Self { near: MemoryStore::new(), far: MemoryStore::new(), folder, clock, cx };
        rig.engine().init(&rig.cx).await.unwrap();
        rig
    }

    fn engine(&self) -> Engine {
        let files = Files::new(FilesConfig::new(self.folder.path().join("data"))).unwrap();
        self.engine_of(Arc::new(files))
    }

    /// One day is kept.
    fn engine_of(&self, component: Arc<dyn Component>) -> Engine {
        let rules =
            RetentionRules { daily: 1, weekly: 0, monthly: 0, yearly: 0, ..RetentionRules::default() };
        let mut drills = DrillSettings::new(self.folder.path().join("drills"));
        drills.keep_free = 0;
        Engine::builder("crm")
            .store("near", Arc::new(self.near.clone()))
            .store("far", Arc::new(self.far.clone()))
            .component("web", component)
            .job(JobSettings::new("full").session_type(SessionType::Daily).retention(rules))
            .drill(drills)
            .build()
            .unwrap()
    }

    async fn backup(&self) -> SessionId {
        self.engine().backup(&self.cx, &BackupRequest::new("full")).await.unwrap().report.session_id
    }

    async fn drill(&self, session: SessionId) -> DrillReport {
        self.engine().drill(&self.cx, &session.to_string(), &[]).await.unwrap()
    }

    fn days(&self, days: i64) {
        *self.clock.0.lock().unwrap() += TimeDelta::days(days);
    }
}

fn drills(store: &MemoryStore, session: SessionId) -> Vec<String> {
    let folder = format!("sessions/{session}/drill-");
    store.keys().into_iter().filter(|key| key.starts_with(&folder)).collect()
}

async fn json(store: &MemoryStore, key: &str) -> serde_json::Value {
    let (_, body) = store.get(&Key::new(key).unwrap(), None).await.unwrap();
    serde_json::from_slice(&body.try_collect::<Vec<Bytes>>().await.unwrap().concat()).unwrap()
}

#[tokio::test]
async fn a_drill_stands_in_every_store_and_keeps_its_session_until_a_newer_one_passes() {
    let rig = Rig::new().await;
    let first = rig.backup().await;
    assert!(rig.drill(first).await.passed);
    let names = drills(&rig.near, first);
    assert_eq!(names, drills(&rig.far, first));
    assert_eq!(names, [format!("sessions/{first}/drill-20240506_020000.json")]);
    // In the same second: the next one is taken.
    rig.drill(first).await;
    assert_eq!(drills(&rig.far, first).len(), 2);
    let entry = rig.engine().session(&rig.cx, &first.to_string()).await.unwrap();
    assert_eq!(entry.drills.len(), 2);
    assert_eq!(entry.drills[0].components[0].verdict, DrillVerdict::Passed);

    rig.days(3);
    let second = rig.backup().await;
    rig.days(3);
    let third = rig.backup().await;
    assert!(rig.near.keys().iter().any(|key| *key == format!("sessions/{first}/manifest.json")));
    assert!(rig.near.keys().iter().any(|key| key.starts_with(&format!("sessions/{second}/purge-"))));
    assert!(rig.drill(third).await.passed);
    rig.days(3);
    rig.backup().await;
    for store in [&rig.near, &rig.far] {
        let keys = store.keys();
        let purge = keys.iter().find(|key| key.starts_with(&format!("sessions/{first}/purge-"))).unwrap();
        let kept = json(store, purge).await["drills"].clone();
        assert_eq!(kept.as_array().unwrap().len(), 2, "a purge holds the drills");
        assert_eq!(kept[0]["session"], first.to_string());
        assert!(keys.contains(&format!("sessions/{third}/manifest.json")));
    }
}

#[tokio::test]
async fn a_kind_that_cannot_be_drilled_is_not_run_and_a_report_that_makes_no_sense_counts_for_nothing() {
    let rig = Rig::new().await;
    let plain = || Arc::new(ScriptedComponent::new(Act::Plain(Bytes::from_static(b"rows"))));
    let engine = rig.engine_of(plain());
    let session = engine.backup(&rig.cx, &BackupRequest::new("full")).await.unwrap().report.session_id;
    let report = engine.drill(&rig.cx, "latest", &[]).await.unwrap();
    assert!(!report.passed);
    assert_eq!(report.components[0].verdict, DrillVerdict::NotRun);
    assert!(report.components[0].rungs[2].said.contains("cannot be drilled by this version"));

    let key = drills(&rig.near, session).remove(0);
    let mut bluff = json(&rig.near, &key).await;
    bluff["passed"] = true.into();
    bluff["components"][0]["verdict"] = "passed".into();
    for store in [&rig.near, &rig.far] {
        let key = Key::new(&key).unwrap();
        store.delete(&key).await.unwrap();
        store.put(&key, serde_json::to_vec(&bluff).unwrap().into()).await.unwrap();
    }
    assert!(engine.session(&rig.cx, "latest").await.unwrap().drills.is_empty());
}

//! A repository in a bucket with object lock, on a real server: nothing goes before its time.

mod support;

use std::sync::{Arc, Mutex};

use backup_core::{
    engine::{BackupRequest, Engine, Fate, JobSettings},
    policy::RetentionRules,
    repository::SessionState,
    traits::{Clock, Context, Depth, Store},
    words::{Key, SessionType},
};
use backup_testkit::{
    servers::{ObjectServer, Objects},
    suites::{Act, ScriptedComponent},
};
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use futures::TryStreamExt;
use serde_json::json;
use support::{BUCKET, s3};

#[derive(Debug)]
struct Hands(Mutex<DateTime<Utc>>);

impl Clock for Hands {
    fn now(&self) -> DateTime<Utc> {
        *self.0.lock().unwrap()
    }
}

fn engine(store: &Arc<dyn Store>) -> Engine {
    let rules = RetentionRules { daily: 1, ..RetentionRules::default() };
    Engine::builder("crm")
        .store("offsite", store.clone())
        .component("db", Arc::new(ScriptedComponent::new(Act::Plain(Bytes::from_static(b"rows")))))
        .job(JobSettings::new("full").session_type(SessionType::Daily).retention(rules))
        .build()
        .unwrap()
}

async fn keys(store: &Arc<dyn Store>) -> Vec<Key> {
    let metas: Vec<_> = store.list(&Key::root(), Depth::All).try_collect().await.unwrap();
    metas.into_iter().map(|meta| meta.key).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_session_stays_whole_until_its_time_and_then_goes() {
    let server = ObjectServer::start(Objects::Moto).unwrap();
    server.make_locking_bucket(BUCKET).unwrap();
    // The server locks by its own clock; ours makes the sessions old.
    let clock = Arc::new(Hands(Mutex::new(Utc::now() - TimeDelta::days(10))));
    let cx = Context::new().with_clock(clock.clone());
    let locking = s3(&server.endpoint(), json!({"lock": "10s"})).await;
    engine(&locking).init(&cx).await.unwrap();
    let first = engine(&locking).backup(&cx, &BackupRequest::new("full")).await.unwrap().report.session_id;
    *clock.0.lock().unwrap() += TimeDelta::days(5);
    engine(&locking).backup(&cx, &BackupRequest::new("full")).await.unwrap();

    let before = keys(&locking).await;
    let report = engine(&locking).cleanup(&cx, false).await.unwrap();
    let decision = report.decisions.iter().find(|decision| decision.session == first).unwrap();
    assert_eq!(decision.fate, Fate::Locked, "{decision:?}");
    assert_eq!((report.errors, keys(&locking).await), (Vec::new(), before));

    let until = decision.not_before.unwrap();
    tokio::time::sleep((until - Utc::now()).to_std().unwrap_or_default() + std::time::Duration::from_secs(1))
        .await;
    let report = engine(&locking).cleanup(&cx, false).await.unwrap();
    assert_eq!(report.errors, Vec::<String>::new());
    let entry = engine(&locking).session(&cx, &first.to_string()).await.unwrap();
    assert_eq!(entry.state, SessionState::Purged);
    assert!(
        !keys(&locking)
            .await
            .iter()
            .any(|key| key.as_str().starts_with("daily/db/") && key.as_str().contains(&first.stamp()))
    );
}

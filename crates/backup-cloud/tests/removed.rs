//! Sessions that others hid or wrote over in a bucket that keeps versions, on real servers.

mod support;

use std::sync::Arc;

use backup_core::{
    engine::{BackupRequest, Engine, Gone, JobSettings, Level},
    repository::SessionState,
    stores::MemoryStore,
    traits::{Context, Depth, Store},
    words::{Key, SessionId, SessionType},
};
use backup_testkit::{
    servers::{ObjectServer, Objects},
    suites::{Act, ScriptedComponent},
};
use bytes::Bytes;
use futures::TryStreamExt;
use serde_json::json;
use support::{BUCKET, key, s3};

fn engine(store: &Arc<dyn Store>) -> Engine {
    Engine::builder("crm")
        .store("offsite", store.clone())
        .component("db", Arc::new(ScriptedComponent::new(Act::Plain(Bytes::from_static(b"rows")))))
        .job(JobSettings::new("full").session_type(SessionType::Daily))
        .build()
        .unwrap()
}

/// What somebody with the right to write and to remove, and no right to remove versions, can do to a session.
async fn attack(store: &Arc<dyn Store>, session: SessionId, how: &str) {
    let manifest = key(&format!("sessions/{session}/manifest.json"));
    let all: Vec<_> = store.list(&Key::root(), Depth::All).try_collect().await.unwrap();
    match how {
        "hidden" => {
            for meta in all.iter().filter(|meta| meta.key.as_str().contains(&session.stamp())) {
                store.delete(&meta.key).await.unwrap();
            }
        }
        "replaced" => {
            store.put(&manifest, Bytes::from_static(b"{}")).await.unwrap();
            for meta in all.iter().filter(|meta| meta.key.as_str().starts_with("daily/")) {
                store.put(&meta.key, Bytes::from_static(b"ransom")).await.unwrap();
            }
        }
        _ => {
            let purge = key(&format!("sessions/{session}/purge-0123.json"));
            store.put(&purge, Bytes::from_static(b"{}")).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_was_hidden_or_written_over_is_found_and_read_as_it_was_written() {
    let server = ObjectServer::start(Objects::Moto).unwrap();
    server.make_locking_bucket(BUCKET).unwrap();
    let cx = Context::new();
    for how in ["hidden", "replaced", "purged"] {
        let url = format!("s3://{BUCKET}/{how}");
        let store = s3(&server.endpoint(), json!({"url": url})).await;
        let engine = engine(&store);
        engine.init(&cx).await.unwrap();
        let session = engine.backup(&cx, &BackupRequest::new("full")).await.unwrap().report.session_id;
        assert!(engine.removed(&cx).await.unwrap().is_empty(), "{how}");
        attack(&store, session, how).await;
        let seen = engine.session(&cx, &session.to_string()).await;
        assert!(!seen.is_ok_and(|entry| entry.state == SessionState::Committed), "{how}");

        let removed = engine.removed(&cx).await.unwrap();
        assert_eq!((removed.len(), removed[0].session.entry.id, removed[0].is_whole()), (1, session, true));
        let found = match &removed[0].gone {
            Gone::Hidden => "hidden",
            Gone::Replaced => "replaced",
            Gone::Purged { .. } => "purged",
        };
        assert_eq!(found, how);
        let notes: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let before = engine.as_written(&notes);
        let report = before.verify(&cx, &session.to_string(), Level::Content).await.unwrap();
        assert!(report.passed, "{how}: {report:?}");
    }
}

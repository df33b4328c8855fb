//! The dashboard by itself: on an address that others reach, with TLS and a token; and stopped while somebody listens.
#![cfg(feature = "web")]

use std::{path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use backup_core::{
    engine::{Away, Engine, HealthReport, Session},
    repository::Pin,
    stores::MemoryStore,
    traits::Context,
    words::{Result, Secret},
};
use backup_monitor::web::{Access, Dashboard, Installation, Live, NextRun, Settings, StatusLook, TlsFiles};
use backup_testkit::servers::{Certificates, Toolbox};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

const TOKEN: &str = "0123456789abcdef";

/// An engine with nothing in its store.
#[derive(Debug)]
struct Empty(Engine);

impl Empty {
    async fn made() -> Arc<Self> {
        let engine = Engine::builder("crm").store("memory", Arc::new(MemoryStore::new())).build().unwrap();
        engine.init(&Context::new()).await.unwrap();
        Arc::new(Self(engine))
    }
}

#[derive(Debug)]
struct Nothing;

#[async_trait]
impl StatusLook for Nothing {
    fn take(&mut self, _: &Session) {}

    async fn finish(self: Box<Self>, _: &[Away], _: DateTime<Utc>) -> Result<Value> {
        Ok(json!({ "sessions": 0 }))
    }
}

#[async_trait]
impl Installation for Empty {
    fn engine(&self) -> &Engine {
        &self.0
    }

    fn next_runs(&self, _: DateTime<Utc>, _: usize) -> Vec<NextRun> {
        Vec::new()
    }

    async fn health(&self, cx: &Context) -> Result<HealthReport> {
        self.0.health(cx).await
    }

    async fn metrics(&self, _: &Context) -> Result<String> {
        Ok(String::new())
    }

    fn begin_status(&self) -> Box<dyn StatusLook> {
        Box::new(Nothing)
    }

    fn listed(&self, _: &Session) -> Value {
        Value::Null
    }

    fn shown(&self, _: &Session, _: Option<&Pin>) -> Value {
        Value::Null
    }

    fn folder(&self) -> Option<PathBuf> {
        None
    }

    fn noted(&self, _: &Access) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn with_tls_and_a_token_others_may_reach_it() {
    let folder = tempfile::tempdir().unwrap();
    let files = Certificates::create(&Toolbox::open().unwrap(), folder.path()).unwrap();
    let settings = Settings {
        tls: Some(TlsFiles { cert: files.server_cert.clone(), key: files.server_key.clone() }),
        token: Some(Secret::new(TOKEN)),
        ..Settings::new("0.0.0.0:0".parse().unwrap())
    };
    let dashboard =
        Dashboard::start(settings, Empty::made().await, Live::new(), &Context::new()).await.unwrap();
    let port = dashboard.address().port();
    let ca = reqwest::Certificate::from_pem(&std::fs::read(&files.ca).unwrap()).unwrap();
    let client = reqwest::Client::builder().tls_certs_merge([ca]).build().unwrap();
    let status = format!("https://localhost:{port}/api/status");
    assert_eq!(client.get(&status).send().await.unwrap().status(), 401);
    let let_in = client.get(&status).bearer_auth(TOKEN).send().await.unwrap();
    assert_eq!(let_in.status(), 200);
    assert!(let_in.headers().contains_key("strict-transport-security"));
    assert_eq!(let_in.text().await.unwrap(), "{\"sessions\":0}");
    let page = client.get(format!("https://127.0.0.1:{port}/")).bearer_auth(TOKEN).send().await.unwrap();
    assert!(page.text().await.unwrap().contains("No session yet"));
    assert!(
        client.get(format!("http://localhost:{port}/healthz")).send().await.is_err(),
        "it speaks TLS only"
    );
    dashboard.stop().await;
    assert!(client.get(&status).send().await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_cannot_be_used_is_said_at_once() {
    let tls = Some(TlsFiles { cert: "/nowhere.pem".into(), key: "/nowhere.key".into() });
    let settings = Settings { tls, ..Settings::new("127.0.0.1:0".parse().unwrap()) };
    let error =
        Dashboard::start(settings, Empty::made().await, Live::new(), &Context::new()).await.unwrap_err();
    assert!(error.chain().contains("/nowhere.pem"), "{}", error.chain());
    assert!(error.advice().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_does_not_wait_for_those_who_listen() {
    let settings = Settings::new("127.0.0.1:0".parse().unwrap());
    let dashboard =
        Dashboard::start(settings, Empty::made().await, Live::new(), &Context::new()).await.unwrap();
    let url = format!("http://{}/events", dashboard.address());
    let mut events = reqwest::get(&url).await.unwrap();
    let first = events.chunk().await.unwrap().unwrap();
    assert!(first.starts_with(b"event: runs\ndata: []"), "{first:?}");
    tokio::time::timeout(Duration::from_secs(4), dashboard.stop()).await.expect("it ends at once");
    while let Ok(Some(_)) = events.chunk().await {}
}

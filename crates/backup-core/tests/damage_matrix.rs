//! Every kind of damage to every file of a session is found by the lowest level that can find it, and located by name; plain
//! and encrypted.
#![cfg(feature = "encryption")]

use std::sync::Arc;

use backup_core::{
    engine::{BackupRequest, Engine, Level, VerifyReport},
    stores::MemoryStore,
    traits::{Context, Depth, Severity, Store},
    words::{Key, Result},
};
use backup_testkit::suites::{Act, HandClock, ScriptedComponent};
use bytes::Bytes;
use futures::TryStreamExt;

struct Rig {
    store: MemoryStore,
    engine: Engine,
    cx: Context,
    session: String,
}

impl Rig {
    /// Two sessions of two components, the second of which is damaged later on. With `key` they are encrypted for it.
    async fn new(encrypted: bool) -> Self {
        let store = MemoryStore::new();
        let mut builder = Engine::builder("crm").store("memory", Arc::new(store.clone())).workers(1);
        for (name, text) in [("db", "rows of a table, rows of a table"), ("web", "pages")] {
            builder = builder.component(name, Arc::new(ScriptedComponent::new(Act::Plain(text.into()))));
        }
        if encrypted {
            builder = with_key(builder);
        }
        let engine = builder.build().unwrap();
        let clock = Arc::new(HandClock::new("2026-03-03T02:00:00Z".parse().unwrap()));
        let cx = Context::new().with_clock(clock.clone());
        engine.init(&cx).await.unwrap();
        let mut session = String::new();
        for hours in [0, 1] {
            clock.jump(chrono::TimeDelta::hours(hours));
            let outcome = engine.backup(&cx, &BackupRequest::new("full")).await.unwrap();
            assert_eq!(outcome.problems, Vec::<String>::new());
            session = outcome.report.session_id.to_string();
        }
        Self { store, engine, cx, session }
    }

    /// Keys of the session's bytes, with their bodies: each component's artifact, and the unified archive.
    async fn files(&self) -> Vec<(Key, Bytes)> {
        let (root, stamp) = (Key::root(), self.session.replace("backup_", "_"));
        let metas: Vec<_> = self.store.list(&root, Depth::All).try_collect().await.unwrap();
        let mut files = Vec::new();
        for meta in metas {
            if meta.key.as_str().contains(&stamp) && !meta.key.as_str().starts_with("sessions/") {
                files.push((meta.key.clone(), self.read(&meta.key).await));
            }
        }
        assert_eq!(files.len(), 3, "{files:?}");
        files
    }

    async fn read(&self, key: &Key) -> Bytes {
        let (_, stream) = self.store.get(key, None).await.unwrap();
        stream.try_collect::<Vec<Bytes>>().await.unwrap().concat().into()
    }

    async fn verify(&self, level: Level) -> Result<VerifyReport> {
        self.engine.verify(&self.cx, &self.session, level).await
    }

    /// At `level` and above only the file under `key` is found damaged, and it is named.
    async fn found(&self, key: &Key, from: Level, what: &str) {
        let component = key.as_str().split('/').nth(1).unwrap();
        for level in [Level::Size, Level::Checksum, Level::Content] {
            let report = self.verify(level).await.unwrap();
            let wrong: Vec<_> =
                report.findings.iter().filter(|(_, found)| found.severity == Severity::Error).collect();
            if level < from {
                assert!(report.passed, "{key} {what} at {level:?}: {wrong:?}");
                continue;
            }
            assert!(!report.passed, "{key} {what} is not found at {level:?}");
            assert_eq!(wrong.len(), 1, "{key} {what} at {level:?}: {wrong:?}");
            let (name, finding) = wrong[0];
            let named = finding.subject.split(".bin").next().unwrap().split(".tar").next().unwrap();
            assert!(name == component && key.as_str().contains(named), "{key} {what}: {name} {finding:?}");
        }
        assert!(component == "unified" || self.restore_is_refused().await, "{key} {what} is restored");
    }

    /// Bytes of the other session, and of another file cut to the same size, so that only bytes tell them apart.
    async fn swapped(&self, files: &[(Key, Bytes)]) {
        let mut swaps = 0;
        for (key, whole) in files {
            let elder = self.read(&Key::new(key.as_str().replace("030000", "020000")).unwrap()).await;
            let mut other = files.iter().find(|(other, _)| other != key).unwrap().1.to_vec();
            other.resize(whole.len(), 0);
            for bytes in [elder, other.into()] {
                // The same plain bytes are packed into the same file: there is nothing to find.
                if bytes == whole {
                    continue;
                }
                let from = if bytes.len() == whole.len() { Level::Checksum } else { Level::Size };
                self.store.put(key, bytes).await.unwrap();
                self.found(key, from, "swapped").await;
                swaps += 1;
            }
            self.store.put(key, whole.clone()).await.unwrap();
        }
        assert!(swaps > 3, "{swaps}");
        let manifest = |session: &str| Key::new(format!("sessions/{session}/manifest.json")).unwrap();
        let (own, elder) = (manifest(&self.session), manifest(&self.session.replace("030000", "020000")));
        let whole = self.read(&own).await;
        self.store.put(&own, self.read(&elder).await).await.unwrap();
        let error = self.verify(Level::Size).await.unwrap_err();
        assert!(error.chain().contains(&format!("manifest.json of {}", self.session)), "{}", error.chain());
        self.store.put(&own, whole).await.unwrap();
    }

    async fn restore_is_refused(&self) -> bool {
        let request = backup_core::engine::RestoreRequest::new(self.session.clone());
        match self.engine.plan_restore(&self.cx, &request).await {
            Ok(plan) => self.engine.restore(&self.cx, &plan).await.is_err(),
            Err(_) => true,
        }
    }
}

fn with_key(builder: backup_core::engine::EngineBuilder) -> backup_core::engine::EngineBuilder {
    use backup_core::{
        pipeline::{IdentitySource, NewIdentity},
        traits::SecretSource,
    };
    let identity = NewIdentity::generate(chrono::Utc::now());
    let key = SecretSource::Plain(identity.file(None).unwrap());
    let source = IdentitySource { name: "key.txt".into(), key, passphrase: None };
    builder.recipients(vec![identity.recipient]).identities(vec![source])
}

async fn matrix(encrypted: bool) {
    let rig = Rig::new(encrypted).await;
    let (files, mut flips) = (rig.files().await, 0);
    for (key, whole) in &files {
        for position in 0..whole.len() {
            let mut bytes = whole.to_vec();
            bytes[position] ^= 1 << (position % 8);
            rig.store.put(key, bytes.into()).await.unwrap();
            rig.found(key, Level::Checksum, &format!("flipped at {position}")).await;
            flips += 1;
        }
        for length in [0, 1, 9, whole.len() / 2, whole.len() - 8, whole.len() - 1] {
            rig.store.put(key, whole.slice(..length)).await.unwrap();
            rig.found(key, Level::Size, &format!("cut to {length}")).await;
        }
        rig.store.put(key, [whole, &whole[..1]].concat().into()).await.unwrap();
        rig.found(key, Level::Size, "one byte longer").await;
        rig.store.delete(key).await.unwrap();
        rig.found(key, Level::Size, "removed").await;
        rig.store.put(key, whole.clone()).await.unwrap();
    }
    rig.swapped(&files).await;
    assert!(rig.verify(Level::Content).await.unwrap().passed, "all is as it was");
    println!("{flips} bytes flipped in {} files", files.len());
}

#[tokio::test]
async fn every_damage_to_a_plain_session_is_found_and_located() {
    matrix(false).await;
}

#[tokio::test]
async fn every_damage_to_an_encrypted_session_is_found_and_located() {
    matrix(true).await;
}

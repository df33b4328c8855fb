//! Rotated recipients: a copy for others holds the same, stands for the same time, and nothing half of it stays.
#![cfg(feature = "encryption")]

use std::sync::{Arc, Mutex};

use backup_core::{
    engine::{BackupRequest, Engine, Level, Rewrapped, StoreSettings},
    pipeline::{IdentitySource, NewIdentity},
    repository::SessionState,
    stores::MemoryStore,
    traits::{Clock, Context, SecretSource, Selection, Source, Store},
    words::{ErrorKind, Key, SessionId},
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

impl Hands {
    fn forward(&self, by: TimeDelta) {
        *self.0.lock().unwrap() += by;
    }
}

fn identity() -> NewIdentity {
    NewIdentity::generate(Utc::now())
}

/// Random hexadecimal digits: they compress to half their size.
fn text(size: usize, mut state: u64) -> Bytes {
    let bytes = (0..size).map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        b"0123456789abcdef"[(state >> 40) as usize % 16]
    });
    bytes.collect::<Vec<u8>>().into()
}

fn parts() -> Vec<(String, Bytes)> {
    let sizes = [("a", 700_000), ("b", 9), ("c", 1_500_000)];
    let part = |(at, (name, size)): (usize, (&str, usize))| (name.to_owned(), text(size, at as u64 + 77));
    sizes.into_iter().enumerate().map(part).collect()
}

struct Rig {
    store: MemoryStore,
    /// A second store, where there is one.
    far: Option<MemoryStore>,
    clock: Hands,
    cx: Context,
}

impl Rig {
    fn new() -> Self {
        // Long ago, so that no time of the test is in the future.
        let clock = Hands(Arc::new(Mutex::new("2026-06-08T02:00:00Z".parse().unwrap())));
        let cx = Context::new().with_clock(Arc::new(clock.clone()));
        Self { store: MemoryStore::with_limit(900_000), far: None, clock, cx }
    }

    /// An engine that encrypts for these, with the identities of those.
    async fn engine(&self, recipients: &[&NewIdentity], identities: &[&NewIdentity]) -> Engine {
        let sources = identities.iter().map(|identity| IdentitySource {
            name: "key.txt".into(),
            key: SecretSource::Plain(identity.file(None).unwrap()),
            passphrase: None,
        });
        let far = self.far.iter().map(|far| StoreSettings::new("far", Arc::new(far.clone())));
        let builder = Engine::builder("crm").store("memory", Arc::new(self.store.clone()));
        let engine = far
            .fold(builder, |builder, far| builder.store_with(far))
            .component("db", Arc::new(ScriptedComponent::new(Act::Yield(parts()))))
            .component("other", Arc::new(ScriptedComponent::new(Act::Plain(Bytes::from_static(b"x")))))
            .recipients(recipients.iter().map(|identity| identity.recipient.clone()).collect())
            .identities(sources.collect())
            .build()
            .unwrap();
        engine.init(&self.cx).await.unwrap();
        engine
    }

    async fn backup(&self, engine: &Engine) -> SessionId {
        let outcome = engine.backup(&self.cx, &BackupRequest::new("full")).await.unwrap();
        assert!(outcome.problems.is_empty(), "{:?}", outcome.problems);
        outcome.report.session_id
    }

    async fn rewrap(&self, engine: &Engine, session: SessionId) -> backup_core::words::Result<Rewrapped> {
        let sessions = engine.sessions(&self.cx).await.unwrap();
        let entry = engine.session(&self.cx, &session.to_string()).await.unwrap();
        engine.rewrap(&self.cx, &entry, &sessions).await
    }

    async fn rewrapped(&self, engine: &Engine, session: SessionId) -> SessionId {
        match self.rewrap(engine, session).await.unwrap() {
            Rewrapped::Done { from, to, problems, .. } => {
                assert_eq!((from, problems), (session, Vec::<String>::new()));
                to
            }
            needless => panic!("{needless:?}"),
        }
    }

    async fn read(&self, engine: &Engine, session: SessionId) -> backup_core::words::Result<Vec<u8>> {
        let to = tempfile::tempdir().unwrap();
        let files = engine.extract(&self.cx, &session.to_string(), Some("db"), to.path()).await?;
        Ok(std::fs::read(&files[0].path).unwrap())
    }

    /// Objects under the session's stamp.
    fn objects(&self, session: SessionId) -> Vec<String> {
        self.store
            .keys()
            .into_iter()
            .filter(|key| key.contains(&session.stamp()) && !key.contains("sessions/"))
            .collect()
    }
}

#[tokio::test]
async fn a_session_for_others_is_in_every_store() {
    let (old, new) = (identity(), identity());
    let rig = Rig { far: Some(MemoryStore::new()), ..Rig::new() };
    let first = rig.backup(&rig.engine(&[&old], &[]).await).await;
    let engine = rig.engine(&[&new], &[&old]).await;
    let copy = rig.rewrapped(&engine, first).await;
    let found = engine.find(&rig.cx, &copy.to_string()).await.unwrap();
    assert_eq!(found.held_in().collect::<Vec<_>>(), ["memory", "far"]);
    let far = rig.engine(&[&new], &[&new]).await.only("far").unwrap();
    let report = far.verify(&rig.cx, &copy.to_string(), Level::Content).await.unwrap();
    assert!(report.passed && report.level == Level::Content, "{report:?}");
}

#[tokio::test]
async fn a_copy_holds_the_same_for_the_new_recipients_and_stands_beside_the_old_one() {
    let (old, new) = (identity(), identity());
    let rig = Rig::new();
    let first = rig.backup(&rig.engine(&[&old], &[]).await).await;
    let engine = rig.engine(&[&new], &[&old]).await;
    let copy = rig.rewrapped(&engine, first).await;
    assert_eq!(copy, first.next());
    assert_eq!(rig.objects(copy).len(), rig.objects(first).len());

    // It was verified with a key that is gone.
    let evidence = engine.session(&rig.cx, &copy.to_string()).await.unwrap().evidence;
    assert_eq!(
        evidence.iter().map(|e| (e.level.as_str(), e.passed)).collect::<Vec<_>>(),
        [("content", true)]
    );

    let reader = rig.engine(&[], &[&new]).await;
    let whole: Vec<u8> = parts().into_iter().flat_map(|(_, bytes)| bytes).collect();
    assert!(rig.read(&reader, copy).await.unwrap() == whole);
    assert_eq!(rig.read(&reader, first).await.unwrap_err().kind(), ErrorKind::WrongKey);
    assert_eq!(rig.read(&engine, copy).await.unwrap_err().kind(), ErrorKind::WrongKey);
    let report = reader.verify(&rig.cx, &copy.to_string(), Level::Content).await.unwrap();
    assert!(report.passed && report.level == Level::Content, "{report:?}");
    assert_eq!(report.findings.iter().filter(|(name, _)| name == "unified").count(), 1);

    let entries = engine.sessions(&rig.cx).await.unwrap();
    let [was, is] = [0, 1].map(|at: usize| entries[at].committed().unwrap());
    assert_eq!(
        (is.rewrapped_from, is.start, is.end, is.status),
        (Some(first), was.start, was.end, was.status)
    );
    assert_eq!(is.recipients(), [new.recipient.to_string()]);
    assert!(engine.report(copy).await.is_ok());
}

#[tokio::test]
async fn parts_of_a_copy_are_read_alone() {
    use backup_core::pipeline::{Keyring, StoreSource};
    let (old, new) = (identity(), identity());
    let rig = Rig::new();
    let first = rig.backup(&rig.engine(&[&old], &[]).await).await;
    let engine = rig.engine(&[&new], &[&old]).await;
    let copy = rig.rewrapped(&engine, first).await;
    let entry = engine.session(&rig.cx, &copy.to_string()).await.unwrap();
    let record = entry.committed().unwrap().component("db").unwrap().clone();
    let key = SecretSource::Plain(new.file(None).unwrap());
    let keys = Keyring::load(&[IdentitySource { name: "k".into(), key, passphrase: None }]).await.unwrap();
    let source = StoreSource::new(Arc::new(rig.store.clone()), record).with_keys(keys);
    for (name, expected) in parts() {
        let stream = source.read(source.artifact(None).unwrap(), Selection::Part(&name)).await.unwrap();
        assert!(stream.try_collect::<Vec<Bytes>>().await.unwrap().concat() == expected[..], "{name}");
    }
}

#[tokio::test]
async fn a_session_from_before_encryption_can_be_encrypted() {
    let new = identity();
    let rig = Rig::new();
    let first = rig.backup(&rig.engine(&[], &[]).await).await;
    let copy = rig.rewrapped(&rig.engine(&[&new], &[]).await, first).await;
    assert!(rig.objects(copy).iter().all(|key| key.contains(".age")), "{:?}", rig.objects(copy));
    let reader = rig.engine(&[], &[&new]).await;
    assert!(rig.read(&reader, copy).await.is_ok());
}

#[tokio::test]
async fn what_needs_no_copy_gets_none() {
    let (old, new) = (identity(), identity());
    let rig = Rig::new();
    let first = rig.backup(&rig.engine(&[&old], &[]).await).await;
    let same = rig.engine(&[&old], &[&old]).await;
    let engine = rig.engine(&[&new], &[&old]).await;
    let copy = rig.rewrapped(&engine, first).await;
    for (engine, session, why) in [
        (&same, first, "for these recipients already"),
        (&engine, copy, "for these recipients already"),
        (&engine, first, "holds the same for these recipients"),
    ] {
        match rig.rewrap(engine, session).await.unwrap() {
            Rewrapped::Needless { why: said, .. } => assert!(said.contains(why), "{said}"),
            done => panic!("{done:?}"),
        }
    }
    assert_eq!(engine.sessions(&rig.cx).await.unwrap().len(), 2);
}

#[tokio::test]
async fn without_recipients_the_key_or_whole_bytes_nothing_is_begun_or_stays() {
    let (old, new) = (identity(), identity());
    let rig = Rig::new();
    let first = rig.backup(&rig.engine(&[&old], &[]).await).await;
    let before = rig.store.keys();
    let kind = async |engine: Engine| rig.rewrap(&engine, first).await.unwrap_err().kind();
    assert_eq!(kind(rig.engine(&[], &[&old]).await).await, ErrorKind::Config);
    assert_eq!(kind(rig.engine(&[&new], &[]).await).await, ErrorKind::WrongKey);
    assert_eq!(kind(rig.engine(&[&new], &[&new]).await).await, ErrorKind::WrongKey);
    assert_eq!(rig.store.keys(), before);

    let damaged = Key::new(rig.objects(first).into_iter().find(|key| key.contains("/db/")).unwrap()).unwrap();
    let (_, stream) = rig.store.get(&damaged, None).await.unwrap();
    let mut bytes = stream.try_collect::<Vec<Bytes>>().await.unwrap().concat();
    bytes[100_000] ^= 1;
    rig.store.put(&damaged, bytes.into()).await.unwrap();
    let engine = rig.engine(&[&new], &[&old]).await;
    assert_eq!(rig.rewrap(&engine, first).await.unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(rig.objects(first.next()), Vec::<String>::new());
    let states: Vec<_> = engine.sessions(&rig.cx).await.unwrap().iter().map(|entry| entry.state).collect();
    assert_eq!(states, [SessionState::Committed, SessionState::Purged]);
}

#[tokio::test]
async fn a_copy_takes_the_old_ones_place_in_retention_and_never_that_of_a_newer_session() {
    let (old, new) = (identity(), identity());
    let rig = Rig::new();
    let before = rig.engine(&[&old], &[]).await;
    let first = rig.backup(&before).await;
    rig.clock.forward(TimeDelta::days(1));
    let second = rig.backup(&before).await;
    rig.clock.forward(TimeDelta::days(2));
    let engine = rig.engine(&[&new], &[&old]).await;
    let copy = rig.rewrapped(&engine, first).await;
    assert_eq!(engine.session(&rig.cx, "latest").await.unwrap().id, second);
    let report = engine.cleanup(&rig.cx, false).await.unwrap();
    let kept: Vec<SessionId> = report.decisions.iter().filter(|d| d.kept).map(|d| d.session).collect();
    assert_eq!(kept, [copy, second], "{:?}", report.decisions);
    assert_eq!(rig.objects(first), Vec::<String>::new());
    assert!(!rig.objects(copy).is_empty());
}

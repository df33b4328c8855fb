use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::Utc;
use futures::{TryStreamExt, stream::BoxStream};

use super::{IdentitySource, Keyring, NewIdentity, Recipient, Seal, is_protected};
use crate::{
    pipeline::{CodecPool, Compression, KeyComposer, SessionSink, StoreSource},
    stores::MemoryStore,
    traits::{
        ArtifactSpec, ByteStream, CreateIfAbsent, Depth, EndEvidence, Meta, Quiet, SecretSource, Selection,
        Sink, Source, Store, StoreLimits, Upload,
    },
    words::{
        Artifact, Codec, ComponentRecord, ComponentStatus, ErrorKind, Key, Kind, Result, Secret, SessionType,
    },
};

fn source(key: &Secret, passphrase: Option<&str>) -> IdentitySource {
    IdentitySource {
        name: "key.txt".to_owned(),
        key: SecretSource::Plain(key.clone()),
        passphrase: passphrase.map(|text| SecretSource::Plain(Secret::new(text))),
    }
}

fn identity() -> NewIdentity {
    NewIdentity::generate(Utc::now())
}

async fn keys(identity: &NewIdentity) -> Keyring {
    Keyring::load(&[source(&identity.file(None).unwrap(), None)]).await.unwrap()
}

#[tokio::test]
async fn an_identity_file_is_read_back_and_shows_only_its_public_key() {
    let identity = identity();
    let file = identity.file(None).unwrap();
    assert!(!is_protected(file.expose().as_bytes()));
    let keys = Keyring::load(&[source(&file, None)]).await.unwrap();
    assert_eq!(keys.recipients(), std::slice::from_ref(&identity.recipient));
    let shown = format!("{identity:?} {keys:?}");
    assert!(shown.contains("age1") && !shown.contains("SECRET"), "{shown}");
}

#[tokio::test]
async fn a_passphrase_protects_an_identity_file() {
    let identity = identity();
    let file = identity.file(Some(&Secret::new("correct horse"))).unwrap();
    assert!(is_protected(file.expose().as_bytes()));
    let keys = Keyring::load(&[source(&file, Some("correct horse"))]).await.unwrap();
    assert_eq!(keys.recipients(), [identity.recipient]);
    let wrong = Keyring::load(&[source(&file, Some("battery staple"))]).await.unwrap_err();
    assert_eq!(wrong.kind(), ErrorKind::WrongKey);
    let missing = Keyring::load(&[source(&file, None)]).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::Config);
    assert!(missing.advice().unwrap().contains("passphrase = "), "{missing}");
}

#[tokio::test]
async fn what_is_no_key_is_refused_and_never_repeated() {
    for text in ["hunter2", "AGE-SECRET-KEY-1HUNTER2", "# only a comment\n", "age1hunter2", "\u{0}hunter2"] {
        let error = Keyring::load(&[source(&Secret::new(text), None)]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(!error.chain().to_lowercase().contains("hunter2"), "{}", error.chain());
        let error = text.parse::<Recipient>().unwrap_err();
        assert!(!error.chain().to_lowercase().contains("hunter2"), "{}", error.chain());
    }
    let secret = identity().file(None).unwrap();
    let secret = secret.expose().lines().last().unwrap();
    assert!(secret.parse::<Recipient>().unwrap_err().to_string().contains("this is a secret key"));
    let error = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ".parse::<Recipient>().unwrap_err();
    assert!(error.to_string().contains("no public key of age"), "{error}");
}

/// Counts the bytes that are fetched, and can change one.
#[derive(Clone, Debug)]
struct Watched {
    store: MemoryStore,
    fetched: Arc<AtomicU64>,
}

#[async_trait]
impl Store for Watched {
    fn limits(&self) -> StoreLimits {
        self.store.limits()
    }

    async fn begin(&self, key: &Key) -> Result<Box<dyn Upload>> {
        self.store.begin(key).await
    }

    async fn put(&self, key: &Key, body: Bytes) -> Result<Meta> {
        self.store.put(key, body).await
    }

    async fn head(&self, key: &Key) -> Result<Meta> {
        self.store.head(key).await
    }

    async fn get(&self, key: &Key, range: Option<Range<u64>>) -> Result<(Meta, ByteStream)> {
        let asked = match &range {
            Some(range) => range.end - range.start,
            None => self.store.head(key).await?.size,
        };
        self.fetched.fetch_add(asked, Ordering::SeqCst);
        self.store.get(key, range).await
    }

    fn list<'a>(&'a self, prefix: &'a Key, depth: Depth) -> BoxStream<'a, Result<Meta>> {
        self.store.list(prefix, depth)
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        self.store.delete(key).await
    }

    async fn clear_uploads(&self, older_than: Duration) -> Result<u64> {
        self.store.clear_uploads(older_than).await
    }

    async fn exclusive(&self) -> Result<Option<&dyn CreateIfAbsent>> {
        self.store.exclusive().await
    }
}

/// An artifact in a store, and what opens it.
struct Rig {
    store: Watched,
    record: ComponentRecord,
    keys: Keyring,
}

impl Rig {
    /// Writes `parts` uncompressed, so that offsets are known.
    async fn new(parts: &[(&str, Bytes)], volume_bytes: u64) -> Self {
        let store = Watched { store: MemoryStore::new(), fetched: Arc::default() };
        let keys = keys(&identity()).await;
        let seal = Seal::new(keys.recipients(), &Keyring::generate());
        let composer = KeyComposer {
            session: "backup_20260105_020000".parse().unwrap(),
            session_type: SessionType::Daily,
            component: "db".into(),
            stem: "db".into(),
            attempt: 1,
        };
        let pool = CodecPool::new(Compression { codec: Codec::None, level: 0 }, 2);
        let to: Arc<dyn Store> = Arc::new(store.clone());
        let sink = SessionSink::new(to, composer, pool, Arc::new(Quiet), volume_bytes).sealed(seal);
        let mut writer = sink.create(ArtifactSpec::new("bin", "application/octet-stream")).await.unwrap();
        for (name, bytes) in parts {
            writer.part(name).await.unwrap();
            writer.write(bytes.clone()).await.unwrap();
        }
        let artifact = writer.finish(EndEvidence::new("the test ended")).await.unwrap().artifact().clone();
        assert!(artifact.volumes[0].key.as_str().ends_with("/db_20260105_020000.bin.age"));
        Self { store, record: record(artifact), keys }
    }

    async fn read(&self, what: Selection<'_>, keys: &Keyring) -> Result<Vec<u8>> {
        let source =
            StoreSource::new(Arc::new(self.store.clone()), self.record.clone()).with_keys(keys.clone());
        let stream = source.read(source.artifact(None)?, what).await?;
        stream.try_collect::<Vec<Bytes>>().await.map(|chunks| chunks.concat())
    }

    async fn stored(&self) -> Vec<u8> {
        let (_, stream) = self.store.store.get(&self.record.artifacts[0].volumes[0].key, None).await.unwrap();
        stream.try_collect::<Vec<Bytes>>().await.unwrap().concat()
    }

    /// Puts other bytes in the place of the first volume; the manifest then says that these are right.
    async fn forge(&mut self, bytes: &[u8]) {
        let volume = &mut self.record.artifacts[0].volumes[0];
        volume.stored = crate::words::Digest::of(bytes);
        self.store.store.put(&volume.key, Bytes::copy_from_slice(bytes)).await.unwrap();
    }
}

fn record(artifact: Artifact) -> ComponentRecord {
    ComponentRecord {
        name: "db".into(),
        kind: Kind { name: "test".into(), format: 1 },
        status: ComponentStatus::Success,
        point: None,
        facts: Default::default(),
        duration_seconds: 0.0,
        errors: Vec::new(),
        warnings: Vec::new(),
        coverage: Vec::new(),
        artifacts: vec![artifact],
    }
}

fn bytes(size: usize, seed: u8) -> Bytes {
    (0..size).map(|i| (i / 3) as u8 ^ seed).collect::<Vec<u8>>().into()
}

#[tokio::test]
async fn a_part_is_read_without_the_rest() {
    const CHUNK: usize = 64 << 10;
    // Parts that begin and end inside a chunk, at its border, and over several volumes.
    let parts = [
        ("first", bytes(10, 1)),
        ("second", bytes(3 * CHUNK - 10, 2)),
        ("large", bytes(60 * CHUNK, 3)),
        ("at a border", bytes(CHUNK, 4)),
        ("small", bytes(5, 5)),
        ("last", bytes(30 * CHUNK - 5, 6)),
    ];
    for volume_bytes in [u64::MAX, 700_001, (CHUNK as u64 + 16) * 5] {
        let rig = Rig::new(&parts, volume_bytes).await;
        for (name, expected) in &parts {
            rig.store.fetched.store(0, Ordering::SeqCst);
            let found = rig.read(Selection::Part(name), &rig.keys).await.unwrap();
            assert!(found == expected[..], "{name} differs");
            let fetched = rig.store.fetched.load(Ordering::SeqCst);
            // The header, a chunk before, a chunk behind, and for a part at a border the last chunk of all.
            let most = expected.len() as u64 * 65_552 / 65_536 + 4 * (CHUNK as u64 + 16) + (16 << 10);
            assert!(fetched <= most, "{name}: {fetched} of {most}");
        }
        assert_eq!(rig.read(Selection::Whole, &rig.keys).await.unwrap().len(), 94 * CHUNK);
    }
}

#[tokio::test]
async fn another_key_opens_nothing_and_the_right_one_is_named() {
    let rig = Rig::new(&[("a", bytes(10, 1)), ("b", bytes(200_000, 2))], u64::MAX).await;
    for keys in [Keyring::default(), keys(&identity()).await] {
        for what in [Selection::Whole, Selection::Part("b")] {
            let error = rig.read(what, &keys).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::WrongKey);
            assert!(error.chain().contains(&rig.keys.recipients()[0].to_string()), "{}", error.chain());
        }
    }
}

#[tokio::test]
async fn every_flipped_bit_is_found_even_when_the_checksums_are_forged() {
    let mut rig = Rig::new(&[("a", bytes(40, 1))], u64::MAX).await;
    let right = rig.stored().await;
    for at in 0..right.len() {
        let mut wrong = right.clone();
        wrong[at] ^= 1;
        rig.forge(&wrong).await;
        for what in [Selection::Whole, Selection::Part("a")] {
            let found = rig.read(what, &rig.keys).await;
            let kind = found.map_err(|error| error.kind());
            assert!(
                matches!(kind, Err(ErrorKind::Corrupt | ErrorKind::Truncated)),
                "byte {at} of {}: {kind:?}",
                right.len()
            );
        }
    }
    rig.forge(&right).await;
    assert_eq!(rig.read(Selection::Whole, &rig.keys).await.unwrap(), bytes(40, 1));
}

#[tokio::test]
async fn every_truncation_is_found_even_when_the_checksums_are_forged() {
    let mut rig = Rig::new(&[("a", bytes(100_000, 1))], u64::MAX).await;
    let right = rig.stored().await;
    let chunk = right.len() - (100_000 - 65_536) - 16;
    for cut in [0, 1, 50, 200, chunk - 65_552, chunk - 65_551, chunk - 1, chunk, chunk + 1, right.len() - 1] {
        rig.forge(&right[..cut]).await;
        for what in [Selection::Whole, Selection::Part("a")] {
            let kind = rig.read(what, &rig.keys).await.map(|bytes| bytes.len()).map_err(|error| error.kind());
            assert!(matches!(kind, Err(ErrorKind::Corrupt | ErrorKind::Truncated)), "cut at {cut}: {kind:?}");
        }
    }
}

#[tokio::test]
async fn chunks_in_another_order_are_found() {
    let mut rig = Rig::new(&[("a", bytes(4 * 65_536, 1))], u64::MAX).await;
    let right = rig.stored().await;
    let body = right.len() - 4 * 65_552;
    let mut wrong = right[..body].to_vec();
    for chunk in [1, 0, 2, 3] {
        wrong.extend_from_slice(&right[body + chunk * 65_552..body + (chunk + 1) * 65_552]);
    }
    rig.forge(&wrong).await;
    let error = rig.read(Selection::Whole, &rig.keys).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("db_20260105_020000.bin"), "{error}");
}

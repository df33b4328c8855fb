//! The sink of one component in one session.

use std::{
    collections::BTreeSet,
    fmt::Debug,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use tokio_util::task::TaskTracker;

use super::{
    codec::CodecPool,
    crypt::{EXTENSION, Seal},
    volumes::Destination,
    writer::ArtifactWriter,
};
use crate::{
    traits::{ArtifactSpec, Observer, Sink, Store, Writer},
    words::{Artifact, ArtifactName, Codec, Error, ErrorKind, Key, Result, SessionId, SessionType},
};

/// Composes keys: `TYPE/NAME/STEM_STAMP[_rN][_SUFFIX].EXT`, then the codec's extension and `.age`.
#[derive(Clone, Debug)]
pub struct KeyComposer {
    /// The session.
    pub session: SessionId,
    /// Its type, which is the first folder.
    pub session_type: SessionType,
    /// The component's name, which is the second folder.
    pub component: String,
    /// What the file's name begins with.
    pub stem: String,
    /// 1 for the first try; later ones write under new keys.
    pub attempt: u32,
}

impl KeyComposer {
    /// The plain file's name.
    pub fn plain_name(&self, name: &ArtifactName) -> String {
        let attempt = if self.attempt > 1 { format!("_r{}", self.attempt) } else { String::new() };
        let suffix = name.suffix.as_deref().map(|suffix| format!("_{suffix}")).unwrap_or_default();
        format!("{}_{}{attempt}{suffix}.{}", self.stem, self.session.stamp(), name.extension)
    }

    /// The object's key.
    ///
    /// # Errors
    /// When suffix or extension do not fit into a key.
    pub fn key(&self, name: &ArtifactName, codec: Codec, encrypted: bool) -> Result<Key> {
        let plain = self.plain_name(name);
        if plain.contains('/') {
            return Err(
                Error::new(ErrorKind::Internal, "name the artifact", plain).detail("a name has no slash")
            );
        }
        let key = format!("{}/{}/{plain}", self.session_type, self.component);
        Key::new(stored_name(&key, codec, encrypted))
    }
}

/// What a plain file is called in a store.
pub(crate) fn stored_name(plain: &str, codec: Codec, encrypted: bool) -> String {
    format!("{plain}{}{}", codec.extension(), if encrypted { EXTENSION } else { "" })
}

/// Tells the observer of one component's progress.
#[derive(Clone, Debug)]
pub(crate) struct Reporter {
    pub(crate) component: String,
    pub(crate) observer: Arc<dyn Observer>,
    stored: Arc<AtomicU64>,
    finished: Arc<Mutex<Vec<Artifact>>>,
    /// What runs beside a writer, and outlives one that is dropped until it has undone what it had begun.
    pub(crate) storing: TaskTracker,
}

impl Reporter {
    pub(crate) fn stored(&self, bytes: u64) {
        self.stored.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn stored_bytes(&self) -> u64 {
        self.stored.load(Ordering::Relaxed)
    }

    pub(crate) fn finished(&self, artifact: &Artifact) {
        self.finished.lock().unwrap_or_else(PoisonError::into_inner).push(artifact.clone());
    }
}

/// Where one attempt of one component writes its artifacts.
#[derive(Debug)]
pub struct SessionSink {
    store: Arc<dyn Store>,
    composer: KeyComposer,
    pool: CodecPool,
    seal: Option<Seal>,
    observer: Arc<dyn Observer>,
    volume_bytes: u64,
    names: Mutex<BTreeSet<Key>>,
    finished: Arc<Mutex<Vec<Artifact>>>,
    storing: TaskTracker,
}

impl SessionSink {
    /// Writes to `store` under keys that `composer` gives, in volumes of at most `volume_bytes`.
    pub fn new(
        store: Arc<dyn Store>,
        composer: KeyComposer,
        pool: CodecPool,
        observer: Arc<dyn Observer>,
        volume_bytes: u64,
    ) -> Self {
        Self {
            store,
            composer,
            pool,
            seal: None,
            observer,
            volume_bytes,
            names: Mutex::default(),
            finished: Arc::default(),
            storing: TaskTracker::new(),
        }
    }

    /// Encrypts every artifact when there is a `seal`.
    #[must_use]
    pub fn sealed(mut self, seal: Option<Seal>) -> Self {
        self.seal = seal;
        self
    }

    /// Waits until nothing is written any more by writers that are gone: they were finished, aborted or dropped. Uploads that
    /// were begun are undone by then.
    pub async fn settled(&self) {
        self.storing.close();
        self.storing.wait().await;
    }

    /// Artifacts that were finished so far, whether or not their receipts are handed back.
    pub fn finished(&self) -> Vec<Artifact> {
        self.finished.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl Sink for SessionSink {
    async fn create(&self, spec: ArtifactSpec) -> Result<Box<dyn Writer>> {
        let plain_name = self.composer.plain_name(&spec.name);
        let codec = self.pool.compression().codec;
        let key = self.composer.key(&spec.name, codec, self.seal.is_some())?;
        if !self.names.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone()) {
            return Err(Error::new(ErrorKind::Internal, "begin the artifact", plain_name)
                .detail("the component has begun one of that name already"));
        }
        let reporter = Reporter {
            component: self.composer.component.clone(),
            observer: self.observer.clone(),
            stored: Arc::default(),
            finished: self.finished.clone(),
            storing: self.storing.clone(),
        };
        let destination = Destination { store: self.store.clone(), key, volume_bytes: self.volume_bytes };
        let (seal, pool) = (self.seal.as_ref(), self.pool.clone());
        Ok(Box::new(ArtifactWriter::begin(spec, plain_name, destination, seal, pool, reporter)?))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{pipeline::Compression, stores::MemoryStore, traits::Quiet, words::ErrorKind};

    fn composer() -> KeyComposer {
        KeyComposer {
            session: "backup_20250108_120000".parse().unwrap(),
            session_type: SessionType::Daily,
            component: "c".to_owned(),
            stem: "c".to_owned(),
            attempt: 1,
        }
    }

    #[tokio::test]
    async fn a_writer_whose_store_is_full_says_so_and_can_be_aborted() {
        let store = MemoryStore::with_limit(1000);
        let pool = CodecPool::new(Compression::GZIP, 1);
        let sink = SessionSink::new(Arc::new(store.clone()), composer(), pool, Arc::new(Quiet), u64::MAX);
        let mut writer = sink.create(ArtifactSpec::new("db", "application/octet-stream")).await.unwrap();
        // Each MiB of it packs to about a KiB.
        let chunk = Bytes::from(vec![0; 4 << 20]);
        let error = loop {
            if let Err(error) = writer.write(chunk.clone()).await {
                break error;
            }
        };
        assert_eq!(error.kind(), ErrorKind::NoSpace, "{}", error.chain());
        assert!(writer.write(chunk).await.is_err());
        writer.abort().await;
        assert_eq!(store.keys(), Vec::<String>::new());
    }

    #[tokio::test]
    async fn once_settled_nothing_is_left_of_a_writer_that_was_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(crate::stores::LocalStore::new(folder.path()));
        let sink = SessionSink::new(
            store,
            composer(),
            CodecPool::new(Compression::GZIP, 1),
            Arc::new(Quiet),
            u64::MAX,
        );
        for size in [0, 1, 4 << 20] {
            let mut writer = sink
                .create(ArtifactSpec::new(&format!("db{size}"), "application/octet-stream"))
                .await
                .unwrap();
            writer.write(Bytes::from(vec![7; size])).await.unwrap();
        }
        sink.settled().await;
        let uploads = std::fs::read_dir(folder.path().join(".tmp")).map(Iterator::count);
        assert_eq!(uploads.unwrap_or(0), 0);
    }
}

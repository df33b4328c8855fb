//! Small databases for unit tests.

use std::{collections::BTreeMap, os::unix::fs::FileExt, sync::Mutex};

use async_trait::async_trait;
use backup_core::{
    traits::{ByteStream, Journal, Selection, Source},
    words::{Artifact, Codec, ComponentRecord, ComponentStatus, Error, Kind, Result},
};
use bytes::Bytes;
use futures::StreamExt;
use sha2::{Digest, Sha256};

use crate::{
    bolt::{Db, Writer},
    mvcc::Revision,
    proto::Message,
};

/// One change for a test's database.
#[derive(Clone, Debug)]
pub(crate) struct Put {
    key: String,
    lease: u64,
    deletion: bool,
}

impl Put {
    pub(crate) fn new(key: &str) -> Self {
        Self { key: key.to_owned(), lease: 0, deletion: false }
    }

    pub(crate) fn leased(key: &str, lease: u64) -> Self {
        Self { lease, ..Self::new(key) }
    }

    pub(crate) fn deletion(key: &str) -> Self {
        Self { deletion: true, ..Self::new(key) }
    }
}

/// A database whose history is these changes, from revision 2 on as in a new cluster.
pub(crate) fn database(changes: &[Put]) -> Db {
    let file = tempfile::tempfile().unwrap();
    let mut writer = Writer::new(file.try_clone().unwrap(), 4096, "test").unwrap();
    let mut alarm = writer.bucket(b"alarm", 0).unwrap();
    alarm.put(&Message::new().number(1, 7).number(2, 1).done(), b"").unwrap();
    alarm.finish().unwrap();
    let mut bucket = writer.bucket(b"key", 0).unwrap();
    let mut leases = std::collections::BTreeSet::new();
    for (main, change) in (2..).zip(changes) {
        let mut key = Revision { main, sub: 0 }.to_bytes().to_vec();
        let mut message = Message::new().bytes(1, change.key.as_bytes());
        if change.deletion {
            key.push(b't');
        } else {
            message =
                message.number(2, main).number(3, main).number(4, 1).bytes(5, b"v").number(6, change.lease);
            leases.insert(change.lease);
        }
        bucket.put(&key, &message.done()).unwrap();
    }
    bucket.finish().unwrap();
    let mut lease = writer.bucket(b"lease", 0).unwrap();
    for id in leases.into_iter().filter(|id| *id != 0) {
        lease.put(&id.to_be_bytes(), &Message::new().number(1, id).number(2, 60).done()).unwrap();
    }
    lease.finish().unwrap();
    let mut members = writer.bucket(b"members", 0).unwrap();
    members
        .put(
            b"8e9e05c52164694d",
            br#"{"id":10276657743932975437,"peerURLs":["http://old:2380"],"name":"old"}"#,
        )
        .unwrap();
    members.finish().unwrap();
    let mut meta = writer.bucket(b"meta", 0).unwrap();
    meta.put(b"consistent_index", &900_u64.to_be_bytes()).unwrap();
    meta.put(b"storageVersion", b"3.6.0").unwrap();
    meta.put(b"term", &4_u64.to_be_bytes()).unwrap();
    meta.finish().unwrap();
    writer.finish().unwrap();
    let length = file.metadata().unwrap().len();
    Db::open(file, length, "test").unwrap()
}

/// A stored snapshot of a database, as a component's source.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) record: ComponentRecord,
    bytes: Bytes,
}

impl Stored {
    pub(crate) fn new(changes: &[Put]) -> Self {
        let db = database(changes);
        let inventory = crate::inspect::inspect(&db, "/service").unwrap();
        let mut bytes = vec![0; db.length() as usize];
        db.file().read_exact_at(&mut bytes, 0).unwrap();
        bytes.extend(Sha256::digest(&bytes));
        let serde_json::Value::Object(facts) = serde_json::to_value(inventory).unwrap() else {
            unreachable!()
        };
        let artifact = Artifact {
            name: "etcd_backup.db".to_owned(),
            suffix: None,
            media_type: "application/octet-stream".to_owned(),
            plain: backup_core::words::Digest::of(&bytes),
            codec: Codec::None,
            recipients: Vec::new(),
            volumes: Vec::new(),
            parts: Vec::new(),
            needs: Vec::new(),
            evidence: Vec::new(),
        };
        let record = ComponentRecord {
            name: "etcd".to_owned(),
            kind: Kind { name: "etcd".to_owned(), format: 1 },
            status: ComponentStatus::Success,
            point: None,
            facts: facts.into_iter().collect(),
            duration_seconds: 0.0,
            errors: Vec::new(),
            warnings: Vec::new(),
            coverage: Vec::new(),
            artifacts: vec![artifact],
        };
        Self { record, bytes: bytes.into() }
    }

    pub(crate) fn damage(&mut self, at: usize) {
        let mut bytes = self.bytes.to_vec();
        bytes[at] ^= 1;
        self.bytes = bytes.into();
    }
}

#[async_trait]
impl Source for Stored {
    fn record(&self) -> &ComponentRecord {
        &self.record
    }

    async fn read(&self, _: &Artifact, _: Selection<'_>) -> Result<ByteStream> {
        let pieces: Vec<Result<Bytes>> =
            self.bytes.chunks(1000).map(|piece| Ok(piece.to_vec().into())).collect();
        Ok(futures::stream::iter(pieces).boxed())
    }
}

/// A journal in memory that fails from a given record on, as a run that is killed there.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    values: Mutex<BTreeMap<String, serde_json::Value>>,
    pub(crate) dies_at: Mutex<Option<String>>,
}

#[async_trait]
impl Journal for Notes {
    async fn record(&self, name: &str, value: serde_json::Value) -> Result<()> {
        if self.dies_at.lock().unwrap().as_deref() == Some(name) {
            return Err(Error::cancelled("write the journal"));
        }
        self.values.lock().unwrap().insert(name.to_owned(), value);
        Ok(())
    }

    fn recall(&self, name: &str) -> Option<serde_json::Value> {
        self.values.lock().unwrap().get(name).cloned()
    }

    fn recall_from(&self, _: &str, name: &str) -> Option<serde_json::Value> {
        self.recall(name)
    }
}

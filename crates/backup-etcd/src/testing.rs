//! Small databases for unit tests.

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

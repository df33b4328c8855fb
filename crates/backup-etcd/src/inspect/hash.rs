//! The hash over all keys that a member gives (`HashKV`), computed from its database.
//!
//! Source: etcd `server/storage/mvcc/hash.go`: CRC-32C over the bucket's name, and over key and value of each of its entries.

use backup_core::words::Result;

use crate::{bolt::Db, mvcc::Revision};

/// Hashes that members of different versions give for the same database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KvHash {
    /// All entries. None where a compaction was begun and not finished: what a member has removed of it is not known.
    pub all: Option<u32>,
    /// Without a deletion at the compacted revision itself, as newer versions have it.
    pub without_compacted: Option<u32>,
}

impl KvHash {
    /// Reads bucket `key` whole.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`](backup_core::words::ErrorKind) with the place that is damaged.
    pub fn of(db: &Db) -> Result<Self> {
        let compacted = compacted(db, "finishedCompactRev")?;
        if compacted != compacted_since(db)? {
            return Ok(Self { all: None, without_compacted: None });
        }
        let (mut all, mut without) = (crc32c::crc32c(b"key"), crc32c::crc32c(b"key"));
        if let Some(bucket) = db.bucket("key")? {
            let mut entries = bucket.entries()?;
            while entries.advance()? {
                let (key, value) = entries.current();
                let add = |hash| crc32c::crc32c_append(crc32c::crc32c_append(hash, key), value);
                all = add(all);
                let deleted_there = Revision::parse(key)
                    .is_some_and(|(revision, deletion)| deletion && Some(revision.main) == compacted);
                if !deleted_there {
                    without = add(without);
                }
            }
        }
        Ok(Self { all: Some(all), without_compacted: Some(without) })
    }

    /// Whether a member that gives `hash` holds the same entries; none when that cannot be told.
    pub fn agrees(self, hash: u32) -> Option<bool> {
        let all = self.all?;
        Some(hash == all || Some(hash) == self.without_compacted)
    }
}

fn compacted_since(db: &Db) -> Result<Option<u64>> {
    compacted(db, "scheduledCompactRev")
}

fn compacted(db: &Db, name: &str) -> Result<Option<u64>> {
    let value = super::value(db, "meta", name)?;
    Ok(value.and_then(|bytes| Revision::parse(&bytes)).map(|(revision, _)| revision.main))
}

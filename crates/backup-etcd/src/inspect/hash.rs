//! The hash over all keys that a member gives (`HashKV`), computed from its database.
//!
//! Source: etcd `server/storage/mvcc/{hash,kvstore,key_index}.go`: CRC-32C over the bucket's name, and over key and value of its
//! entries. Of those up to the compacted revision only the ones that still stand count: no deletion, and nothing that was
//! changed since.

use std::{
    collections::HashSet,
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher},
};

use backup_core::words::Result;

use crate::{
    bolt::Db,
    mvcc::{Change, Revision},
};

/// Keys that were changed since the compaction are remembered by 64-bit hashes: 18 MB.
const AT_ONCE: usize = 1_800_000;

/// The hash of the latest revision; `live_keys` is how many keys have a value there. None where it cannot be told: a compaction
/// was begun and not finished, or too much was changed since.
///
/// # Errors
/// [`ErrorKind::Corrupt`](backup_core::words::ErrorKind) with the place that is damaged.
pub fn kv_hash(db: &Db, live_keys: u64) -> Result<Option<u32>> {
    let compacted = compacted(db, "finishedCompactRev")?;
    if compacted != self::compacted(db, "scheduledCompactRev")? {
        return Ok(None);
    }
    let since = match compacted {
        // Without any live key etcd leaves nothing out.
        Some(_) if live_keys > 0 => match changed_since(db, compacted)? {
            Some(changed) => changed,
            None => return Ok(None),
        },
        _ => HashSet::new(),
    };
    let mut hash = crc32c::crc32c(b"key");
    let Some(bucket) = db.bucket("key")? else { return Ok(Some(hash)) };
    let mut entries = bucket.entries()?;
    while entries.advance()? {
        let (key, value) = entries.current();
        if live_keys > 0 && is_old(key, compacted) && !stands(key, value, &since) {
            continue;
        }
        hash = crc32c::crc32c_append(crc32c::crc32c_append(hash, key), value);
    }
    Ok(Some(hash))
}

fn is_old(key: &[u8], compacted: Option<u64>) -> bool {
    Revision::parse(key).is_some_and(|(revision, _)| Some(revision.main) <= compacted)
}

fn stands(key: &[u8], value: &[u8], changed_since: &HashSet<u64>) -> bool {
    let deletion = Revision::parse(key).is_some_and(|(_, deletion)| deletion);
    let changed = Change::parse(value).is_some_and(|change| changed_since.contains(&short(change.key)));
    !deletion && !changed
}

fn changed_since(db: &Db, compacted: Option<u64>) -> Result<Option<HashSet<u64>>> {
    let mut changed = HashSet::new();
    let Some(bucket) = db.bucket("key")? else { return Ok(Some(changed)) };
    let mut entries = bucket.entries()?;
    while entries.advance()? {
        let (key, value) = entries.current();
        if is_old(key, compacted) {
            continue;
        }
        if let Some(change) = Change::parse(value) {
            changed.insert(short(change.key));
        }
        if changed.len() > AT_ONCE {
            return Ok(None);
        }
    }
    Ok(Some(changed))
}

fn short(key: &[u8]) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(key)
}

fn compacted(db: &Db, name: &str) -> Result<Option<u64>> {
    let value = super::value(db, "meta", name)?;
    Ok(value.and_then(|bytes| Revision::parse(&bytes)).map(|(revision, _)| revision.main))
}

//! Counting keys in the history of their changes.

use std::{
    collections::{BTreeMap, HashSet},
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher},
};

use backup_core::words::{Error, ErrorKind, Result};

use crate::{
    bolt::Db,
    mvcc::{Change, Revision},
};

/// Live keys that are remembered at once. Below it a hash set of their 64-bit hashes takes 18 MB.
const AT_ONCE: usize = 1_800_000;
/// Prefixes that are told apart; keys under later ones are counted together.
const PREFIXES: usize = 500;
const OTHERS: &str = "(others)";
const NO_PREFIX: &str = "(no prefix)";

#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) revision: u64,
    pub(super) changes: u64,
    pub(super) keys: u64,
    pub(super) prefixes: BTreeMap<String, u64>,
}

/// Reads bucket `key`, as often as the memory for live keys demands.
pub(super) fn count(db: &Db, namespace: &str) -> Result<Counts> {
    let mut shares = 1;
    loop {
        match count_in_shares(db, namespace, shares, AT_ONCE)? {
            Some(counts) => return Ok(counts),
            None => shares *= 2,
        }
    }
}

/// Counts the keys of one share after the other; `None` when one has more than `at_once`.
fn count_in_shares(db: &Db, namespace: &str, shares: u64, at_once: usize) -> Result<Option<Counts>> {
    let mut counts = Counts::default();
    for share in 0..shares {
        counts.changes = 0;
        let Some(bucket) = db.bucket("key")? else { break };
        let mut entries = bucket.entries()?;
        let mut live = Live::default();
        while entries.advance()? {
            let (key, value) = entries.current();
            let parsed = Revision::parse(key).zip(Change::parse(value));
            let Some(((revision, deletion), change)) = parsed else {
                return Err(no_change(db, counts.revision));
            };
            counts.revision = counts.revision.max(revision.main);
            counts.changes += 1;
            let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(change.key);
            if hash % shares == share {
                live.apply(&mut counts, hash, change.key, deletion, namespace);
            }
            if live.0.len() > at_once {
                return Ok(None);
            }
        }
        counts.keys += live.0.len() as u64;
    }
    counts.prefixes.retain(|_, keys| *keys > 0);
    Ok(Some(counts))
}

fn no_change(db: &Db, after: u64) -> Error {
    Error::new(ErrorKind::Corrupt, "read the keys in", db.subject())
        .detail(format!("the entry after revision {after} is no change of a key"))
        .hint("it is damaged: take another copy of this snapshot, or another session")
}

/// Hashes of the keys that have a value so far. Two keys of a million share one with a chance of 1 in 10^7.
#[derive(Default)]
struct Live(HashSet<u64, BuildHasherDefault<Unhashed>>);

impl Live {
    fn apply(&mut self, counts: &mut Counts, hash: u64, key: &[u8], deletion: bool, namespace: &str) {
        let changed = if deletion { self.0.remove(&hash) } else { self.0.insert(hash) };
        if !changed {
            return;
        }
        let prefix = prefix(key, namespace);
        let known = counts.prefixes.contains_key(&prefix) || counts.prefixes.len() < PREFIXES;
        let keys = counts.prefixes.entry(if known { prefix } else { OTHERS.to_owned() }).or_default();
        *keys = if deletion { keys.saturating_sub(1) } else { *keys + 1 };
    }
}

/// Hashes that are hashes already.
#[derive(Default)]
struct Unhashed(u64);

impl std::hash::Hasher for Unhashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// `/registry/` for `/registry/pods/x`, `app/` for `app/x`; one level more below `namespace`.
fn prefix(key: &[u8], namespace: &str) -> String {
    let inside = key.strip_prefix(namespace.as_bytes()).filter(|rest| rest.first() == Some(&b'/'));
    let searched_from = match inside {
        Some(_) => namespace.len() + 1,
        None => usize::from(key.first() == Some(&b'/')),
    };
    match key[searched_from..].iter().position(|byte| *byte == b'/') {
        Some(slash) => String::from_utf8_lossy(&key[..=searched_from + slash]).into_owned(),
        None if inside.is_some() => format!("{namespace}/"),
        None => NO_PREFIX.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Put, database};

    #[test]
    fn prefixes_are_one_level_and_two_for_patroni() {
        let cases = [
            ("/registry/pods/x", "/registry/"),
            ("/service/crm/members/a", "/service/crm/"),
            ("/service/x", "/service/"),
            ("/services/x/y", "/services/"),
            ("app/x/y", "app/"),
            ("plain", NO_PREFIX),
            ("/plain", NO_PREFIX),
        ];
        for (key, expected) in cases {
            assert_eq!(prefix(key.as_bytes(), "/service"), expected, "{key}");
        }
    }

    #[test]
    fn deleted_keys_do_not_count_and_shares_give_the_same() {
        let mut changes: Vec<Put> = (0..300).map(|i| Put::new(&format!("/a/{}", i % 100))).collect();
        changes.extend((0..40).map(|i| Put::deletion(&format!("/a/{i}"))));
        changes.extend((0..10).map(|i| Put::new(&format!("/a/{i}"))));
        let db = database(&changes);
        assert!(count_in_shares(&db, "/service", 1, 50).unwrap().is_none());
        for shares in [1, 4] {
            let counts = count_in_shares(&db, "/service", shares, 1000).unwrap().unwrap();
            assert_eq!((counts.keys, counts.changes, counts.revision), (70, 350, 351));
            assert_eq!(counts.prefixes, BTreeMap::from([("/a/".to_owned(), 70)]));
        }
    }

    #[test]
    fn too_many_prefixes_are_counted_together() {
        let changes: Vec<Put> = (0..PREFIXES + 20).map(|i| Put::new(&format!("/{i}/x"))).collect();
        let counts = count(&database(&changes), "/service").unwrap();
        assert_eq!(counts.prefixes[OTHERS], 20);
        assert_eq!(counts.prefixes.values().sum::<u64>(), PREFIXES as u64 + 20);
    }
}

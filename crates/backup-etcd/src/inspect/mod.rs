//! What a snapshot holds, read without etcd.

mod hash;
mod keys;

use std::collections::BTreeMap;

use backup_core::words::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

pub use hash::kv_hash;

use crate::{
    bolt::Db,
    proto::{Fields, Value},
    version::Version,
};

/// What a snapshot holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    /// Its revision: the largest in it.
    pub revision: u64,
    /// Changes in its history, deletions included.
    pub changes: u64,
    /// Keys that have a value at its revision.
    pub keys: u64,
    /// Keys under each first-level prefix, and under `NAMESPACE/SCOPE/` for each of Patroni's clusters.
    pub prefixes: BTreeMap<String, u64>,
    /// Leases.
    pub leases: u64,
    /// Users of etcd's own authentication.
    pub users: u64,
    /// Its roles.
    pub roles: u64,
    /// Whether authentication is on.
    pub auth_enabled: bool,
    /// Alarms that were raised ("NOSPACE").
    pub alarms: Vec<String>,
    /// The version that its format belongs to.
    pub version: Version,
    /// Members of the cluster that it was taken from, by name.
    pub members: Vec<MemberRecord>,
    /// Bytes of the database.
    pub db_bytes: u64,
}

/// A member as etcd stores it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberRecord {
    /// Its id.
    pub id: u64,
    /// Its name; empty for one that never started.
    #[serde(default)]
    pub name: String,
    /// Where the other members reach it.
    #[serde(rename = "peerURLs", default)]
    pub peer_urls: Vec<String>,
    /// Where clients reach it.
    #[serde(rename = "clientURLs", default)]
    pub client_urls: Vec<String>,
    /// Whether it only learns and has no vote.
    #[serde(rename = "isLearner", default)]
    pub is_learner: bool,
}

/// Reads the whole database; `namespace` is where Patroni keeps its clusters (`/service`).
///
/// Memory: 18 MB for up to 1.8 million live keys. A database with more is read several times, once for each share of them.
///
/// # Errors
/// [`ErrorKind::Corrupt`] with the place that is damaged.
pub fn inspect(db: &Db, namespace: &str) -> Result<Inventory> {
    let counts = keys::count(db, namespace)?;
    Ok(Inventory {
        revision: counts.revision,
        changes: counts.changes,
        keys: counts.keys,
        prefixes: counts.prefixes,
        leases: count(db, "lease")?,
        users: count(db, "authUsers")?,
        roles: count(db, "authRoles")?,
        auth_enabled: value(db, "auth", "authEnabled")?.is_some_and(|value| value == [1]),
        alarms: alarms(db)?,
        version: version(db)?,
        members: members(db)?,
        db_bytes: db.length(),
    })
}

/// The version that the database's format belongs to: 3.6 and later say it; 3.5 says the cluster's; 3.4 says neither.
///
/// # Errors
/// [`ErrorKind::Corrupt`] with the place that is damaged.
pub fn version(db: &Db) -> Result<Version> {
    for (bucket, key) in [("meta", "storageVersion"), ("cluster", "clusterVersion")] {
        let said = value(db, bucket, key)?;
        if let Some(version) = said.as_deref().and_then(|text| std::str::from_utf8(text).ok()?.parse().ok()) {
            return Ok(version);
        }
    }
    let has_term = value(db, "meta", "term")?.is_some();
    Ok(Version { major: 3, minor: if has_term { 5 } else { 4 } })
}

fn value(db: &Db, bucket: &str, key: &str) -> Result<Option<Vec<u8>>> {
    db.bucket(bucket)?.map_or(Ok(None), |bucket| bucket.get(key.as_bytes()))
}

fn count(db: &Db, bucket: &str) -> Result<u64> {
    let Some(bucket) = db.bucket(bucket)? else { return Ok(0) };
    let mut entries = bucket.entries()?;
    let mut count = 0;
    while entries.advance()? {
        count += 1;
    }
    Ok(count)
}

/// Bucket `alarm`: its keys are messages {1: member, 2: alarm}.
fn alarms(db: &Db) -> Result<Vec<String>> {
    let Some(bucket) = db.bucket("alarm")? else { return Ok(Vec::new()) };
    let mut entries = bucket.entries()?;
    let mut alarms = Vec::new();
    while entries.advance()? {
        let kind = Fields::of(entries.current().0).flatten().find_map(|field| match field {
            (2, Value::Number(kind)) => Some(kind),
            _ => None,
        });
        alarms.push(match kind {
            Some(1) => "NOSPACE".to_owned(),
            Some(2) => "CORRUPT".to_owned(),
            other => format!("alarm {}", other.unwrap_or_default()),
        });
    }
    alarms.sort();
    alarms.dedup();
    Ok(alarms)
}

fn members(db: &Db) -> Result<Vec<MemberRecord>> {
    let Some(bucket) = db.bucket("members")? else { return Ok(Vec::new()) };
    let mut entries = bucket.entries()?;
    let mut members: Vec<MemberRecord> = Vec::new();
    while entries.advance()? {
        let member = serde_json::from_slice(entries.current().1)
            .map_err(|e| Error::new(ErrorKind::Corrupt, "read the members in", db.subject()).because(e))?;
        members.push(member);
    }
    members.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(members)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use proptest::prelude::*;

    use super::*;
    use crate::testing::{Put, database};

    #[test]
    fn a_snapshot_is_described_by_what_is_in_it() {
        let db = database(&[Put::new("/a/1"), Put::leased("/a/2", 7), Put::deletion("/a/1")]);
        let inventory = inspect(&db, "/service").unwrap();
        assert_eq!((inventory.revision, inventory.changes, inventory.keys), (4, 3, 1));
        assert_eq!((inventory.leases, inventory.auth_enabled), (1, false));
        assert_eq!(inventory.alarms, ["NOSPACE"]);
        assert_eq!(inventory.version.to_string(), "3.6");
        assert_eq!(inventory.members[0].peer_urls, ["http://old:2380"]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn a_damaged_snapshot_never_panics(hits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
            let changes: Vec<Put> = (0..300).map(|i| Put::new(&format!("/a/{i}"))).collect();
            let db = database(&changes);
            for (at, byte) in hits {
                db.file().write_all_at(&[byte], at.index(db.length() as usize) as u64).unwrap();
            }
            let file = db.file().try_clone().unwrap();
            let _ = Db::open(file, db.length(), "test").and_then(|db| inspect(&db, "/service"));
        }
    }
}

//! Rewriting a snapshot's database for a new cluster.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fs::File,
};

use backup_core::words::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use super::{Rewrite, cluster::Cluster, wal};
use crate::{
    bolt::{Bucket, Db, Writer},
    inspect,
    mvcc::{Change, Revision},
    version::Version,
};

/// Entries between two looks at whether to go on.
const LOOK_EVERY: u64 = 1000;
/// `meta/storageVersion` and the cluster's version appeared with this minor.
const STORAGE_VERSION_SINCE: Version = Version { major: 3, minor: 6 };

/// What was written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rewritten {
    /// The revision that the new cluster begins with.
    pub revision: u64,
    /// Entries in each bucket.
    pub entries: BTreeMap<String, u64>,
    /// Changes of Patroni's keys that were left out.
    pub dropped_changes: u64,
    /// Leases that were left out, since only such keys had them.
    pub dropped_leases: u64,
    /// Alarms that were left out, since they are about members that are no more.
    pub dropped_alarms: u64,
}

/// Writes the database of the new cluster into `file`; it is the same for all members, byte by byte.
pub(super) fn rewrite(
    source: &Db,
    file: File,
    subject: &str,
    cluster: &Cluster,
    options: &Rewrite,
    go_on: &dyn Fn() -> Result<()>,
) -> Result<Rewritten> {
    let older = older_target(source, options)?;
    let mut sources: BTreeMap<Vec<u8>, Option<Bucket<'_>>> =
        [&b"key"[..], b"lease", b"members", b"members_removed", b"meta"]
            .map(|name| (name.to_vec(), None))
            .into();
    sources.extend(source.buckets()?.into_iter().map(|bucket| (bucket.name().to_vec(), Some(bucket))));
    let mut job = Job {
        writer: Writer::new(file, source.page_size(), subject)?,
        options,
        go_on,
        leases: Leases::default(),
        done: Rewritten::default(),
        compacted: None,
    };
    // In ascending order: `key` is done when `lease` and `meta` come, which depend on what was left out.
    for (name, bucket) in &sources {
        let entries = match name.as_slice() {
            b"alarm" => job.drop_alarms(bucket.as_ref())?,
            b"key" => job.copy_keys(source, bucket.as_ref())?,
            b"lease" => job.copy_leases(bucket.as_ref())?,
            b"members" => job.write(name, members(cluster)?)?,
            b"members_removed" => job.write(name, BTreeMap::new())?,
            b"meta" => job.write_meta(bucket.as_ref(), cluster, older)?,
            b"cluster" if older => job.write(name, BTreeMap::new())?,
            _ => job.copy(name, bucket.as_ref())?,
        };
        job.done.entries.insert(String::from_utf8_lossy(name).into_owned(), entries);
    }
    job.writer.finish()?;
    Ok(job.done)
}

/// Whether the target is older than the snapshot; that must have been forced.
fn older_target(source: &Db, options: &Rewrite) -> Result<bool> {
    let version = inspect::version(source)?;
    let Some(target) = options.target.filter(|target| *target < version) else { return Ok(false) };
    if options.force {
        return Ok(true);
    }
    Err(Error::new(ErrorKind::Refused, "restore", source.subject())
        .detail(format!("it was written by etcd {version}, and the target is the older {target}"))
        .hint(format!("restore it to etcd {version} or newer, or set force=true")))
}

fn members(cluster: &Cluster) -> Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    cluster
        .members()
        .iter()
        .map(|member| Ok((member.hex_id().into_bytes(), member.json()?.into_bytes())))
        .collect()
}

/// Leases that keys had.
#[derive(Debug, Default)]
struct Leases {
    of_dropped: HashSet<i64>,
    of_kept: HashSet<i64>,
}

struct Job<'a> {
    writer: Writer,
    options: &'a Rewrite,
    go_on: &'a dyn Fn() -> Result<()>,
    leases: Leases,
    done: Rewritten,
    /// The revision up to which history is marked as compacted.
    compacted: Option<Revision>,
}

impl Job<'_> {
    fn write(&mut self, name: &[u8], entries: BTreeMap<Vec<u8>, Vec<u8>>) -> Result<u64> {
        let mut bucket = self.writer.bucket(name, 0)?;
        for (key, value) in &entries {
            bucket.put(key, value)?;
        }
        bucket.finish()?;
        Ok(entries.len() as u64)
    }

    fn copy(&mut self, name: &[u8], source: Option<&Bucket<'_>>) -> Result<u64> {
        let mut count = 0;
        let mut bucket = self.writer.bucket(name, source.map_or(0, Bucket::sequence))?;
        if let Some(source) = source {
            let mut entries = source.entries()?;
            while entries.advance()? {
                let (key, value) = entries.current();
                bucket.put(key, value)?;
                count += 1;
            }
        }
        bucket.finish()?;
        Ok(count)
    }

    /// All changes but those of keys to be dropped; then the mark of the bump.
    fn copy_keys(&mut self, db: &Db, source: Option<&Bucket<'_>>) -> Result<u64> {
        let mut bucket = self.writer.bucket(b"key", 0)?;
        let mut newest = Revision { main: 1, sub: 0 };
        let (mut read, mut written) = (0, 0);
        let mut entries = source.map(Bucket::entries).transpose()?;
        while let Some(entries) = entries.as_mut() {
            if read % LOOK_EVERY == 0 {
                (self.go_on)()?;
            }
            if !entries.advance()? {
                break;
            }
            let (key, value) = entries.current();
            let parsed = Revision::parse(key).zip(Change::parse(value));
            let Some(((revision, _), change)) = parsed else {
                return Err(Error::new(ErrorKind::Corrupt, "read the keys in", db.subject())
                    .detail(format!("the entry after revision {} is no change of a key", newest.main)));
            };
            read += 1;
            newest = newest.max(revision);
            let dropped = self.options.patroni.drops(change.key, &self.options.patroni_namespace);
            if change.lease != 0 {
                let leases = if dropped { &mut self.leases.of_dropped } else { &mut self.leases.of_kept };
                leases.insert(change.lease);
            }
            if !dropped {
                bucket.put(key, value)?;
                written += 1;
            }
        }
        self.done.dropped_changes = read - written;
        // A history with holes must not be watched: it is marked as compacted even without a bump.
        let bump = if self.done.dropped_changes > 0 { self.options.bump.max(1) } else { self.options.bump };
        if bump > 0 {
            let main =
                newest.main.checked_add(bump).filter(|main| *main <= i64::MAX as u64).ok_or_else(|| {
                    Error::new(ErrorKind::Config, "bump the revision of", db.subject())
                        .detail(format!("{} + {bump} is more than etcd can count", newest.main))
                })?;
            newest = Revision { main, sub: 0 };
            bucket.put(&newest.to_bytes(), b"")?;
            written += 1;
            self.compacted = Some(newest);
        }
        bucket.finish()?;
        self.done.revision = newest.main;
        Ok(written)
    }

    /// All leases but those that only dropped keys had. A lease's key is its id, eight bytes.
    fn copy_leases(&mut self, source: Option<&Bucket<'_>>) -> Result<u64> {
        let mut bucket = self.writer.bucket(b"lease", 0)?;
        let mut count = 0;
        if let Some(source) = source {
            let mut entries = source.entries()?;
            while entries.advance()? {
                let (key, value) = entries.current();
                let id = <[u8; 8]>::try_from(key).map(i64::from_be_bytes).unwrap_or_default();
                if self.leases.of_dropped.contains(&id) && !self.leases.of_kept.contains(&id) {
                    self.done.dropped_leases += 1;
                } else {
                    bucket.put(key, value)?;
                    count += 1;
                }
            }
        }
        bucket.finish()?;
        Ok(count)
    }

    /// An alarm names a member of the old cluster, and would keep the new one from taking writes. One that is still true is
    /// raised again by etcd itself.
    fn drop_alarms(&mut self, source: Option<&Bucket<'_>>) -> Result<u64> {
        if let Some(source) = source {
            let mut entries = source.entries()?;
            while entries.advance()? {
                self.done.dropped_alarms += 1;
            }
        }
        self.write(b"alarm", BTreeMap::new())
    }

    fn write_meta(&mut self, source: Option<&Bucket<'_>>, cluster: &Cluster, older: bool) -> Result<u64> {
        let mut meta = BTreeMap::new();
        if let Some(source) = source {
            let mut entries = source.entries()?;
            while entries.advance()? {
                let (key, value) = entries.current();
                meta.insert(key.to_vec(), value.to_vec());
            }
        }
        let mut set = |key: &str, value: &[u8]| meta.insert(key.as_bytes().to_vec(), value.to_vec());
        set("consistent_index", &wal::commit(cluster).to_be_bytes());
        set("term", &wal::TERM.to_be_bytes());
        if let Some(revision) = self.compacted {
            set("scheduledCompactRev", &revision.to_bytes());
        }
        if older && self.options.target.is_some_and(|target| target < STORAGE_VERSION_SINCE) {
            meta.remove(&b"storageVersion"[..]);
        }
        self.write(b"meta", meta)
    }
}

/// Reads a written database again and compares the number of entries in each bucket.
pub(super) fn verify(file: File, subject: &str, written: &Rewritten) -> Result<()> {
    let length = file.metadata().map_err(|e| Error::io("read", subject, e))?.len();
    let db = Db::open(file, length, subject)?;
    let mut found = BTreeMap::new();
    for bucket in db.buckets()? {
        let mut entries = bucket.entries()?;
        let mut count = 0;
        while entries.advance()? {
            count += 1;
        }
        found.insert(String::from_utf8_lossy(bucket.name()).into_owned(), count);
    }
    if found == written.entries {
        return Ok(());
    }
    let names: BTreeSet<&String> = found.keys().chain(written.entries.keys()).collect();
    let differs: Vec<&str> = names
        .into_iter()
        .filter(|name| found.get(*name) != written.entries.get(*name))
        .map(String::as_str)
        .collect();
    Err(Error::new(ErrorKind::Corrupt, "verify the restored database", subject)
        .detail(format!("what was written is not what is read back in {}", differs.join(", ")))
        .hint("look at the disk, then restore again"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        patroni::PatroniKeys,
        testing::{Put, database},
    };

    fn run(changes: &[Put], options: &Rewrite) -> Result<(Db, Rewritten)> {
        let cluster = Cluster::parse("a=http://h:1,b=http://h:2", "t").unwrap();
        let file = tempfile::tempfile().unwrap();
        let written =
            rewrite(&database(changes), file.try_clone().unwrap(), "new", &cluster, options, &|| Ok(()))?;
        verify(file.try_clone().unwrap(), "new", &written).unwrap();
        let length = file.metadata().unwrap().len();
        Ok((Db::open(file, length, "new").unwrap(), written))
    }

    fn keys(db: &Db) -> Vec<(u64, String)> {
        let mut entries = db.bucket("key").unwrap().unwrap().entries().unwrap();
        let mut keys = Vec::new();
        while entries.advance().unwrap() {
            let (revision, value) = entries.current();
            let key = String::from_utf8(Change::parse(value).unwrap().key.to_vec()).unwrap();
            keys.push((Revision::parse(revision).unwrap().0.main, key));
        }
        keys
    }

    fn patroni() -> Vec<Put> {
        vec![
            Put::new("/service/crm/config"),
            Put::leased("/service/crm/leader", 7),
            Put::leased("app/lock", 8),
            Put::leased("/service/crm/members/a", 8),
            Put::deletion("/service/crm/leader"),
            Put::new("/service/crm/initialize"),
        ]
    }

    #[test]
    fn without_bump_and_filter_the_history_stays_as_it_was() {
        let options = Rewrite { bump: 0, patroni: PatroniKeys::All, ..Rewrite::default() };
        let (db, written) = run(&patroni(), &options).unwrap();
        assert_eq!((written.revision, written.dropped_changes, written.entries["key"]), (7, 0, 6));
        assert_eq!(keys(&db)[0], (2, "/service/crm/config".to_owned()));
        assert_eq!(inspect::version(&db).unwrap().to_string(), "3.6");
    }

    #[test]
    fn dropped_keys_are_gone_with_the_leases_that_only_they_had() {
        let options = Rewrite { bump: 0, patroni: PatroniKeys::Config, ..Rewrite::default() };
        let (db, written) = run(&patroni(), &options).unwrap();
        let left = [(2, "/service/crm/config"), (4, "app/lock"), (8, "")].map(|(r, k)| (r, k.to_owned()));
        assert_eq!(keys(&db), left);
        assert_eq!((written.dropped_changes, written.dropped_leases, written.entries["lease"]), (4, 1, 1));
        let compacted = db.bucket("meta").unwrap().unwrap().get(b"scheduledCompactRev").unwrap().unwrap();
        assert_eq!(compacted, Revision { main: 8, sub: 0 }.to_bytes());
    }

    #[test]
    fn members_and_indexes_are_the_new_clusters_and_alarms_are_gone() {
        let (db, written) = run(&patroni(), &Rewrite::default()).unwrap();
        let inventory = inspect::inspect(&db, "/service").unwrap();
        let names: Vec<&str> = inventory.members.iter().map(|member| member.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!((written.revision, inventory.revision), (1_000_000_007, 1_000_000_007));
        assert_eq!((written.dropped_alarms, inventory.alarms.len()), (1, 0));
        let meta = db.bucket("meta").unwrap().unwrap();
        assert_eq!(meta.get(b"consistent_index").unwrap().unwrap(), 2_u64.to_be_bytes());
        assert_eq!(meta.get(b"term").unwrap().unwrap(), 1_u64.to_be_bytes());
    }

    #[test]
    fn an_older_target_is_refused_unless_forced() {
        let target = Some(Version { major: 3, minor: 5 });
        let refused = run(&patroni(), &Rewrite { target, ..Rewrite::default() }).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Refused);
        let (db, _) = run(&patroni(), &Rewrite { target, force: true, ..Rewrite::default() }).unwrap();
        assert_eq!(inspect::version(&db).unwrap(), Version { major: 3, minor: 5 });
    }

    #[test]
    fn the_caller_can_stop_it() {
        let cluster = Cluster::parse("a=http://h:1", "t").unwrap();
        let stop = || Err(Error::cancelled("restore"));
        let file = tempfile::tempfile().unwrap();
        let error =
            rewrite(&database(&patroni()), file, "new", &cluster, &Rewrite::default(), &stop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cancelled);
    }
}

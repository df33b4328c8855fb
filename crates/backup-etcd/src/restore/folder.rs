//! A member's data directory: staged beside its place, verified, then put there.

use std::{
    fs::{self, File, OpenOptions, Permissions, TryLockError},
    io::Write,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use backup_core::words::{Error, ErrorKind, Result};
use chrono::{DateTime, Utc};

use super::{
    Rewrite,
    cluster::{Cluster, Member},
    db::{self, Rewritten},
    snap, wal,
};
use crate::bolt::Db;

/// What stands where a data directory is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Nothing.
    Nothing,
    /// A directory with nothing in it.
    Empty,
    /// Something, by device and inode.
    Something {
        /// Device and inode: tells whether it is still the same one.
        identity: String,
        /// Whether an etcd runs on it.
        in_use: bool,
    },
}

impl Existing {
    /// Looks at `dir`.
    ///
    /// # Errors
    /// When it cannot be looked at.
    pub fn look(dir: &Path) -> Result<Self> {
        let failed = |e| Error::io("look at", dir.display().to_string(), e);
        let about = match fs::symlink_metadata(dir) {
            Ok(about) => about,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Self::Nothing),
            Err(e) => return Err(failed(e)),
        };
        if about.is_dir() && fs::read_dir(dir).map_err(failed)?.next().is_none() {
            return Ok(Self::Empty);
        }
        let in_use = is_in_use(dir)?;
        Ok(Self::Something { identity: format!("{}:{}", about.dev(), about.ino()), in_use })
    }

    /// The same for the same directory, whatever changes in it.
    pub fn fingerprint(&self) -> String {
        match self {
            Self::Nothing => "nothing".to_owned(),
            Self::Empty => "empty".to_owned(),
            Self::Something { identity, .. } => identity.clone(),
        }
    }
}

/// Whether an etcd runs on `dir`: it holds a lock on its database.
fn is_in_use(dir: &Path) -> Result<bool> {
    let path = dir.join("member/snap/db");
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(_) => return Ok(false),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(e)) => Err(Error::io("lock", path.display().to_string(), e)),
    }
}

/// A data directory that is complete and verified, but not yet in its place. Dropped before, it is removed.
#[derive(Debug)]
pub struct Staged {
    folder: PathBuf,
    target: PathBuf,
    written: Rewritten,
    in_place: bool,
}

impl Staged {
    /// Writes the data directory of `member` from `source`, beside `target`. `go_on` is asked now and then.
    ///
    /// # Errors
    /// When the snapshot is damaged or too new, the disk is full, or what was written is not read back.
    pub fn write(
        source: &Db,
        target: &Path,
        cluster: &Cluster,
        member: &Member,
        options: &Rewrite,
        go_on: &dyn Fn() -> Result<()>,
    ) -> Result<Self> {
        let mut staged = Self::begin(target)?;
        let path = staged.db_path();
        let file = create(&path)?;
        staged.written = db::rewrite(source, file, &path.display().to_string(), cluster, options, go_on)?;
        staged.complete(cluster, member)
    }

    /// The same for another member of the cluster: the database is copied.
    ///
    /// # Errors
    /// As for [`write`](Self::write).
    pub fn write_like(&self, target: &Path, cluster: &Cluster, member: &Member) -> Result<Self> {
        let mut staged = Self::begin(target)?;
        let path = staged.db_path();
        let failed = |e| Error::io("copy the database to", path.display().to_string(), e);
        let mut from = File::open(self.db_path()).map_err(failed)?;
        let mut to = create(&path)?;
        std::io::copy(&mut from, &mut to).and_then(|_| to.sync_all()).map_err(failed)?;
        staged.written = self.written.clone();
        staged.complete(cluster, member)
    }

    /// What was written.
    pub fn written(&self) -> &Rewritten {
        &self.written
    }

    /// Puts it in its place. What was there is kept aside under a name with the time; its path is returned.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] when an etcd runs there, or a rename failed; what was there is then there again.
    pub fn put_in_place(mut self, now: DateTime<Utc>) -> Result<Option<PathBuf>> {
        let aside = match Existing::look(&self.target)? {
            Existing::Nothing => None,
            Existing::Empty => {
                fs::remove_dir(&self.target).map_err(|e| move_error(&self.target, e))?;
                None
            }
            Existing::Something { in_use: true, .. } => {
                return Err(Error::new(ErrorKind::Refused, "replace", self.target.display().to_string())
                    .detail("an etcd is running on it")
                    .hint("stop it first (systemctl stop etcd), then run the same command again"));
            }
            Existing::Something { .. } => {
                self.take_owner()?;
                let aside = free_name(&self.target, now)?;
                fs::rename(&self.target, &aside).map_err(|e| move_error(&self.target, e))?;
                Some(aside)
            }
        };
        if let Err(error) = fs::rename(&self.folder, &self.target) {
            if let Some(aside) = &aside {
                fs::rename(aside, &self.target).map_err(|e| move_error(aside, e))?;
            }
            return Err(move_error(&self.target, error));
        }
        self.in_place = true;
        sync(&parent(&self.target)?)?;
        Ok(aside)
    }

    fn begin(target: &Path) -> Result<Self> {
        let parent = parent(target)?;
        let name = name(target)?;
        let folder = parent.join(format!(".{name}.ha-backup-staged"));
        // Left there by a run that died: a complete one would not be here any more.
        match fs::remove_dir_all(&folder) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::io(
                    "remove the remains of an earlier restore",
                    folder.display().to_string(),
                    e,
                ));
            }
            _ => {}
        }
        make_folder(&parent)?;
        let staged =
            Self { folder, target: target.to_owned(), written: Rewritten::default(), in_place: false };
        make_folder(&staged.folder.join("member/snap"))?;
        make_folder(&staged.folder.join("member/wal"))?;
        Ok(staged)
    }

    fn db_path(&self) -> PathBuf {
        self.folder.join("member/snap/db")
    }

    /// Writes raft's files, reads the database again, and syncs the folders.
    fn complete(self, cluster: &Cluster, member: &Member) -> Result<Self> {
        let path = self.folder.join("member/snap").join(snap::name(cluster));
        let written = snap::file(cluster)?;
        create(&path)?.write_all(&written).map_err(|e| Error::io("write", path.display().to_string(), e))?;
        let path = self.folder.join("member/wal").join(wal::NAME);
        let log = wal::log(cluster, member)?;
        wal::write(&create(&path)?, &log).map_err(|e| Error::io("write", path.display().to_string(), e))?;
        let path = self.db_path();
        let subject = path.display().to_string();
        let file = File::open(&path).map_err(|e| Error::io("read", subject.clone(), e))?;
        db::verify(file, &subject, &self.written)?;
        sync_all(&self.folder)?;
        Ok(self)
    }

    /// The new directory belongs to whom the old one belonged, so that etcd may use it.
    fn take_owner(&self) -> Result<()> {
        let failed = |e| Error::io("look at", self.target.display().to_string(), e);
        let old = fs::symlink_metadata(&self.target).map_err(failed)?;
        let new = fs::symlink_metadata(&self.folder).map_err(failed)?;
        if (old.uid(), old.gid()) == (new.uid(), new.gid()) {
            return Ok(());
        }
        change_owner(&self.folder, old.uid(), old.gid()).map_err(|e| {
            Error::io("give the owner of the old directory to", self.folder.display().to_string(), e)
                .hint("restore as root, or as the user that etcd runs as")
        })
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.in_place
            && let Err(error) = fs::remove_dir_all(&self.folder)
        {
            tracing::warn!(folder = %self.folder.display(), %error, "could not remove a staged data directory");
        }
    }
}

fn parent(target: &Path) -> Result<PathBuf> {
    let absolute =
        std::path::absolute(target).map_err(|e| Error::io("find", target.display().to_string(), e))?;
    absolute.parent().map(Path::to_owned).ok_or_else(|| no_name(target))
}

fn name(target: &Path) -> Result<&str> {
    target.file_name().and_then(|name| name.to_str()).ok_or_else(|| no_name(target))
}

fn no_name(target: &Path) -> Error {
    Error::new(ErrorKind::Config, "restore into", target.display().to_string())
        .hint("name a directory that may be made or replaced")
}

/// The first free name of the sort `NAME.before-restore-20260108_020000`.
fn free_name(target: &Path, now: DateTime<Utc>) -> Result<PathBuf> {
    let base = format!("{}.before-restore-{}", name(target)?, now.format("%Y%m%d_%H%M%S"));
    let parent = parent(target)?;
    let names = std::iter::once(base.clone()).chain((2..).map(|number| format!("{base}_{number}")));
    for name in names {
        let path = parent.join(name);
        if Existing::look(&path)? == Existing::Nothing {
            return Ok(path);
        }
    }
    Err(no_name(target))
}

fn move_error(path: &Path, source: std::io::Error) -> Error {
    let error = Error::io("move", path.display().to_string(), source);
    if error.kind() == ErrorKind::Failed {
        error.hint("a mount point cannot be replaced: restore into a directory below it, then move `member`")
    } else {
        error
    }
}

/// Makes a folder, and what leads to it, for us only.
fn make_folder(path: &Path) -> Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|e| Error::io("make the folder", path.display().to_string(), e))
}

/// Makes a new file for us only.
fn create(path: &Path) -> Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|file| file.set_permissions(Permissions::from_mode(0o600)).map(|()| file))
        .map_err(|e| Error::io("create", path.display().to_string(), e))
}

fn sync(path: &Path) -> Result<()> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(|e| Error::io("sync", path.display().to_string(), e))
}

fn sync_all(folder: &Path) -> Result<()> {
    let failed = |e| Error::io("read the folder", folder.display().to_string(), e);
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_type().map_err(failed)?.is_dir() {
            sync_all(&entry.path())?
        } else {
            sync(&entry.path())?
        }
    }
    sync(folder)
}

fn change_owner(path: &Path, user: u32, group: u32) -> std::io::Result<()> {
    if fs::symlink_metadata(path)?.is_dir() {
        for entry in fs::read_dir(path)? {
            change_owner(&entry?.path(), user, group)?;
        }
    }
    std::os::unix::fs::lchown(path, Some(user), Some(group))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Put, database};

    fn stage(target: &Path) -> Staged {
        let cluster = Cluster::parse("a=http://h:1", "t").unwrap();
        let member = cluster.member("a").unwrap();
        let db = database(&[Put::new("x")]);
        Staged::write(&db, target, &cluster, member, &Rewrite::default(), &|| Ok(())).unwrap()
    }

    #[test]
    fn what_was_there_is_kept_aside_and_modes_are_narrow() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("data");
        fs::create_dir(&target).unwrap();
        fs::write(target.join("old"), "1").unwrap();
        let now = "2026-01-08T02:00:00Z".parse().unwrap();
        let aside = stage(&target).put_in_place(now).unwrap().unwrap();
        assert_eq!(aside.file_name().unwrap(), "data.before-restore-20260108_020000");
        assert_eq!(fs::read_to_string(aside.join("old")).unwrap(), "1");
        let second = stage(&target).put_in_place(now).unwrap().unwrap();
        assert_eq!(second.file_name().unwrap(), "data.before-restore-20260108_020000_2");
        let mode = |path: &str| fs::metadata(target.join(path)).unwrap().mode() & 0o777;
        for (path, expected) in
            [("", 0o700), ("member", 0o700), ("member/wal", 0o700), ("member/snap/db", 0o600)]
        {
            assert_eq!(mode(path), expected, "{path}");
        }
        assert_eq!(mode("member/snap/0000000000000001-0000000000000001.snap"), 0o600);
    }

    #[test]
    fn a_directory_in_use_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("data");
        stage(&target).put_in_place(Utc::now()).unwrap();
        let lock = File::open(target.join("member/snap/db")).unwrap();
        lock.lock().unwrap();
        let error = stage(&target).put_in_place(Utc::now()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused);
        let left: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "{left:?}");
    }

    #[test]
    fn the_remains_of_a_dead_run_do_not_stand_in_the_way() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("data");
        std::mem::forget(stage(&target));
        stage(&target).put_in_place(Utc::now()).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}

//! The throwaway place: a folder, and the programs that run for it. What a killed drill left is found by its owner's file.
//!
//! `drill-ID.json` says whose the folder `drill-ID` is and which programs were started for it. It is written before the folder
//! is made and removed after it, so that no folder is ever without it.

use std::{
    fs,
    io::ErrorKind as Io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::programs::{self, DrillPrograms};
use crate::{
    repository::{ProcessIdentity, random_id},
    traits::{Place, Throwaway},
    words::{Error, ErrorKind, Result, SessionId},
};

const PREFIX: &str = "drill-";
/// A file that says nothing may be one that is being written.
const UNREADABLE: Duration = Duration::from_secs(3600);
/// How often a folder is removed in which something is still written, and how long to wait before.
const TRIES: u32 = 20;
const AGAIN: Duration = Duration::from_millis(50);

/// What the owner's file says.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Owned {
    owner: ProcessIdentity,
    programs: Vec<ProcessIdentity>,
}

/// The owner's file of a place, kept up to date.
#[derive(Debug)]
pub(super) struct Book {
    path: PathBuf,
    owned: Mutex<Owned>,
}

impl Book {
    /// Notes a program that was started.
    pub(super) fn note(&self, program: ProcessIdentity) -> Result<()> {
        let mut owned = self.owned.lock().unwrap_or_else(PoisonError::into_inner);
        owned.programs.retain(ProcessIdentity::is_here);
        owned.programs.push(program);
        write(&self.path, &owned)
    }

    fn programs(&self) -> Vec<ProcessIdentity> {
        self.owned.lock().unwrap_or_else(PoisonError::into_inner).programs.clone()
    }
}

/// A folder that goes with all that runs there.
#[derive(Debug)]
pub(super) struct DrillPlace {
    folder: PathBuf,
    book: Arc<Book>,
    about: About,
}

/// What a place tells of its drill.
#[derive(Clone, Copy, Debug)]
pub(super) struct About {
    /// The session.
    pub(super) session: SessionId,
    /// When the drill has ended at the latest.
    pub(super) ends_by: DateTime<Utc>,
}

impl Throwaway for DrillPlace {
    fn folder(&self) -> &Path {
        &self.folder
    }

    fn place(&self) -> Arc<dyn Place> {
        Arc::new(DrillPrograms::new(self.folder.clone(), self.book.clone()))
    }

    fn session(&self) -> SessionId {
        self.about.session
    }

    fn ends_by(&self) -> DateTime<Utc> {
        self.about.ends_by
    }
}

impl DrillPlace {
    /// Makes a place in `base`.
    pub(super) fn make(base: &Path, about: About) -> Result<Self> {
        make_base(base)?;
        // Short: the path of a Unix socket in it has 107 bytes at most.
        let id: String = random_id().chars().take(8).collect();
        let name = format!("{PREFIX}{id}");
        let owned = Owned { owner: ProcessIdentity::current(), programs: Vec::new() };
        let place = Self {
            folder: base.join(&name),
            book: Arc::new(Book {
                path: base.join(format!("{name}.json")),
                owned: Mutex::new(owned.clone()),
            }),
            about,
        };
        write(&place.book.path, &owned)?;
        let made = fs::DirBuilder::new().mode(0o700).create(&place.folder);
        made.map_err(|e| Error::io("make the folder", place.folder.display().to_string(), e))?;
        Ok(place)
    }

    /// Ends what runs there and removes it.
    pub(super) async fn remove(self) -> Result<()> {
        remove(&self.folder, &self.book.path, self.book.programs()).await
    }
}

/// Removes what drills left that have ended without doing it; their folders.
pub(super) async fn sweep(base: &Path) -> Result<Vec<PathBuf>> {
    let failed = |e| Error::io("look for what earlier drills left in", base.display().to_string(), e);
    let entries = match fs::read_dir(base) {
        Ok(entries) => entries,
        Err(e) if e.kind() == Io::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(failed(e)),
    };
    let mut swept = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        let name = name.strip_suffix(".json").or_else(|| name.strip_suffix(".json.new"));
        let Some(name) = name.filter(|name| name.starts_with(PREFIX)) else { continue };
        let (folder, book) = (base.join(name), base.join(format!("{name}.json")));
        // One that is being written comes without the other when it is the first.
        if path != book && book.exists() {
            continue;
        }
        let Some(programs) = left_behind(&path) else { continue };
        remove(&folder, &book, programs).await?;
        swept.push(folder);
    }
    Ok(swept)
}

/// The programs of a place whose owner is certainly gone; none when it may still be at it.
fn left_behind(book: &Path) -> Option<Vec<ProcessIdentity>> {
    let text = fs::read(book).ok()?;
    match serde_json::from_slice::<Owned>(&text) {
        Ok(owned) => owned.owner.is_gone().then_some(owned.programs),
        Err(_) => {
            let age = fs::metadata(book).ok()?.modified().ok()?.elapsed().ok()?;
            (age > UNREADABLE).then(Vec::new)
        }
    }
}

async fn remove(folder: &Path, book: &Path, programs: Vec<ProcessIdentity>) -> Result<()> {
    programs::end(folder, programs).await?;
    let mut tries = TRIES;
    loop {
        let (folder, book) = (folder.to_owned(), book.to_owned());
        let removed = tokio::task::spawn_blocking(move || remove_files(&folder, &book)).await;
        tries -= 1;
        match removed.unwrap_or_else(|e| {
            Err(Error::new(ErrorKind::Internal, "remove", "the drill's folder").because(e))
        }) {
            // A thread that was told to stop may have written one more file.
            Err(_) if tries > 0 => tokio::time::sleep(AGAIN).await,
            done => return done,
        }
    }
}

fn remove_files(folder: &Path, book: &Path) -> Result<()> {
    open_up(folder);
    let gone = |path: &Path, outcome: std::io::Result<()>| match outcome {
        Err(e) if e.kind() != Io::NotFound => Err(Error::io("remove", path.display().to_string(), e)),
        _ => Ok(()),
    };
    gone(folder, fs::remove_dir_all(folder))?;
    gone(book, fs::remove_file(fresh(book)))?;
    gone(book, fs::remove_file(book))
}

/// Restored folders may have modes that keep even their owner from removing what is in them.
fn open_up(folder: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let Ok(about) = fs::symlink_metadata(folder) else { return };
    if !about.is_dir() {
        return;
    }
    if about.permissions().mode() & 0o700 != 0o700 {
        // What cannot be opened, removal will name.
        let _ = fs::set_permissions(folder, fs::Permissions::from_mode(0o700));
    }
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            open_up(&entry.path());
        }
    }
}

fn make_base(base: &Path) -> Result<()> {
    let failed = |e| {
        Error::io("make the folder", base.display().to_string(), e)
            .hint("name one that may be written to: folder in [drill]")
    };
    if let Some(parent) = base.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o711).create(parent).map_err(failed)?;
    }
    // A server that root must start as another user has to come through it; there is nothing to list but our folders.
    let mode = if rustix::process::geteuid().is_root() { 0o711 } else { 0o700 };
    match fs::DirBuilder::new().mode(mode).create(base) {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == Io::AlreadyExists => refuse_foreign(base),
        Err(e) => Err(failed(e)),
    }
}

/// In a folder that all may write to, somebody else may have been there first.
fn refuse_foreign(base: &Path) -> Result<()> {
    use std::os::unix::fs::MetadataExt;
    let about =
        fs::symlink_metadata(base).map_err(|e| Error::io("look at", base.display().to_string(), e))?;
    if about.is_dir() && about.uid() == rustix::process::geteuid().as_raw() {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Refused, "drill in", base.display().to_string())
        .detail("it is no folder of ours")
        .hint("name another one: folder in [drill]"))
}

fn fresh(book: &Path) -> PathBuf {
    book.with_extension("json.new")
}

/// Replaces the file as a whole.
fn write(book: &Path, owned: &Owned) -> Result<()> {
    use std::io::Write;
    let failed = |e| Error::io("write", book.display().to_string(), e);
    let body = serde_json::to_vec(owned)
        .map_err(|e| Error::new(ErrorKind::Internal, "write", book.display().to_string()).because(e))?;
    let path = fresh(book);
    let file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
    let mut file = file.map_err(failed)?;
    file.write_all(&body).and_then(|()| file.sync_all()).map_err(failed)?;
    fs::rename(&path, book).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traits::Command;

    fn about() -> About {
        About { session: "backup_20260101_020000".parse().unwrap(), ends_by: Utc::now() }
    }

    fn sleeper(script: &str) -> Command {
        Command::new("sh").args(["-c", script])
    }

    fn left(base: &Path) -> Vec<String> {
        let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
        fs::read_dir(base).unwrap().map(name).collect()
    }

    /// As a drill that was killed leaves it: the file names an owner that is gone.
    fn orphan(place: &DrillPlace) {
        let mut owned = place.book.owned.lock().unwrap().clone();
        owned.owner.pid = u32::MAX;
        write(&place.book.path, &owned).unwrap();
    }

    #[tokio::test]
    async fn a_place_goes_with_its_programs_even_those_that_do_not_want_to() {
        let base = tempfile::tempdir().unwrap();
        let place = DrillPlace::make(base.path(), about()).unwrap();
        let stubborn = "trap '' QUIT TERM; touch ready; while :; do sleep 0.05; done";
        let process = place.place().run(&sleeper(stubborn)).await.unwrap();
        while !place.folder().join("ready").exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let pid = place.book.programs()[0].clone();
        assert!(pid.is_here());
        drop(process);
        place.remove().await.unwrap();
        assert!(!pid.is_here());
        assert_eq!(left(base.path()), Vec::<String>::new());
    }

    #[tokio::test]
    async fn what_a_killed_drill_left_is_swept_with_processes_that_nobody_had_noted() {
        let base = tempfile::tempdir().unwrap();
        let place = DrillPlace::make(base.path(), about()).unwrap();
        let process = place.place().run(&sleeper("sleep 600 & echo $! > child; wait")).await.unwrap();
        let child = loop {
            let text = fs::read_to_string(place.folder().join("child")).unwrap_or_default();
            match text.trim().parse() {
                Ok(pid) => break ProcessIdentity::of(pid).unwrap(),
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        };
        assert_eq!(sweep(base.path()).await.unwrap(), Vec::<PathBuf>::new(), "its owner lives");
        assert!(child.is_here());
        orphan(&place);
        assert_eq!(sweep(base.path()).await.unwrap(), [place.folder().to_owned()]);
        assert!(!child.is_here());
        assert_eq!(left(base.path()), Vec::<String>::new());
        drop(process);
    }

    type Step = (&'static str, fn(&Path, &[u8]) -> std::io::Result<()>);

    /// Making, using and removing a place, step by step.
    const STEPS: [Step; 8] = [
        ("the book is written aside", |base, book| fs::write(base.join("drill-1.json.new"), book)),
        ("the book is in its place", |base, _| {
            fs::rename(base.join("drill-1.json.new"), base.join("drill-1.json"))
        }),
        ("the folder is made", |base, _| fs::create_dir(base.join("drill-1"))),
        ("something is restored", |base, _| fs::create_dir_all(base.join("drill-1/tree/deep"))),
        ("a program is noted aside", |base, book| fs::write(base.join("drill-1.json.new"), book)),
        ("the folder is half removed", |base, _| fs::remove_dir_all(base.join("drill-1/tree"))),
        ("the folder is removed", |base, _| fs::remove_dir_all(base.join("drill-1"))),
        ("the note aside is removed", |base, _| fs::remove_file(base.join("drill-1.json.new"))),
    ];

    #[tokio::test]
    async fn killed_after_any_step_a_drill_leaves_nothing_after_the_next() {
        let mut owner = ProcessIdentity::current();
        owner.pid = u32::MAX;
        let book = serde_json::to_vec(&Owned { owner, programs: Vec::new() }).unwrap();
        let alive = serde_json::to_vec(&Owned { owner: ProcessIdentity::current(), programs: Vec::new() });
        let (dead, alive) = (book, alive.unwrap());
        for last in 0..STEPS.len() {
            for (book, stays) in [(&dead, false), (&alive, true)] {
                let base = tempfile::tempdir().unwrap();
                STEPS[..=last].iter().for_each(|(_, step)| step(base.path(), book).unwrap());
                let before = left(base.path());
                assert!(!before.is_empty());
                sweep(base.path()).await.unwrap();
                let after = left(base.path());
                assert_eq!(after, if stays { before } else { Vec::new() }, "after: {}", STEPS[last].0);
            }
        }
    }

    #[tokio::test]
    async fn a_folder_that_its_mode_closes_is_removed_and_a_link_is_not_followed() {
        use std::os::unix::fs::PermissionsExt;
        let (base, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(outside.path().join("kept"), "x").unwrap();
        let place = DrillPlace::make(base.path(), about()).unwrap();
        let closed = place.folder().join("closed");
        fs::create_dir(&closed).unwrap();
        fs::write(closed.join("file"), "x").unwrap();
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o500)).unwrap();
        std::os::unix::fs::symlink(outside.path(), place.folder().join("link")).unwrap();
        place.remove().await.unwrap();
        assert!(outside.path().join("kept").exists());
        assert_eq!(left(base.path()), Vec::<String>::new());
    }

    #[tokio::test]
    async fn the_callers_variables_for_other_servers_do_not_come_along() {
        let base = tempfile::tempdir().unwrap();
        let place = DrillPlace::make(base.path(), about()).unwrap();
        let said = place.place().output(&Command::new("env")).await.unwrap();
        let said = String::from_utf8(said).unwrap();
        assert!(!said.lines().any(|line| line.starts_with("PG") || line.starts_with("ETCD")), "{said}");
        assert!(said.lines().any(|line| line.starts_with("HA_BACKUP_DRILL=")), "{said}");
        place.remove().await.unwrap();
    }
}

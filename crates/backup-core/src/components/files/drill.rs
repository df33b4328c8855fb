//! A drill: the archive is extracted as a restore does it, then read again and held against what is on disk.

use std::{
    fs::File,
    io::{BufReader, Read},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::{DirBuilderExt, FileExt, MetadataExt},
    },
    path::{Path, PathBuf},
    time::Duration,
};

use async_trait::async_trait;
use rustix::fs::{AtFlags, Mode, OFlags};
use tokio::time::Instant;

use super::{
    Files, attributes, bridge,
    config::Owners,
    extract::{Parents, extract_with},
    pickle,
    tally::Tally,
    tree,
};
use crate::{
    archive::{Entry, EntryKind, Extent, Reader, shown},
    policy::{LOOK, Ladder, Rung, Wrong},
    traits::{Context, Drill, Selection, Source, Throwaway},
    words::{Artifact, ComponentRecord, Error, Result, human_bytes},
};

const BUFFER: usize = 128 << 10;
/// As many wrong things are remembered of each rung.
const MOST: usize = 100;

#[async_trait]
impl Drill for Files {
    fn space(&self, record: &ComponentRecord) -> u64 {
        let fact = |name: &str| record.facts.get(name).and_then(serde_json::Value::as_u64).unwrap_or(0);
        // A file takes whole blocks.
        fact("bytes").saturating_add(fact("entries").saturating_mul(4096))
    }

    async fn drill(
        &self,
        cx: &Context,
        place: &dyn Throwaway,
        from: &dyn Source,
        ladder: &mut Ladder,
    ) -> Result<()> {
        let mut archives = ArchiveDrill::new(Parents::InArchive);
        archives.extract(cx, from, from.artifact(None)?, place.folder().join("tree")).await?;
        let differences = archives.read.differences(&from.record().facts);
        let wrong = differences.into_iter().map(|found| Wrong::new("the archive", found)).collect();
        archives.extracted(ladder, wrong);
        archives.compare(cx, from, ladder).await
    }
}

/// The drill of a component's pax archives: each is extracted into a folder of its own as a restore does it, then read again and
/// held against what is on disk.
#[derive(Debug)]
pub struct ArchiveDrill {
    parents: Parents,
    trees: Vec<(Artifact, PathBuf)>,
    read: Tally,
    made: Tally,
    found: Tally,
    notes: Vec<String>,
    took: Duration,
}

impl ArchiveDrill {
    /// Of archives in which folders may be missing that their members lie in: they are made, as tar does it.
    pub fn of_chosen_members() -> Self {
        Self::new(Parents::Made)
    }

    fn new(parents: Parents) -> Self {
        Self {
            parents,
            trees: Vec::new(),
            read: Tally::default(),
            made: Tally::default(),
            found: Tally::default(),
            notes: Vec::new(),
            took: Duration::ZERO,
        }
    }

    /// Extracts an archive into the folder `into`, which is made.
    ///
    /// # Errors
    /// When the archive is not whole, or something of it cannot be made.
    pub async fn extract(
        &mut self,
        cx: &Context,
        from: &dyn Source,
        artifact: &Artifact,
        into: PathBuf,
    ) -> Result<()> {
        let begun = Instant::now();
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&into)
            .map_err(|e| Error::io("make the folder", into.display().to_string(), e))?;
        let (target, scratch, parents) = (into.clone(), cx.scratch.file()?, self.parents);
        let stream = from.read(artifact, Selection::Whole).await?;
        let extracted = bridge::read_blocking(cx, stream, move |archive| {
            extract_with(archive, &target, scratch, Owners::Name, parents)
        })
        .await?;
        self.read.take(&extracted.read);
        self.made.take(&extracted.made);
        self.found.take(&extracted.found);
        self.notes.extend(extracted.notes);
        self.took += begun.elapsed();
        self.trees.push((artifact.clone(), into));
        Ok(())
    }

    /// Reports what was extracted; `wrong` is what else is wrong with the amount of it.
    pub fn extracted(&self, ladder: &mut Ladder, mut wrong: Vec<Wrong>) {
        ladder.phase("restore", self.took, self.bytes());
        let notes = match self.notes.as_slice() {
            [] => String::new(),
            [first] => format!("; {first}"),
            [first, rest @ ..] => format!("; {first}, and {} notes more", rest.len()),
        };
        ladder.passed(Rung::Structure, format!("extracted to its end mark: {}{notes}", self.made));
        if self.found != self.made {
            let found = format!("{} on disk, {} from the archive", self.found, self.made);
            wrong.push(Wrong::new("the folder", found));
        }
        ladder.judge(Rung::Volume, format!("{} counted on disk", self.found), wrong);
    }

    /// Reads the archives again and holds them against what is on disk.
    ///
    /// # Errors
    /// When an archive cannot be read; what differs is reported.
    pub async fn compare(self, cx: &Context, from: &dyn Source, ladder: &mut Ladder) -> Result<()> {
        let (begun, bytes) = (Instant::now(), self.bytes());
        let mut compared = Compared::default();
        for (artifact, tree) in self.trees {
            let stream = from.read(&artifact, Selection::Whole).await?;
            let before = compared;
            compared =
                bridge::read_blocking(cx, stream, move |archive| compare(archive, &tree, before)).await?;
        }
        ladder.phase(LOOK, begun.elapsed(), bytes);
        compared.report(ladder);
        Ok(())
    }

    fn bytes(&self) -> u64 {
        self.trees.iter().map(|(artifact, _)| artifact.plain.size).sum()
    }
}

/// What a second reading of the archive says of the files on disk.
#[derive(Debug, Default)]
pub(super) struct Compared {
    files: u64,
    bytes: u64,
    attributes: u64,
    json: u64,
    pickles: u64,
    content: Vec<Wrong>,
    dress: Vec<Wrong>,
    unreadable: Vec<Wrong>,
}

impl Compared {
    pub(super) fn report(self, ladder: &mut Ladder) {
        let bytes = human_bytes(self.bytes);
        ladder.judge(
            Rung::Content,
            format!("{} files with {bytes}, each byte as in the archive", self.files),
            self.content,
        );
        ladder.judge(
            Rung::Integrity,
            format!("modes, times and links as in the archive; {} extended attributes", self.attributes),
            self.dress,
        );
        if self.json + self.pickles == 0 {
            ladder.not_run(Rung::Smoke, "no file is JSON or a pickle by its name");
            return;
        }
        let (json, pickles) = (self.json, self.pickles);
        let said =
            format!("JSON files that parse: {json}; pickles that can be read to their STOP: {pickles}");
        ladder.judge(Rung::Smoke, said, self.unreadable);
    }
}

/// Adds what is wrong with a member.
fn blame(wrong: &mut Vec<Wrong>, entry: &Entry, found: impl Into<String>) {
    if wrong.len() < MOST {
        wrong.push(Wrong::new(shown(&entry.path), found));
    }
}

/// Reads an archive beside the folder that it was extracted to, and adds what it says to `compared`.
pub(super) fn compare(archive: impl Read, folder: &Path, compared: Compared) -> Result<Compared> {
    let mut reader = Reader::new(archive);
    let mut comparison = Comparison {
        root: tree::open_root(folder)?,
        is_root: rustix::process::geteuid().is_root(),
        there: vec![0; BUFFER],
        here: vec![0; BUFFER],
        compared,
    };
    while let Some(entry) = reader.next()? {
        comparison.member(&entry, &mut reader)?;
    }
    reader.finish()?;
    Ok(comparison.compared)
}

struct Comparison {
    root: OwnedFd,
    is_root: bool,
    there: Vec<u8>,
    here: Vec<u8>,
    compared: Compared,
}

impl Comparison {
    fn member<R: Read>(&mut self, entry: &Entry, reader: &mut Reader<R>) -> Result<()> {
        let (parent, name) = tree::split(&entry.path);
        let folder = match tree::open_folder(self.root.as_fd(), parent) {
            Ok(folder) => folder,
            Err(e) => {
                blame(&mut self.compared.content, entry, format!("its folder: {}", std::io::Error::from(e)));
                return Ok(());
            }
        };
        match entry.kind {
            EntryKind::File => {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                match rustix::fs::openat(&folder, &name, flags, Mode::empty()) {
                    Ok(file) => self.file(entry, &File::from(file), reader)?,
                    Err(e) => blame(&mut self.compared.content, entry, std::io::Error::from(e).to_string()),
                }
            }
            EntryKind::Symlink => {
                let text = rustix::fs::readlinkat(&folder, &name, Vec::new());
                if !text.is_ok_and(|text| text.as_bytes() == entry.link) {
                    blame(&mut self.compared.dress, entry, "it links elsewhere");
                }
            }
            EntryKind::HardLink => self.hard_link(entry, folder.as_fd(), &name),
            EntryKind::Folder if !entry.path.is_empty() => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                match rustix::fs::openat(&folder, &name, flags, Mode::empty()) {
                    Ok(found) => self.dress(entry, &File::from(found)),
                    Err(e) => blame(&mut self.compared.dress, entry, std::io::Error::from(e).to_string()),
                }
            }
            EntryKind::Folder | EntryKind::Fifo | EntryKind::CharDevice | EntryKind::BlockDevice => {}
        }
        Ok(())
    }

    fn hard_link(&mut self, entry: &Entry, folder: BorrowedFd<'_>, name: &std::ffi::CStr) {
        let (parent, first) = tree::split(&entry.link);
        let look = |folder: BorrowedFd<'_>, name: &std::ffi::CStr| {
            rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).map(|stat| (stat.st_dev, stat.st_ino))
        };
        let linked = tree::open_folder(self.root.as_fd(), parent).and_then(|from| look(from.as_fd(), &first));
        if linked.is_err() || linked != look(folder, name) {
            blame(&mut self.compared.dress, entry, "it is another file than the one it links to");
        }
    }

    fn file<R: Read>(&mut self, entry: &Entry, file: &File, reader: &mut Reader<R>) -> Result<()> {
        self.compared.files += 1;
        self.compared.bytes += entry.size;
        let whole = [Extent { offset: 0, length: entry.size }];
        let mut differs = file.metadata().map(|about| about.len()).unwrap_or(u64::MAX) != entry.size;
        let mut place = entry.size;
        for extent in entry.extents.as_deref().unwrap_or(&whole) {
            let (mut at, end) = (extent.offset, extent.offset + extent.length);
            while at < end {
                let most = BUFFER.min(usize::try_from(end - at).unwrap_or(usize::MAX));
                let read = reader.read_content(&mut self.there[..most])?;
                let same = file.read_exact_at(&mut self.here[..read], at).is_ok()
                    && self.here[..read] == self.there[..read];
                if !same && !differs {
                    (differs, place) = (true, at);
                }
                at += read as u64;
            }
        }
        if differs {
            blame(
                &mut self.compared.content,
                entry,
                format!("it differs from the archive near byte {place}"),
            );
        }
        self.dress(entry, file);
        self.smoke(entry, file);
        Ok(())
    }

    /// Mode, time and extended attributes.
    fn dress(&mut self, entry: &Entry, file: &File) {
        let wrong = &mut self.compared.dress;
        match file.metadata() {
            Err(e) => blame(wrong, entry, e.to_string()),
            Ok(about) => {
                // Only root can give all of them back.
                let bits = if self.is_root { 0o7777 } else { 0o777 };
                if about.mode() & bits != entry.mode & bits {
                    blame(
                        wrong,
                        entry,
                        format!("mode {:o} in place of {:o}", about.mode() & bits, entry.mode & bits),
                    );
                }
                let time = (entry.modified.seconds, i64::from(entry.modified.nanoseconds));
                if (about.mtime(), about.mtime_nsec()) != time {
                    blame(wrong, entry, "another time of change");
                }
            }
        }
        let found = attributes::of_file(file).unwrap_or_default();
        for (name, value) in &entry.attributes {
            if !self.is_root && !name.starts_with(b"user.") {
                continue;
            }
            self.compared.attributes += 1;
            if !found.iter().any(|(there, is)| there == name && is == value) {
                let name = String::from_utf8_lossy(name);
                blame(&mut self.compared.dress, entry, format!("its attribute {name} is missing or another"));
            }
        }
    }

    /// Files whose names say what they hold must be readable as that.
    fn smoke(&mut self, entry: &Entry, file: &File) {
        let ends = |end: &str| entry.path.to_ascii_lowercase().ends_with(end.as_bytes());
        let read = if ends(".json") {
            self.compared.json += 1;
            let parsed: Result<serde::de::IgnoredAny, _> = serde_json::from_reader(BufReader::new(file));
            parsed.map(drop).map_err(|e| format!("no JSON: {e}"))
        } else if ends(".pkl") || ends(".pickle") {
            self.compared.pickles += 1;
            pickle::walk(BufReader::new(file)).map(drop).map_err(|e| format!("no pickle: {e}"))
        } else {
            Ok(())
        };
        if let Err(found) = read {
            blame(&mut self.compared.unreadable, entry, found);
        }
    }
}

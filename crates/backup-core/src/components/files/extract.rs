//! Makes a tree from an archive inside an empty folder, and nothing outside it.
//!
//! Names that are absolute or hold `..` are refused by the reader. Every member is made in a folder that was opened name by name
//! without following links, and must not be there before: so neither a symbolic link nor a second member of the same name leads
//! outside, and a hard link can only name what is inside.

use std::{
    ffi::CString,
    fs::File,
    io::{self, Read},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::FileExt,
    },
    path::Path,
};

use rustix::{
    fs::{AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid},
    io::Errno,
};

use super::{
    attributes, config::Owners, owners::HostOwners, report::Listed, spill::Spill, tally::Tally, tree,
};
use crate::{
    archive::{Entry, EntryKind, Extent, Reader, refused, shown},
    words::{Error, Result},
};

const BUFFER: usize = 128 << 10;

/// What was made.
#[derive(Debug)]
pub(super) struct Extracted {
    /// What the archive held.
    pub(super) read: Tally,
    /// What of it was made.
    pub(super) made: Tally,
    /// What was found in the folder afterwards.
    pub(super) found: Tally,
    /// What could not be restored, or not whole.
    pub(super) notes: Vec<String>,
}

/// Extracts `archive` into the empty folder `into`, reads the archive to its end and writes all through to the disk.
pub(super) fn extract(archive: impl Read, into: &Path, scratch: File, owners: Owners) -> Result<Extracted> {
    extract_with(archive, into, scratch, owners, Parents::InArchive)
}

/// Whether each folder that something lies in is a member itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parents {
    /// It is; otherwise the archive is refused.
    InArchive,
    /// Those that are not are made, as tar does it.
    Made,
}

/// The same for an archive that may lack folders.
pub(super) fn extract_with(
    archive: impl Read,
    into: &Path,
    scratch: File,
    owners: Owners,
    parents: Parents,
) -> Result<Extracted> {
    let mut reader = Reader::new(archive);
    let mut extractor = Extractor {
        root: tree::open_root(into)?,
        parent: None,
        folders: Some(Spill::new(scratch)),
        host: HostOwners::read(),
        owners,
        parents,
        is_root: rustix::process::geteuid().is_root(),
        read: Tally::default(),
        made: Tally::default(),
        notes: Listed::default(),
        buffer: vec![0; BUFFER],
    };
    if parents == Parents::Made {
        // The root is there, whether or not the archive has it.
        extractor.made.add_parts(EntryKind::Folder, b"", b"", 0);
    }
    while let Some(entry) = reader.next()? {
        extractor.member(&entry, &mut reader)?;
    }
    reader.finish()?;
    extractor.finish(into)
}

struct Extractor {
    root: OwnedFd,
    /// The folder that the last member was made in.
    parent: Option<(Vec<u8>, OwnedFd)>,
    folders: Option<Spill>,
    host: HostOwners,
    owners: Owners,
    parents: Parents,
    is_root: bool,
    read: Tally,
    made: Tally,
    notes: Listed,
    buffer: Vec<u8>,
}

impl Extractor {
    fn member<R: Read>(&mut self, entry: &Entry, reader: &mut Reader<R>) -> Result<()> {
        self.read.add(entry);
        if entry.path.is_empty() {
            if self.parents == Parents::InArchive {
                self.made.add(entry);
            }
            return self.set_aside(entry);
        }
        let (parent, name) = tree::split(&entry.path);
        self.enter(parent, &entry.path)?;
        let (_, folder) = self.parent.take().expect("it was entered");
        let made = self.make(entry, folder.as_fd(), &name, reader);
        self.parent = Some((parent.to_vec(), folder));
        if made? {
            self.made.add(entry);
        }
        Ok(())
    }

    /// Folders get owner, mode and times last.
    fn set_aside(&mut self, folder: &Entry) -> Result<()> {
        self.folders.as_mut().expect("taken at the end only").push(folder)
    }

    fn enter(&mut self, folder: &[u8], member: &[u8]) -> Result<()> {
        if self.parent.as_ref().is_none_or(|(path, _)| path != folder) {
            if self.parents == Parents::Made {
                self.make_parents(folder).map_err(|e| no_folder(member, e))?;
            }
            let opened = tree::open_folder(self.root.as_fd(), folder).map_err(|e| no_folder(member, e))?;
            self.parent = Some((folder.to_vec(), opened));
        }
        Ok(())
    }

    /// Makes the folders on the way to `folder` that are not there, and itself.
    fn make_parents(&mut self, folder: &[u8]) -> Result<(), Errno> {
        let ends = folder.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        for end in ends.chain([folder.len()]).filter(|end| *end > 0) {
            let (parent, name) = tree::split(&folder[..end]);
            let parent = tree::open_folder(self.root.as_fd(), parent)?;
            match rustix::fs::mkdirat(&parent, &name, Mode::RWXU) {
                Ok(()) => self.made.add_parts(EntryKind::Folder, &folder[..end], b"", 0),
                Err(Errno::EXIST) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// False when the member could not be made, and that was said.
    fn make<R: Read>(
        &mut self,
        entry: &Entry,
        folder: BorrowedFd<'_>,
        name: &CString,
        reader: &mut Reader<R>,
    ) -> Result<bool> {
        let made = match entry.kind {
            EntryKind::File => return self.file(entry, folder, name, reader).map(|()| true),
            EntryKind::Folder => {
                rustix::fs::mkdirat(folder, name, Mode::RWXU).map_err(|e| not_made(entry, e))?;
                return self.set_aside(entry).map(|()| true);
            }
            EntryKind::HardLink => return self.hard_link(entry, folder, name).map(|()| true),
            EntryKind::Symlink => {
                let text = CString::new(entry.link.as_slice());
                let text = text.map_err(|_| refused(&entry.path, "the link's text holds a NUL"))?;
                rustix::fs::symlinkat(text, folder, name)
            }
            EntryKind::Fifo => rustix::fs::mknodat(folder, name, FileType::Fifo, Mode::RUSR, 0),
            EntryKind::CharDevice | EntryKind::BlockDevice => device(entry, folder, name),
        };
        match made {
            Ok(()) => {
                self.dress_member(entry, folder, name);
                Ok(true)
            }
            Err(Errno::PERM) if matches!(entry.kind, EntryKind::CharDevice | EntryKind::BlockDevice) => {
                self.notes.push(&entry.path, "a device: only root can make it");
                Ok(false)
            }
            Err(e) => Err(not_made(entry, e)),
        }
    }

    fn file<R: Read>(
        &mut self,
        entry: &Entry,
        folder: BorrowedFd<'_>,
        name: &CString,
        reader: &mut Reader<R>,
    ) -> Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(folder, name, flags, Mode::RUSR | Mode::WUSR);
        let file = File::from(file.map_err(|e| not_made(entry, e))?);
        let failed = |e: io::Error| Error::io("write", entry.shown(), e);
        if entry.extents.is_some() {
            file.set_len(entry.size).map_err(failed)?;
        }
        let whole = [Extent { offset: 0, length: entry.size }];
        for extent in entry.extents.as_deref().unwrap_or(&whole) {
            let (mut at, end) = (extent.offset, extent.offset + extent.length);
            while at < end {
                let most = self.buffer.len().min(usize::try_from(end - at).unwrap_or(usize::MAX));
                let read = reader.read_content(&mut self.buffer[..most])?;
                file.write_all_at(&self.buffer[..read], at).map_err(failed)?;
                at += read as u64;
            }
        }
        self.dress_open(entry, &file);
        Ok(())
    }

    fn hard_link(&mut self, entry: &Entry, folder: BorrowedFd<'_>, name: &CString) -> Result<()> {
        let (parent, first) = tree::split(&entry.link);
        let from = tree::open_folder(self.root.as_fd(), parent).map_err(|e| no_folder(&entry.path, e))?;
        rustix::fs::linkat(&from, first, folder, name, AtFlags::empty()).map_err(|e| match e {
            Errno::NOENT => refused(&entry.path, "it links to what is not in the archive"),
            e => not_made(entry, e),
        })
    }

    /// Owner, attributes, mode and times of an open file or folder. The owner comes first, as a change of it clears
    /// set-user-id bits and capabilities.
    fn dress_open(&mut self, entry: &Entry, file: &File) {
        if let Some((uid, gid)) = self.owner(entry) {
            let changed = rustix::fs::fchown(file, Some(uid), Some(gid));
            self.note(entry, "owner", changed);
        }
        for (name, value) in &entry.attributes {
            let set = attributes::set_on_file(file, name, value);
            self.note_attribute(entry, name, set);
        }
        let changed = rustix::fs::fchmod(file, Mode::from_raw_mode(entry.mode));
        self.note(entry, "mode", changed);
        let changed = rustix::fs::futimens(file, &times(entry));
        self.note(entry, "time", changed);
    }

    /// The same for what cannot be opened: links, pipes, devices.
    fn dress_member(&mut self, entry: &Entry, folder: BorrowedFd<'_>, name: &CString) {
        if let Some((uid, gid)) = self.owner(entry) {
            let changed = rustix::fs::chownat(folder, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW);
            self.note(entry, "owner", changed);
        }
        for (attribute, value) in &entry.attributes {
            let set = attributes::set_on_member(folder, name, attribute, value);
            self.note_attribute(entry, attribute, set);
        }
        // A symbolic link has no mode of its own.
        if entry.kind != EntryKind::Symlink {
            let changed =
                rustix::fs::chmodat(folder, name, Mode::from_raw_mode(entry.mode), AtFlags::empty());
            self.note(entry, "mode", changed);
        }
        let changed = rustix::fs::utimensat(folder, name, &times(entry), AtFlags::SYMLINK_NOFOLLOW);
        self.note(entry, "time", changed);
    }

    fn owner(&self, entry: &Entry) -> Option<(Uid, Gid)> {
        let (uid, gid) = self.host.of(entry, self.owners);
        let number = |n: u64| u32::try_from(n).ok();
        self.is_root.then_some((Uid::from_raw(number(uid)?), Gid::from_raw(number(gid)?)))
    }

    fn note(&mut self, entry: &Entry, what: &str, result: Result<(), Errno>) {
        if let Err(e) = result {
            self.notes.push(&entry.path, format!("its {what} could not be set: {}", io::Error::from(e)));
        }
    }

    fn note_attribute(&mut self, entry: &Entry, name: &[u8], result: io::Result<()>) {
        if let Err(e) = result {
            let name = String::from_utf8_lossy(name);
            self.notes.push(&entry.path, format!("its attribute {name} could not be set: {e}"));
        }
    }

    fn finish(mut self, into: &Path) -> Result<Extracted> {
        // Before the folders get modes that may keep us out.
        let found = tree::tally(self.root.as_fd(), into)?;
        self.folders.take().expect("taken here only").take_back(|entry| {
            let folder = tree::open_folder(self.root.as_fd(), &entry.path)
                .map_err(|e| Error::io("open the restored folder", entry.shown(), e.into()))?;
            self.dress_open(&entry, &File::from(folder));
            Ok(())
        })?;
        rustix::fs::syncfs(&self.root)
            .map_err(|e| Error::io("write through", into.display().to_string(), e.into()))?;
        let mut notes = self.notes.lines();
        if !self.is_root {
            notes.push("all belongs to the user who restored: only root can give files away".to_owned());
        }
        Ok(Extracted { read: self.read, made: self.made, found, notes })
    }
}

fn device(entry: &Entry, folder: BorrowedFd<'_>, name: &CString) -> Result<(), Errno> {
    let kind =
        if entry.kind == EntryKind::CharDevice { FileType::CharacterDevice } else { FileType::BlockDevice };
    let number = rustix::fs::makedev(entry.device.0, entry.device.1);
    rustix::fs::mknodat(folder, name, kind, Mode::RUSR, number)
}

fn times(entry: &Entry) -> Timestamps {
    let time = Timespec { tv_sec: entry.modified.seconds, tv_nsec: entry.modified.nanoseconds.into() };
    Timestamps { last_access: time, last_modification: time }
}

fn not_made(entry: &Entry, e: Errno) -> Error {
    match e {
        Errno::EXIST => refused(&entry.path, "it is there twice"),
        e => Error::io("make", entry.shown(), e.into()),
    }
}

fn no_folder(member: &[u8], e: Errno) -> Error {
    match e {
        Errno::LOOP | Errno::NOTDIR => refused(member, "it lies under something that is no folder"),
        Errno::NOENT => refused(member, "the folder it lies in is not in the archive"),
        e => Error::io("open the folder of", shown(member), e.into()),
    }
}

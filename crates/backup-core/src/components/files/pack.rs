//! Writes a folder as an archive.

use std::{
    collections::HashMap,
    fs::File,
    io::Write,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::FileExt,
    },
};

use rustix::{
    fs::{FileType, Mode, OFlags, Stat},
    io::Errno,
};

use super::{
    attributes,
    bridge::ChunkWriter,
    exclude::Exclude,
    holes,
    owners::HostOwners,
    report::Report,
    tally::Tally,
    tree::{self, Member, Visit, kind_of, size_of},
};
use crate::{
    archive::{self, Entry, EntryKind, Extent, Time, read_error},
    words::Result,
};

const BUFFER: usize = 128 << 10;

/// Names of files with several names that are remembered at most; more are stored as files of their own.
const MOST_LINKS: usize = 1 << 17;

/// What was written.
#[derive(Debug)]
pub(super) struct Packed {
    pub(super) tally: Tally,
    pub(super) report: Report,
    /// Length of the archive.
    pub(super) bytes: u64,
}

/// Writes the folder `root` to `to`, with the end mark.
pub(super) fn pack(
    root: &OwnedFd,
    exclude: &Exclude,
    one_file_system: bool,
    to: &mut ChunkWriter,
) -> Result<Packed> {
    let mut packer = Packer {
        to,
        exclude,
        one_file_system,
        device: None,
        owners: HostOwners::read(),
        links: Links::default(),
        tally: Tally::default(),
        report: Report { excluded: vec![0; exclude.written().count()], ..Report::default() },
        buffer: vec![0; BUFFER],
    };
    tree::walk(root.as_fd(), |visit| packer.visit(visit))?;
    packer.write(&archive::END)?;
    Ok(Packed { tally: packer.tally, report: packer.report, bytes: packer.to.bytes() })
}

struct Packer<'a> {
    to: &'a mut ChunkWriter,
    exclude: &'a Exclude,
    one_file_system: bool,
    /// The root's file system.
    device: Option<u64>,
    owners: HostOwners,
    links: Links,
    tally: Tally,
    report: Report,
    buffer: Vec<u8>,
}

impl Packer<'_> {
    /// True when the folder that was visited is to be entered.
    fn visit(&mut self, visit: Visit<'_>) -> Result<bool> {
        let member = match visit {
            Visit::Member(member) => member,
            Visit::Trouble(path, e) => {
                self.not_read(path, e);
                return Ok(false);
            }
        };
        let kind = kind_of(&member.stat);
        let excluded = self.exclude.matches(member.path, kind == Some(EntryKind::Folder));
        if let Some(pattern) = excluded.filter(|_| !member.path.is_empty()) {
            self.report.excluded[pattern] += 1;
            return Ok(false);
        }
        match kind {
            None => {
                self.report.left_out.push(member.path, "a socket: only its server can make it again");
                Ok(false)
            }
            Some(EntryKind::File) => self.file(&member).map(|()| false),
            Some(kind) => self.other(&member, kind),
        }
    }

    /// Says why something is not in the archive. What is gone meanwhile is no fault.
    fn not_read(&mut self, path: &[u8], e: Errno) {
        match e {
            Errno::NOENT => self.report.left_out.push(path, "vanished while the folder was read"),
            e => self.report.missing.push(path, std::io::Error::from(e).to_string()),
        }
    }

    fn other(&mut self, member: &Member<'_>, kind: EntryKind) -> Result<bool> {
        let attributes = attributes::of_member(member.folder, member.name);
        let mut entry = self.entry(member.path, kind, &member.stat, attributes);
        if kind == EntryKind::Symlink {
            match tree::link_text(member.folder, member.name) {
                Ok(text) => entry.link = text,
                Err(e) => {
                    self.not_read(member.path, e);
                    return Ok(false);
                }
            }
        }
        self.header(&entry)?;
        if kind != EntryKind::Folder {
            return Ok(false);
        }
        let root_device = *self.device.get_or_insert(member.stat.st_dev);
        let mounted = self.one_file_system && member.stat.st_dev != root_device;
        if mounted {
            self.report.left_out.push(member.path, "another file system is mounted here (one_file_system)");
        }
        Ok(!mounted)
    }

    fn file(&mut self, member: &Member<'_>) -> Result<()> {
        let opened = open_file(member).and_then(|file| Ok((rustix::fs::fstat(&file)?, file)));
        let (stat, file) = match opened {
            Ok(opened) => opened,
            Err(e) => {
                self.not_read(member.path, e);
                return Ok(());
            }
        };
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            self.report.missing.push(member.path, "was replaced by something that is no file");
            return Ok(());
        }
        if let Some(first) = self.links.first_name(&stat, member.path) {
            let mut entry = self.entry(member.path, EntryKind::HardLink, &stat, Ok(Vec::new()));
            entry.link = first;
            return self.header(&entry);
        }
        let attributes = attributes::of_file(&file);
        let mut entry = self.entry(member.path, EntryKind::File, &stat, attributes);
        entry.size = size_of(&stat);
        if u64::try_from(stat.st_blocks).unwrap_or(0) * 512 < entry.size {
            match holes::extents(&file, entry.size) {
                Ok(extents) => entry.extents = extents,
                Err(e) => self.report.warnings.push(member.path, format!("holes stored as zeros: {e}")),
            }
        }
        self.header(&entry)?;
        let trouble = self.content(&entry, &file)?;
        self.compare(&entry, &stat, &file, trouble);
        Ok(())
    }

    /// Writes a file's content, exactly as long as its header says; what could not be read is zeros, and why.
    fn content(&mut self, entry: &Entry, file: &File) -> Result<Option<String>> {
        let whole = [Extent { offset: 0, length: entry.size }];
        let mut trouble = None;
        for extent in entry.extents.as_deref().unwrap_or(&whole) {
            let (mut at, end) = (extent.offset, extent.offset + extent.length);
            while at < end {
                let length = self.buffer.len().min(usize::try_from(end - at).unwrap_or(usize::MAX));
                let mut read = if trouble.is_some() { 0 } else { self.read(file, length, at, &mut trouble) };
                if read == 0 {
                    self.buffer[..length].fill(0);
                    read = length;
                }
                self.to.write_all(&self.buffer[..read]).map_err(|e| read_error("hand on the archive", e))?;
                at += read as u64;
            }
        }
        self.write(&archive::END[..archive::padding(entry.stored_bytes())])?;
        Ok(trouble)
    }

    fn read(&mut self, file: &File, length: usize, at: u64, trouble: &mut Option<String>) -> usize {
        loop {
            match file.read_at(&mut self.buffer[..length], at) {
                Ok(0) => *trouble = Some(format!("shrank while it was read: zeros from byte {at}")),
                Ok(read) => return read,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(e) => *trouble = Some(format!("could not be read: {e}; zeros from byte {at}")),
            }
            return 0;
        }
    }

    /// Says whether a file is still what it was before it was read.
    fn compare(&mut self, entry: &Entry, before: &Stat, file: &File, trouble: Option<String>) {
        let path = &entry.path;
        if let Some(trouble) = trouble {
            self.report.missing.push(path, trouble);
            return;
        }
        match rustix::fs::fstat(file) {
            Ok(after) if size_of(&after) != entry.size => {
                let grown =
                    format!("changed while it was read: {} bytes then, {} now", entry.size, after.st_size);
                self.report.warnings.push(path, grown);
            }
            // A link to it that came or went changes ctime only.
            Ok(after) if time_of(&after) != time_of(before) => {
                self.report.warnings.push(path, "changed while it was read");
            }
            Ok(_) => {}
            Err(e) => self.report.warnings.push(path, format!("whether it changed is not known: {e}")),
        }
    }

    fn entry(
        &mut self,
        path: &[u8],
        kind: EntryKind,
        stat: &Stat,
        attributes: std::io::Result<attributes::Attributes>,
    ) -> Entry {
        let attributes = attributes.unwrap_or_else(|e| {
            self.report.missing.push(path, format!("its extended attributes could not be read: {e}"));
            Vec::new()
        });
        let is_device = matches!(kind, EntryKind::CharDevice | EntryKind::BlockDevice);
        let device = if is_device { stat.st_rdev } else { 0 };
        Entry {
            path: path.to_vec(),
            kind,
            link: Vec::new(),
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid.into(),
            gid: stat.st_gid.into(),
            user: self.owners.user(stat.st_uid.into()),
            group: self.owners.group(stat.st_gid.into()),
            modified: time_of(stat),
            device: (rustix::fs::major(device), rustix::fs::minor(device)),
            size: 0,
            extents: None,
            attributes,
        }
    }

    fn header(&mut self, entry: &Entry) -> Result<()> {
        self.tally.add(entry);
        archive::write_header(entry, self.to).map_err(|e| read_error("hand on the archive", e))
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.to.write_all(bytes).map_err(|e| read_error("hand on the archive", e))
    }
}

/// Opens a file for reading, without following a link, without waiting for a pipe's writer that took its place, and without
/// touching its access time where we may.
fn open_file(member: &Member<'_>) -> Result<File, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let open = |flags| rustix::fs::openat(member.folder, member.name, flags, Mode::empty());
    match open(flags | OFlags::NOATIME) {
        Err(Errno::PERM) => open(flags),
        other => other,
    }
    .map(File::from)
}

// The fields' types differ between architectures.
#[allow(clippy::unnecessary_cast)]
fn time_of(stat: &Stat) -> Time {
    Time { seconds: stat.st_mtime as i64, nanoseconds: stat.st_mtime_nsec as u32 }
}

#[allow(clippy::unnecessary_cast)]
fn names_of(stat: &Stat) -> u64 {
    stat.st_nlink as u64
}

/// First names of files that have several.
#[derive(Debug, Default)]
struct Links {
    /// By device and inode: the first name, and how many are still to come.
    names: HashMap<(u64, u64), (Vec<u8>, u64)>,
}

impl Links {
    /// The first name of the file, if this is not it.
    fn first_name(&mut self, stat: &Stat, path: &[u8]) -> Option<Vec<u8>> {
        let key = (stat.st_dev, stat.st_ino);
        if let Some((first, to_come)) = self.names.get_mut(&key) {
            *to_come = to_come.saturating_sub(1);
            let first = first.clone();
            if self.names[&key].1 == 0 {
                self.names.remove(&key);
            }
            return Some(first);
        }
        if names_of(stat) > 1 && self.names.len() < MOST_LINKS {
            self.names.insert(key, (path.to_vec(), names_of(stat) - 1));
        }
        None
    }
}

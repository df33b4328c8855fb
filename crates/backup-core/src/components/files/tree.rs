//! Reads a folder of the host without ever following a symbolic link inside it, and without recursion.

use std::{
    ffi::{CStr, CString},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat},
    io::Errno,
};

use super::tally::Tally;
use crate::{
    archive::EntryKind,
    words::{Error, Result},
};

/// Opens the folder itself; only here a symbolic link is followed.
pub(super) fn open_root(path: &Path) -> Result<OwnedFd> {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|e| Error::io("open the folder", path.display().to_string(), e.into()))
}

/// Opens the folder at `path` below `root`, one name after the other, so that a link in the middle stops it and no path is too
/// long.
pub(super) fn open_folder(root: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd, Errno> {
    open_as(root, path, OFlags::RDONLY)
}

fn open_as(root: BorrowedFd<'_>, path: &[u8], access: OFlags) -> Result<OwnedFd, Errno> {
    let plain = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut names = path.split(|b| *b == b'/').filter(|name| !name.is_empty()).peekable();
    let mut at: Option<OwnedFd> = None;
    while let Some(name) = names.next() {
        let access = if names.peek().is_some() { OFlags::PATH } else { access };
        let from = at.as_ref().map_or(root, |fd| fd.as_fd());
        at = Some(rustix::fs::openat(from, name, plain | access, Mode::empty())?);
    }
    at.map_or_else(|| rustix::fs::openat(root, c".", plain | access, Mode::empty()), Ok)
}

/// A member that a walk has come to.
pub(super) struct Member<'a> {
    /// The folder it is in.
    pub(super) folder: BorrowedFd<'a>,
    /// Its name there.
    pub(super) name: &'a CStr,
    /// Its path inside the root; empty for the root itself.
    pub(super) path: &'a [u8],
    /// What the file system says of it.
    pub(super) stat: Stat,
}

/// What a walk shows its visitor.
pub(super) enum Visit<'a> {
    /// A member.
    Member(Member<'a>),
    /// What could not be looked at.
    Trouble(&'a [u8], Errno),
}

/// Shows the root and all below it to `visit`; enters the folders for which it says `true`. A folder comes right before all
/// that is in it: GNU tar sets a folder's mode and times when the first member outside it comes.
///
/// Memory grows with the number of folders that wait to be entered, not with that of files.
pub(super) fn walk(root: BorrowedFd<'_>, mut visit: impl FnMut(Visit<'_>) -> Result<bool>) -> Result<()> {
    let mut waiting = vec![Vec::new()];
    while let Some(path) = waiting.pop() {
        let mut folder = match enter(root, &path, &mut visit)? {
            Ok(Some(folder)) => folder,
            Ok(None) => continue,
            Err(e) => {
                visit(Visit::Trouble(&path, e))?;
                continue;
            }
        };
        while let Some(found) = folder.read() {
            let (found, fd) = match (found, folder.fd()) {
                (Ok(found), Ok(fd)) => (found, fd),
                (Err(e), _) | (_, Err(e)) => {
                    visit(Visit::Trouble(&path, e))?;
                    break;
                }
            };
            let name = found.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            let child = join(&path, name.to_bytes());
            match rustix::fs::statat(fd, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) if kind_of(&stat) == Some(EntryKind::Folder) => waiting.push(child),
                Ok(stat) => drop(visit(Visit::Member(Member { folder: fd, name, path: &child, stat }))?),
                Err(e) => drop(visit(Visit::Trouble(&child, e))?),
            }
        }
    }
    Ok(())
}

/// Shows a folder, and opens it if it is to be entered.
fn enter(
    root: BorrowedFd<'_>,
    path: &[u8],
    visit: &mut impl FnMut(Visit<'_>) -> Result<bool>,
) -> Result<Result<Option<Dir>, Errno>> {
    let (parent, name) = split(path);
    let name = if path.is_empty() { c"." } else { &name };
    let found = open_as(root, parent, OFlags::PATH)
        .and_then(|folder| Ok((rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW)?, folder)));
    let (stat, folder) = match found {
        Ok(found) => found,
        Err(e) => return Ok(Err(e)),
    };
    if !visit(Visit::Member(Member { folder: folder.as_fd(), name, path, stat }))? {
        return Ok(Ok(None));
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(&folder, name, flags, Mode::empty()).and_then(Dir::new).map(Some))
}

/// Folder and name of a path that holds no NUL.
pub(super) fn split(path: &[u8]) -> (&[u8], CString) {
    let (folder, name) = match path.iter().rposition(|b| *b == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (&path[..0], path),
    };
    (folder, CString::new(name).expect("names hold no NUL"))
}

fn join(folder: &[u8], name: &[u8]) -> Vec<u8> {
    if folder.is_empty() { name.to_vec() } else { [folder, b"/", name].concat() }
}

/// What a member is in an archive; `None` for sockets and what nobody knows.
pub(super) fn kind_of(stat: &Stat) -> Option<EntryKind> {
    Some(match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => EntryKind::File,
        FileType::Directory => EntryKind::Folder,
        FileType::Symlink => EntryKind::Symlink,
        FileType::Fifo => EntryKind::Fifo,
        FileType::CharacterDevice => EntryKind::CharDevice,
        FileType::BlockDevice => EntryKind::BlockDevice,
        FileType::Socket | FileType::Unknown => return None,
    })
}

/// The text of a symbolic link.
pub(super) fn link_text(folder: BorrowedFd<'_>, name: &CStr) -> Result<Vec<u8>, Errno> {
    rustix::fs::readlinkat(folder, name, Vec::new()).map(|text| text.into_bytes())
}

/// Counts what is in the folder `root`, as the archive of it would.
pub(super) fn tally(root: BorrowedFd<'_>, shown: &Path) -> Result<Tally> {
    let mut tally = Tally::default();
    let mut several_names = std::collections::HashSet::new();
    let failed = |path: &[u8], e: Errno| {
        Error::io("look at", shown.join(crate::archive::shown(path)).display().to_string(), e.into())
    };
    walk(root, |visit| {
        let member = match visit {
            Visit::Member(member) => member,
            Visit::Trouble(path, e) => return Err(failed(path, e)),
        };
        let Some(mut kind) = kind_of(&member.stat) else { return Ok(false) };
        let mut link = Vec::new();
        if kind == EntryKind::Symlink {
            link = link_text(member.folder, member.name).map_err(|e| failed(member.path, e))?;
        }
        if kind == EntryKind::File && member.stat.st_nlink > 1 && !several_names.insert(member.stat.st_ino) {
            kind = EntryKind::HardLink;
        }
        tally.add_parts(kind, member.path, &link, size_of(&member.stat));
        Ok(kind == EntryKind::Folder)
    })?;
    Ok(tally)
}

/// A file's length.
pub(super) fn size_of(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

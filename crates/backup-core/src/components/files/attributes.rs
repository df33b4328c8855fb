//! Extended attributes (xattr(7)).

use std::{
    ffi::{CStr, OsStr, OsString},
    fs::File,
    io,
    os::{
        fd::{AsRawFd, BorrowedFd},
        unix::ffi::{OsStrExt, OsStringExt},
    },
    path::PathBuf,
};

use rustix::io::Errno;
use xattr::FileExt;

/// Names and values.
pub(super) type Attributes = Vec<(Vec<u8>, Vec<u8>)>;

/// More than this many bytes of one file's attributes are not taken.
const LARGEST: usize = 4 << 20;

/// Those of an open file.
pub(super) fn of_file(file: &File) -> io::Result<Attributes> {
    gather(file.list_xattr(), |name| file.get_xattr(name))
}

/// Those of any member of a folder; a symbolic link's are its own.
pub(super) fn of_member(folder: BorrowedFd<'_>, name: &CStr) -> io::Result<Attributes> {
    let path = member_path(folder, name);
    gather(xattr::list(&path), |name| xattr::get(&path, name))
}

/// Sets one of an open file.
pub(super) fn set_on_file(file: &File, name: &[u8], value: &[u8]) -> io::Result<()> {
    file.set_xattr(OsStr::from_bytes(name), value)
}

/// Sets one of any member of a folder; a symbolic link's is its own.
pub(super) fn set_on_member(
    folder: BorrowedFd<'_>,
    member: &CStr,
    name: &[u8],
    value: &[u8],
) -> io::Result<()> {
    xattr::set(member_path(folder, member), OsStr::from_bytes(name), value)
}

/// The calls for members that cannot be opened take a path only: this one begins at the folder that is open.
fn member_path(folder: BorrowedFd<'_>, name: &CStr) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd())).join(OsStr::from_bytes(name.to_bytes()))
}

fn gather<'a>(
    names: io::Result<impl Iterator<Item = OsString>>,
    get: impl Fn(&OsStr) -> io::Result<Option<Vec<u8>>> + 'a,
) -> io::Result<Attributes> {
    let names = match names {
        Ok(names) => names,
        Err(e) if Errno::from_io_error(&e) == Some(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let mut attributes = Vec::new();
    let mut bytes = 0;
    for name in names {
        // One that is gone by now is left out.
        let Some(value) = get(&name)? else { continue };
        bytes += name.len() + value.len();
        if bytes > LARGEST {
            return Err(io::Error::other("more than 4 MiB of extended attributes"));
        }
        attributes.push((name.into_vec(), value));
    }
    attributes.sort();
    Ok(attributes)
}

//! One member of an archive, as it is written and read.

/// What a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EntryKind {
    /// A regular file.
    File,
    /// Another name of an earlier file.
    HardLink,
    /// A symbolic link.
    Symlink,
    /// A folder.
    Folder,
    /// A named pipe.
    Fifo,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
}

/// A run of bytes in a sparse file; what lies between is a hole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) offset: u64,
    pub(super) length: u64,
}

/// Seconds since 1970 (negative before), and nanoseconds after that second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Time {
    pub(super) seconds: i64,
    pub(super) nanoseconds: u32,
}

/// A member of an archive without its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Relative to the folder, without `./`; empty for the folder itself. Any bytes but NUL.
    pub(super) path: Vec<u8>,
    pub(super) kind: EntryKind,
    /// A hard link's path inside the folder, or a symbolic link's text.
    pub(super) link: Vec<u8>,
    /// The lower twelve bits.
    pub(super) mode: u32,
    pub(super) uid: u64,
    pub(super) gid: u64,
    pub(super) user: Vec<u8>,
    pub(super) group: Vec<u8>,
    pub(super) modified: Time,
    /// Major and minor number of a device.
    pub(super) device: (u32, u32),
    /// A file's length, holes included.
    pub(super) size: u64,
    /// A sparse file's data; `None` when all of it is data.
    pub(super) extents: Option<Vec<Extent>>,
    /// Names and values.
    pub(super) attributes: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Entry {
    /// Bytes of content in the archive, a sparse file's map not counted.
    pub(super) fn stored_bytes(&self) -> u64 {
        match &self.extents {
            Some(extents) => extents.iter().map(|extent| extent.length).sum(),
            None => self.size,
        }
    }

    /// The path for people.
    pub(super) fn shown(&self) -> String {
        shown(&self.path)
    }
}

/// A path inside the folder, for people.
pub(super) fn shown(path: &[u8]) -> String {
    if path.is_empty() { ".".to_owned() } else { String::from_utf8_lossy(path).escape_debug().to_string() }
}

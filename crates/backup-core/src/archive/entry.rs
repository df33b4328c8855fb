//! One member of an archive, as it is written and read.

/// What a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
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
pub struct Extent {
    /// Where it begins.
    pub offset: u64,
    /// How long it is.
    pub length: u64,
}

/// Seconds since 1970 (negative before), and nanoseconds after that second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Time {
    /// Seconds since 1970.
    pub seconds: i64,
    /// Below a milliard.
    pub nanoseconds: u32,
}

/// A member of an archive without its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Relative to the folder, without `./`; empty for the folder itself. Any bytes but NUL.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: EntryKind,
    /// A hard link's path inside the folder, or a symbolic link's text.
    pub link: Vec<u8>,
    /// The lower twelve bits.
    pub mode: u32,
    /// Owner.
    pub uid: u64,
    /// Group.
    pub gid: u64,
    /// The owner's name; empty when it has none.
    pub user: Vec<u8>,
    /// The group's name; empty when it has none.
    pub group: Vec<u8>,
    /// When its content was changed last.
    pub modified: Time,
    /// Major and minor number of a device.
    pub device: (u32, u32),
    /// A file's length, holes included.
    pub size: u64,
    /// A sparse file's data; `None` when all of it is data.
    pub extents: Option<Vec<Extent>>,
    /// Extended attributes: names and values.
    pub attributes: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Entry {
    /// Bytes of content in the archive, a sparse file's map not counted.
    pub fn stored_bytes(&self) -> u64 {
        match &self.extents {
            Some(extents) => extents.iter().map(|extent| extent.length).sum(),
            None => self.size,
        }
    }

    /// The path for people.
    pub fn shown(&self) -> String {
        shown(&self.path)
    }
}

/// A path inside the folder, for people.
pub fn shown(path: &[u8]) -> String {
    if path.is_empty() { ".".to_owned() } else { String::from_utf8_lossy(path).escape_debug().to_string() }
}

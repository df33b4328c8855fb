//! Reads members, trusting nothing: an archive that is not well formed, or whose names leave its folder, is refused.
//!
//! Besides what [`header`](super::header) writes it takes the long names of GNU's older format, as busybox writes them.

use std::io::{self, Read};

use tar::{EntryType, Header};

use super::{
    entry::{Entry, EntryKind, Time},
    header::{BLOCK, padding},
    pax, sparse,
};
use crate::words::{Error, ErrorKind, Result};

/// A pax header with all extended attributes of a file is smaller than this, and so is a long name.
const LARGEST_RECORDS: u64 = 16 << 20;

/// What stands before a member's own header.
#[derive(Default)]
struct Before {
    records: Vec<u8>,
    long_name: Vec<u8>,
    long_link: Vec<u8>,
}

/// Yields the members of an archive one by one; each one's content is read between them with [`Reader::read_content`].
#[derive(Debug)]
pub struct Reader<R> {
    inner: R,
    content: u64,
    padding: usize,
    /// A header that was read ahead.
    ahead: Option<[u8; BLOCK]>,
}

impl<R: Read> Reader<R> {
    /// Reads `inner` from its beginning.
    pub fn new(inner: R) -> Self {
        Self { inner, content: 0, padding: 0, ahead: None }
    }

    /// The next member; content that nobody read is skipped. `None` after the two empty blocks of the end.
    ///
    /// # Errors
    /// When the archive ends before its end mark, is not well formed, or a name leaves its folder.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<Entry>> {
        self.skip_content()?;
        let mut before = Before::default();
        loop {
            let Some(header) = self.header()? else {
                let nothing = before.records.is_empty() && before.long_name.is_empty();
                return if nothing {
                    Ok(None)
                } else {
                    Err(corrupt("a header without a member stands at its end"))
                };
            };
            let into = match header.entry_type() {
                EntryType::XHeader => &mut before.records,
                EntryType::GNULongName => &mut before.long_name,
                EntryType::GNULongLink => &mut before.long_link,
                _ => return self.entry(&header, &before).map(Some),
            };
            if !into.is_empty() {
                return Err(corrupt("a member has two headers of one kind"));
            }
            *into = self.records(&header)?;
        }
    }

    /// After the end of one archive: whether another one follows in the same stream.
    ///
    /// # Errors
    /// When the stream cannot be read.
    pub fn next_archive(&mut self) -> Result<bool> {
        loop {
            let mut block = [0; BLOCK];
            let mut filled = 0;
            while filled < BLOCK {
                match self.inner.read(&mut block[filled..]) {
                    Ok(0) if filled == 0 => return Ok(false),
                    Ok(0) => return Err(truncated()),
                    Ok(read) => filled += read,
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                    Err(e) => return Err(read_error("read the archive", e)),
                }
            }
            if block.iter().any(|b| *b != 0) {
                self.ahead = Some(block);
                return Ok(true);
            }
        }
    }

    /// Reads from the content of the last member; 0 at its end.
    ///
    /// # Errors
    /// When the archive ends before the content does.
    pub fn read_content(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let most = usize::try_from(self.content).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let read = loop {
            match self.inner.read(&mut buffer[..most]) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                other => break other.map_err(|e| read_error("read the archive", e))?,
            }
        };
        if read == 0 {
            return Err(truncated());
        }
        self.content -= read as u64;
        Ok(read)
    }

    /// Reads to the end of the stream, where nothing but zeros may stand, so that its hash is checked.
    ///
    /// # Errors
    /// When something else stands there, or the stream says that its bytes were wrong.
    pub fn finish(mut self) -> Result<()> {
        let mut buffer = [0; 16 * BLOCK];
        loop {
            match self.inner.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(read) if buffer[..read].iter().all(|b| *b == 0) => {}
                Ok(_) => return Err(corrupt("bytes stand behind its end")),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(read_error("read the archive", e)),
            }
        }
    }

    fn block(&mut self) -> Result<[u8; BLOCK]> {
        if let Some(block) = self.ahead.take() {
            return Ok(block);
        }
        let mut block = [0; BLOCK];
        self.inner.read_exact(&mut block).map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof => truncated(),
            _ => read_error("read the archive", e),
        })?;
        Ok(block)
    }

    /// The next header, or `None` at the end.
    fn header(&mut self) -> Result<Option<Header>> {
        let block = self.block()?;
        if block.iter().all(|b| *b == 0) {
            return match self.block()?.iter().all(|b| *b == 0) {
                true => Ok(None),
                false => Err(corrupt("a lone empty block stands in it")),
            };
        }
        let header = Header::from_byte_slice(&block).clone();
        let sum: u32 = block
            .iter()
            .enumerate()
            .map(|(at, b)| if (148..156).contains(&at) { 32 } else { u32::from(*b) })
            .sum();
        if header.cksum().ok() != Some(sum) {
            return Err(corrupt("a header's checksum is wrong"));
        }
        Ok(Some(header))
    }

    fn records(&mut self, header: &Header) -> Result<Vec<u8>> {
        let size = header.entry_size().ok().filter(|size| (1..LARGEST_RECORDS).contains(size));
        let size = size.ok_or_else(|| corrupt("a pax header has no sane size"))?;
        let mut records = vec![0; size as usize];
        (self.content, self.padding) = (size, padding(size));
        let mut at = 0;
        while at < records.len() {
            at += self.read_content(&mut records[at..])?;
        }
        self.skip_content()?;
        Ok(records)
    }

    fn skip_content(&mut self) -> Result<()> {
        let mut buffer = [0; 16 * BLOCK];
        while self.content > 0 {
            self.read_content(&mut buffer)?;
        }
        (self.content, self.padding) = (std::mem::take(&mut self.padding) as u64, 0);
        while self.content > 0 {
            self.read_content(&mut buffer)?;
        }
        Ok(())
    }

    fn entry(&mut self, header: &Header, before: &Before) -> Result<Entry> {
        let fields = pax::parse(&before.records).ok_or_else(|| corrupt("a pax header is not well formed"))?;
        let field = |key: &str| fields.iter().rev().find(|(k, _)| *k == key.as_bytes()).map(|(_, v)| *v);
        let bad = |what: &'static str| move || corrupt(what);
        let number = |key: &str, plain: io::Result<u64>| match field(key) {
            Some(text) => decimal(text),
            None => plain.ok(),
        };
        let stored = number("size", header.entry_size()).ok_or_else(bad("a size is no number"))?;
        let is_sparse = match (field("GNU.sparse.major"), field("GNU.sparse.minor")) {
            (None, None) => false,
            (Some(b"1"), Some(b"0")) => true,
            _ => return Err(corrupt("it holds a sparse file of an unknown format")),
        };
        let name = field(if is_sparse { "GNU.sparse.name" } else { "path" })
            .or(long(&before.long_name))
            .map_or_else(|| header.path_bytes().into_owned(), <[u8]>::to_vec);
        let path = inside(&name)?;
        let kind = entry_kind(header.entry_type(), &path)?;
        let link = field("linkpath")
            .or(long(&before.long_link))
            .map_or_else(|| header.link_name_bytes().unwrap_or_default().into_owned(), <[u8]>::to_vec);
        let link = if kind == EntryKind::HardLink { inside(&link)? } else { link };
        let modified = match field("mtime") {
            Some(text) => pax::parse_time(text),
            None => {
                header.mtime().ok().and_then(|s| Some(Time { seconds: s.try_into().ok()?, nanoseconds: 0 }))
            }
        };
        let text = |key: &str, plain: Option<&[u8]>| field(key).or(plain).unwrap_or_default().to_vec();
        let device = |number: io::Result<Option<u32>>| number.ok().flatten().unwrap_or(0);
        let mut entry = Entry {
            path,
            kind,
            link,
            mode: header.mode().map_err(|_| corrupt("a mode is no number"))? & 0o7777,
            uid: number("uid", header.uid()).ok_or_else(bad("an owner is no number"))?,
            gid: number("gid", header.gid()).ok_or_else(bad("a group is no number"))?,
            user: text("uname", header.username_bytes()),
            group: text("gname", header.groupname_bytes()),
            modified: modified.ok_or_else(bad("a time is no number"))?,
            device: (device(header.device_major()), device(header.device_minor())),
            size: stored,
            extents: None,
            attributes: fields
                .iter()
                .filter_map(|(k, v)| Some((pax::attribute_name(k)?, v.to_vec())))
                .collect(),
        };
        (self.content, self.padding) = (stored, padding(stored));
        if kind != EntryKind::File && (stored > 0 || is_sparse) {
            return Err(refused(&entry.path, "it has content, but is no file"));
        }
        if is_sparse {
            let size = field("GNU.sparse.realsize").and_then(decimal);
            entry.size = size.ok_or_else(bad("a sparse file has no length"))?;
            self.sparse(&mut entry, stored)?;
        }
        Ok(entry)
    }

    fn sparse(&mut self, entry: &mut Entry, stored: u64) -> Result<()> {
        let map = sparse::parse_map(entry.size, || self.block())?;
        let (extents, map_bytes) = map.ok_or_else(|| corrupt("a sparse file's map is not well formed"))?;
        entry.extents = Some(extents);
        if stored.checked_sub(map_bytes) != Some(entry.stored_bytes()) {
            return Err(corrupt("a sparse file's map does not fit its data"));
        }
        self.content -= map_bytes;
        Ok(())
    }
}

fn entry_kind(kind: EntryType, path: &[u8]) -> Result<EntryKind> {
    let kind = match kind {
        EntryType::Regular => EntryKind::File,
        EntryType::Link => EntryKind::HardLink,
        EntryType::Symlink => EntryKind::Symlink,
        EntryType::Directory => EntryKind::Folder,
        EntryType::Fifo => EntryKind::Fifo,
        EntryType::Char => EntryKind::CharDevice,
        EntryType::Block => EntryKind::BlockDevice,
        other => {
            return Err(refused(
                path,
                &format!("members of type {:?} are not known", other.as_byte() as char),
            ));
        }
    };
    if path.is_empty() && kind != EntryKind::Folder {
        return Err(refused(path, "the folder itself is no folder"));
    }
    Ok(kind)
}

/// A member's name as a path inside the folder.
fn inside(name: &[u8]) -> Result<Vec<u8>> {
    let leaves = name.first() == Some(&b'/')
        || name.contains(&0)
        || name.split(|b| *b == b'/').any(|part| part == b"..");
    if name.is_empty() || leaves {
        return Err(refused(name, "the name leaves the folder"));
    }
    let parts: Vec<&[u8]> =
        name.split(|b| *b == b'/').filter(|part| !part.is_empty() && *part != b".").collect();
    Ok(parts.join(&b'/'))
}

/// A long name of GNU's older format, which a NUL ends.
fn long(name: &[u8]) -> Option<&[u8]> {
    name.split(|b| *b == 0).next().filter(|name| !name.is_empty())
}

fn decimal(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn corrupt(detail: &str) -> Error {
    Error::new(ErrorKind::Corrupt, "read", "the archive").detail(detail).hint("take another session")
}

fn truncated() -> Error {
    Error::new(ErrorKind::Truncated, "read", "the archive")
        .detail("it ends without its end mark")
        .hint("take another session")
}

/// A member that must not be restored.
pub(crate) fn refused(path: &[u8], detail: &str) -> Error {
    Error::new(ErrorKind::Refused, "take from the archive", super::entry::shown(path))
        .detail(detail)
        .hint("this archive was not made by a backup: do not restore it")
}

/// What a read of an archive failed with; an [`Error`] that came through the stream is itself again.
pub(crate) fn read_error(operation: &str, error: io::Error) -> Error {
    match error.downcast::<Error>() {
        Ok(inner) => inner,
        Err(error) => Error::io(operation, "the archive", error),
    }
}

//! What was read of a place, as members ready for the artifact, kept on disk until it is proved.

use std::{
    fs::File,
    io::{BufWriter, Seek, SeekFrom, Write},
};

use backup_core::{
    archive::{self, END, Entry, EntryKind, padding},
    words::{Error, ErrorKind, Result},
};
use sha2::{Digest as _, Sha256};

use super::{
    ledger::{Ledger, Mark, When},
    wanted::{Wanted, lies_in},
};

const BUFFER: usize = 128 << 10;

/// How a path of a place becomes a name in the artifact.
#[derive(Clone, Debug)]
pub(super) struct Naming {
    /// What paths begin with that is taken off.
    pub(super) strip: String,
    /// What names begin with instead.
    pub(super) under: String,
}

impl Naming {
    /// The name of a path; none for what lies elsewhere.
    pub(super) fn name(&self, path: &[u8]) -> Option<Vec<u8>> {
        if !lies_in(path, self.strip.as_bytes()) {
            return None;
        }
        let rest = &path[self.strip.len()..];
        let rest = rest.strip_prefix(b"/").unwrap_or(rest);
        let parts = [self.under.as_bytes(), rest];
        let parts: Vec<&[u8]> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        Some(parts.join(&b'/'))
    }
}

/// Counts of what was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) files: u64,
    pub(super) links: u64,
    pub(super) folders: u64,
    /// Lengths of all files.
    pub(super) bytes: u64,
    /// Of each root: files and links, and bytes.
    pub(super) roots: Vec<(u64, u64)>,
}

impl Tally {
    /// Takes the counts of another one in.
    pub(super) fn add(&mut self, other: &Self) {
        self.files += other.files;
        self.links += other.links;
        self.folders += other.folders;
        self.bytes += other.bytes;
        self.roots.resize(self.roots.len().max(other.roots.len()), (0, 0));
        for (sum, root) in self.roots.iter_mut().zip(&other.roots) {
            *sum = (sum.0 + root.0, sum.1 + root.1);
        }
    }
}

/// Members of an artifact, without its end mark.
#[derive(Debug)]
pub(super) struct Spool {
    pub(super) file: File,
    pub(super) tally: Tally,
}

/// Writes a spool and a ledger of what is in it.
#[derive(Debug)]
pub(super) struct Spooler {
    out: BufWriter<File>,
    ledger: Ledger,
    naming: Naming,
    wanted: Wanted,
    exact: bool,
    /// Folders that are written when something in them is.
    waiting: Vec<Entry>,
    tally: Tally,
    buffer: Vec<u8>,
}

impl Spooler {
    /// Spools to the empty file `scratch`; `exact` as for [`When::new`].
    pub(super) fn new(scratch: File, ledger: Ledger, naming: Naming, wanted: Wanted, exact: bool) -> Self {
        let tally = Tally { roots: vec![(0, 0); wanted.roots.len()], ..Tally::default() };
        let out = BufWriter::with_capacity(BUFFER, scratch);
        Self { out, ledger, naming, wanted, exact, waiting: Vec::new(), tally, buffer: vec![0; BUFFER] }
    }

    /// Adds a member; `read` gives its content piece by piece, as long as its size says.
    pub(super) fn member(
        &mut self,
        entry: Entry,
        mut read: impl FnMut(&mut [u8]) -> Result<usize>,
    ) -> Result<()> {
        let root = self.wanted.root_of(&entry.path);
        let link_is_inside = entry.kind != EntryKind::HardLink || self.wanted.root_of(&entry.link).is_some();
        let Some(root) = root.filter(|_| link_is_inside) else {
            return Err(Error::new(ErrorKind::Corrupt, "take from the archive", entry.shown())
                .detail("nobody asked for a file of that name"));
        };
        let mark = match entry.kind {
            EntryKind::Folder => return self.folder(entry),
            EntryKind::File => None,
            EntryKind::HardLink => Some(Mark::Same(entry.link.clone())),
            EntryKind::Symlink => Some(Mark::Link(entry.link.clone())),
            // Something else took the place of a file since it was found.
            EntryKind::Fifo | EntryKind::CharDevice | EntryKind::BlockDevice => return Ok(()),
        };
        self.write_waiting(&entry.path)?;
        self.header(&entry)?;
        let Some(mark) = mark else {
            let hash = self.content(entry.stored_bytes(), &mut read)?;
            self.tally.files += 1;
            self.tally.bytes += entry.size;
            self.tally.roots[root].0 += 1;
            self.tally.roots[root].1 += entry.size;
            let when = When::new(entry.modified.seconds, entry.modified.nanoseconds, self.exact);
            return self.ledger.push(&entry.path, &Mark::File(entry.size, hash, when));
        };
        match mark {
            Mark::Link(_) => self.tally.links += 1,
            _ => self.tally.files += 1,
        }
        self.tally.roots[root].0 += 1;
        self.ledger.push(&entry.path, &mark)
    }

    /// Ends it.
    pub(super) fn finish(mut self) -> Result<(Spool, Ledger)> {
        self.out.flush().map_err(failed)?;
        let mut file = self.out.into_inner().map_err(|e| failed(e.into_error()))?;
        file.seek(SeekFrom::Start(0)).map_err(failed)?;
        Ok((Spool { file, tally: self.tally }, self.ledger))
    }

    fn folder(&mut self, folder: Entry) -> Result<()> {
        if self.wanted.is_whole() {
            self.ledger.push(&folder.path, &Mark::Folder)?;
            self.tally.folders += 1;
            return self.header(&folder);
        }
        self.waiting.retain(|waiting| lies_in(&folder.path, &waiting.path));
        self.waiting.push(folder);
        Ok(())
    }

    /// Writes the folders that `path` lies in; others that wait are none of it.
    fn write_waiting(&mut self, path: &[u8]) -> Result<()> {
        self.waiting.retain(|waiting| lies_in(path, &waiting.path));
        for folder in std::mem::take(&mut self.waiting) {
            self.tally.folders += 1;
            self.header(&folder)?;
        }
        Ok(())
    }

    fn header(&mut self, entry: &Entry) -> Result<()> {
        let name = |path: &[u8]| {
            self.naming.name(path).ok_or_else(|| {
                Error::new(ErrorKind::Internal, "name in the artifact", archive::shown(path))
                    .detail("it lies outside of what is taken")
            })
        };
        let mut renamed = entry.clone();
        renamed.path = name(&entry.path)?;
        // Names of users are those of the image; numbers are what counts.
        (renamed.user, renamed.group) = (Vec::new(), Vec::new());
        if entry.kind == EntryKind::HardLink {
            renamed.link = name(&entry.link)?;
        }
        archive::write_header(&renamed, &mut self.out).map_err(failed)
    }

    fn content(&mut self, size: u64, read: &mut impl FnMut(&mut [u8]) -> Result<usize>) -> Result<[u8; 32]> {
        let mut hash = Sha256::new();
        let mut left = size;
        while left > 0 {
            let most = self.buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let got = read(&mut self.buffer[..most])?;
            if got == 0 {
                return Err(Error::new(ErrorKind::Truncated, "read", "a file's content"));
            }
            hash.update(&self.buffer[..got]);
            self.out.write_all(&self.buffer[..got]).map_err(failed)?;
            left -= got as u64;
        }
        self.out.write_all(&END[..padding(size)]).map_err(failed)?;
        Ok(hash.finalize().into())
    }
}

fn failed(e: std::io::Error) -> Error {
    Error::io("use a temporary file for", "files out of a pod", e)
        .hint("temporary files need the space of the largest set of files; TMPDIR says where they are")
}

#[cfg(test)]
mod tests {
    use backup_core::archive::{Reader, Time};

    use super::{super::wanted::Root, *};

    fn wanted(include: &[&str]) -> Wanted {
        Wanted {
            roots: vec![Root { path: "app".into(), apart: Vec::new() }],
            include: include.iter().map(|i| (*i).to_owned()).collect(),
            exclude: Vec::new(),
        }
    }

    fn entry(path: &str, kind: EntryKind, size: u64) -> Entry {
        Entry {
            path: path.into(),
            kind,
            link: Vec::new(),
            mode: 0o644,
            uid: 0,
            gid: 0,
            user: Vec::new(),
            group: Vec::new(),
            modified: Time::default(),
            device: (0, 0),
            size,
            extents: None,
            attributes: Vec::new(),
        }
    }

    fn spooler(wanted: Wanted) -> Spooler {
        let scratch = || tempfile::tempfile().unwrap();
        let naming = Naming { strip: String::new(), under: "web-0".into() };
        Spooler::new(scratch(), Ledger::new(scratch()), naming, wanted, true)
    }

    fn x(buffer: &mut [u8]) -> Result<usize> {
        buffer.fill(b'x');
        Ok(buffer.len())
    }

    #[test]
    fn only_folders_with_something_in_them_are_kept() {
        let mut spooler = spooler(wanted(&["*"]));
        for (path, kind) in [
            ("app", EntryKind::Folder),
            ("app/empty", EntryKind::Folder),
            ("app/empty/inner", EntryKind::Folder),
            ("app/full", EntryKind::Folder),
            ("app/full/a", EntryKind::File),
            ("app/z", EntryKind::File),
            ("app/late", EntryKind::Folder),
        ] {
            spooler.member(entry(path, kind, 3 * u64::from(kind == EntryKind::File)), x).unwrap();
        }
        let (spool, ledger) = spooler.finish().unwrap();
        assert_eq!((spool.tally.files, spool.tally.folders, spool.tally.bytes), (2, 2, 6));
        assert_eq!(ledger.records(), 2);
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut &spool.file, &mut bytes).unwrap();
        bytes.extend_from_slice(&END);
        let mut reader = Reader::new(bytes.as_slice());
        let mut names = Vec::new();
        while let Some(entry) = reader.next().unwrap() {
            names.push(String::from_utf8(entry.path).unwrap());
        }
        assert_eq!(names, ["web-0/app", "web-0/app/full", "web-0/app/full/a", "web-0/app/z"]);
    }

    #[test]
    fn what_nobody_asked_for_is_refused() {
        let mut spooler = spooler(wanted(&["*"]));
        let error = spooler.member(entry("etc/passwd", EntryKind::File, 1), x).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        let link = Entry { link: b"etc/shadow".to_vec(), ..entry("app/x", EntryKind::HardLink, 0) };
        assert_eq!(spooler.member(link, x).unwrap_err().kind(), ErrorKind::Corrupt);
    }
}

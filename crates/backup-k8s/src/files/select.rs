//! What of an artifact goes to one place: read once, checked, and kept on disk while it is decided what is needed.

use std::{
    collections::HashMap,
    fs::File,
    io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write},
};

use backup_core::{
    archive::{self, END, Entry, EntryKind, Reader, padding},
    words::{Error, ErrorKind, Result},
};
use sha2::{Digest as _, Sha256};

use super::{
    ledger::{Ledger, Mark, When},
    wanted::{OURS, lies_in},
};

const BUFFER: usize = 128 << 10;

/// Names in an archive that belong to one place.
#[derive(Clone, Debug)]
pub(super) struct Selection {
    /// The folder in the archive.
    pub(super) folder: String,
    /// Folders in it that belong elsewhere.
    pub(super) apart: Vec<String>,
}

/// The members of one place, with names relative to its root.
#[derive(Debug)]
pub(super) struct Selected {
    spool: File,
    /// All but folders, hard links resolved; a record's number is the member's among these.
    pub(super) ledger: Ledger,
    /// Numbers of members that are names of one file.
    pub(super) same: Vec<Vec<u64>>,
    /// The root folder itself, when the archive has it.
    pub(super) root: Option<Entry>,
    /// Links whose text leads outside of the root. They are only ever made, never followed.
    pub(super) leading_out: u64,
    /// Devices and pipes, which are not restored.
    pub(super) left_out: u64,
}

/// Reads `archive` to its end and keeps what is selected. The scratch files are empty.
pub(super) fn select(archive: impl Read, what: &Selection, scratch: [File; 3]) -> Result<Selected> {
    let [spool, ledger, resolved] = scratch;
    let mut reader = Reader::new(BufReader::with_capacity(BUFFER, archive));
    let mut selector = Selector {
        out: BufWriter::with_capacity(BUFFER, spool),
        ledger: Ledger::new(ledger),
        root: None,
        leading_out: 0,
        left_out: 0,
        buffer: vec![0; BUFFER],
    };
    while let Some(mut entry) = reader.next()? {
        if let Some(path) = what.path(&entry.path)? {
            if entry.kind == EntryKind::HardLink {
                entry.link = what.path(&entry.link)?.ok_or_else(|| {
                    refused(&entry, "it is another name of a file that is not restored to the same place")
                })?;
            }
            entry.path = path;
            selector.member(&entry, |buffer| reader.read_content(buffer))?;
        }
    }
    reader.finish()?;
    selector.out.write_all(&END).map_err(failed)?;
    let spool = selector.out.into_inner().map_err(|e| failed(e.into_error()))?;
    let same = same_files(&mut selector.ledger)?;
    Ok(Selected {
        spool,
        ledger: selector.ledger.resolved(resolved)?,
        same,
        root: selector.root,
        leading_out: selector.leading_out,
        left_out: selector.left_out,
    })
}

fn same_files(ledger: &mut Ledger) -> Result<Vec<Vec<u64>>> {
    if ledger.same() == 0 {
        return Ok(Vec::new());
    }
    let mut names: HashMap<Vec<u8>, Vec<u64>> = HashMap::new();
    ledger.each(|_, mark, number| {
        if let Mark::Same(first) = mark {
            names.entry(first).or_default().push(number);
        }
        Ok(())
    })?;
    ledger.each(|path, _, number| {
        if let Some(names) = names.get_mut(&path) {
            names.push(number);
        }
        Ok(())
    })?;
    Ok(names.into_values().collect())
}

impl Selection {
    /// A name of the archive as a path in the root; none for what belongs elsewhere.
    fn path(&self, name: &[u8]) -> Result<Option<Vec<u8>>> {
        let elsewhere = self.apart.iter().any(|folder| lies_in(name, folder.as_bytes()));
        if !lies_in(name, self.folder.as_bytes()) || elsewhere {
            return Ok(None);
        }
        let rest = &name[self.folder.len()..];
        let path = rest.strip_prefix(b"/").unwrap_or(rest);
        if path.split(|b| *b == b'/').any(|part| part.starts_with(OURS.as_bytes())) {
            return Err(Error::new(ErrorKind::Refused, "take from the archive", archive::shown(name))
                .detail("names of this kind are our own")
                .hint("this archive was not made by a backup: do not restore it"));
        }
        Ok(Some(path.to_vec()))
    }
}

struct Selector {
    out: BufWriter<File>,
    ledger: Ledger,
    root: Option<Entry>,
    leading_out: u64,
    left_out: u64,
    buffer: Vec<u8>,
}

impl Selector {
    fn member(&mut self, entry: &Entry, mut read: impl FnMut(&mut [u8]) -> Result<usize>) -> Result<()> {
        if entry.path.is_empty() {
            self.root = (entry.kind == EntryKind::Folder).then(|| entry.clone());
            return if self.root.is_some() { Ok(()) } else { Err(refused(entry, "the root is no folder")) };
        }
        let mark = match entry.kind {
            EntryKind::Fifo | EntryKind::CharDevice | EntryKind::BlockDevice => {
                self.left_out += 1;
                return Ok(());
            }
            EntryKind::Folder => None,
            EntryKind::File => Some(Mark::File(entry.size, [0; 32], When::default())),
            EntryKind::HardLink => Some(Mark::Same(entry.link.clone())),
            EntryKind::Symlink => {
                self.leading_out += u64::from(leads_out(&entry.path, &entry.link));
                Some(Mark::Link(entry.link.clone()))
            }
        };
        if entry.extents.is_some() {
            return Err(refused(entry, "it is a sparse file, and none is ever stored so"));
        }
        archive::write_header(entry, &mut self.out).map_err(failed)?;
        match mark {
            None => Ok(()),
            Some(Mark::File(size, ..)) => {
                let hash = self.content(size, &mut read)?;
                self.ledger.push(&entry.path, &Mark::File(size, hash, When::default()))
            }
            Some(mark) => self.ledger.push(&entry.path, &mark),
        }
    }

    fn content(&mut self, size: u64, read: &mut impl FnMut(&mut [u8]) -> Result<usize>) -> Result<[u8; 32]> {
        let mut hash = Sha256::new();
        loop {
            let got = read(&mut self.buffer)?;
            if got == 0 {
                break;
            }
            hash.update(&self.buffer[..got]);
            self.out.write_all(&self.buffer[..got]).map_err(failed)?;
        }
        self.out.write_all(&END[..padding(size)]).map_err(failed)?;
        Ok(hash.finalize().into())
    }
}

/// Whether a link at `path` names something outside of the root.
fn leads_out(path: &[u8], text: &[u8]) -> bool {
    if text.first() == Some(&b'/') {
        return true;
    }
    let mut depth = path.iter().filter(|b| **b == b'/').count() as i64;
    for part in text.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => depth -= 1,
            _ => depth += 1,
        }
        if depth < 0 {
            return true;
        }
    }
    false
}

/// Which members are sent.
#[derive(Clone, Debug)]
pub(super) enum Sent {
    /// All.
    All,
    /// Those whose number's bit is set.
    Some(Vec<u64>),
}

impl Sent {
    /// Nothing, of so many.
    pub(super) fn none(members: u64) -> Self {
        Self::Some(vec![0; usize::try_from(members.div_ceil(64)).unwrap_or(0)])
    }

    /// Adds a member.
    pub(super) fn add(&mut self, number: u64) {
        if let Self::Some(bits) = self {
            bits[(number / 64) as usize] |= 1 << (number % 64);
        }
    }

    /// How many of so many members it has.
    pub(super) fn count(&self, members: u64) -> u64 {
        match self {
            Self::All => members,
            Self::Some(bits) => bits.iter().map(|bits| u64::from(bits.count_ones())).sum(),
        }
    }

    /// Whether a member is in it.
    pub(super) fn has(&self, number: u64) -> bool {
        match self {
            Self::All => true,
            Self::Some(bits) => bits[(number / 64) as usize] >> (number % 64) & 1 == 1,
        }
    }
}

impl Selected {
    /// Shows the members that are sent, folders and files first: a link can then lead none of them elsewhere.
    pub(super) fn each(
        &self,
        sent: &Sent,
        mut show: impl FnMut(&Entry, &mut dyn FnMut(&mut [u8]) -> Result<usize>) -> Result<()>,
    ) -> Result<()> {
        for links in [false, true] {
            let mut file = &self.spool;
            file.seek(SeekFrom::Start(0)).map_err(failed)?;
            let mut reader = Reader::new(BufReader::with_capacity(BUFFER, file));
            let mut number = 0;
            while let Some(entry) = reader.next()? {
                let is_sent = entry.kind == EntryKind::Folder || {
                    number += 1;
                    sent.has(number - 1)
                };
                if is_sent && (entry.kind == EntryKind::Symlink) == links {
                    show(&entry, &mut |buffer| reader.read_content(buffer))?;
                }
            }
        }
        Ok(())
    }
}

fn refused(entry: &Entry, detail: &str) -> Error {
    Error::new(ErrorKind::Refused, "take from the archive", entry.shown())
        .detail(detail)
        .hint("this archive was not made by a backup: do not restore it")
}

fn failed(e: std::io::Error) -> Error {
    Error::io("use a temporary file for", "files of a restore", e)
}

#[cfg(test)]
mod tests {
    use backup_core::archive::Time;

    use super::*;

    fn entry(path: &str, kind: EntryKind, link: &str, size: u64) -> Entry {
        Entry {
            path: path.into(),
            kind,
            link: link.into(),
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

    fn archive(entries: &[Entry]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for entry in entries {
            archive::write_header(entry, &mut bytes).unwrap();
            bytes.extend_from_slice(&vec![b'x'; entry.size as usize]);
            bytes.extend_from_slice(&END[..padding(entry.size)]);
        }
        bytes.extend_from_slice(&END);
        bytes
    }

    fn selected(entries: &[Entry], folder: &str, apart: &[&str]) -> Result<Selected> {
        let what = Selection {
            folder: folder.into(),
            apart: apart.iter().map(|folder| (*folder).to_owned()).collect(),
        };
        select(archive(entries).as_slice(), &what, std::array::from_fn(|_| tempfile::tempfile().unwrap()))
    }

    fn names(selected: &Selected, sent: &Sent) -> Vec<String> {
        let mut names = Vec::new();
        let show = |entry: &Entry, _: &mut dyn FnMut(&mut [u8]) -> Result<usize>| {
            names.push(String::from_utf8(entry.path.clone()).unwrap());
            Ok(())
        };
        selected.each(sent, show).unwrap();
        names
    }

    #[test]
    fn only_what_belongs_to_the_place_is_kept_and_links_come_last() {
        let selected = selected(
            &[
                entry("web-0/app", EntryKind::Folder, "", 0),
                entry("web-0/app/l", EntryKind::Symlink, "a", 0),
                entry("web-0/app/a", EntryKind::File, "", 3),
                entry("web-0/app/b", EntryKind::HardLink, "web-0/app/a", 0),
                entry("web-0/app/data/c", EntryKind::File, "", 3),
                entry("web-0/apple", EntryKind::File, "", 3),
                entry("web-1/app/a", EntryKind::File, "", 3),
            ],
            "web-0/app",
            &["web-0/app/data"],
        )
        .unwrap();
        assert_eq!(names(&selected, &Sent::All), ["a", "b", "l"]);
        assert!(selected.root.is_some());
        assert_eq!(selected.same, [[2, 1]]);
        assert_eq!(selected.ledger.records(), 3);
        let mut some = Sent::none(3);
        some.add(0);
        some.add(2);
        assert_eq!(names(&selected, &some), ["b", "l"]);
    }

    #[test]
    fn archives_that_no_backup_makes_are_refused() {
        for bad in [
            entry("p/.ha-backup-before-x/a", EntryKind::File, "", 0),
            entry("p/x", EntryKind::HardLink, "q/secret", 0),
            entry("p", EntryKind::Symlink, "/etc", 0),
            entry("p/../../etc/passwd", EntryKind::File, "", 0),
        ] {
            let shown = bad.shown();
            assert_eq!(selected(&[bad], "p", &[]).unwrap_err().kind(), ErrorKind::Refused, "{shown}");
        }
    }

    #[test]
    fn links_that_lead_out_are_counted() {
        for (path, text, expected) in [
            ("a", "b", false),
            ("a", "../b", true),
            ("x/a", "../b", false),
            ("x/a", "../../b", true),
            ("x/a", "../y/../../b", true),
            ("a", "/etc/passwd", true),
            ("a", "./.", false),
        ] {
            assert_eq!(leads_out(path.as_bytes(), text.as_bytes()), expected, "{path} -> {text}");
        }
    }
}

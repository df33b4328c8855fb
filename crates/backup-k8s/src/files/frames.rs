//! Reads what a place without tar prints: metadata by `stat` and contents by `cat`, between marks that nobody can foresee.
//!
//! Words are ended by NUL: `B LINES` (one `stat` line for each path that follows), `D PATH`, `F PATH` and `L PATH`, each of
//! the last two followed by the content or the link's text and the mark; `E CODE` ends it.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom, Write},
};

use backup_core::{
    archive::{Entry, EntryKind, Time},
    words::{Error, ErrorKind, Result},
};
use memchr::memmem::Finder;

use super::{listing::normal, spool::Spooler};

const PIECE: usize = 64 << 10;
const LONGEST_WORD: usize = 16 << 20;
const LONGEST_LINK: usize = 64 << 10;

/// Reads frames to their end. `content` is an empty file for one file's content after the other.
pub(super) fn read(from: impl Read, mark: &str, content: File, spooler: &mut Spooler) -> Result<()> {
    let mut frames =
        Frames { from, mark: Finder::new(mark).into_owned(), buffer: Vec::new(), lines: Vec::new(), content };
    while frames.frame(spooler)? {}
    Ok(())
}

struct Frames<R> {
    from: R,
    mark: Finder<'static>,
    /// Bytes that were read and not used yet.
    buffer: Vec<u8>,
    /// `stat` lines that were not used yet.
    lines: Vec<u8>,
    content: File,
}

impl<R: Read> Frames<R> {
    /// False at the end.
    fn frame(&mut self, spooler: &mut Spooler) -> Result<bool> {
        let word = self.word()?;
        let Some((letter, text)) = word.split_first() else { return Err(malformed()) };
        let kind = match letter {
            b'B' => {
                self.lines = text.strip_suffix(b".").ok_or_else(malformed)?.to_vec();
                return Ok(true);
            }
            b'E' => return Ok(false),
            b'D' => EntryKind::Folder,
            b'F' => EntryKind::File,
            b'L' => EntryKind::Symlink,
            _ => return Err(malformed()),
        };
        let mut link = Vec::new();
        let mut size = 0;
        match kind {
            EntryKind::File => {
                self.content
                    .set_len(0)
                    .and_then(|()| self.content.seek(SeekFrom::Start(0)))
                    .map_err(failed)?;
                let mut content = self.content.try_clone().map_err(failed)?;
                self.until_mark(|piece| {
                    size += piece.len() as u64;
                    content.write_all(piece).map_err(failed)
                })?;
                self.content.seek(SeekFrom::Start(0)).map_err(failed)?;
            }
            EntryKind::Symlink => self.until_mark(|piece| {
                link.extend_from_slice(piece);
                if link.len() > LONGEST_LINK { Err(malformed()) } else { Ok(()) }
            })?,
            _ => {}
        }
        // One that vanished has no line; what was read of it is nothing.
        let Some(mut entry) = self.metadata(text) else { return Ok(true) };
        if entry.kind == kind {
            (entry.size, entry.link) = (size, link);
            let content = &mut self.content;
            spooler.member(entry, |buffer| content.read(buffer).map_err(failed))?;
        }
        Ok(true)
    }

    /// The member that the next `stat` line for `path` describes; lines of other paths before it are dropped.
    fn metadata(&mut self, path: &[u8]) -> Option<Entry> {
        let found = Finder::new(&[b" ", path, b"\n"].concat()).find(&self.lines)?;
        let begin = self.lines[..found].iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        let entry = parse_line(&self.lines[begin..found], path);
        self.lines.drain(..found + path.len() + 2);
        entry
    }

    fn word(&mut self) -> Result<Vec<u8>> {
        let mut looked = 0;
        loop {
            if let Some(end) = memchr::memchr(0, &self.buffer[looked..]) {
                let word = self.buffer[..looked + end].to_vec();
                self.buffer.drain(..=looked + end);
                return Ok(word);
            }
            looked = self.buffer.len();
            if looked > LONGEST_WORD {
                return Err(malformed());
            }
            self.fill()?;
        }
    }

    fn until_mark(&mut self, mut take: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let length = self.mark.needle().len();
        loop {
            if let Some(at) = self.mark.find(&self.buffer) {
                take(&self.buffer[..at])?;
                self.buffer.drain(..at + length);
                return Ok(());
            }
            // The mark may begin in what is here and end in what comes.
            let sure = self.buffer.len().saturating_sub(length - 1);
            take(&self.buffer[..sure])?;
            self.buffer.drain(..sure);
            self.fill()?;
        }
    }

    fn fill(&mut self) -> Result<()> {
        let before = self.buffer.len();
        self.buffer.resize(before + PIECE, 0);
        let read = self.from.read(&mut self.buffer[before..]);
        self.buffer.truncate(before + *read.as_ref().unwrap_or(&0));
        match read {
            Ok(0) => {
                Err(Error::new(ErrorKind::Truncated, "read", "the files")
                    .detail("they end without an end mark"))
            }
            Ok(_) => Ok(()),
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => Ok(()),
            Err(e) => Err(Error::io("read", "the files", e)),
        }
    }
}

/// `MODE UID GID SECONDS DATE TIME ZONE`, the mode in hexadecimal and the time with its fraction.
fn parse_line(line: &[u8], path: &[u8]) -> Option<Entry> {
    let fields: Vec<&str> = std::str::from_utf8(line).ok()?.split(' ').collect();
    let [mode, uid, gid, seconds, _, time, _] = fields.try_into().ok()?;
    let mode = u32::from_str_radix(mode, 16).ok()?;
    let kind = match mode & 0o170_000 {
        0o040_000 => EntryKind::Folder,
        0o100_000 => EntryKind::File,
        0o120_000 => EntryKind::Symlink,
        _ => return None,
    };
    let fraction = time.split_once('.').map_or("", |(_, fraction)| fraction);
    let mut seconds: i64 = seconds.parse().ok()?;
    // Before 1970 GNU's stat rounds up; the clock's second is right.
    let shown: i64 = time.get(6..8)?.parse().ok()?;
    seconds -= i64::from((seconds - shown).rem_euclid(60) == 1);
    Some(Entry {
        path: normal(path),
        kind,
        link: Vec::new(),
        mode: mode & 0o7777,
        uid: uid.parse().ok()?,
        gid: gid.parse().ok()?,
        user: Vec::new(),
        group: Vec::new(),
        modified: Time { seconds, nanoseconds: format!("{fraction:0<9}").get(..9)?.parse().ok()? },
        device: (0, 0),
        size: 0,
        extents: None,
        attributes: Vec::new(),
    })
}

fn malformed() -> Error {
    Error::new(ErrorKind::Corrupt, "read", "the files").detail("they are not as our script prints them")
}

fn failed(e: std::io::Error) -> Error {
    Error::io("use a temporary file for", "a file out of a pod", e)
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            ledger::{Ledger, Mark},
            spool::Naming,
            wanted::{Root, Wanted},
        },
        *,
    };

    const MARK: &str = "0123456789abcdef";

    /// Hands out a byte at a time.
    struct Slow<'a>(&'a [u8]);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            self.0.read(&mut buffer[..1])
        }
    }

    fn scratch() -> File {
        tempfile::tempfile().unwrap()
    }

    fn marks(frames: &[u8]) -> Result<Vec<(String, Mark)>> {
        let wanted = Wanted {
            roots: vec![Root { path: "t".into(), apart: Vec::new() }],
            include: Vec::new(),
            exclude: Vec::new(),
        };
        let naming = Naming { strip: String::new(), under: String::new() };
        let mut spooler = Spooler::new(scratch(), Ledger::new(scratch()), naming, wanted, false);
        read(Slow(frames), MARK, scratch(), &mut spooler)?;
        let mut marks = Vec::new();
        spooler.finish()?.1.each(|path, mark, _| {
            marks.push((String::from_utf8(path).unwrap(), mark));
            Ok(())
        })?;
        Ok(marks)
    }

    fn stat(mode: &str, path: &str) -> String {
        format!("{mode} 0 1000 1700000000 2023-11-14 22:13:20.5 +0000 {path}\n")
    }

    fn frames() -> String {
        let lines = [stat("41ed", "./t/."), stat("81a4", "./t/./a\nb"), stat("a1ff", "./t/./l")].concat();
        format!(
            "B{lines}.\0D./t/.\0F./t/./gone\0{MARK}F./t/./a\nb\0hello 0123456789{MARK}L./t/./l\0../x\n{MARK}E0\0"
        )
    }

    #[test]
    fn contents_links_and_folders_are_read_and_what_vanished_is_not() {
        let marks = marks(frames().as_bytes()).unwrap();
        assert_eq!(marks.len(), 3, "{marks:?}");
        assert_eq!(marks[0], ("t".to_owned(), Mark::Folder));
        assert!(matches!(&marks[1], (path, Mark::File(16, ..)) if path == "t/a\nb"), "{marks:?}");
        assert_eq!(marks[2], ("t/l".to_owned(), Mark::Link(b"../x\n".to_vec())));
    }

    #[test]
    fn frames_that_are_cut_are_no_frames() {
        let whole = frames();
        for cut in 0..whole.len() {
            assert!(marks(&whole.as_bytes()[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn metadata_is_read_from_the_line() {
        let entry = parse_line(b"89ed 5 6 -6 1969-12-31 23:59:53.000000123 +0000", b"./t/x").unwrap();
        assert_eq!((entry.mode, entry.uid, entry.gid), (0o4755, 5, 6));
        assert_eq!(entry.modified, Time { seconds: -7, nanoseconds: 123 });
        assert!(parse_line(b"1180 0 0 1 a b c", b"pipe").is_none());
    }
}

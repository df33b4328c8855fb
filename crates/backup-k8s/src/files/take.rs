//! Reads a set of files out of a place, with proof: what was read must be what the place itself lists, by size and hash.
//!
//! A file that changes meanwhile is read again, alone when there are few of them; one that never holds still is kept as it was
//! read last, and named.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io::{BufReader, Read, Write},
};

use backup_core::{
    archive::{self, END, EntryKind, Reader, Time, padding, shown},
    traits::{Context, Writer},
    words::{Error, ErrorKind, Result},
};
use bytes::Bytes;
use tokio::sync::mpsc::Sender;

use super::{
    frames,
    ledger::{self, Difference, Differences, Differing, Ledger, Mark, Records},
    listing::{self, Listed},
    script::{self, Method, Take},
    site::{Ended, Output, Site},
    spool::{Naming, Spool, Spooler, Tally},
    wanted::Wanted,
};

/// How often a file that changes is read.
const ROUNDS: u32 = 3;
/// So many files are read again alone, and the length of their names; with more, the whole set is read again.
const MOST_AGAIN: u64 = 500;
const MOST_NAMES: usize = 16 << 10;
/// Names that are told one by one.
const TOLD: usize = 20;

/// What is in flight from the disk to the artifact.
const PIECE: usize = 256 << 10;

/// A set of files that was read and proved.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pieces: Vec<Piece>,
    pub(super) tally: Tally,
    /// Changed each time they were read: what is kept may be torn.
    pub(super) changed: Names,
    /// Are there, and could not be read.
    pub(super) unread: Names,
    /// Pipes, sockets and devices.
    pub(super) others: Names,
    /// What `find` complained of: folders that it could not look into.
    pub(super) trouble: Vec<String>,
}

/// The first of many names, and how many there are.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    pub(super) first: Vec<String>,
    pub(super) count: u64,
}

impl Names {
    fn push(&mut self, path: &[u8]) {
        self.count += 1;
        if self.first.len() < TOLD {
            self.first.push(shown(path));
        }
    }
}

impl std::fmt::Display for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.first.join(", "))?;
        match self.count - self.first.len() as u64 {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// A spool, and what is changed in it on its way to the artifact.
#[derive(Debug)]
struct Piece {
    spool: Spool,
    /// Names that a later one has.
    without: HashSet<Vec<u8>>,
    /// The place's list, when it knows the files' times better than the spool does.
    times: Option<Ledger>,
    naming: Naming,
}

/// One reading.
struct Round {
    spool: Spool,
    archive: Ended,
    list: Ended,
    /// What `find` exited with.
    find_code: i32,
    listed: Ledger,
    others: (Vec<Vec<u8>>, u64),
    has_hard_links: bool,
    differences: Differences,
}

/// Reads what is wanted of a place.
pub(super) async fn take(cx: &Context, site: &Site, wanted: &Wanted, naming: &Naming) -> Result<Taken> {
    let mut taken = Taken::default();
    let mut again: Option<Vec<String>> = None;
    for round in 1..=ROUNDS {
        let take = again.as_ref().map_or(Take::Tree(wanted), |names| Take::Names(names));
        let read = read_once(cx, site, &take, wanted, naming).await?;
        check_codes(site, &read)?;
        if again.is_none() {
            taken = Taken { trouble: trouble(&read), ..Taken::default() };
            taken.others.count = read.others.1;
            taken.others.first = read.others.0.iter().map(|path| shown(path)).collect();
        }
        let differences = read.differences;
        taken.tally.add(&read.spool.tally);
        let is_exact = site.tools.method == Method::GnuTar && site.tools.gnu_find;
        let times = is_exact.then_some(read.listed);
        taken.pieces.push(Piece {
            spool: read.spool,
            without: HashSet::new(),
            times,
            naming: naming.clone(),
        });
        if differences.count == 0 {
            return Ok(taken);
        }
        let cannot_help = differences.count > MOST_AGAIN && only_unreadable(&differences);
        if round == ROUNDS || cannot_help {
            taken.keep(&differences);
            return Ok(taken);
        }
        tracing::debug!(site = site.subject(), round, count = differences.count, "read again what changed");
        again = names(&differences, read.has_hard_links);
        if again.is_some() {
            taken.supersede(&differences.first, wanted, naming);
        }
    }
    Err(Error::new(ErrorKind::Internal, "read the files of", site.subject()))
}

impl Taken {
    /// Notes what differs to the end.
    fn keep(&mut self, differences: &Differences) {
        for differing in &differences.first {
            match differing.how {
                Difference::Changed | Difference::NotListed => self.changed.push(&differing.path),
                Difference::NotRead | Difference::Unreadable => self.unread.push(&differing.path),
            }
        }
        let more = differences.count - differences.first.len() as u64;
        self.changed.count += more;
    }

    /// Leaves out of the last piece what is read again.
    fn supersede(&mut self, differing: &[Differing], wanted: &Wanted, naming: &Naming) {
        let Some(piece) = self.pieces.last_mut() else { return };
        for Differing { path, read, .. } in differing {
            match read {
                Some(Mark::File(size, ..)) => {
                    self.tally.files -= 1;
                    self.tally.bytes -= size;
                    if let Some(root) = wanted.root_of(path).and_then(|root| self.tally.roots.get_mut(root)) {
                        *root = (root.0 - 1, root.1 - size);
                    }
                }
                Some(Mark::Link(_)) => {
                    self.tally.links -= 1;
                    if let Some(root) = wanted.root_of(path).and_then(|root| self.tally.roots.get_mut(root)) {
                        root.0 -= 1;
                    }
                }
                _ => {}
            }
            piece.without.extend(naming.name(path));
        }
    }

    /// True when there is nothing to store.
    pub(super) fn is_empty(&self) -> bool {
        self.tally.files + self.tally.links + self.tally.folders == 0
    }

    /// Writes it to the artifact.
    pub(super) async fn append(self, cx: &Context, writer: &mut dyn Writer) -> Result<()> {
        for piece in self.pieces {
            let (to, mut chunks) = tokio::sync::mpsc::channel(4);
            let writing = tokio::task::spawn_blocking(move || write_piece(piece, Chunks::new(to)));
            let mut written = Ok(());
            while let Some(chunk) = chunks.recv().await {
                written = match cx.check_cancelled("write the files of a pod") {
                    Ok(()) => writer.write(chunk).await,
                    cancelled => cancelled,
                };
                if written.is_err() {
                    break;
                }
            }
            // Without a receiver it ends.
            drop(chunks);
            let done = writing.await.unwrap_or_else(|e| {
                Err(Error::new(ErrorKind::Internal, "write", "the files of a pod").because(e))
            });
            written.and(done)?;
        }
        Ok(())
    }
}

/// Hands on what is written, piece by piece.
struct Chunks {
    to: Sender<Bytes>,
    chunk: Vec<u8>,
}

impl Chunks {
    fn new(to: Sender<Bytes>) -> Self {
        Self { to, chunk: Vec::with_capacity(PIECE) }
    }
}

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let taken = bytes.len().min(PIECE - self.chunk.len());
        self.chunk.extend_from_slice(&bytes[..taken]);
        if self.chunk.len() == PIECE {
            self.flush()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::replace(&mut self.chunk, Vec::with_capacity(PIECE));
        self.to.blocking_send(chunk.into()).map_err(|_| std::io::ErrorKind::BrokenPipe.into())
    }
}

/// Writes a piece's members, but for those that a later piece has, with the times that the list knows.
fn write_piece(mut piece: Piece, mut out: Chunks) -> Result<()> {
    let failed = |e| Error::io("hand on", "the files of a pod", e);
    let mut from = piece.spool.file;
    if piece.without.is_empty() && piece.times.is_none() {
        std::io::copy(&mut from, &mut out).map_err(failed)?;
        return out.flush().map_err(failed);
    }
    // The spool has no end mark of its own.
    let mut reader = Reader::new(BufReader::with_capacity(PIECE, Read::chain(from, END.as_slice())));
    let mut times = piece.times.as_mut().map(|times| Times::new(times, &piece.naming)).transpose()?;
    let mut buffer = vec![0; PIECE];
    while let Some(mut entry) = reader.next()? {
        if piece.without.contains(&entry.path) {
            continue;
        }
        if let Some(times) = &mut times
            && matches!(entry.kind, EntryKind::File | EntryKind::HardLink)
        {
            entry.modified = times.of(&entry.path)?.unwrap_or(entry.modified);
        }
        archive::write_header(&entry, &mut out).map_err(failed)?;
        loop {
            let read = reader.read_content(&mut buffer)?;
            if read == 0 {
                break;
            }
            out.write_all(&buffer[..read]).map_err(failed)?;
        }
        out.write_all(&END[..padding(entry.stored_bytes())]).map_err(failed)?;
    }
    out.flush().map_err(failed)
}

/// Times that a list has, found in the order of an archive that the same `find` chose: mostly the next one is the right one.
struct Times<'l> {
    records: Records<'l>,
    naming: &'l Naming,
    /// Passed over so far, by name.
    passed: HashMap<Vec<u8>, Time>,
}

/// Times that are kept for names that may come later.
const MOST_PASSED: usize = 10_000;

impl<'l> Times<'l> {
    fn new(listed: &'l mut Ledger, naming: &'l Naming) -> Result<Self> {
        Ok(Self { records: listed.records_from_the_start()?, naming, passed: HashMap::new() })
    }

    fn of(&mut self, name: &[u8]) -> Result<Option<Time>> {
        if let Some(time) = self.passed.remove(name) {
            return Ok(Some(time));
        }
        while self.passed.len() < MOST_PASSED
            && let Some((path, mark, _)) = self.records.next()?
        {
            let (Mark::File(_, _, time), Some(listed)) = (mark, self.naming.name(&path)) else { continue };
            if listed == name {
                return Ok(Some(time));
            }
            self.passed.insert(listed, time);
        }
        Ok(None)
    }
}

fn only_unreadable(differences: &Differences) -> bool {
    differences.first.iter().all(|differing| differing.how == Difference::Unreadable)
}

/// What is read again alone, if that can be.
fn names(differences: &Differences, has_hard_links: bool) -> Option<Vec<String>> {
    if differences.count > MOST_AGAIN || has_hard_links {
        return None;
    }
    // Names in a command are text.
    let names: Option<Vec<String>> =
        differences.first.iter().map(|differing| String::from_utf8(differing.path.clone()).ok()).collect();
    names.filter(|names| names.iter().map(String::len).sum::<usize>() < MOST_NAMES)
}

async fn read_once(
    cx: &Context,
    site: &Site,
    take: &Take<'_>,
    wanted: &Wanted,
    naming: &Naming,
) -> Result<Round> {
    let mark = mark()?;
    let archive = script::archive(&site.base, take, site.tools, &mark);
    let list = script::list(&site.base, take, site.tools.gnu_find);
    let scratch = || cx.scratch.file();
    let spooler = Spooler::new(scratch()?, Ledger::new(scratch()?), naming.clone(), wanted.clone());
    let (content, resolved, listed) = (scratch()?, scratch()?, Ledger::new(scratch()?));
    let method = site.tools.method;
    let parse = move |output| {
        let (spool, ledger) = parse_archive(output, method, &mark, content, spooler)?;
        let has_hard_links = ledger.same() > 0;
        Ok((spool, ledger.resolved(resolved)?, has_hard_links))
    };
    let ((archive, (spool, read, has_hard_links)), (list, listed)) = tokio::try_join!(
        site.read(cx, archive, parse),
        site.read(cx, list, move |output| listing::read(output, listed)),
    )?;
    let Listed { ledger: mut listed, code: find_code, others } = listed;
    let mut read = read;
    let compared = blocking(move || Ok((ledger::compare(&mut listed, &mut read)?, listed)));
    let (differences, listed) = compared.await?;
    Ok(Round { spool, archive, list, find_code, listed, others, has_hard_links, differences })
}

fn parse_archive(
    output: Output,
    method: Method,
    mark: &str,
    content: File,
    mut spooler: Spooler,
) -> Result<(Spool, Ledger)> {
    if method == Method::Cat {
        frames::read(output, mark, content, &mut spooler)?;
        return spooler.finish();
    }
    let mut reader = Reader::new(BufReader::with_capacity(PIECE, output));
    // Other tars are run once for each batch of names.
    while method == Method::GnuTar || reader.next_archive()? {
        while let Some(entry) = reader.next()? {
            spooler.member(entry, |buffer| reader.read_content(buffer))?;
        }
        if method == Method::GnuTar {
            reader.finish()?;
            break;
        }
    }
    spooler.finish()
}

/// An exit code other than 0 needs a reason that the comparison has found.
fn check_codes(site: &Site, round: &Round) -> Result<()> {
    if round.list.code != 0 {
        return Err(site.exited(round.list.code, &round.list.stderr));
    }
    // GNU tar's 1: something changed. If so, its hash did.
    let good = round.archive.code == 0 || site.tools.method == Method::GnuTar && round.archive.code == 1;
    let explained = round.differences.count > 0 || round.find_code != 0;
    if good || explained { Ok(()) } else { Err(site.exited(round.archive.code, &round.archive.stderr)) }
}

/// What `find` could not look into. That something vanished before it came there is none.
fn trouble(round: &Round) -> Vec<String> {
    if round.find_code == 0 {
        return Vec::new();
    }
    let said = round.list.stderr.lines().filter(|line| line.starts_with("find:")).map(str::trim);
    let (vanished, other): (Vec<&str>, Vec<&str>) =
        said.partition(|line| line.ends_with("No such file or directory"));
    if other.is_empty() && vanished.is_empty() {
        return vec![format!("find exited with {}", round.find_code)];
    }
    other.into_iter().take(TOLD).map(str::to_owned).collect()
}

/// Thirty-two digits that no file holds but by a wonder.
pub(super) fn mark() -> Result<String> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")
        .and_then(|mut random| random.read_exact(&mut bytes))
        .map_err(|e| Error::io("read", "/dev/urandom", e))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Runs `work` on a thread where it may wait.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|e| Err(Error::new(ErrorKind::Internal, "work on", "files out of a pod").because(e)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str, kind: EntryKind, size: u64) -> archive::Entry {
        archive::Entry {
            path: path.into(),
            kind,
            link: Vec::new(),
            mode: 0o644,
            uid: 0,
            gid: 0,
            user: Vec::new(),
            group: Vec::new(),
            modified: Time { seconds: 7, nanoseconds: 0 },
            device: (0, 0),
            size,
            extents: None,
            attributes: Vec::new(),
        }
    }

    fn piece(members: &[(&str, EntryKind)], listed: Option<&[(&str, u32)]>, without: &[&str]) -> Piece {
        let mut file = tempfile::tempfile().unwrap();
        for (path, kind) in members {
            let size = if *kind == EntryKind::File { 3 } else { 0 };
            archive::write_header(&entry(path, *kind, size), &mut file).unwrap();
            file.write_all(&b"xyz"[..size as usize]).unwrap();
            file.write_all(&END[..padding(size)]).unwrap();
        }
        std::io::Seek::rewind(&mut file).unwrap();
        let times = listed.map(|listed| {
            let mut ledger = Ledger::new(tempfile::tempfile().unwrap());
            for (path, nanoseconds) in listed {
                let time = Time { seconds: 7, nanoseconds: *nanoseconds };
                ledger.push(path.as_bytes(), &Mark::File(3, [0; 32], time)).unwrap();
            }
            ledger
        });
        Piece {
            spool: Spool { file, tally: Tally::default() },
            without: without.iter().map(|name| name.as_bytes().to_vec()).collect(),
            times,
            naming: Naming { strip: String::new(), under: "web-0".to_owned() },
        }
    }

    fn written(piece: Piece) -> Vec<(String, u32)> {
        let (to, mut chunks) = tokio::sync::mpsc::channel(64);
        write_piece(piece, Chunks::new(to)).unwrap();
        let mut bytes = Vec::new();
        while let Ok(chunk) = chunks.try_recv() {
            bytes.extend_from_slice(&chunk);
        }
        bytes.extend_from_slice(&END);
        let mut reader = Reader::new(bytes.as_slice());
        let mut members = Vec::new();
        while let Some(entry) = reader.next().unwrap() {
            let mut content = [0; 8];
            let read = reader.read_content(&mut content).unwrap();
            assert_eq!(&content[..read], if entry.kind == EntryKind::File { &b"xyz"[..] } else { b"" });
            members.push((String::from_utf8(entry.path).unwrap(), entry.modified.nanoseconds));
        }
        members
    }

    const MEMBERS: [(&str, EntryKind); 4] = [
        ("web-0/app", EntryKind::Folder),
        ("web-0/app/a", EntryKind::File),
        ("web-0/app/b", EntryKind::File),
        ("web-0/app/c", EntryKind::File),
    ];

    #[test]
    fn files_get_the_times_that_the_list_knows_in_whatever_order_it_has_them() {
        let expected = |a, b, c| {
            let names = [("web-0/app", 0), ("web-0/app/a", a), ("web-0/app/b", b), ("web-0/app/c", c)];
            names.map(|(name, time)| (name.to_owned(), time))
        };
        let list = [("app/a", 1), ("app/b", 2), ("app/c", 3)];
        assert_eq!(written(piece(&MEMBERS, Some(&list), &[])), expected(1, 2, 3));
        let list = [("app/c", 3), ("app/other", 9), ("app/a", 1)];
        assert_eq!(written(piece(&MEMBERS, Some(&list), &[])), expected(1, 0, 3));
        assert_eq!(written(piece(&MEMBERS, None, &[])), expected(0, 0, 0));
    }

    #[test]
    fn what_was_read_again_is_left_out() {
        let members = written(piece(&MEMBERS, None, &["web-0/app/b"]));
        let names: Vec<&str> = members.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["web-0/app", "web-0/app/a", "web-0/app/c"]);
    }

    #[test]
    fn only_folders_that_can_not_be_looked_into_are_trouble() {
        let round = |code, stderr: &str| Round {
            spool: Spool { file: tempfile::tempfile().unwrap(), tally: Tally::default() },
            archive: Ended { code: 0, stderr: String::new() },
            list: Ended { code: 0, stderr: stderr.to_owned() },
            find_code: code,
            listed: Ledger::new(tempfile::tempfile().unwrap()),
            others: (Vec::new(), 0),
            has_hard_links: false,
            differences: Differences::default(),
        };
        let vanished = "find: './app/./x': No such file or directory";
        let denied = "find: './app/./locked': Permission denied";
        let unread = "sha256sum: ./app/./a: Permission denied";
        assert_eq!(trouble(&round(0, vanished)), Vec::<String>::new());
        assert_eq!(trouble(&round(1, vanished)), Vec::<String>::new());
        assert_eq!(trouble(&round(1, &format!("{vanished}\n{unread}\n{denied}\n"))), [denied]);
        assert_eq!(trouble(&round(1, "")), ["find exited with 1"]);
    }

    #[test]
    fn a_few_names_are_read_again_alone() {
        let differing = |path: &[u8]| Differing { path: path.to_vec(), how: Difference::Changed, read: None };
        let differences = |first: Vec<Differing>, count| Differences { first, count };
        let some = differences(vec![differing(b"app/a"), differing("app/\u{e4}".as_bytes())], 2);
        assert_eq!(names(&some, false).unwrap(), ["app/a", "app/\u{e4}"]);
        assert_eq!(names(&some, true), None);
        assert_eq!(names(&differences(vec![differing(b"app/\xff")], 1), false), None);
        assert_eq!(names(&differences(vec![differing(b"app/a")], MOST_AGAIN + 1), false), None);
    }
}

//! Reads a set of files out of a place, with proof: what was read must be what the place itself lists, by size and hash.
//!
//! A file that changes meanwhile is read again, alone when there are few of them; one that never holds still is kept as it was
//! read last, and named.

use std::{
    collections::HashSet,
    fs::File,
    io::{BufReader, BufWriter, Seek, SeekFrom, Write},
};

use backup_core::{
    archive::{self, END, Reader, padding, shown},
    traits::{Context, Writer},
    words::{Error, ErrorKind, Result},
};
use bytes::BytesMut;
use tokio::io::AsyncReadExt;

use super::{
    frames,
    ledger::{self, Difference, Differences, Differing, Ledger, Mark},
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

/// A spool, and the names in it that a later one has.
#[derive(Debug)]
struct Piece {
    spool: Spool,
    without: HashSet<Vec<u8>>,
}

/// One reading.
struct Round {
    spool: Spool,
    archive: Ended,
    list: Ended,
    /// What `find` exited with.
    find_code: i32,
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
        taken.pieces.push(Piece { spool: read.spool, without: HashSet::new() });
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
        for Piece { spool, without } in self.pieces {
            let file = if without.is_empty() {
                spool.file
            } else {
                let scratch = cx.scratch.file()?;
                blocking(move || filter(spool.file, &without, scratch)).await?
            };
            let mut file = tokio::fs::File::from_std(file);
            loop {
                cx.check_cancelled("write the files of a pod")?;
                let mut piece = BytesMut::with_capacity(PIECE);
                let read = file.read_buf(&mut piece).await;
                if read.map_err(|e| Error::io("read", "a temporary file", e))? == 0 {
                    break;
                }
                writer.write(piece.freeze()).await?;
            }
        }
        Ok(())
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
    let archive = script::archive(&site.base, take, site.tools.method, &mark);
    let list = script::list(&site.base, take, site.tools.gnu_find);
    let scratch = || cx.scratch.file();
    let exact = site.tools.method == Method::GnuTar && site.tools.gnu_find;
    let spooler = Spooler::new(scratch()?, Ledger::new(scratch()?), naming.clone(), wanted.clone(), exact);
    let (content, resolved, listed) = (scratch()?, scratch()?, Ledger::new(scratch()?));
    let method = site.tools.method;
    let parse = move |output| {
        let (spool, ledger) = parse_archive(output, method, &mark, content, spooler)?;
        let has_hard_links = ledger.same() > 0;
        Ok((spool, ledger.resolved(resolved)?, has_hard_links))
    };
    let ((archive, (spool, read, has_hard_links)), (list, listed)) = tokio::try_join!(
        site.read(cx, archive, parse),
        site.read(cx, list, move |output| listing::read(output, listed, exact)),
    )?;
    let Listed { ledger: mut listed, code: find_code, others } = listed;
    let mut read = read;
    let differences = blocking(move || ledger::compare(&mut listed, &mut read)).await?;
    Ok(Round { spool, archive, list, find_code, others, has_hard_links, differences })
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

/// Copies members but those with these names.
fn filter(from: File, without: &HashSet<Vec<u8>>, to: File) -> Result<File> {
    let failed = |e| Error::io("use a temporary file for", "files out of a pod", e);
    // The spool has no end mark of its own.
    let mut reader = Reader::new(BufReader::with_capacity(PIECE, std::io::Read::chain(from, END.as_slice())));
    let mut out = BufWriter::with_capacity(PIECE, to);
    let mut buffer = vec![0; PIECE];
    while let Some(entry) = reader.next()? {
        if without.contains(&entry.path) {
            continue;
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
    let mut file = out.into_inner().map_err(|e| failed(e.into_error()))?;
    file.seek(SeekFrom::Start(0)).map_err(failed)?;
    Ok(file)
}

/// Thirty-two digits that no file holds but by a wonder.
pub(super) fn mark() -> Result<String> {
    use std::io::Read;
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

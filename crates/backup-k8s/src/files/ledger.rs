//! What a place says of its files, and what was read of them: kept on disk, compared in bounded memory.

use std::{
    collections::HashMap,
    fs::File,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write},
};

use backup_core::words::{Error, Result};

/// A SHA-256.
pub(super) type Hash = [u8; 32];

/// Records that are in memory at once when two ledgers are compared.
const MOST: u64 = 50_000;

/// When a file was changed last: seconds since 1970, and nanoseconds where both sides know them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct When(i64, u32);

impl When {
    /// `exact`: both sides know the nanoseconds. Before 1970 programs differ in how they round: that is no time at all.
    pub(super) fn new(seconds: i64, nanoseconds: u32, exact: bool) -> Self {
        match (seconds < 0, exact) {
            (true, _) => Self::default(),
            (_, true) => Self(seconds, nanoseconds),
            (_, false) => Self(seconds, 0),
        }
    }
}

/// What is known of one path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// A file's length, hash and time.
    File(u64, Hash, When),
    /// A symbolic link's text.
    Link(Vec<u8>),
    /// A folder.
    Folder,
    /// Another name of the file with this path.
    Same(Vec<u8>),
    /// Is there, and could not be read.
    Unreadable,
}

impl Mark {
    /// The same, whenever it was changed last.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::File(size, hash, _), Self::File(other_size, other_hash, _)) => {
                (size, hash) == (other_size, other_hash)
            }
            _ => self == other,
        }
    }
}

/// Paths and what is known of them, in the order in which they came. A path is relative and holds no `.`.
#[derive(Debug)]
pub(super) struct Ledger {
    file: BufWriter<File>,
    records: u64,
    same: u64,
}

impl Ledger {
    /// An empty one, kept in the empty file `scratch`.
    pub(super) fn new(scratch: File) -> Self {
        Self { file: BufWriter::with_capacity(64 << 10, scratch), records: 0, same: 0 }
    }

    /// How many paths it holds.
    pub(super) fn records(&self) -> u64 {
        self.records
    }

    /// How many of them are other names of a file.
    pub(super) fn same(&self) -> u64 {
        self.same
    }

    /// Adds a path.
    pub(super) fn push(&mut self, path: &[u8], mark: &Mark) -> Result<()> {
        self.push_numbered(path, mark, self.records)
    }

    fn push_numbered(&mut self, path: &[u8], mark: &Mark, number: u64) -> Result<()> {
        self.records += 1;
        self.same += u64::from(matches!(mark, Mark::Same(_)));
        let mut record = Vec::with_capacity(path.len() + 48);
        let (letter, text): (u8, &[u8]) = match mark {
            Mark::File(..) => (b'f', &[]),
            Mark::Link(text) => (b'l', text),
            Mark::Folder => (b'd', &[]),
            Mark::Same(first) => (b's', first),
            Mark::Unreadable => (b'u', &[]),
        };
        record.push(letter);
        record.extend_from_slice(&(path.len() as u32).to_le_bytes());
        record.extend_from_slice(&(text.len() as u32).to_le_bytes());
        record.extend_from_slice(&number.to_le_bytes());
        record.extend_from_slice(path);
        record.extend_from_slice(text);
        if let Mark::File(size, hash, when) = mark {
            record.extend_from_slice(&size.to_le_bytes());
            record.extend_from_slice(hash);
            record.extend_from_slice(&when.0.to_le_bytes());
            record.extend_from_slice(&when.1.to_le_bytes());
        }
        self.file.write_all(&record).map_err(failed)
    }

    /// Shows all records in their order, each with its number.
    pub(super) fn each(&mut self, mut show: impl FnMut(Vec<u8>, Mark, u64) -> Result<()>) -> Result<()> {
        self.file.flush().map_err(failed)?;
        let mut file = self.file.get_ref();
        file.seek(SeekFrom::Start(0)).map_err(failed)?;
        let mut reader = BufReader::with_capacity(64 << 10, file);
        for _ in 0..self.records {
            let (path, mark, number) = read_record(&mut reader).map_err(failed)?;
            show(path, mark, number)?;
        }
        // The next record goes behind the last one.
        file.seek(SeekFrom::End(0)).map_err(failed)?;
        Ok(())
    }

    /// The same with each other name of a file replaced by what the file itself is. `scratch` is an empty file.
    pub(super) fn resolved(mut self, scratch: File) -> Result<Self> {
        if self.same == 0 {
            return Ok(self);
        }
        let mut resolved = Self::new(scratch);
        let rounds = rounds(self.records);
        for round in 0..rounds {
            let mut firsts: HashMap<Vec<u8>, Mark> = HashMap::new();
            self.each(|path, mark, _| {
                if matches!(mark, Mark::File(..)) && bucket(&path, rounds) == round {
                    firsts.insert(path, mark);
                }
                Ok(())
            })?;
            self.each(|path, mark, number| match mark {
                Mark::Same(first) if bucket(&first, rounds) == round => {
                    resolved.push_numbered(&path, firsts.get(&first).unwrap_or(&Mark::Unreadable), number)
                }
                Mark::Same(_) => Ok(()),
                mark if round == 0 => resolved.push_numbered(&path, &mark, number),
                _ => Ok(()),
            })?;
        }
        Ok(resolved)
    }
}

/// How two ledgers differ.
#[derive(Debug, Default)]
pub(super) struct Differences {
    /// The first paths that differ.
    pub(super) first: Vec<Differing>,
    /// How many there are in all.
    pub(super) count: u64,
}

/// A path that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Differing {
    pub(super) path: Vec<u8>,
    pub(super) how: Difference,
    /// What was read of it.
    pub(super) read: Option<Mark>,
}

/// How one path differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Difference {
    /// Both have it, and not the same.
    Changed,
    /// Only what was read has it.
    NotListed,
    /// Only the list has it.
    NotRead,
    /// The list has it as unreadable, and it was not read.
    Unreadable,
}

/// Differences that are told one by one.
const TOLD: usize = 1000;

/// Compares what a place listed with what was read of it. A path must not stand twice in one of them: that is a difference.
pub(super) fn compare(listed: &mut Ledger, read: &mut Ledger) -> Result<Differences> {
    let mut differences = Differences::default();
    join(listed, read, |path, listed, read| {
        let read = read.map(|(mark, _)| mark);
        let how = match (listed, read) {
            (Some(listed), Some(read)) if listed == read => return,
            (Some(_), Some(_)) => Difference::Changed,
            (None, _) => Difference::NotListed,
            (Some(Mark::Unreadable), None) => Difference::Unreadable,
            (Some(_), None) => Difference::NotRead,
        };
        differences.count += 1;
        if differences.first.len() < TOLD {
            let read = read.cloned();
            differences.first.push(Differing { path: path.to_vec(), how, read });
        }
    })?;
    Ok(differences)
}

/// Shows each path with what either ledger says of it, in no certain order; with the number of the right one's record.
pub(super) fn join(
    left: &mut Ledger,
    right: &mut Ledger,
    mut show: impl FnMut(&[u8], Option<&Mark>, Option<(&Mark, u64)>),
) -> Result<()> {
    let rounds = rounds(left.records.max(right.records));
    for round in 0..rounds {
        let mut lefts: HashMap<Vec<u8>, Mark> = HashMap::new();
        left.each(|path, mark, _| {
            if bucket(&path, rounds) == round {
                lefts.insert(path, mark);
            }
            Ok(())
        })?;
        right.each(|path, mark, number| {
            if bucket(&path, rounds) == round {
                let other = lefts.remove(&path);
                show(&path, other.as_ref(), Some((&mark, number)));
            }
            Ok(())
        })?;
        for (path, mark) in &lefts {
            show(path, Some(mark), None);
        }
    }
    Ok(())
}

fn rounds(records: u64) -> u64 {
    records.div_ceil(MOST).max(1)
}

fn bucket(path: &[u8], rounds: u64) -> u64 {
    let mut hasher = DefaultHasher::new();
    path.hash(&mut hasher);
    hasher.finish() % rounds
}

fn read_record(reader: &mut impl Read) -> std::io::Result<(Vec<u8>, Mark, u64)> {
    let mut head = [0; 17];
    reader.read_exact(&mut head)?;
    let length = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().expect("four bytes")) as usize;
    let (mut path, mut text) = (vec![0; length(1)], vec![0; length(5)]);
    reader.read_exact(&mut path)?;
    reader.read_exact(&mut text)?;
    let mark = match head[0] {
        b'f' => {
            let (mut size, mut hash, mut seconds, mut nanoseconds) = ([0; 8], [0; 32], [0; 8], [0; 4]);
            reader.read_exact(&mut size)?;
            reader.read_exact(&mut hash)?;
            reader.read_exact(&mut seconds)?;
            reader.read_exact(&mut nanoseconds)?;
            let when = When(i64::from_le_bytes(seconds), u32::from_le_bytes(nanoseconds));
            Mark::File(u64::from_le_bytes(size), hash, when)
        }
        b'l' => Mark::Link(text),
        b'd' => Mark::Folder,
        b's' => Mark::Same(text),
        _ => Mark::Unreadable,
    };
    Ok((path, mark, u64::from_le_bytes(head[9..].try_into().expect("eight bytes"))))
}

fn failed(e: std::io::Error) -> Error {
    Error::io("use a temporary file for", "the list of files", e)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ledger(records: &[(&str, Mark)]) -> Ledger {
        let mut ledger = Ledger::new(tempfile::tempfile().unwrap());
        for (path, mark) in records {
            ledger.push(path.as_bytes(), mark).unwrap();
        }
        ledger
    }

    fn file(byte: u8) -> Mark {
        Mark::File(byte.into(), [byte; 32], When::new(byte.into(), 0, true))
    }

    fn told(differences: &Differences) -> Vec<(&str, Difference)> {
        let mut told: Vec<_> =
            differences.first.iter().map(|d| (std::str::from_utf8(&d.path).unwrap(), d.how)).collect();
        told.sort_by_key(|(path, _)| *path);
        told
    }

    #[test]
    fn each_kind_of_difference_is_told() {
        let mut listed = ledger(&[
            ("same", file(1)),
            ("changed", file(1)),
            ("gone", file(1)),
            ("locked", Mark::Unreadable),
            ("link", Mark::Link(b"a".to_vec())),
            ("folder", Mark::Folder),
        ]);
        let mut read = ledger(&[
            ("same", file(1)),
            ("changed", file(2)),
            ("new", file(1)),
            ("link", Mark::Link(b"b".to_vec())),
            ("folder", Mark::Folder),
        ]);
        let differences = compare(&mut listed, &mut read).unwrap();
        let expected = [
            ("changed", Difference::Changed),
            ("gone", Difference::NotRead),
            ("link", Difference::Changed),
            ("locked", Difference::Unreadable),
            ("new", Difference::NotListed),
        ];
        assert_eq!(told(&differences), expected);
        assert_eq!(differences.count, 5);
    }

    #[test]
    fn a_path_that_was_read_twice_is_a_difference() {
        let mut listed = ledger(&[("a", file(1))]);
        let mut read = ledger(&[("a", file(1)), ("a", file(1))]);
        assert_eq!(compare(&mut listed, &mut read).unwrap().count, 1);
    }

    #[test]
    fn other_names_of_a_file_get_its_hash() {
        let read = ledger(&[
            ("a", file(1)),
            ("b", Mark::Same(b"a".to_vec())),
            ("c", Mark::Same(b"nowhere".to_vec())),
        ]);
        let mut read = read.resolved(tempfile::tempfile().unwrap()).unwrap();
        let mut listed = ledger(&[("a", file(1)), ("b", file(1)), ("c", file(3))]);
        let differences = compare(&mut listed, &mut read).unwrap();
        assert_eq!(told(&differences), [("c", Difference::Changed)]);
    }

    #[test]
    fn more_records_than_are_held_at_once_are_compared() {
        let count = 2 * MOST + 10;
        let mut listed = Ledger::new(tempfile::tempfile().unwrap());
        let mut read = Ledger::new(tempfile::tempfile().unwrap());
        for number in 0..count {
            let path = format!("folder/{number}");
            listed.push(path.as_bytes(), &file(1)).unwrap();
            let other = count - 1 - number;
            read.push(format!("folder/{other}").as_bytes(), &file(u8::from(other != 7))).unwrap();
        }
        let differences = compare(&mut listed, &mut read).unwrap();
        assert_eq!(told(&differences), [("folder/7", Difference::Changed)]);
    }

    proptest! {
        #[test]
        fn records_come_back_as_they_went(records in prop::collection::vec((
            prop::collection::vec(1u8.., 0..40),
            prop_oneof![
                Just(Mark::Folder),
                Just(Mark::Unreadable),
                (any::<u64>(), any::<Hash>(), 0..i64::MAX, any::<u32>())
                    .prop_map(|(size, hash, s, n)| Mark::File(size, hash, When::new(s, n, true))),
                prop::collection::vec(1u8.., 0..40).prop_map(Mark::Link),
                prop::collection::vec(1u8.., 0..40).prop_map(Mark::Same),
            ],
        ), 0..50)) {
            let mut ledger = Ledger::new(tempfile::tempfile().unwrap());
            for (path, mark) in &records {
                ledger.push(path, mark).unwrap();
            }
            let mut back = Vec::new();
            ledger.each(|path, mark, _| { back.push((path, mark)); Ok(()) }).unwrap();
            prop_assert_eq!(back, records);
        }
    }
}

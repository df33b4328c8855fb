//! Reads the list that [`script::list`](super::script::list) makes a place print.
//!
//! It is words that a NUL ends, the first letter of each saying what it is: `F SIZE TIME PATH` and `N PATH` (a file), `S` and `H`
//! (the lines of `stat` and `sha256sum` for the files before them), `L PATH` and then its text (a symbolic link), `D PATH` (a folder),
//! `O PATH` (anything else), `E CODE` (the end, and how `find` did).

use std::{
    collections::VecDeque,
    io::{BufRead, BufReader, Read},
};

use backup_core::words::{Error, ErrorKind, Result};

use super::ledger::{Hash, Ledger, Mark, When};

/// The list of one batch of files is shorter than this.
const LONGEST_WORD: u64 = 16 << 20;

/// What a list says besides its paths.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) ledger: Ledger,
    /// What `find` exited with.
    pub(super) code: i32,
    /// Pipes, sockets and devices: the first of them, and how many there are.
    pub(super) others: (Vec<Vec<u8>>, u64),
}

/// Others that are told one by one.
const TOLD: usize = 20;

/// Reads a list to its end; `exact` as for [`When::new`].
pub(super) fn read(from: impl Read, ledger: Ledger, exact: bool) -> Result<Listed> {
    let mut list = List {
        exact,
        from: BufReader::with_capacity(256 << 10, from),
        waiting: VecDeque::new(),
        listed: Listed { ledger, code: 0, others: (Vec::new(), 0) },
    };
    let code = list.run()?;
    // Without a hash to the end: they could not be read.
    for file in std::mem::take(&mut list.waiting) {
        list.listed.ledger.push(&normal(&file.path), &Mark::Unreadable)?;
    }
    list.listed.code = code;
    Ok(list.listed)
}

struct List<R> {
    from: BufReader<R>,
    exact: bool,
    /// Files whose hash is still to come, in the order of the list.
    waiting: VecDeque<Waiting>,
    listed: Listed,
}

struct Waiting {
    path: Vec<u8>,
    /// Length and time.
    stat: Option<(u64, When)>,
}

impl<R: Read> List<R> {
    /// To the last word, whose code is returned.
    fn run(&mut self) -> Result<i32> {
        loop {
            let word = self.word()?;
            let Some((letter, text)) = word.split_first() else { return Err(malformed()) };
            match letter {
                b'F' => {
                    let (stat, path) = self.stat(text).ok_or_else(malformed)?;
                    self.wait(path, Some(stat))?;
                }
                b'N' => self.wait(text, None)?,
                b'S' => self.sizes(text)?,
                b'H' => self.hashes(text)?,
                b'L' => {
                    let target = self.word()?;
                    self.listed.ledger.push(&normal(text), &Mark::Link(target))?;
                }
                b'D' => self.listed.ledger.push(&normal(text), &Mark::Folder)?,
                b'O' => {
                    self.listed.others.1 += 1;
                    if self.listed.others.0.len() < TOLD {
                        self.listed.others.0.push(normal(text));
                    }
                }
                b'E' => {
                    return std::str::from_utf8(text)
                        .ok()
                        .and_then(|code| code.parse().ok())
                        .ok_or_else(malformed);
                }
                _ => return Err(malformed()),
            }
        }
    }

    fn word(&mut self) -> Result<Vec<u8>> {
        let mut word = Vec::new();
        let read = (&mut self.from).take(LONGEST_WORD).read_until(0, &mut word);
        read.map_err(|e| Error::io("read", "the list of files", e))?;
        match word.pop() {
            Some(0) => Ok(word),
            _ if word.len() as u64 + 1 >= LONGEST_WORD => Err(malformed()),
            _ => Err(Error::new(ErrorKind::Truncated, "read", "the list of files")
                .detail("it ends before its end mark")),
        }
    }

    fn wait(&mut self, path: &[u8], stat: Option<(u64, When)>) -> Result<()> {
        if self.waiting.len() > 1 << 20 {
            return Err(malformed());
        }
        self.waiting.push_back(Waiting { path: path.to_vec(), stat });
        Ok(())
    }

    /// `SIZE TIME REST`, the time with or without a fraction.
    fn stat<'a>(&self, text: &'a [u8]) -> Option<((u64, When), &'a [u8])> {
        let mut parts = text.splitn(3, |b| *b == b' ');
        let size = number(parts.next()?)?;
        let time = std::str::from_utf8(parts.next()?).ok()?;
        let (seconds, fraction) = time.split_once('.').unwrap_or((time, ""));
        let nanoseconds = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
        Some(((size, When::new(seconds.parse().ok()?, nanoseconds, self.exact)), parts.next()?))
    }

    /// Lines `SIZE TIME PATH` for the files that wait, in their order; one that could not be looked at has none.
    fn sizes(&mut self, text: &[u8]) -> Result<()> {
        let mut text = text.strip_suffix(b".").ok_or_else(malformed)?;
        let mut waiting = std::mem::take(&mut self.waiting);
        for file in waiting.iter_mut().filter(|file| file.stat.is_none()) {
            let Some((stat, rest)) = self.stat(text) else { break };
            if let Some(rest) = line(rest, &file.path) {
                (file.stat, text) = (Some(stat), rest);
            }
        }
        self.waiting = waiting;
        if text.is_empty() { Ok(()) } else { Err(malformed()) }
    }

    /// Lines `HASH  PATH`, likewise. GNU's program begins a line with `\` when it writes line ends in the path as `\n`.
    fn hashes(&mut self, text: &[u8]) -> Result<()> {
        let mut text = text.strip_suffix(b".").ok_or_else(malformed)?;
        while !text.is_empty() {
            let escaped = text.strip_prefix(b"\\");
            let hash = escaped.unwrap_or(text).get(..64).and_then(parse_hash).ok_or_else(malformed)?;
            let rest = &escaped.unwrap_or(text)[64..];
            let rest = rest.strip_prefix(b"  ").ok_or_else(malformed)?;
            loop {
                let Some(file) = self.waiting.pop_front() else { return Err(malformed()) };
                let after = match escaped {
                    // Whether a carriage return is escaped depends on the version.
                    Some(_) => line(rest, &escape(&file.path, true))
                        .or_else(|| line(rest, &escape(&file.path, false))),
                    None => line(rest, &file.path),
                };
                let mark = match (after, file.stat) {
                    (Some(_), Some((size, when))) => Mark::File(size, hash, when),
                    _ => Mark::Unreadable,
                };
                self.listed.ledger.push(&normal(&file.path), &mark)?;
                if let Some(after) = after {
                    text = after;
                    break;
                }
            }
        }
        Ok(())
    }
}

/// What stands behind the line `expected`, when `text` begins with it.
fn line<'a>(text: &'a [u8], expected: &[u8]) -> Option<&'a [u8]> {
    text.strip_prefix(expected)?.strip_prefix(b"\n")
}

/// A path as GNU's sha256sum writes it.
fn escape(path: &[u8], returns: bool) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(path.len() + 8);
    for byte in path {
        match byte {
            b'\n' => escaped.extend_from_slice(b"\\n"),
            b'\r' if returns => escaped.extend_from_slice(b"\\r"),
            b'\\' => escaped.extend_from_slice(b"\\\\"),
            other => escaped.push(*other),
        }
    }
    escaped
}

/// A path without `.` and doubled slashes.
pub(super) fn normal(path: &[u8]) -> Vec<u8> {
    let parts: Vec<&[u8]> =
        path.split(|b| *b == b'/').filter(|part| !part.is_empty() && *part != b".").collect();
    parts.join(&b'/')
}

fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn parse_hash(text: &[u8]) -> Option<Hash> {
    let mut hash = [0; 32];
    for (byte, pair) in hash.iter_mut().zip(text.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(hash)
}

fn malformed() -> Error {
    Error::new(ErrorKind::Corrupt, "read", "the list of files").detail("it is not as our script prints it")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(list: &[u8]) -> Result<(Vec<(String, Mark)>, Listed)> {
        let mut listed = read(list, Ledger::new(tempfile::tempfile().unwrap()), false)?;
        let mut records = Vec::new();
        listed.ledger.each(|path, mark, _| {
            records.push((String::from_utf8(path).unwrap(), mark));
            Ok(())
        })?;
        Ok((records, listed))
    }

    fn hash(letter: char) -> String {
        letter.to_string().repeat(64)
    }

    #[test]
    fn lists_of_gnu_and_of_busybox_say_the_same() {
        let gnu = format!(
            "D./t/.\0F5 7.2500000000 ./t/./a\0L./t/./l\0to\n\0F1 8.0000000000 ./t/./b\nc\0F9 -1.5 ./t/./late\0H{}  ./t/./a\n\\{}  ./t/./b\\nc\n.\0O./t/./pipe\0E0\0",
            hash('1'),
            hash('2'),
        );
        let busybox = format!(
            "D./t/.\0L./t/./l\0to\n\0N./t/./a\0N./t/./b\nc\0N./t/./late\0S5 7 ./t/./a\n1 8 ./t/./b\nc\n9 -2 ./t/./late\n.\0\
             H{}  ./t/./a\n{}  ./t/./b\nc\n.\0O./t/./pipe\0E0\0",
            hash('1'),
            hash('2'),
        );
        let expected = [
            ("t", Mark::Folder),
            ("t/a", Mark::File(5, [0x11; 32], When::new(7, 0, false))),
            ("t/b\nc", Mark::File(1, [0x22; 32], When::new(8, 0, false))),
            ("t/l", Mark::Link(b"to\n".to_vec())),
            ("t/late", Mark::Unreadable),
        ];
        for list in [gnu, busybox] {
            let (mut records, listed) = records(list.as_bytes()).unwrap();
            records.sort_by(|a, b| a.0.cmp(&b.0));
            let records: Vec<_> = records.iter().map(|(path, mark)| (path.as_str(), mark.clone())).collect();
            assert_eq!(records, expected);
            assert_eq!((listed.code, listed.others), (0, (vec![b"t/pipe".to_vec()], 1)));
        }
    }

    #[test]
    fn a_file_without_a_hash_between_others_is_unreadable() {
        let list = format!("F1 1 ./a\0F2 1 ./b\0F3 1 ./c\0H{}  ./a\n{}  ./c\n.\0E1\0", hash('1'), hash('3'));
        let (records, listed) = records(list.as_bytes()).unwrap();
        let unreadable: Vec<_> =
            records.iter().filter(|(_, mark)| *mark == Mark::Unreadable).map(|(path, _)| path).collect();
        assert_eq!(unreadable, ["b"]);
        assert_eq!(listed.code, 1);
    }

    #[test]
    fn a_list_that_is_cut_or_lies_is_no_list() {
        let whole = format!("F1 1.5 ./a\0H{}  ./a\n.\0E0\0", hash('1'));
        for cut in 0..whole.len() {
            assert!(records(&whole.as_bytes()[..cut]).is_err(), "cut at {cut}");
        }
        let other = format!("F1 1.5 ./a\0H{}  ./b\n.\0E0\0", hash('1'));
        for bad in
            [other.as_str(), "X\0E0\0", "F./a\0E0\0", "F1 x ./a\0E0\0", "Exyz\0", "\0", "Hzz  ./a\n.\0E0\0"]
        {
            assert_eq!(records(bad.as_bytes()).unwrap_err().kind(), ErrorKind::Corrupt, "{bad}");
        }
    }
}

//! Rows of a `COPY ... FROM stdin` block.

use memchr::{memchr_iter, memmem};

/// What ends a block: a line that is `\.` (a backslash in data is always doubled, so no row is that).
const END: &[u8; 4] = b"\n\\.\n";

/// Counts the rows of one block, however its bytes are split.
#[derive(Clone, Debug)]
pub(crate) struct CopyRows {
    /// How many bytes of [`END`] the bytes so far end with.
    matched: usize,
    /// Line ends so far; those of the end line are taken off at the end.
    lines: u64,
}

impl CopyRows {
    /// At the first byte behind the statement's line.
    pub(crate) fn new() -> Self {
        // The line end of the statement counts as the one before an end line that comes at once.
        Self { matched: 1, lines: 1 }
    }

    /// Takes bytes up to the end of the block; the rest is handed back with the number of rows.
    pub(crate) fn feed<'a>(&mut self, bytes: &'a [u8]) -> Option<(u64, &'a [u8])> {
        let mut at = 0;
        // What began in an earlier chunk is gone through byte by byte: at most three bytes.
        while self.matched > 0 && at < bytes.len() {
            self.step(bytes[at]);
            at += 1;
            if self.matched == END.len() {
                return Some((self.rows(), &bytes[at..]));
            }
        }
        let rest = &bytes[at..];
        if let Some(found) = memmem::find(rest, END) {
            let end = found + END.len();
            self.lines += memchr_iter(b'\n', &rest[..end]).count() as u64;
            return Some((self.rows(), &rest[end..]));
        }
        self.lines += memchr_iter(b'\n', rest).count() as u64;
        if !rest.is_empty() {
            let tail = &rest[rest.len().saturating_sub(END.len() - 1)..];
            self.matched = (1..=tail.len()).rev().find(|n| tail.ends_with(&END[..*n])).unwrap_or(0);
        }
        None
    }

    fn step(&mut self, byte: u8) {
        self.lines += u64::from(byte == b'\n');
        self.matched = if byte == END[self.matched] {
            self.matched + 1
        } else {
            // The only byte of END that begins it is its line end.
            usize::from(byte == END[0])
        };
    }

    /// Lines without the statement's own and the end line.
    fn rows(&self) -> u64 {
        self.lines - 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(text: &[u8], chunk: usize) -> Option<u64> {
        let mut rows = CopyRows::new();
        text.chunks(chunk).find_map(|bytes| rows.feed(bytes).map(|(rows, _)| rows))
    }

    #[test]
    fn rows_are_lines_before_the_end_line_whatever_the_chunks() {
        let cases: [(&[u8], Option<u64>); 7] = [
            (b"\\.\n", Some(0)),
            (b"\n\\.\n", Some(1)),
            (b"a\nb\n\\.\n\nSELECT 1;\n", Some(2)),
            (b"x\\\\.\n\\\\.\n\\.\n", Some(2)),
            (b"\n\n\n\\.\n", Some(3)),
            (b"a\n\\.", None),
            (b"", None),
        ];
        for (text, rows) in cases {
            for chunk in 1..=8 {
                assert_eq!(count(text, chunk), rows, "{:?} by {chunk}", String::from_utf8_lossy(text));
            }
        }
    }
}

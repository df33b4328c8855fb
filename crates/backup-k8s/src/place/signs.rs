//! What the script around a program says of it, among the program's own words on standard error.

use std::collections::VecDeque;

/// How much of the program's words is kept.
const KEPT: usize = 16 << 10;

/// How far a program is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Nothing is known yet.
    Asked,
    /// There is no such program.
    Missing,
    /// It runs.
    Running,
    /// It ended with this exit code.
    Ended(i32),
}

/// Reads standard error piece by piece.
#[derive(Debug)]
pub(super) struct Signs {
    stage: Stage,
    reading: Reading,
    tail: VecDeque<u8>,
}

#[derive(Debug)]
enum Reading {
    Words,
    Sign,
    Code(String),
}

impl Signs {
    pub(super) fn new() -> Self {
        Self { stage: Stage::Asked, reading: Reading::Words, tail: VecDeque::new() }
    }

    /// Takes the next bytes; how far the program is then.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Stage {
        for byte in bytes {
            self.take(*byte);
        }
        self.tail.drain(..self.tail.len().saturating_sub(KEPT));
        self.stage
    }

    /// The program's last words.
    pub(super) fn tail(mut self) -> String {
        String::from_utf8_lossy(self.tail.make_contiguous()).into_owned()
    }

    fn take(&mut self, byte: u8) {
        self.reading = match (std::mem::replace(&mut self.reading, Reading::Words), byte) {
            // A program's own NULs mean nothing.
            (Reading::Words | Reading::Sign, 0) => Reading::Sign,
            (Reading::Words, byte) => {
                self.tail.push_back(byte);
                Reading::Words
            }
            (Reading::Sign, b'E') => Reading::Code(String::new()),
            (Reading::Sign, sign) => {
                match (sign, self.stage) {
                    (b'S', Stage::Asked) => self.stage = Stage::Running,
                    (b'M', Stage::Asked) => self.stage = Stage::Missing,
                    _ => {}
                }
                Reading::Words
            }
            (Reading::Code(code), b'\n') => {
                if let (Stage::Running, Ok(code)) = (self.stage, code.parse()) {
                    self.stage = Stage::Ended(code);
                }
                Reading::Words
            }
            (Reading::Code(mut code), digit) => {
                code.push(char::from(digit));
                if code.len() > 3 { Reading::Words } else { Reading::Code(code) }
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn signs_are_taken_out_of_the_programs_words() {
        let mut signs = Signs::new();
        assert_eq!(signs.feed(b"\0"), Stage::Asked);
        assert_eq!(signs.feed(b"Spsql: ER\0.ROR\0"), Stage::Running);
        assert_eq!(signs.feed(b".\n\0E1"), Stage::Running);
        assert_eq!(signs.feed(b"43\n"), Stage::Ended(143));
        assert_eq!(signs.tail(), "psql: ERROR\n");
    }

    #[test]
    fn an_end_before_a_beginning_and_a_code_that_is_none_mean_nothing() {
        assert_eq!(Signs::new().feed(b"\0E0\n"), Stage::Asked);
        for said in [&b"\0S\0Ex\n"[..], b"\0S\0E\n", b"\0S\0E12345\n"] {
            assert_eq!(Signs::new().feed(said), Stage::Running, "{said:?}");
        }
        assert_eq!(Signs::new().feed(b"\0Ssh\0-c\0\0\0E1\n"), Stage::Ended(1));
        assert_eq!(Signs::new().feed(b"\0M"), Stage::Missing);
    }

    proptest! {
        #[test]
        fn only_the_last_words_are_kept_wherever_the_pieces_end(
            words in "[a-z\n]{0,200}", cut in 0usize..400, times in 1usize..300,
        ) {
            let mut said = b"\0S".to_vec();
            for _ in 0..times {
                said.extend_from_slice(words.as_bytes());
                said.extend_from_slice(b"\0.");
            }
            said.extend_from_slice(b"\0E3\n");
            let mut signs = Signs::new();
            let (first, second) = said.split_at(cut.min(said.len()));
            signs.feed(first);
            prop_assert_eq!(signs.feed(second), Stage::Ended(3));
            let whole = words.repeat(times);
            prop_assert_eq!(signs.tail(), &whole[whole.len().saturating_sub(KEPT)..]);
        }
    }
}

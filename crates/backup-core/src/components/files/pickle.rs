//! Walks Python's pickles as a list of opcodes and executes none of them: loading one runs whatever it names.
//!
//! Source: CPython's `Lib/pickletools.py`; protocols 0 to 5.

use std::io::{BufRead, ErrorKind as Io, Read};

/// What follows an opcode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Argument {
    Nothing,
    /// So many bytes.
    Bytes(u64),
    /// So many lines.
    Lines(u8),
    /// A length of so many bytes, little-endian, and as many bytes.
    Counted(u8),
    /// The same with a length that must not be negative.
    CountedSigned,
}

/// The highest protocol that there is.
const PROTOCOLS: u8 = 5;
const PROTO: u8 = 0x80;
const STOP: u8 = b'.';

fn argument(opcode: u8) -> Option<Argument> {
    use Argument::{Bytes, Counted, CountedSigned, Lines, Nothing};
    Some(match opcode {
        STOP | b'(' | b'0' | b'1' | b'2' | b'N' | b'R' | b'b' | b'}' | b'a' | b'e' | b'd' | b'l' | b']' => {
            Nothing
        }
        b'o' | b's' | b'u' | b't' | b')' | b'Q' | 0x81 | 0x85..=0x89 | 0x8f..=0x94 | 0x97 | 0x98 => Nothing,
        b'K' | b'h' | b'q' | PROTO | 0x82 => Bytes(1),
        b'M' | 0x83 => Bytes(2),
        b'J' | b'j' | b'r' | 0x84 => Bytes(4),
        b'G' | 0x95 => Bytes(8),
        b'F' | b'I' | b'L' | b'P' | b'S' | b'V' | b'g' | b'p' => Lines(1),
        b'c' | b'i' => Lines(2),
        b'U' | b'C' | 0x8a | 0x8c => Counted(1),
        b'B' | b'X' => Counted(4),
        b'T' | 0x8b => CountedSigned,
        0x8d | 0x8e | 0x96 => Counted(8),
        _ => return None,
    })
}

/// Walks to the opcode that ends the pickle; how many there were. What stands behind it is not looked at.
///
/// # Errors
/// What is wrong, and at which byte.
pub(super) fn walk(from: impl BufRead) -> Result<u64, String> {
    let mut walker = Walker { from, at: 0 };
    let mut opcodes = 0;
    loop {
        let begun = walker.at;
        let opcode = walker.number(1)?;
        let code = u8::try_from(opcode).unwrap_or(0);
        opcodes += 1;
        match argument(code) {
            Some(Argument::Nothing) if code == STOP => return Ok(opcodes),
            Some(Argument::Nothing) => {}
            Some(Argument::Bytes(1)) if code == PROTO => {
                let protocol = walker.number(1)?;
                if protocol > PROTOCOLS.into() {
                    return Err(format!("byte {begun}: protocol {protocol} is not known"));
                }
            }
            Some(Argument::Bytes(count)) => walker.skip(count)?,
            Some(Argument::Lines(lines)) => (0..lines).try_for_each(|_| walker.line())?,
            Some(Argument::Counted(width)) => {
                let count = walker.number(width)?;
                walker.skip(count)?;
            }
            Some(Argument::CountedSigned) => {
                let count = walker.number(4)?;
                if count > i32::MAX.unsigned_abs().into() {
                    return Err(format!("byte {begun}: a length below zero"));
                }
                walker.skip(count)?;
            }
            None => return Err(format!("byte {begun}: {code:#04x} is no opcode of a pickle")),
        }
    }
}

struct Walker<R> {
    from: R,
    at: u64,
}

impl<R: BufRead> Walker<R> {
    fn failed(&self, e: &std::io::Error) -> String {
        match e.kind() {
            Io::UnexpectedEof => format!("it ends at byte {} without its STOP", self.at),
            _ => format!("byte {}: {e}", self.at),
        }
    }

    fn number(&mut self, width: u8) -> Result<u64, String> {
        let mut bytes = [0; 8];
        let wanted = &mut bytes[..width.into()];
        self.from.read_exact(wanted).map_err(|e| self.failed(&e))?;
        self.at += u64::from(width);
        Ok(u64::from_le_bytes(bytes))
    }

    fn skip(&mut self, count: u64) -> Result<(), String> {
        let skipped = std::io::copy(&mut self.from.by_ref().take(count), &mut std::io::sink());
        let skipped = skipped.map_err(|e| self.failed(&e))?;
        self.at += skipped;
        // `copy` takes an early end for a good one.
        if skipped == count { Ok(()) } else { Err(self.failed(&Io::UnexpectedEof.into())) }
    }

    fn line(&mut self) -> Result<(), String> {
        let skipped = self.from.skip_until(b'\n').map_err(|e| self.failed(&e))?;
        self.at += skipped as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `{'a': [1, 2.5, None, True], 'b': ('x', b'y')}`, as CPython 3.11 writes it in each protocol.
    const SAMPLES: [&[u8]; 6] = [
        b"(dp0\x0aVa\x0ap1\x0a(lp2\x0aI1\x0aaF2.5\x0aaNaI01\x0aasVb\x0ap3\x0a(Vx\x0ap4\x0ac_codecs\x0aencode\x0ap5\x0a(Vy\x0ap6\x0aVlatin1\x0ap7\x0atp8\x0aRp9\x0atp10\x0as.",
        b"}q\x00(X\x01\x00\x00\x00aq\x01]q\x02(K\x01G@\x04\x00\x00\x00\x00\x00\x00NI01\x0aeX\x01\x00\x00\x00bq\x03(X\x01\x00\x00\x00xq\x04c_codecs\x0aencode\x0aq\x05(X\x01\x00\x00\x00yq\x06X\x06\x00\x00\x00latin1q\x07tq\x08Rq\x09tq\x0au.",
        b"\x80\x02}q\x00(X\x01\x00\x00\x00aq\x01]q\x02(K\x01G@\x04\x00\x00\x00\x00\x00\x00N\x88eX\x01\x00\x00\x00bq\x03X\x01\x00\x00\x00xq\x04c_codecs\x0aencode\x0aq\x05X\x01\x00\x00\x00yq\x06X\x06\x00\x00\x00latin1q\x07\x86q\x08Rq\x09\x86q\x0au.",
        b"\x80\x03}q\x00(X\x01\x00\x00\x00aq\x01]q\x02(K\x01G@\x04\x00\x00\x00\x00\x00\x00N\x88eX\x01\x00\x00\x00bq\x03X\x01\x00\x00\x00xq\x04C\x01yq\x05\x86q\x06u.",
        b"\x80\x04\x95(\x00\x00\x00\x00\x00\x00\x00}\x94(\x8c\x01a\x94]\x94(K\x01G@\x04\x00\x00\x00\x00\x00\x00N\x88e\x8c\x01b\x94\x8c\x01x\x94C\x01y\x94\x86\x94u.",
        b"\x80\x05\x95(\x00\x00\x00\x00\x00\x00\x00}\x94(\x8c\x01a\x94]\x94(K\x01G@\x04\x00\x00\x00\x00\x00\x00N\x88e\x8c\x01b\x94\x8c\x01x\x94C\x01y\x94\x86\x94u.",
    ];

    #[test]
    fn a_pickle_of_each_protocol_is_walked_to_its_stop_whatever_follows() {
        for sample in SAMPLES {
            assert!(walk(sample).unwrap() > 10);
            assert!(walk([sample, b"more"].concat().as_slice()).is_ok());
        }
    }

    #[test]
    fn one_that_was_cut_anywhere_is_found_out() {
        for sample in SAMPLES {
            for cut in 0..sample.len() {
                assert!(walk(&sample[..cut]).unwrap_err().contains("without its STOP"), "{cut}");
            }
        }
    }

    #[test]
    fn what_is_no_pickle_is_said_with_its_place() {
        assert_eq!(walk(&b"]\xffx."[..]).unwrap_err(), "byte 1: 0xff is no opcode of a pickle");
        assert_eq!(walk(&[0x80, 9, b'.'][..]).unwrap_err(), "byte 0: protocol 9 is not known");
        assert_eq!(walk(&b"T\xff\xff\xff\xff."[..]).unwrap_err(), "byte 0: a length below zero");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = walk(bytes.as_slice());
        }
    }
}

//! A snapshot as etcd sends it and etcdctl saves it: the database, then the 32 bytes of its SHA-256.
//!
//! Source: etcd `server/etcdserver/api/v3rpc/maintenance.go`. A database is a whole number of pages, so the rest of a
//! snapshot's size divided by 512 tells whether the hash is there.

use backup_core::words::{Error, ErrorKind, Result};
use sha2::{Digest, Sha256};

/// Bytes of the hash at the end.
pub const TRAILER: usize = 32;

/// The shortest page's size: every database is a multiple of it.
const SECTOR: u64 = 512;

/// Checks a snapshot while it streams by: everything but the last 32 bytes is hashed and compared with these.
#[derive(Debug, Default)]
pub struct TrailerCheck {
    hash: Sha256,
    bytes: u64,
    /// The last bytes seen: at the end, the hash.
    tail: Vec<u8>,
}

/// A snapshot whose hash was right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// Bytes of the database, without the hash.
    pub db_bytes: u64,
    /// The hash, in lower-case hexadecimal.
    pub sha256: String,
}

impl TrailerCheck {
    /// Begins a check.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        if bytes.len() >= TRAILER {
            self.hash.update(&self.tail);
            let (body, tail) = bytes.split_at(bytes.len() - TRAILER);
            self.hash.update(body);
            self.tail.clear();
            self.tail.extend_from_slice(tail);
        } else {
            self.tail.extend_from_slice(bytes);
            let settled = self.tail.len().saturating_sub(TRAILER);
            self.hash.update(&self.tail[..settled]);
            self.tail.drain(..settled);
        }
    }

    /// Bytes seen so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Compares hash and size; `subject` names the snapshot in errors.
    ///
    /// # Errors
    /// [`ErrorKind::Truncated`] when there is no hash at the end, [`ErrorKind::Corrupt`] when it is another one.
    pub fn finish(self, subject: &str) -> Result<Checked> {
        let fail = |kind, detail: String| {
            Err(Error::new(kind, "check the etcd snapshot", subject)
                .detail(detail)
                .hint("take another copy of this snapshot, or another session"))
        };
        if self.bytes % SECTOR != TRAILER as u64 {
            return fail(
                ErrorKind::Truncated,
                format!("its {} bytes do not end with a hash: it was cut, or is no snapshot", self.bytes),
            );
        }
        let sha256 = hex(&self.hash.finalize());
        let said = hex(&self.tail);
        if said != sha256 {
            return fail(ErrorKind::Corrupt, format!("its hash is {sha256}, and it says {said}"));
        }
        Ok(Checked { db_bytes: self.bytes - TRAILER as u64, sha256 })
    }
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn snapshot(pages: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> = (0..pages * 1024).map(|i| (i * 7) as u8).collect();
        let hash = Sha256::digest(&bytes);
        bytes.extend(hash);
        bytes
    }

    fn check(bytes: &[u8], piece: usize) -> Result<Checked> {
        let mut check = TrailerCheck::new();
        bytes.chunks(piece).for_each(|chunk| check.update(chunk));
        check.finish("test")
    }

    proptest! {
        #[test]
        fn it_is_right_however_it_is_cut_into_pieces(pages in 0_usize..4, piece in 1_usize..5000) {
            prop_assert_eq!(check(&snapshot(pages), piece).unwrap().db_bytes, pages as u64 * 1024);
        }

        #[test]
        fn every_flipped_bit_is_found(at: prop::sample::Index, bit in 0_u8..8) {
            let mut bytes = snapshot(3);
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert_eq!(check(&bytes, 700).unwrap_err().kind(), ErrorKind::Corrupt);
        }

        #[test]
        fn every_cut_is_found(at: prop::sample::Index) {
            let bytes = snapshot(3);
            prop_assert!(check(&bytes[..at.index(bytes.len())], 700).is_err());
        }
    }

    #[test]
    fn a_database_without_its_hash_is_truncated() {
        let bytes = snapshot(2);
        assert_eq!(check(&bytes[..2048], 512).unwrap_err().kind(), ErrorKind::Truncated);
    }
}

//! SHA-256 with a length.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::Digest as _;

/// The size in bytes and the SHA-256 of something.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Digest {
    /// Bytes.
    pub size: u64,
    /// Lower-case hexadecimal SHA-256.
    pub sha256: String,
}

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        let mut hasher = Hasher::new();
        hasher.update(bytes);
        hasher.finish()
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} B sha256:{}", self.size, self.sha256)
    }
}

/// Computes a [`Digest`] as bytes go by.
#[derive(Clone, Default)]
pub struct Hasher {
    sha256: sha2::Sha256,
    size: u64,
}

impl Hasher {
    /// Nothing hashed yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        self.size += bytes.len() as u64;
    }

    /// Bytes taken so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The digest of all bytes taken.
    pub fn finish(self) -> Digest {
        use fmt::Write;
        let mut sha256 = String::with_capacity(64);
        for byte in self.sha256.finalize() {
            let _ = write!(sha256, "{byte:02x}");
        }
        Digest { size: self.size, sha256 }
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hasher({} B)", self.size)
    }
}

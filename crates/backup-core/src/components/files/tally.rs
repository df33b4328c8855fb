//! Counts and a fingerprint of a tree, the same whether it is read from a folder or from an archive, in any order.

use std::collections::BTreeMap;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::archive::{Entry, EntryKind};

/// What a tree holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Names of regular files; a file with two names counts twice here, and once in `bytes`.
    files: u64,
    folders: u64,
    symlinks: u64,
    pipes: u64,
    devices: u64,
    /// Lengths of all regular files, holes included.
    bytes: u64,
    /// All members' hashes, one xor the other: it does not depend on their order.
    fingerprint: [u8; 32],
}

impl Tally {
    /// Counts one member.
    pub(super) fn add(&mut self, entry: &Entry) {
        self.add_parts(entry.kind, &entry.path, &entry.link, entry.size);
    }

    /// Counts one member by what the tally depends on: `link` only of a symbolic link, `size` only of a file.
    pub(super) fn add_parts(&mut self, kind: EntryKind, path: &[u8], link: &[u8], size: u64) {
        let (count, letter) = match kind {
            // Which of a file's names comes first depends on the order.
            EntryKind::File | EntryKind::HardLink => (&mut self.files, b'f'),
            EntryKind::Folder => (&mut self.folders, b'd'),
            EntryKind::Symlink => (&mut self.symlinks, b'l'),
            EntryKind::Fifo => (&mut self.pipes, b'p'),
            EntryKind::CharDevice => (&mut self.devices, b'c'),
            EntryKind::BlockDevice => (&mut self.devices, b'b'),
        };
        *count += 1;
        if kind == EntryKind::File {
            self.bytes += size;
        }
        let mut hash = Sha256::new();
        hash.update([letter]);
        hash.update((path.len() as u64).to_le_bytes());
        hash.update(path);
        if kind == EntryKind::Symlink {
            hash.update(link);
        }
        for (sum, byte) in self.fingerprint.iter_mut().zip(hash.finalize()) {
            *sum ^= byte;
        }
    }

    /// Takes the counts of another tree in.
    pub(super) fn take(&mut self, other: &Self) {
        self.files += other.files;
        self.folders += other.folders;
        self.symlinks += other.symlinks;
        self.pipes += other.pipes;
        self.devices += other.devices;
        self.bytes += other.bytes;
        for (sum, byte) in self.fingerprint.iter_mut().zip(other.fingerprint) {
            *sum ^= byte;
        }
    }

    /// Members in all.
    pub(super) fn entries(&self) -> u64 {
        self.files + self.folders + self.symlinks + self.pipes + self.devices
    }

    /// What the manifest says of the tree.
    pub(super) fn facts(&self) -> [(&'static str, Value); 8] {
        use std::fmt::Write;
        let mut fingerprint = String::with_capacity(64);
        for byte in self.fingerprint {
            let _ = write!(fingerprint, "{byte:02x}");
        }
        [
            ("entries", self.entries().into()),
            ("files", self.files.into()),
            ("folders", self.folders.into()),
            ("symlinks", self.symlinks.into()),
            ("pipes", self.pipes.into()),
            ("devices", self.devices.into()),
            ("bytes", self.bytes.into()),
            ("fingerprint", fingerprint.into()),
        ]
    }

    /// Where the manifest says something else of the tree.
    pub(super) fn differences(&self, facts: &BTreeMap<String, Value>) -> Vec<String> {
        let differs = |(name, value): (&str, Value)| {
            let said = facts.get(name).unwrap_or(&Value::Null);
            (*said != value).then(|| format!("{name}: {value} in the archive, {said} in the manifest"))
        };
        self.facts().into_iter().filter_map(differs).collect()
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let size = crate::words::human_bytes(self.bytes);
        write!(f, "{} entries, {} of them files with {size}", self.entries(), self.files)
    }
}

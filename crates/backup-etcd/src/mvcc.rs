//! etcd's multi-version store: what stands in bucket `key`.
//!
//! Source: etcd `server/storage/mvcc/revision.go`, `api/mvccpb/kv.proto`. Each change is one entry: its key is the revision,
//! `BE64(main) '_' BE64(sub)`, with `t` appended when the change is a deletion; its value is the changed key.

use crate::proto::{Fields, Value};

/// Bytes of a revision without its mark.
pub const REVISION: usize = 17;

/// When a change happened: `main` counts transactions, `sub` the changes of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Revision {
    /// The transaction.
    pub main: u64,
    /// The change within it, from 0.
    pub sub: u64,
}

impl Revision {
    /// The revision's 17 bytes.
    pub fn to_bytes(self) -> [u8; REVISION] {
        let mut bytes = [b'_'; REVISION];
        bytes[..8].copy_from_slice(&self.main.to_be_bytes());
        bytes[9..].copy_from_slice(&self.sub.to_be_bytes());
        bytes
    }

    /// Reads an entry's key: the revision, and whether the change is a deletion. `None` when it is no such key.
    pub fn parse(bytes: &[u8]) -> Option<(Self, bool)> {
        let deletion = match bytes.len() {
            REVISION => false,
            18 if bytes[REVISION] == b't' => true,
            _ => return None,
        };
        let number = |from: usize| Some(u64::from_be_bytes(bytes.get(from..from + 8)?.try_into().ok()?));
        (bytes[8] == b'_').then_some((Self { main: number(0)?, sub: number(9)? }, deletion))
    }
}

/// What a change's value says, as far as it is needed here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change<'a> {
    /// The key.
    pub key: &'a [u8],
    /// Its value.
    pub value: &'a [u8],
    /// Its lease; 0 for none.
    pub lease: i64,
}

impl<'a> Change<'a> {
    /// Reads an entry's value. `None` when it is no key-value message.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut change = Self::default();
        for field in Fields::of(bytes) {
            match field? {
                (1, Value::Bytes(key)) => change.key = key,
                (5, Value::Bytes(value)) => change.value = value,
                (6, Value::Number(lease)) => change.lease = lease as i64,
                _ => {}
            }
        }
        Some(change)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::Message;

    #[test]
    fn a_revision_is_read_back_with_its_mark() {
        let revision = Revision { main: 258, sub: 3 };
        let mut bytes = revision.to_bytes().to_vec();
        assert_eq!(bytes, b"\0\0\0\0\0\0\x01\x02_\0\0\0\0\0\0\0\x03");
        assert_eq!(Revision::parse(&bytes), Some((revision, false)));
        bytes.push(b't');
        assert_eq!(Revision::parse(&bytes), Some((revision, true)));
        bytes.push(b't');
        assert_eq!(Revision::parse(&bytes), None);
    }

    #[test]
    fn a_change_is_read_with_its_lease() {
        let message = Message::new().bytes(1, b"k").number(3, 9).bytes(5, b"v").number(6, 77).done();
        assert_eq!(Change::parse(&message), Some(Change { key: b"k", value: b"v", lease: 77 }));
        assert_eq!(Change::parse(&message[..4]), None);
    }
}

//! Names of users and groups, from this host's own lists; those of a directory service stay numbers.

use std::collections::HashMap;

use super::config::Owners;
use crate::archive::Entry;

/// Names by number and numbers by name.
#[derive(Debug, Default)]
struct List {
    names: HashMap<u64, Vec<u8>>,
    numbers: HashMap<Vec<u8>, u64>,
}

/// This host's users and groups.
#[derive(Debug, Default)]
pub(super) struct HostOwners {
    users: List,
    groups: List,
}

impl HostOwners {
    /// Reads passwd(5) and group(5); a list that is not there is empty.
    pub(super) fn read() -> Self {
        let list = |path: &str| List::parse(&std::fs::read(path).unwrap_or_default());
        Self { users: list("/etc/passwd"), groups: list("/etc/group") }
    }

    /// The name of a user; empty when it has none.
    pub(super) fn user(&self, uid: u64) -> Vec<u8> {
        self.users.names.get(&uid).cloned().unwrap_or_default()
    }

    /// The name of a group; empty when it has none.
    pub(super) fn group(&self, gid: u64) -> Vec<u8> {
        self.groups.names.get(&gid).cloned().unwrap_or_default()
    }

    /// User and group that a member of an archive belongs to on this host.
    pub(super) fn of(&self, entry: &Entry, by: Owners) -> (u64, u64) {
        match by {
            Owners::Number => (entry.uid, entry.gid),
            Owners::Name => (
                self.users.numbers.get(&entry.user).copied().unwrap_or(entry.uid),
                self.groups.numbers.get(&entry.group).copied().unwrap_or(entry.gid),
            ),
        }
    }
}

impl List {
    /// Lines of `name:password:number:...`; the first of a name or number counts.
    fn parse(text: &[u8]) -> Self {
        let mut list = Self::default();
        for line in text.split(|b| *b == b'\n') {
            let mut fields = line.split(|b| *b == b':');
            let (Some(name), Some(number)) = (fields.next(), fields.nth(1)) else { continue };
            let Some(number) = std::str::from_utf8(number).ok().and_then(|n| n.parse().ok()) else {
                continue;
            };
            list.names.entry(number).or_insert_with(|| name.to_vec());
            list.numbers.entry(name.to_vec()).or_insert(number);
        }
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::{EntryKind, Time};

    #[test]
    fn lines_that_are_none_are_passed_over_and_the_first_counts() {
        let list =
            List::parse(b"root:x:0:0:root:/root:/bin/sh\n\n# x\n+::::::\ntoor:x:0:0::/:\nbob:x:1001:1001\n");
        assert_eq!(list.names[&0], b"root");
        assert_eq!(list.numbers[&b"toor"[..]], 0);
        assert_eq!(list.numbers[&b"bob"[..]], 1001);
        assert_eq!(list.names.len(), 2);
    }

    #[test]
    fn a_name_of_this_host_wins_over_the_number_unless_numbers_were_asked_for() {
        let users = List::parse(b"alice:x:1001:100::/:\n");
        let host = HostOwners { users, groups: List::parse(b"staff:x:50:\n") };
        let record = |user: &[u8], group: &[u8]| Entry {
            path: b"a".to_vec(),
            kind: EntryKind::File,
            link: Vec::new(),
            mode: 0o644,
            uid: 5,
            gid: 6,
            user: user.to_vec(),
            group: group.to_vec(),
            modified: Time::default(),
            device: (0, 0),
            size: 0,
            extents: None,
            attributes: Vec::new(),
        };
        assert_eq!(host.of(&record(b"alice", b"staff"), Owners::Name), (1001, 50));
        assert_eq!(host.of(&record(b"bob", b""), Owners::Name), (5, 6));
        assert_eq!(host.of(&record(b"alice", b"staff"), Owners::Number), (5, 6));
    }
}

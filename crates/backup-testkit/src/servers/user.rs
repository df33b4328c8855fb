//! Who runs what: PostgreSQL refuses to run as root.

use super::error::{Error, Result};
use std::fs;
use std::path::Path;
use std::process::Command;

/// A user that servers run as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Its login name.
    pub name: String,
    /// Its number.
    pub uid: u32,
    /// Its main group's number.
    pub gid: u32,
}

impl User {
    /// The user for PostgreSQL: nobody else than ourselves (`None`), or, when we are root, `postgres` where
    /// it exists and else `nobody`.
    ///
    /// # Errors
    /// When we are root and neither user exists.
    pub fn for_postgres() -> Result<Option<Self>> {
        if !is_root() {
            return Ok(None);
        }
        let table = fs::read_to_string("/etc/passwd")?;
        let found = ["postgres", "nobody"].iter().find_map(|name| Self::find(&table, name));
        found.map(Some).ok_or_else(|| {
            Error::new("PostgreSQL refuses root, and there is neither a user `postgres` nor `nobody`")
        })
    }

    fn find(table: &str, name: &str) -> Option<Self> {
        let line = table.lines().find(|l| l.split(':').next() == Some(name))?;
        let mut numbers = line.split(':').skip(2);
        let uid = numbers.next()?.parse().ok()?;
        let gid = numbers.next()?.parse().ok()?;
        Some(Self { name: name.to_owned(), uid, gid })
    }

    /// Makes `command` run as this user.
    pub(super) fn apply(&self, command: &mut Command) {
        use std::os::unix::process::CommandExt;
        command.uid(self.uid).gid(self.gid);
    }

    /// Gives a file or folder to this user.
    pub(super) fn own(&self, path: &Path) -> Result<()> {
        Ok(std::os::unix::fs::chown(path, Some(self.uid), Some(self.gid))?)
    }
}

/// Whether we are root.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[cfg(test)]
mod tests {
    use super::User;

    #[test]
    fn a_user_is_read_from_the_table_of_users_by_its_whole_name() {
        let table = "postgresql:x:1:2::/:/bin/sh\npostgres:x:101:104:PostgreSQL,,,:/var/lib:/bin/bash\n";
        let user = User::find(table, "postgres").expect("it is there");
        assert_eq!((user.uid, user.gid), (101, 104));
        assert_eq!(User::find(table, "nobody"), None);
    }
}

//! What a stack holds, read from the servers themselves and not by the product.

use super::stack::{KEYS, Stack};
use backup_testkit::servers::{Result, SampleData};
use std::collections::BTreeMap;
use std::fmt;

/// Keys and rows.
pub(crate) struct Contents {
    keys: BTreeMap<Vec<u8>, Vec<u8>>,
    rows: u64,
    /// By database and table.
    digests: BTreeMap<String, String>,
    /// With a digest of each one's password.
    roles: Vec<String>,
}

impl Contents {
    pub(crate) fn read(stack: &Stack) -> Result<Self> {
        let mut keys = BTreeMap::new();
        for prefix in KEYS {
            keys.extend(stack.etcd.range(prefix)?);
        }
        let sql = stack.patroni.leader_sql()?;
        let (mut rows, mut digests) = (0, BTreeMap::new());
        for database in SampleData::DATABASES {
            rows += sql.row_counts(database)?.values().sum::<u64>();
            let tables = sql.table_digests(database)?;
            digests.extend(tables.into_iter().map(|(table, d)| (format!("{database}: {table}"), d)));
        }
        let query = "select rolname, md5(rolpassword) from pg_authid where rolname !~ '^(pg_|postgres|re)' order by 1";
        let roles = sql.run("postgres", query)?.lines().map(str::to_owned).collect();
        Ok(Self { keys, rows, digests, roles })
    }

    /// An error that names the first difference.
    pub(crate) fn same_as(&self, other: &Self) -> std::result::Result<(), String> {
        if self.keys != other.keys {
            let differs = |key: &&Vec<u8>| self.keys.get(*key) != other.keys.get(*key);
            let first = self.keys.keys().chain(other.keys.keys()).find(differs);
            let first = first.map(|k| String::from_utf8_lossy(k).into_owned()).unwrap_or_default();
            return Err(format!("etcd differs: {self} against {other}; first at key {first}"));
        }
        if self.digests != other.digests {
            let differs = |table: &&String| self.digests.get(*table) != other.digests.get(*table);
            let tables: Vec<_> = self.digests.keys().chain(other.digests.keys()).filter(differs).collect();
            return Err(format!("PostgreSQL differs: {self} against {other}; in {tables:?}"));
        }
        if self.roles != other.roles {
            return Err(format!("roles differ: {:?} against {:?}", self.roles, other.roles));
        }
        Ok(())
    }
}

impl fmt::Display for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (keys, tables, roles) = (self.keys.len(), self.digests.len(), self.roles.len());
        write!(
            f,
            "{keys} keys in etcd; {} rows in {tables} tables and {roles} roles in PostgreSQL",
            self.rows
        )
    }
}

//! What a session's manifest says of a cluster. Nothing secret.

use std::collections::BTreeMap;

use backup_core::words::{Count, Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::dump::Scan;

/// The facts of the whole cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Facts {
    /// "15.18".
    pub(crate) server_version: String,
    /// The same on all members of a cluster for ever.
    pub(crate) system_identifier: String,
    /// Raised by each failover.
    pub(crate) timeline: u32,
    /// Write-ahead log position: everything committed before it is in the backup.
    pub(crate) lsn: String,
    /// Where it was read.
    pub(crate) leader: String,
    /// Version of the pg_dump that wrote it.
    pub(crate) pg_dump_version: String,
    /// Roles in the globals.
    pub(crate) roles: u64,
    /// Tablespaces in the globals.
    pub(crate) tablespaces: u64,
    /// Rows of all tables of all databases.
    pub(crate) rows: u64,
    /// Each database by its name.
    pub(crate) databases: BTreeMap<String, DatabaseFacts>,
}

/// The facts of one database.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DatabaseFacts {
    /// Its size on the server, in bytes.
    pub(crate) size_bytes: u64,
    /// Its dump's size, in bytes.
    pub(crate) dump_bytes: u64,
    /// Large objects.
    pub(crate) large_objects: u64,
    /// Extensions and their versions.
    #[serde(default)]
    pub(crate) extensions: BTreeMap<String, String>,
    /// Rows of all its tables.
    pub(crate) rows: u64,
    /// Exact rows of each table, counted in the dump as it streamed; names as SQL writes them.
    pub(crate) tables: BTreeMap<String, u64>,
}

impl DatabaseFacts {
    /// Takes over what was counted.
    pub(crate) fn count(&mut self, scan: Scan, bytes: u64) {
        self.rows = scan.rows();
        self.tables = scan.tables;
        self.dump_bytes = bytes;
    }
}

impl Facts {
    /// As a manifest keeps them.
    pub(crate) fn to_map(&self) -> Result<BTreeMap<String, Value>> {
        match serde_json::to_value(self) {
            Ok(Value::Object(map)) => Ok(map.into_iter().collect()),
            _ => Err(Error::new(ErrorKind::Internal, "write", "the facts")),
        }
    }

    /// Reads them out of a manifest.
    pub(crate) fn from_map(map: &BTreeMap<String, Value>) -> Result<Self> {
        serde_json::from_value(Value::Object(map.clone().into_iter().collect())).map_err(|e| {
            Error::new(ErrorKind::Corrupt, "read the facts of", "the component in the manifest").because(e)
        })
    }
}

/// Rows of the cluster and of each database, read from a manifest. Not of each table: there may be very many.
pub(crate) fn counts(facts: &BTreeMap<String, Value>) -> Vec<Count> {
    let databases = facts.get("databases").and_then(Value::as_object).into_iter().flatten();
    let rows = databases.filter_map(|(name, database)| {
        Some(Count::of("rows", format!("database {name}"), database.get("rows")?.as_u64()?))
    });
    Count::usual(facts).into_iter().chain(rows).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_counted_in_all_and_in_each_database() {
        let database = |rows| DatabaseFacts { rows, ..DatabaseFacts::default() };
        let databases = [("crm".to_owned(), database(5)), ("shop".to_owned(), database(2))].into();
        let facts = Facts { rows: 7, databases, ..Facts::default() }.to_map().unwrap();
        let expected = [
            Count::all("rows", 7),
            Count::of("rows", "database crm", 5),
            Count::of("rows", "database shop", 2),
        ];
        assert_eq!(counts(&facts), expected);
        assert_eq!(counts(&BTreeMap::new()), []);
    }
}

//! Sample data: a customer database with one of everything, and keys of etcd.

use super::error::Result;
use super::postgres::Sql;

/// A `crm` database of a chosen size, and a second small database `Lager "Süd"`: several schemas, tables
/// (partitioned, empty, without columns, unlogged), sequences, views, functions, a trigger, a policy,
/// extensions of contrib, large objects, roles with passwords, memberships, settings and grants.
#[derive(Debug, Clone, Copy)]
pub struct SampleData {
    /// The number of rows of `crm.contacts` and of `crm.deals`.
    pub rows: u32,
}

impl Default for SampleData {
    fn default() -> Self {
        Self { rows: 2000 }
    }
}

impl SampleData {
    /// The databases it makes.
    pub const DATABASES: [&str; 2] = ["Lager \"Süd\"", "crm"];

    /// The roles it makes.
    pub const ROLES: [&str; 4] = ["Büro Süd", "crm_app", "crm_owner", "crm_readers"];

    /// The script, as psql takes it in the database `postgres`.
    pub fn script(self) -> String {
        include_str!("sample.sql").replace("ROWS", &self.rows.to_string())
    }

    /// Loads it into a server that has none of it yet.
    ///
    /// # Errors
    /// When a statement fails.
    pub fn load(self, sql: &Sql) -> Result<()> {
        sql.run("postgres", &self.script()).map(drop)
    }
}

/// `count` keys of etcd below several prefixes, with values of about 100 bytes; some keys and values are
/// not text.
pub fn etcd_keys(count: usize) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
    const PREFIXES: [&str; 4] = ["/registry/pods/crm/", "/registry/secrets/crm/", "/crm/settings/", "/üñí/"];
    (0..count).map(|i| {
        let mut key = format!("{}{i:06}", PREFIXES[i % PREFIXES.len()]).into_bytes();
        let mut value = format!("{{\"n\":{i},\"text\":\"{}\"}}", "lorem ipsum ".repeat(8)).into_bytes();
        if i % 50 == 0 {
            key.extend([0, 0xff]);
            value.extend([0, 0xfe, 0xff]);
        }
        (key, value)
    })
}

//! What a drill asks one member.

use backup_core::words::Result;
use etcd_client::{Client, GetOptions};

use super::{Connector, errors};

/// One member, asked by a drill.
pub(crate) struct Asked<'a> {
    connector: &'a Connector,
    endpoint: &'a str,
    client: Client,
}

impl std::fmt::Debug for Asked<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Asked").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl<'a> Asked<'a> {
    /// Connects.
    pub(crate) async fn connect(connector: &'a Connector, endpoint: &'a str) -> Result<Self> {
        Ok(Self { connector, endpoint, client: connector.connect(endpoint).await? })
    }

    /// How many keys begin with `prefix` (empty: all), at that revision.
    pub(crate) async fn count(&mut self, prefix: &str, revision: u64) -> Result<u64> {
        let options = GetOptions::new().with_count_only().with_revision(revision.cast_signed());
        let options = if prefix.is_empty() { options.with_all_keys() } else { options.with_prefix() };
        let work = self.client.get(prefix, Some(options));
        let answer = self.connector.in_time("count the keys of", self.endpoint, work).await?;
        let answer = answer.map_err(|e| errors::error("count the keys of", self.endpoint, &e))?;
        Ok(answer.count().unsigned_abs())
    }

    /// Leases, users, roles.
    pub(crate) async fn numbers(&mut self) -> Result<[(&'static str, u64); 3]> {
        let failed = |e| errors::error("ask for leases and users of", self.endpoint, &e);
        let work = async {
            let leases = self.client.leases().await?.leases().len();
            let users = self.client.user_list().await?.users().len();
            let roles = self.client.role_list().await?.roles().len();
            Ok([("leases", leases as u64), ("users", users as u64), ("roles", roles as u64)])
        };
        self.connector.in_time("ask for leases and users of", self.endpoint, work).await?.map_err(failed)
    }

    /// Writes a key, reads it, deletes it and looks that it is gone; whether each answer was right.
    pub(crate) async fn write_and_read(&mut self, key: &str, value: &str) -> Result<bool> {
        let failed = |e| errors::error("write to", self.endpoint, &e);
        let work = async {
            self.client.put(key, value, None).await?;
            let read = self.client.get(key, None).await?;
            let right = read.kvs().first().is_some_and(|kv| kv.value() == value.as_bytes());
            self.client.delete(key, None).await?;
            let gone = self.client.get(key, None).await?.kvs().is_empty();
            Ok(right && gone)
        };
        self.connector.in_time("write to", self.endpoint, work).await?.map_err(failed)
    }
}

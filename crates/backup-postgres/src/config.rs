//! The component's section of a config file.

use std::path::PathBuf;

use backup_core::{traits::SecretSource, words::Result};
use serde::Deserialize;

use crate::{connect::Address, drill::DrillQuery};

/// How far the connection is protected, in libpq's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum SslMode {
    /// Never TLS.
    #[cfg_attr(not(feature = "tls"), default)]
    Disable,
    /// TLS where the server offers it; the certificate is not checked.
    #[cfg_attr(feature = "tls", default)]
    #[cfg(feature = "tls")]
    Prefer,
    /// TLS; the certificate is not checked unless `ca` is given.
    #[cfg(feature = "tls")]
    Require,
    /// TLS; the certificate must come from a known authority.
    #[cfg(feature = "tls")]
    VerifyCa,
    /// TLS; the certificate must come from a known authority and name the host.
    #[cfg(feature = "tls")]
    VerifyFull,
}

impl SslMode {
    /// The word that libpq knows it by.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            #[cfg(feature = "tls")]
            Self::Prefer => "prefer",
            #[cfg(feature = "tls")]
            Self::Require => "require",
            #[cfg(feature = "tls")]
            Self::VerifyCa => "verify-ca",
            #[cfg(feature = "tls")]
            Self::VerifyFull => "verify-full",
        }
    }

    /// As much of it as goes without a certificate to check by.
    pub(crate) fn unchecked(self) -> Self {
        match self {
            #[cfg(feature = "tls")]
            Self::VerifyCa | Self::VerifyFull => Self::Require,
            mode => mode,
        }
    }
}

/// The section of a component of kind `postgres`.
#[derive(Clone, Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// REST addresses of Patroni's members ("http://10.0.0.1:8008"); the leader is found from any that answers.
    #[serde(default)]
    pub(crate) patroni: Vec<String>,
    /// User of Patroni's REST API, where it asks for one.
    pub(crate) patroni_user: Option<String>,
    /// Password of Patroni's REST API.
    pub(crate) patroni_password: Option<SecretSource>,
    /// Port of Patroni's REST API in the pods of `via`, when neither `patroni` nor `host` / `hosts` is given; 0 when there is no
    /// Patroni. The one server that takes writes leads then.
    #[serde(default = "default_patroni_port")]
    pub(crate) patroni_port: u16,
    /// Without Patroni: the server, as a name, an address or the folder of a Unix socket.
    pub(crate) host: Option<String>,
    /// Port of the servers that name none.
    #[serde(default = "default_port")]
    pub(crate) port: u16,
    /// Without Patroni: several servers ("10.0.0.1:5432"), one of which is the leader. Beside `patroni`: where a backup looks
    /// for the one that takes writes when Patroni cannot say it, for want of etcd (default: `port` on the hosts of Patroni).
    #[serde(default)]
    pub(crate) hosts: Vec<String>,
    /// The role to connect as: a superuser, for roles come with their passwords.
    #[serde(default = "default_user")]
    pub(crate) user: String,
    /// Its password.
    pub(crate) password: Option<SecretSource>,
    /// The databases to back up; `["*"]` is all.
    #[serde(default = "default_databases")]
    pub(crate) databases: Vec<String>,
    /// Databases to leave out.
    #[serde(default)]
    pub(crate) exclude_databases: Vec<String>,
    /// Tables whose rows are left out, as pg_dump's patterns ("public.cache_*").
    #[serde(default)]
    pub(crate) exclude_table_data: Vec<String>,
    /// The database to connect to for what belongs to none.
    #[serde(default = "default_maintenance")]
    pub(crate) maintenance_database: String,
    /// How far the connection is protected.
    #[serde(default)]
    pub(crate) sslmode: SslMode,
    /// File with the authorities' certificates (PEM), for PostgreSQL and for Patroni over https.
    #[cfg(feature = "tls")]
    pub(crate) ca: Option<PathBuf>,
    /// File with our certificate (PEM).
    #[cfg(feature = "tls")]
    pub(crate) cert: Option<PathBuf>,
    /// File with our certificate's key (PEM).
    #[cfg(feature = "tls")]
    pub(crate) key: Option<PathBuf>,
    /// Folders to look for pg_dump, pg_dumpall and psql in, before the usual ones.
    #[serde(default)]
    pub(crate) bin_folders: Vec<PathBuf>,
    /// How long to wait for a leader, in seconds: a failover takes its time.
    #[serde(default = "default_leader_wait")]
    pub(crate) leader_wait_seconds: u64,
    /// How long one connection may take, in seconds.
    #[serde(default = "default_connect_timeout")]
    pub(crate) connect_timeout_seconds: u64,
    /// How long a dump waits for a table that is locked, in seconds.
    #[serde(default = "default_lock_timeout")]
    pub(crate) lock_timeout_seconds: u64,
    /// How it is drilled.
    #[serde(default)]
    pub(crate) drill: DrillOptions,
}

/// How a cluster is drilled.
#[derive(Clone, Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DrillOptions {
    /// Folder of the server's programs (initdb, postgres, psql), of the dump's own major version. Default: `bin_folders`, the
    /// usual folders, the search path.
    pub(crate) bin_folder: Option<PathBuf>,
    /// Questions to the restored copy.
    #[serde(default)]
    pub(crate) queries: Vec<DrillQuery>,
}

fn default_port() -> u16 {
    5432
}

fn default_patroni_port() -> u16 {
    8008
}

fn default_user() -> String {
    "postgres".to_owned()
}

fn default_databases() -> Vec<String> {
    vec!["*".to_owned()]
}

fn default_maintenance() -> String {
    "postgres".to_owned()
}

fn default_leader_wait() -> u64 {
    60
}

fn default_connect_timeout() -> u64 {
    10
}

fn default_lock_timeout() -> u64 {
    300
}

impl Config {
    /// The servers named without Patroni.
    pub(crate) fn addresses(&self) -> Result<Vec<Address>> {
        self.host.iter().chain(&self.hosts).map(|host| Address::parse(host, self.port)).collect()
    }

    /// Whether the database is to be backed up.
    pub(crate) fn wants(&self, database: &str) -> bool {
        let named = |list: &[String]| list.iter().any(|name| name == database);
        let listed = named(&self.databases) || self.databases.iter().any(|name| name == "*");
        listed && !named(&self.exclude_databases)
    }
}

#[cfg(test)]
mod tests {
    use backup_core::traits::Node;

    use super::*;

    fn parse(value: serde_json::Value) -> Config {
        Node::new(value).parse().unwrap()
    }

    #[test]
    fn databases_are_all_unless_listed_and_an_exclusion_always_wins() {
        let all = parse(serde_json::json!({"host": "h", "exclude_databases": ["tmp"]}));
        assert!(all.wants("crm") && !all.wants("tmp"));
        let some = parse(serde_json::json!({"host": "h", "databases": ["crm"]}));
        assert!(some.wants("crm") && !some.wants("other"));
    }

    #[test]
    fn several_hosts_take_the_common_port_unless_they_name_one() {
        let config = parse(serde_json::json!({"hosts": ["a", "b:6000", "[::1]:7000"], "port": 5433}));
        let shown: Vec<String> = config.addresses().unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["a:5433", "b:6000", "[::1]:7000"]);
    }
}

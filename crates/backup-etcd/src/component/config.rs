//! The component's section of a configuration.

use std::{path::PathBuf, time::Duration};

use backup_core::traits::SecretSource;
use serde::Deserialize;

use crate::{
    live::{Access, Tls},
    restore::Rewrite,
};

/// An etcd cluster.
#[derive(Clone, Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EtcdConfig {
    /// Client URLs of the members: `http://10.0.0.1:2379`. All of them: the best one is chosen.
    pub endpoints: Vec<String>,
    /// User of etcd's own authentication. It needs the role `root` (etcd 3.6).
    #[serde(default)]
    pub user: Option<String>,
    /// Its password.
    #[serde(default)]
    pub password: Option<SecretSource>,
    /// Certificates, for `https://` endpoints.
    #[serde(default)]
    pub tls: Option<Tls>,
    /// Seconds in which a member must accept the connection and answer a request.
    #[serde(default = "connect_timeout")]
    pub connect_timeout: u64,
    /// Seconds in which the next piece of a snapshot must come.
    #[serde(default = "message_timeout")]
    pub message_timeout: u64,
    /// Where Patroni keeps its clusters.
    #[serde(default = "namespace")]
    pub patroni_namespace: String,
    /// Commands around a restore. Without them the restore stops after the data directories and says what to do.
    #[serde(default)]
    pub restore: RestoreCommands,
    /// How it is drilled.
    #[serde(default)]
    pub drill: DrillOptions,
}

/// How a cluster is drilled.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DrillOptions {
    /// The etcd that is started, of the snapshot's version or newer. Default: the one in the search path.
    #[serde(default)]
    pub etcd: Option<PathBuf>,
}

/// Commands around a restore, each a program and its arguments, run where the component's programs run. One that has
/// `{name}`, `{dir}` or `{peer_urls}` in it is run once for each restored member; `{cluster}` and `{token}` are the new
/// cluster's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RestoreCommands {
    /// Stops the members.
    #[serde(default)]
    pub stop: Vec<String>,
    /// Brings the new data directories to the members.
    #[serde(default)]
    pub install: Vec<String>,
    /// Starts the members.
    #[serde(default)]
    pub start: Vec<String>,
}

fn connect_timeout() -> u64 {
    5
}

fn message_timeout() -> u64 {
    60
}

fn namespace() -> String {
    Rewrite::NAMESPACE.to_owned()
}

impl EtcdConfig {
    /// How the cluster is reached.
    pub(super) fn access(&self) -> Access {
        Access {
            user: self.user.clone(),
            password: self.password.clone(),
            tls: self.tls.clone(),
            connect_timeout: Duration::from_secs(self.connect_timeout),
            message_timeout: Duration::from_secs(self.message_timeout),
        }
    }

    /// Patroni's namespace as keys begin with it: `/service`.
    pub(super) fn namespace(&self) -> String {
        format!("/{}", self.patroni_namespace.trim_matches('/'))
    }
}

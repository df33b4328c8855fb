//! Patroni's keys in etcd: which of them a restore keeps.
//!
//! Source: Patroni `patroni/dcs/__init__.py`. A cluster's keys are `NAMESPACE/SCOPE/NAME`, with Citus
//! `NAMESPACE/SCOPE/GROUP/NAME`. Other programs' keys under the same namespace are left alone.

use serde::{Deserialize, Serialize};

/// Which of Patroni's keys a restore keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PatroniKeys {
    /// Everything, also who was leader: for looking at, not for running.
    All,
    /// Not what describes the running nodes (`leader`, `members`, `status`, `sync`, `failover`, `failsafe`): Patroni comes
    /// back on the data directories that it had.
    #[default]
    NoLeader,
    /// Only `config`: a new PostgreSQL cluster may be made. A restored `initialize` would make a new Patroni wait for ever.
    Config,
}

/// Names that Patroni gives to keys which describe running nodes.
const RUNNING: [&[u8]; 7] = [b"leader", b"members", b"status", b"sync", b"failover", b"failsafe", b"optime"];
/// Names that it gives to keys which bind a PostgreSQL cluster.
const BINDING: [&[u8]; 2] = [b"initialize", b"history"];

impl PatroniKeys {
    /// True when a restore leaves `key` out.
    pub fn drops(self, key: &[u8], namespace: &str) -> bool {
        let Some(name) = name_in_scope(key, namespace) else { return false };
        match self {
            Self::All => false,
            Self::NoLeader => RUNNING.contains(&name),
            Self::Config => RUNNING.contains(&name) || BINDING.contains(&name),
        }
    }
}

/// `leader` for `/service/crm/leader`, `members` for `/service/crm/0/members/pg1`.
fn name_in_scope<'a>(key: &'a [u8], namespace: &str) -> Option<&'a [u8]> {
    let inside = key.strip_prefix(namespace.as_bytes())?.strip_prefix(b"/")?;
    let mut parts = inside.split(|byte| *byte == b'/').skip(1);
    let name = parts.next()?;
    let is_group = !name.is_empty() && name.iter().all(u8::is_ascii_digit);
    if is_group { parts.next() } else { Some(name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mode_drops_what_it_says() {
        let cases = [
            ("/service/crm/leader", true, true),
            ("/service/crm/members/pg1", true, true),
            ("/service/crm/0/members/pg1", true, true),
            ("/service/crm/status", true, true),
            ("/service/crm/optime/leader", true, true),
            ("/service/crm/initialize", false, true),
            ("/service/crm/history", false, true),
            ("/service/crm/config", false, false),
            ("/service/crm/2/config", false, false),
            ("/service/leader", false, false),
            ("/service/crm/url", false, false),
            ("/services/crm/leader", false, false),
            ("/registry/crm/leader", false, false),
        ];
        for (key, no_leader, config) in cases {
            assert!(!PatroniKeys::All.drops(key.as_bytes(), "/service"), "{key}");
            assert_eq!(PatroniKeys::NoLeader.drops(key.as_bytes(), "/service"), no_leader, "{key}");
            assert_eq!(PatroniKeys::Config.drops(key.as_bytes(), "/service"), config, "{key}");
        }
    }
}

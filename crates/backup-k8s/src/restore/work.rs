//! What a plan keeps for its steps.

use std::collections::BTreeSet;

use backup_core::words::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{group::Group, options::Options};
use crate::cluster::ResourceKind;

/// The options as they were understood, and what the plan found that its steps depend on.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Settled {
    #[serde(flatten)]
    pub(super) options: Options,
    /// Namespaces that the restore makes.
    pub(super) fresh: BTreeSet<String>,
    /// Namespaces that are not there and that the backup can't make.
    pub(super) missing: BTreeSet<String>,
    /// Definitions that the restore creates or updates.
    pub(super) coming: BTreeSet<String>,
    /// Volumes that are there, or will be.
    pub(super) volumes: BTreeSet<String>,
    /// How many objects can't be restored as asked.
    pub(super) conflicts: u64,
}

/// What a step does.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "work", rename_all = "lowercase")]
pub(super) enum Work {
    /// Workloads are stopped.
    Stop {
        /// These.
        workloads: Vec<Workload>,
    },
    /// Objects are created, updated, replaced.
    Objects {
        /// Which.
        group: Group,
        /// Their kinds, in order.
        kinds: Vec<ResourceKind>,
        /// Objects that the API server would not take: `RESOURCE NAMESPACE/NAME`.
        refused: BTreeSet<String>,
    },
    /// Workloads are started, and waited for.
    Started,
}

/// A workload of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Workload {
    pub(super) kind: ResourceKind,
    /// `NAMESPACE/NAME`.
    pub(super) key: String,
    pub(super) uid: String,
}

pub(super) fn to_value(of: &impl Serialize) -> Result<Value> {
    serde_json::to_value(of).map_err(|e| Error::new(ErrorKind::Internal, "write", "the plan").because(e))
}

pub(super) fn from_value<T: DeserializeOwned>(value: &Value, what: &str) -> Result<T> {
    serde_json::from_value(value.clone())
        .map_err(|e| Error::new(ErrorKind::Internal, "read", what).because(e))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn options_stand_in_the_plan_under_their_own_names() {
        let options = Options::read(&json!({"existing": "update", "namespace": "a:b"})).unwrap();
        let settled = Settled { options, conflicts: 2, ..Settled::default() };
        let value = to_value(&settled).unwrap();
        assert_eq!((&value["existing"], &value["namespace"]), (&json!("update"), &json!("a:b")));
        let read: Settled = from_value(&value, "it").unwrap();
        assert_eq!((read.options, read.conflicts), (settled.options, 2));
    }
}

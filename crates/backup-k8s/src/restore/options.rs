//! What `--set` takes.

use std::time::Duration;

use backup_core::{traits::Node, words::Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Restore options of the kind `kubernetes`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Options {
    /// Into another namespace: `FROM:TO`, several joined by commas; the original stays as it is. Namespaces of the backup that
    /// are not named are left out; `NAME` alone is restored in place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) namespace: Option<String>,
    /// What is done with objects that exist: `skip` (default) leaves them, `update` sets what the backup says, `replace`
    /// deletes and creates them.
    pub(crate) existing: Existing,
    /// What is done with files that exist: as for `existing`. Without it they are updated where the restore makes the namespace or
    /// the claim, and else treated as `existing` says. What is replaced is kept aside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) files: Option<Existing>,
    /// Only these objects: `KIND` or `KIND/NAME`, joined by commas, names with `*` and `?` (`secrets`, `deployments/web-*`,
    /// `*/web`). Files are `files`, `files/state`, `files/storage`.
    pub(crate) include: Vec<String>,
    /// None of these objects, written as for `include`.
    pub(crate) exclude: Vec<String>,
    /// Only objects whose labels match a selector as kubectl takes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) labels: Option<String>,
    /// Which workloads are stopped meanwhile: those that use volumes that are restored (`volumes`, default), `all` of the
    /// namespaces, or `none`.
    pub(crate) stop: Stop,
    /// `no`: workloads stay stopped, and what is created is created stopped.
    pub(crate) start: Start,
    /// Seconds that rollouts are waited for (default 300; 0 waits for none), and deletions and new kinds (at least 60).
    #[serde(default = "default_wait")]
    pub(crate) wait: u64,
    /// Objects that can't be restored as asked: `fail` (default) restores nothing, `skip` leaves them out.
    pub(crate) conflict: OnConflict,
    /// What is done when the API server makes something else of an object (a webhook, a field that it does not know):
    /// `strict` (default) is a failure, `warn` only says so.
    pub(crate) verify: Verify,
    /// How much a plan shows: `some` (default) lines of each step, or `all`.
    pub(crate) show: Show,
}

fn default_wait() -> u64 {
    300
}

/// What is done with objects that exist.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Existing {
    /// They stay as they are.
    #[default]
    Skip,
    /// What the backup says is set; what it does not know stays.
    Update,
    /// They are deleted and created.
    Replace,
}

/// Which workloads are stopped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Stop {
    /// Those that use volumes that are restored.
    #[default]
    Volumes,
    /// All of the namespaces.
    All,
    /// None.
    None,
}

/// Whether workloads run in the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Start {
    /// They are started, and waited for.
    #[default]
    Yes,
    /// They are left stopped.
    No,
}

/// What is done with objects that can't be restored as asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum OnConflict {
    /// Nothing is restored.
    #[default]
    Fail,
    /// They are left out.
    Skip,
}

/// What is done when the API server makes something else of an object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verify {
    /// It is a failure.
    #[default]
    Strict,
    /// It is said.
    Warn,
}

/// How much a plan shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Show {
    /// Some lines of each step.
    #[default]
    Some,
    /// All.
    All,
}

impl Options {
    /// Reads what `--set` gave.
    pub(crate) fn read(options: &Value) -> Result<Self> {
        Node::options(options).parse()
    }

    /// How long rollouts are waited for.
    pub(crate) fn rollout_wait(&self) -> Duration {
        Duration::from_secs(self.wait)
    }

    /// How long a deletion or a new kind is waited for: without them nothing goes on.
    pub(crate) fn wait(&self) -> Duration {
        Duration::from_secs(self.wait.max(60))
    }
}

#[cfg(test)]
mod tests {
    use backup_core::words::ErrorKind;
    use serde_json::json;

    use super::*;

    #[test]
    fn options_have_defaults_and_unknown_ones_are_refused() {
        let options = Options::read(&Value::Null).unwrap();
        assert_eq!((options.existing, options.stop, options.wait), (Existing::Skip, Stop::Volumes, 300));
        let options =
            Options::read(&json!({"existing": "update", "include": ["secrets"], "wait": 5})).unwrap();
        assert_eq!((options.existing, options.rollout_wait().as_secs()), (Existing::Update, 5));
        for wrong in [json!({"exsting": "skip"}), json!({"existing": "overwrite"}), json!({"wait": -1})] {
            assert_eq!(Options::read(&wrong).unwrap_err().kind(), ErrorKind::Config);
        }
    }

    #[test]
    fn what_was_set_stands_in_the_plan_as_it_was_set() {
        let set = json!({"namespace": "a:b", "existing": "replace", "exclude": ["secrets"], "start": "no"});
        let kept = serde_json::to_value(Options::read(&set).unwrap()).unwrap();
        for (key, value) in set.as_object().unwrap() {
            assert_eq!(&kept[key], value);
        }
    }
}

//! `hooks = { before = [...], ... }`: commands around the runs of a job, or around all backups.

use std::{collections::BTreeMap, time::Duration};

use backup_core::{
    traits::Node,
    words::{Result, TimeLength},
};
use backup_monitor::hooks::Hooks;
use schemars::JsonSchema;
use serde::Deserialize;

use super::model::JobSection;

/// How long a command may take, if nothing else is said.
const USUAL: Duration = Duration::from_secs(300);

/// `hooks` of the file, or of a job.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct HooksSection {
    /// Before the run. Where one fails, the run does not begin.
    before: Commands,
    /// After a run that ended well (exit code 0).
    after: Commands,
    /// After a run that ended otherwise.
    on_failure: Commands,
    /// At last, however it ended.
    finally: Commands,
    /// How long each command may take. Default: 5min.
    timeout: Option<TimeLength>,
}

/// A program with its arguments, or several such.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Commands {
    /// ["systemctl", "stop", "crm"]
    One(Vec<String>),
    /// [["systemctl", "stop", "crm"], ["/usr/local/bin/ready"]]
    Several(Vec<Vec<String>>),
}

impl Default for Commands {
    fn default() -> Self {
        Self::Several(Vec::new())
    }
}

impl HooksSection {
    fn read(&self, node: &Node) -> Result<Hooks> {
        let timeout = self.timeout.and_then(|length| length.0.to_std().ok()).unwrap_or(USUAL);
        if timeout < Duration::from_secs(1) {
            return Err(node.error("timeout", "a command takes a second at least"));
        }
        Ok(Hooks {
            before: self.before.read(node, "before")?,
            after: self.after.read(node, "after")?,
            on_failure: self.on_failure.read(node, "on_failure")?,
            finally: self.finally.read(node, "finally")?,
            timeout,
        })
    }
}

impl Commands {
    fn read(&self, node: &Node, key: &str) -> Result<Vec<Vec<String>>> {
        let all = match self {
            Self::One(one) if one.is_empty() => Vec::new(),
            Self::One(one) => vec![one.clone()],
            Self::Several(several) => several.clone(),
        };
        match all.iter().any(|argv| argv.first().is_none_or(String::is_empty)) {
            true => Err(node.error(key, "there is no program").hint("write [\"program\", \"argument\"]")),
            false => Ok(all),
        }
    }
}

/// All hooks of a file.
#[derive(Clone, Debug, Default)]
pub(crate) struct AllHooks {
    backups: Option<Hooks>,
    jobs: BTreeMap<String, Hooks>,
}

impl AllHooks {
    /// # Errors
    /// With line and column.
    pub(super) fn new(root: &Node, common: Option<&HooksSection>, jobs: &[JobSection]) -> Result<Self> {
        let mut all = Self::default();
        if let (Some(section), Some(node)) = (common, root.get("hooks")) {
            all.backups = Some(section.read(&node)?);
        }
        let nodes = root.get("job").map(|list| list.items()).unwrap_or_default();
        for (job, node) in jobs.iter().zip(nodes) {
            if let (Some(section), Some(node)) = (&job.hooks, node.get("hooks")) {
                all.jobs.insert(job.name.clone(), section.read(&node)?);
            }
        }
        Ok(all)
    }

    /// Those around a run of `job`, the outer first: the file's are around backups only.
    pub(crate) fn around(&self, job: &str, backup: bool) -> Vec<Hooks> {
        self.backups.iter().filter(|_| backup).chain(self.jobs.get(job)).cloned().collect()
    }
}

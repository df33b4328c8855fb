//! Settings that belong to abilities which this version does not have: named as such, never passed over in silence.

use backup_core::{traits::Node, words::Result};

/// Top-level key, what it is about, what to do meanwhile.
const TOP: [(&str, &str, &str); 3] = [
    ("alerts", "alerts", "let cron or a monitor look at the exit code of `ha-backup backup`"),
    ("health", "health checks", "`ha-backup status` shows the newest session and its age"),
    ("log", "a log folder", "send standard error to a file"),
];
const JOB: [(&str, &str, &str); 1] =
    [("schedule", "schedules", "run `ha-backup backup --job NAME` from cron or a systemd timer")];
const STORE: [(&str, &str, &str); 2] = [
    ("required", "several stores", "this version has one store, which is always required"),
    ("retention", "retention of a store", "set [retention], or retention in a job"),
];

/// Fails on the first setting that this version does not support.
pub(crate) fn refuse(root: &Node) -> Result<()> {
    refuse_keys(root, &TOP)?;
    for job in items(root, "job") {
        refuse_keys(&job, &JOB)?;
        if let Some(run) = job.get("run").filter(|run| run.value() != "backup") {
            return Err(job
                .error("run", format!("jobs that run {} are not supported by this version", run.value()))
                .hint("call the verb itself from cron, such as `ha-backup verify --all`"));
        }
    }
    items(root, "store").iter().try_for_each(|store| refuse_keys(store, &STORE))
}

fn items(root: &Node, key: &str) -> Vec<Node> {
    root.get(key).map(|list| list.items()).unwrap_or_default()
}

fn refuse_keys(node: &Node, later: &[(&str, &str, &str)]) -> Result<()> {
    match later.iter().find(|(key, ..)| node.get(key).is_some()) {
        None => Ok(()),
        Some((key, what, instead)) => {
            Err(node.error(key, format!("{what}: not supported by this version")).hint(*instead))
        }
    }
}

//! Settings that belong to abilities which this version does not have: named as such, never passed over in silence.

use backup_core::{traits::Node, words::Result};

/// Top-level key, what it is about, what to do meanwhile.
const TOP: [(&str, &str, &str); 1] = [("log", "a log folder", "send standard error to a file")];
/// What jobs will run, and what to do meanwhile.
const RUN: [(&str, &str); 2] = [
    ("drill", "restore by hand now and then: `ha-backup restore SESSION COMPONENT --plan`"),
    ("prune-logs", "let logrotate, or `find FOLDER -mtime +90 -delete` in cron, remove old logs"),
];

/// Fails on the first setting that this version does not support.
pub(crate) fn refuse(root: &Node) -> Result<()> {
    refuse_keys(root, &TOP)?;
    for job in items(root, "job") {
        let run = job.get("run");
        let later = RUN.iter().find(|(name, _)| run.as_ref().is_some_and(|run| run.value() == name));
        if let Some((name, instead)) = later {
            return Err(job
                .error("run", format!("jobs that run {name}: not supported by this version"))
                .hint(*instead));
        }
    }
    Ok(())
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

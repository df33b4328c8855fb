//! Notifiers as a configuration makes them, and messages for them.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::sync::Arc;

use backup_core::{
    traits::{Context, Node},
    words::Result,
};
use backup_monitor::{Item, KINDS, Kind, Message, Notifier, Phase, Problem, Severity, Signal, Standing};
use serde_json::Value;

pub(crate) fn built(kind: &str, section: Value) -> Result<Arc<dyn Notifier>> {
    let kind = KINDS.iter().find(|known| known.kind == kind).expect("this build has the kind");
    (kind.build)("ops", &Node::new(section))
}

pub(crate) async fn send(kind: &str, section: Value, message: &Message) -> Result<()> {
    built(kind, section)?.send(&Context::new(), message).await
}

/// A problem of this severity, where it stands.
pub(crate) fn item(standing: Standing, severity: Severity) -> Item {
    let mut problem = Problem::new(Kind::Backup, severity, "backup full failed: <etcd> & \"postgres\"");
    problem.lines = vec!["etcd: no leader".to_owned(), "postgres: too many clients ✗".to_owned()];
    problem.hint = Some("look at etcd".to_owned());
    problem.job = Some("full".to_owned());
    problem.session = Some("backup_20260108_020000".to_owned());
    let since = "2026-01-08T02:00:00Z".parse().unwrap();
    Item { fingerprint: "backup/full".to_owned(), standing, since, problem }
}

pub(crate) fn message(alerts: Vec<Item>) -> Message {
    Message {
        name: "crm".to_owned(),
        host: "db1".to_owned(),
        at: "2026-01-08T02:10:00Z".parse().unwrap(),
        alerts,
        held: 0,
        signal: None,
    }
}

/// A new critical problem.
pub(crate) fn failed() -> Message {
    message(vec![item(Standing::New, Severity::Critical)])
}

/// It is over.
pub(crate) fn resolved() -> Message {
    message(vec![item(Standing::Resolved, Severity::Critical)])
}

/// A run is there.
pub(crate) fn signal(phase: Phase) -> Message {
    let run = "7f2c9e0a-1b2c-4d3e-8f90-0123456789ab".to_owned();
    let (kind, job, text) = (Kind::Backup, "full".to_owned(), "backup full ended".to_owned());
    Message { signal: Some(Signal { kind, job, run, phase, text }), ..message(Vec::new()) }
}

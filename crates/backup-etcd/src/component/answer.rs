//! Whether the restored cluster answers, is the restored one, and all its members hold the same.

use std::time::Duration;

use backup_core::{
    traits::{Context, Restored},
    words::{ComponentRecord, Result},
};

use super::{commands::printed_start, options::Understood};
use crate::live::Connector;

/// How long the new cluster may take to answer after `restore.start`.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often it is looked for meanwhile.
const AGAIN: Duration = Duration::from_secs(1);

/// Looks for the new cluster at its endpoints, for a while when `patient`; when it is not there, says what to do.
pub(super) async fn wait(
    cx: &Context,
    connector: &Connector,
    understood: &Understood,
    record: &ComponentRecord,
    revision: u64,
    patient: bool,
) -> Result<Restored> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let missing = match look(connector, understood, revision).await? {
            Look::Good(summary) => return Ok(Restored::done(summary)),
            Look::NotYet(missing) => missing,
        };
        if !patient || tokio::time::Instant::now() >= deadline {
            return Ok(Restored::Waiting { instructions: instructions(understood, record, &missing)? });
        }
        cx.or_cancelled("wait for etcd", async {
            tokio::time::sleep(AGAIN).await;
            Ok(())
        })
        .await?;
    }
}

enum Look {
    Good(String),
    /// What is missing.
    NotYet(String),
}

async fn look(connector: &Connector, understood: &Understood, revision: u64) -> Result<Look> {
    let expected = understood.cluster()?.id();
    let mut members = Vec::new();
    for (endpoint, status) in connector.statuses(&understood.endpoints).await {
        let member = match status {
            Ok(member) => member,
            Err(error) => return Ok(Look::NotYet(error.chain())),
        };
        if member.cluster_id != expected {
            return Ok(Look::NotYet(format!(
                "{endpoint} belongs to cluster {:x}; the restored one is {expected:x}",
                member.cluster_id
            )));
        }
        if !member.has_leader || member.revision < revision {
            return Ok(Look::NotYet(format!(
                "{endpoint} is at revision {} and has no leader yet",
                member.revision
            )));
        }
        members.push(member);
    }
    let Some(first) = members.first() else { return Ok(Look::NotYet("no endpoints are known".to_owned())) };
    let mut hashes = Vec::new();
    for member in &members {
        match connector.hash_kv(&member.endpoint, revision).await {
            Ok(hash) => hashes.push(hash),
            Err(error) => return Ok(Look::NotYet(error.chain())),
        }
    }
    if hashes.iter().any(|hash| *hash != hashes[0]) {
        return Ok(Look::NotYet(format!("the members do not hold the same keys yet (hashes {hashes:?})")));
    }
    Ok(Look::Good(format!(
        "etcd {} answers at {}, revision {}, the same keys on {} members (hash {})",
        first.version,
        understood.endpoints.join(", "),
        first.revision,
        members.len(),
        hashes[0].0
    )))
}

fn instructions(understood: &Understood, record: &ComponentRecord, missing: &str) -> Result<Vec<String>> {
    let mut instructions = vec![format!("the restored etcd does not answer yet: {missing}")];
    instructions.push("stop etcd on every member (systemctl stop etcd)".to_owned());
    for (name, dir) in &understood.dirs {
        instructions.push(format!(
            "bring {} to the host of {name} as its data directory, owned by the user that etcd runs as",
            dir.display()
        ));
    }
    instructions.push("start each member; by hand that is:".to_owned());
    instructions.extend(printed_start(record, understood)?);
    instructions.push(format!(
        "then run the same restore again: it goes on here and looks for etcd at {}",
        understood.endpoints.join(", ")
    ));
    Ok(instructions)
}

//! Whether the restored cluster answers, is the restored one, and all its members hold the same.

use std::time::Duration;

use backup_core::{
    traits::{Context, Restored},
    words::{ComponentRecord, Result},
};

use super::{commands::printed_start, options::Understood};
use crate::live::{Connector, MemberStatus};

/// How long the new cluster may take to answer after `restore.start`.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long a cluster that answers may take to elect a leader and to agree.
const TO_AGREE: Duration = Duration::from_secs(15);
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
    let begun = tokio::time::Instant::now();
    loop {
        let (missing, limit) = match look(connector, understood, revision).await? {
            Look::Good(summary) => return Ok(Restored::done(summary)),
            Look::Disagrees(missing) => (missing, if patient { PATIENCE } else { TO_AGREE }),
            Look::Absent(missing) => (missing, if patient { PATIENCE } else { Duration::ZERO }),
        };
        if begun.elapsed() >= limit {
            return Ok(Restored::Waiting { instructions: instructions(understood, record, &missing)? });
        }
        cx.or_cancelled("wait for etcd", async {
            tokio::time::sleep(AGAIN).await;
            Ok(())
        })
        .await?;
    }
}

/// What is to be seen of the new cluster; what is missing.
enum Look {
    Good(String),
    /// All members answer, but they are not of one mind yet.
    Disagrees(String),
    /// A member does not answer, or is not the restored one.
    Absent(String),
}

async fn look(connector: &Connector, understood: &Understood, revision: u64) -> Result<Look> {
    let expected = understood.cluster()?.id();
    let mut members = Vec::new();
    for (endpoint, status) in connector.statuses(&understood.endpoints).await {
        match status {
            Ok(member) if member.cluster_id == expected => members.push(member),
            Ok(member) => {
                return Ok(Look::Absent(format!(
                    "{endpoint} belongs to cluster {:x}; the restored one is {expected:x}",
                    member.cluster_id
                )));
            }
            Err(error) => return Ok(Look::Absent(error.chain())),
        }
    }
    if let Some(member) = members.iter().find(|member| member.revision < revision) {
        let (endpoint, at) = (&member.endpoint, member.revision);
        return Ok(Look::Absent(format!(
            "{endpoint} is at revision {at}, the restored data at {revision}: it runs on another data directory"
        )));
    }
    if let Some(member) = members.iter().find(|member| !member.has_leader) {
        return Ok(Look::Disagrees(format!("{} has no leader yet", member.endpoint)));
    }
    let Some(first) = members.first() else { return Ok(Look::Absent("no endpoints are known".to_owned())) };
    match hashes(connector, &members, revision).await {
        Ok(hashes) if hashes.iter().all(|hash| *hash == hashes[0]) => Ok(Look::Good(format!(
            "etcd {} answers at {}, revision {}, the same keys on {} members (hash {})",
            first.version,
            understood.endpoints.join(", "),
            first.revision,
            members.len(),
            hashes[0].0
        ))),
        Ok(hashes) => Ok(Look::Disagrees(format!("the members do not hold the same keys: {hashes:?}"))),
        Err(error) => Ok(Look::Disagrees(error.chain())),
    }
}

/// Each member's hash over its keys, and the revision it has compacted.
async fn hashes(connector: &Connector, members: &[MemberStatus], revision: u64) -> Result<Vec<(u32, i64)>> {
    // etcd 3.5 gives no hash at the compacted revision itself, which the restored one is: only of the latest (0).
    let common = members.iter().map(|member| member.revision).min().filter(|common| *common > revision);
    let asked = members.iter().map(|member| connector.hash_kv(&member.endpoint, common.unwrap_or(0)));
    futures::future::try_join_all(asked).await
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
    instructions.push(format!("the restore then looks for etcd at {}", understood.endpoints.join(", ")));
    Ok(instructions)
}

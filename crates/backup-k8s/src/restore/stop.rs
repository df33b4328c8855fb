//! Stopping the workloads that would write into what is restored.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use backup_core::{
    traits::{Journal, Phase, Restored, Step},
    words::{Error, ErrorKind, Result},
};
use futures::StreamExt;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{
    live,
    options::Stop,
    pods, send,
    stopped::{self, Before},
    survey::Ground,
    tally::name,
    work::{Work, Workload, from_value, to_value},
};
use crate::cluster::ResourceKind;

/// The step's id.
pub(super) const STEP: &str = "stop";
/// What its journal keeps: how each workload ran.
pub(super) const BEFORE: &str = "before";

/// How workloads ran, by `RESOURCE NAMESPACE/NAME`.
pub(super) type Ran = BTreeMap<String, Before>;

/// What is restored into volumes, and must not be written meanwhile.
#[derive(Clone, Debug, Default)]
pub(super) struct Filled {
    /// Claims, as `NAMESPACE/NAME`.
    pub(super) claims: BTreeSet<String>,
    /// Folders of nodes.
    pub(super) hosts: Vec<String>,
}

/// Kinds that can be stopped. What makes others comes before them.
pub(super) fn kinds() -> [ResourceKind; 7] {
    let kind =
        |group, kind: &str| ResourceKind::new(group, "v1", kind, &format!("{}s", kind.to_lowercase()), true);
    [
        kind("batch", "CronJob"),
        kind("batch", "Job"),
        kind("apps", "Deployment"),
        kind("apps", "StatefulSet"),
        kind("apps", "DaemonSet"),
        kind("apps", "ReplicaSet"),
        kind("", "ReplicationController"),
    ]
}

/// The step that stops what would fight the restore; none when nothing does.
pub(super) async fn plan(ground: &Ground<'_>, filled: &Filled) -> Result<Option<Step>> {
    let stop = ground.wish.options.stop;
    if stop == Stop::None || (stop == Stop::Volumes && filled.claims.is_empty() && filled.hosts.is_empty()) {
        return Ok(None);
    }
    let mut workloads = Vec::new();
    let mut lines = Vec::new();
    for kind in kinds() {
        for namespace in ground.targets().into_iter().filter(|name| !ground.fresh.contains(*name)) {
            let mut objects = live::objects(ground.cluster, &kind, Some(namespace));
            while let Some(object) = objects.next().await {
                let object = object?;
                let fights = stop == Stop::All || pods::uses(&kind, &object, filled);
                if !fights || is_made(&kind, &object) {
                    continue;
                }
                let Some(before) = stopped::before(&object).or_else(|| Before::of(&kind.kind, &object))
                else {
                    continue;
                };
                if before.is_still() {
                    continue;
                }
                let key = super::backup::key(&object);
                lines.push(format!("- stop {}: {}", name(&kind, &key), before.shown()));
                let uid = object.pointer("/metadata/uid").and_then(Value::as_str).unwrap_or_default();
                workloads.push(Workload { kind: kind.clone(), key: key.into(), uid: uid.to_owned() });
            }
        }
    }
    if workloads.is_empty() {
        return Ok(None);
    }
    let subject = format!("{} workloads of {}", workloads.len(), ground.targets().join(", "));
    let saw = saw(&workloads);
    let work = to_value(&Work::Stop { workloads })?;
    let step = Step::new(STEP, Phase::Stop, "stop", subject).saw(saw).diff(lines.join("\n"));
    Ok(Some(step.arguments(work)))
}

/// A workload that another one makes is stopped with that.
fn is_made(kind: &ResourceKind, object: &Value) -> bool {
    let owners = object.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    let by = |owner: &Value| owner["controller"] == true && owner["kind"] == "Deployment";
    kind.kind == "ReplicaSet" && owners.into_iter().flatten().any(by)
}

fn saw(workloads: &[Workload]) -> String {
    let mut hash = Sha256::new();
    for workload in workloads {
        hash.update(format!("{} {} {}\n", workload.kind.resource(), workload.key, workload.uid));
    }
    let hash = super::normal::short(hash);
    format!("{} workloads; {:032x}", workloads.len(), u128::from_le_bytes(hash))
}

/// How each workload ran before an earlier or this run of the step stopped it.
pub(super) fn ran(value: Option<Value>) -> Result<Ran> {
    value.map_or_else(|| Ok(Ran::new()), |value| from_value(&value, "the journal"))
}

/// Its name in the journal.
pub(super) fn label(workload: &Workload) -> String {
    format!("{} {}", workload.kind.resource(), workload.key)
}

/// Stops workloads and waits until their pods are gone. How they ran stands in the journal before the first is touched.
pub(super) async fn apply(
    ground: &Ground<'_>,
    workloads: &[Workload],
    journal: &dyn Journal,
) -> Result<Restored> {
    let mut ran = ran(journal.recall(BEFORE))?;
    let mut there = Vec::new();
    for workload in workloads {
        let get = || live::get(ground.cluster, &workload.kind, &workload.key);
        let object = ground.patience().keep("look at the workload", get).await?;
        let uid = object.as_ref().and_then(|object| object.pointer("/metadata/uid")?.as_str());
        match object.as_ref().filter(|_| uid == Some(&workload.uid)) {
            Some(object) => {
                if let Some(before) =
                    stopped::before(object).or_else(|| Before::of(&workload.kind.kind, object))
                {
                    // What was written down first is how it ran: later it may be stopped already.
                    ran.entry(label(workload)).or_insert(before);
                }
                there.push((workload, object.clone()));
            }
            None => {
                return Err(Error::new(ErrorKind::Conflict, "stop", name(&workload.kind, &workload.key))
                    .detail("it is not the one that the plan saw")
                    .hint("begin the restore anew with --no-resume: it plans again"));
            }
        }
    }
    journal.record(BEFORE, to_value(&ran)?).await?;
    for (workload, object) in &there {
        let before = &ran[&label(workload)];
        if stopped::before(object).is_none() && !before.is_still() {
            let stop =
                || send::patch(ground.cluster, &workload.kind, &workload.key, &workload.uid, before.stop());
            ground.patience().keep("stop", stop).await?;
        }
    }
    wait_gone(ground, &there).await?;
    Ok(Restored::done(format!(
        "{} workloads stopped; how they ran is in the journal, and in their annotation {}",
        there.len(),
        stopped::MARK
    )))
}

async fn wait_gone(ground: &Ground<'_>, workloads: &[(&Workload, Value)]) -> Result<()> {
    let begun = Instant::now();
    for (workload, object) in workloads {
        loop {
            let left = pods::running(ground, &workload.kind, object).await?;
            if left.is_empty() {
                break;
            }
            if begun.elapsed() > ground.wish.options.wait() {
                return Err(Error::new(ErrorKind::TimedOut, "stop", name(&workload.kind, &workload.key))
                    .detail(format!(
                        "after {} s there still is {}",
                        begun.elapsed().as_secs(),
                        left.join(", ")
                    ))
                    .hint("the same command waits again; nothing was restored yet"));
            }
            let sleep = async {
                tokio::time::sleep(Duration::from_millis(300)).await;
                Ok(())
            };
            ground.cx.or_cancelled("stop", sleep).await?;
        }
    }
    Ok(())
}

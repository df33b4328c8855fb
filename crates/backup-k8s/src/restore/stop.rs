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
    backup::{Key, key},
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

impl Filled {
    fn is_empty(&self) -> bool {
        self.claims.is_empty() && self.hosts.is_empty()
    }
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

/// The step that stops what would fight the restore, if anything does; and what can't be stopped.
pub(super) async fn plan(ground: &Ground<'_>, filled: &Filled) -> Result<(Option<Step>, Vec<String>)> {
    let stop = ground.wish.options.stop;
    let mut notes = Vec::new();
    if stop == Stop::None || (stop == Stop::Volumes && filled.is_empty()) {
        return Ok((None, notes));
    }
    let mut workloads = Vec::new();
    let mut lines = Vec::new();
    let pods = ResourceKind::new("", "v1", "Pod", "pods", true);
    for kind in kinds().into_iter().chain([pods]) {
        for namespace in ground.targets().into_iter().filter(|name| !ground.fresh.contains(*name)) {
            for (object, key) in fighting(ground, &kind, namespace, filled).await? {
                let name = name(&kind, &key);
                let now = stopped::before(&object).or_else(|| Before::of(&kind.kind, &object));
                let Some(before) = now else {
                    notes.push(format!("{name} writes where files go and can't be stopped: delete it first"));
                    continue;
                };
                if before.is_still() {
                    continue;
                }
                if let Some(owner) = controller(&object) {
                    notes.push(format!("{name} is stopped, and its {owner} may start it again at once"));
                }
                lines.push(format!("- stop {name}: {}", before.shown()));
                let uid = object.pointer("/metadata/uid").and_then(Value::as_str).unwrap_or_default();
                workloads.push(Workload { kind: kind.clone(), key: key.into(), uid: uid.to_owned() });
            }
        }
    }
    if workloads.is_empty() {
        return Ok((None, notes));
    }
    let subject = format!("{} workloads of {}", workloads.len(), ground.targets().join(", "));
    let saw = saw(&workloads);
    let work = to_value(&Work::Stop { workloads })?;
    let step = Step::new(STEP, Phase::Stop, "stop", subject).saw(saw).diff(lines.join("\n"));
    Ok((Some(step.arguments(work)), notes))
}

/// Objects of a kind that would write while the restore does, with their keys.
async fn fighting(
    ground: &Ground<'_>,
    kind: &ResourceKind,
    namespace: &str,
    filled: &Filled,
) -> Result<Vec<(Value, Key)>> {
    // A pod of its own is left running unless it writes there itself.
    let all = ground.wish.options.stop == Stop::All && kind.kind != "Pod";
    let look = || async {
        let mut found = Vec::new();
        let mut objects = live::objects(ground.cluster, kind, Some(namespace));
        while let Some(object) = objects.next().await {
            let object = object?;
            let made =
                if kind.kind == "Pod" { controller(&object).is_some() } else { is_made(kind, &object) };
            if !made && !has_ended(kind, &object) && (all || pods::uses(kind, &object, filled)) {
                let key = key(&object);
                found.push((object, key));
            }
        }
        Ok(found)
    };
    match ground.patience().keep("look for workloads", look).await {
        // What may not be seen can't be stopped either; the check lists the right.
        Err(error) if error.kind() == ErrorKind::Denied => Ok(Vec::new()),
        found => found,
    }
}

/// Whether it runs no more, whatever is asked of it.
fn has_ended(kind: &ResourceKind, object: &Value) -> bool {
    match kind.kind.as_str() {
        "Pod" => {
            matches!(object.pointer("/status/phase").and_then(Value::as_str), Some("Succeeded" | "Failed"))
        }
        "Job" => object.pointer("/status/completionTime").is_some(),
        _ => false,
    }
}

/// "Job x" when that makes the object.
fn controller(object: &Value) -> Option<String> {
    let owners = object.pointer("/metadata/ownerReferences")?.as_array()?;
    let owner = owners.iter().find(|owner| owner["controller"] == true)?;
    Some(format!("{} {}", owner["kind"].as_str()?, owner["name"].as_str()?))
}

/// A workload that another one makes is stopped with that.
fn is_made(kind: &ResourceKind, object: &Value) -> bool {
    kind.kind == "ReplicaSet" && controller(object).is_some_and(|owner| owner.starts_with("Deployment "))
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

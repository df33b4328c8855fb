//! Workloads run again: what was stopped is started, what was created is waited for.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use backup_core::{
    traits::{Journal, Phase, Restored, Step},
    words::{Error, ErrorKind, Result},
};
use futures::{StreamExt, TryStreamExt};
use serde_json::Value;

use super::{
    group::Group,
    live, objects,
    options::Start,
    pods, send, stop,
    stopped::{self, Before},
    survey::{Ground, Item, There},
    tally::name,
    work::{Work, Workload, to_value},
};
use crate::cluster::ResourceKind;

/// The step's id.
pub(super) const STEP: &str = "started";
/// What its journal keeps: what it starts, and how.
const STARTING: &str = "starting";
/// How many workloads that are not ready are named.
const MOST: usize = 10;

/// The step.
pub(super) fn plan(ground: &Ground<'_>) -> Result<Step> {
    let options = &ground.wish.options;
    let (action, subject) = match (options.start, options.wait) {
        (Start::No, _) => ("leave", "the workloads stopped".to_owned()),
        (Start::Yes, 0) => ("start", "what was stopped, and wait for nothing".to_owned()),
        (Start::Yes, wait) => (
            "start",
            format!("what was stopped, and wait up to {wait} s for its pods and those of new workloads"),
        ),
    };
    Ok(Step::new(STEP, Phase::Start, action, subject).arguments(to_value(&Work::Started)?))
}

/// Starts what was stopped, and waits for rollouts.
pub(super) async fn apply(ground: &Ground<'_>, journal: &dyn Journal) -> Result<Restored> {
    let mut watched = applied(ground, journal).await?;
    let ran = stop::ran(journal.recall_from(stop::STEP, stop::BEFORE))?;
    let marked = marked(ground).await?;
    if ground.wish.options.start == Start::No {
        let notes =
            marked.iter().map(|(workload, before)| by_hand(workload, before)).take(MOST * 5).collect();
        return Ok(Restored::Done { summary: format!("{} workloads are left stopped", marked.len()), notes });
    }
    let begun = journal.recall(STARTING);
    let mut starting = stop::ran(begun.clone())?;
    starting.extend(marked.iter().map(|(workload, before)| (stop::label(workload), before.clone())));
    if begun.is_none() {
        // Those without a mark, which somebody took away: the journal knows how they ran.
        starting.extend(ran.into_iter().filter(|(label, _)| !watched.contains_key(label)));
    }
    // Once they are started nothing in the cluster says which they were.
    journal.record(STARTING, to_value(&starting)?).await?;
    for (workload, before) in &marked {
        start(ground, workload, before).await?;
    }
    for (label, before) in starting.iter().filter(|(label, _)| begun.is_none() && !is_marked(&marked, label))
    {
        restart(ground, label, before).await?;
    }
    let started = starting.len();
    watched.extend(starting.into_keys().filter_map(|label| Some((label.clone(), of_label(&label)?))));
    let waited = wait(ground, watched.into_values().collect()).await?;
    Ok(Restored::done(match ground.wish.options.wait {
        0 => format!("{started} workloads started; nothing was waited for"),
        _ => format!("{started} workloads started, {waited} rollouts complete"),
    }))
}

fn is_marked(marked: &[(Workload, Before)], label: &str) -> bool {
    marked.iter().any(|(workload, _)| stop::label(workload) == label)
}

/// The workload with this label, whichever object that is now.
fn of_label(label: &str) -> Option<Workload> {
    let (resource, key) = label.split_once(' ')?;
    let kind = stop::kinds().into_iter().find(|kind| kind.resource() == resource)?;
    Some(Workload { kind, key: key.to_owned(), uid: String::new() })
}

/// Workloads that this restore wrote, by their label.
async fn applied(ground: &Ground<'_>, journal: &dyn Journal) -> Result<BTreeMap<String, Workload>> {
    let writes =
        objects::begun(journal.recall_from(Group::Workloads.name(), objects::BEGUN))?.unwrap_or_default();
    let mut workloads = BTreeMap::new();
    for kind in stop::kinds() {
        let Some(kind) = ground.backup.kinds.iter().find(|known| known.resource() == kind.resource()) else {
            continue;
        };
        let Some(numbers) = writes.get(&kind.resource()) else { continue };
        let none = There::default();
        let mut items = std::pin::pin!(ground.look(kind, &none).await?);
        let mut number = 0;
        while let Some(item) = items.try_next().await? {
            if let (true, Item::Seen(seen)) = (numbers.has(number), item) {
                let key = String::from(seen.wanted.key);
                let workload = Workload { kind: kind.clone(), key, uid: String::new() };
                workloads.insert(stop::label(&workload), workload);
            }
            number += 1;
        }
    }
    Ok(workloads)
}

/// Workloads of the namespaces that carry our mark, of this restore or of one that was given up.
async fn marked(ground: &Ground<'_>) -> Result<Vec<(Workload, Before)>> {
    let mut marked = Vec::new();
    for kind in stop::kinds() {
        for namespace in ground.targets() {
            let read = || async {
                let mut found = Vec::new();
                let mut objects = live::objects(ground.cluster, &kind, Some(namespace));
                while let Some(object) = objects.next().await {
                    let object = object?;
                    if let Some(before) = stopped::before(&object) {
                        let uid = object.pointer("/metadata/uid").and_then(Value::as_str).unwrap_or_default();
                        let key = super::backup::key(&object).into();
                        found.push((Workload { kind: kind.clone(), key, uid: uid.to_owned() }, before));
                    }
                }
                Ok(found)
            };
            match ground.patience().keep("look for what was stopped", read).await {
                // What may not be seen was not stopped by us.
                Err(error) if error.kind() == ErrorKind::Denied => {}
                found => marked.extend(found?),
            }
        }
    }
    Ok(marked)
}

async fn start(ground: &Ground<'_>, workload: &Workload, before: &Before) -> Result<()> {
    let patch = || send::patch(ground.cluster, &workload.kind, &workload.key, &workload.uid, before.start());
    ground.patience().keep("start", patch).await.map(drop)
}

async fn restart(ground: &Ground<'_>, label: &str, before: &Before) -> Result<()> {
    let Some(mut workload) = of_label(label) else { return Ok(()) };
    let get = || live::get(ground.cluster, &workload.kind, &workload.key);
    let Some(object) = ground.patience().keep("look at the workload", get).await? else { return Ok(()) };
    let still = Before::of(&workload.kind.kind, &object).is_some_and(|now| now.is_still());
    workload.uid = object.pointer("/metadata/uid").and_then(Value::as_str).unwrap_or_default().to_owned();
    if still { start(ground, &workload, before).await } else { Ok(()) }
}

/// The command that starts a workload by hand.
fn by_hand(workload: &Workload, before: &Before) -> String {
    let (namespace, name) = workload.key.split_once('/').unwrap_or_default();
    format!(
        "kubectl -n {namespace} patch {} {name} --type=merge -p '{}'",
        workload.kind.resource(),
        before.start()
    )
}

/// Waits until the pods of workloads are ready; how many had pods to wait for.
async fn wait(ground: &Ground<'_>, mut workloads: Vec<Workload>) -> Result<usize> {
    let limit = ground.wish.options.rollout_wait();
    workloads.retain(|workload| is_rolled_out(&workload.kind));
    let all = workloads.len();
    if limit.is_zero() {
        return Ok(0);
    }
    let begun = Instant::now();
    loop {
        let mut waiting = Vec::new();
        let mut left = Vec::new();
        for workload in workloads {
            let get = || live::get(ground.cluster, &workload.kind, &workload.key);
            // One that somebody deleted meanwhile is not waited for.
            let Some(object) = ground.patience().keep("look at the workload", get).await? else { continue };
            if let Some(how_far) = how_far(&workload.kind, &object) {
                waiting.push((how_far, object));
                left.push(workload);
            }
        }
        if left.is_empty() {
            return Ok(all);
        }
        if begun.elapsed() > limit {
            return Err(not_ready(ground, &left, &waiting).await);
        }
        workloads = left;
        let sleep = async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            Ok(())
        };
        ground.cx.or_cancelled("wait for the rollouts", sleep).await?;
    }
}

fn is_rolled_out(kind: &ResourceKind) -> bool {
    ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController"]
        .contains(&kind.kind.as_str())
}

/// "1 of 3 pods ready"; none when the workload runs as it should.
fn how_far(kind: &ResourceKind, object: &Value) -> Option<String> {
    let number = |pointer: &str| object.pointer(pointer).and_then(Value::as_u64);
    let seen = number("/status/observedGeneration") >= number("/metadata/generation");
    let (wanted, updated, ready) = match kind.kind.as_str() {
        "DaemonSet" => {
            let wanted = number("/status/desiredNumberScheduled").unwrap_or(0);
            (wanted, number("/status/updatedNumberScheduled"), number("/status/numberReady"))
        }
        "Deployment" => (
            number("/spec/replicas").unwrap_or(1),
            number("/status/updatedReplicas"),
            number("/status/availableReplicas"),
        ),
        "StatefulSet" => {
            let partial = object.pointer("/spec/updateStrategy/type").and_then(Value::as_str)
                == Some("OnDelete")
                || number("/spec/updateStrategy/rollingUpdate/partition").unwrap_or(0) > 0;
            let updated = if partial { number("/spec/replicas") } else { number("/status/updatedReplicas") };
            (number("/spec/replicas").unwrap_or(1), updated, number("/status/readyReplicas"))
        }
        _ => {
            let wanted = number("/spec/replicas").unwrap_or(1);
            (wanted, Some(wanted), number("/status/readyReplicas"))
        }
    };
    let (updated, ready) = (updated.unwrap_or(0), ready.unwrap_or(0));
    let paused = object.pointer("/spec/paused").and_then(Value::as_bool) == Some(true);
    if seen && ready >= wanted && (updated >= wanted || paused) {
        return None;
    }
    Some(format!("{} of {wanted} pods ready", ready.min(updated)))
}

async fn not_ready(ground: &Ground<'_>, left: &[Workload], waiting: &[(String, Value)]) -> Error {
    let mut lines = Vec::new();
    for (workload, (how_far, object)) in left.iter().zip(waiting).take(MOST) {
        let troubles = pods::troubles(ground, &workload.kind, object).await.unwrap_or_default();
        let why = if troubles.is_empty() { String::new() } else { format!(" ({})", troubles.join("; ")) };
        lines.push(format!("{}: {how_far}{why}", name(&workload.kind, &workload.key)));
    }
    if left.len() > MOST {
        lines.push(format!("and {} more", left.len() - MOST));
    }
    Error::new(ErrorKind::TimedOut, "wait for the rollouts", format!("{} workloads", left.len()))
        .detail(format!("after {} s: {}", ground.wish.options.wait, lines.join("; ")))
        .hint("all objects are there; mend what keeps the pods from being ready, then the same command waits again and goes on (--set wait=SECONDS, with --no-resume, for longer; 0 waits for nothing)")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn kind(kind: &str) -> ResourceKind {
        ResourceKind::new("apps", "v1", kind, "", true)
    }

    #[test]
    fn a_rollout_is_complete_when_the_new_pods_are_ready() {
        let deployment = |generation: u64, updated: u64, ready: u64| {
            json!({"metadata": {"generation": 2}, "spec": {"replicas": 3},
                "status": {"observedGeneration": generation, "updatedReplicas": updated, "availableReplicas": ready}})
        };
        assert_eq!(how_far(&kind("Deployment"), &deployment(2, 3, 3)), None);
        assert!(how_far(&kind("Deployment"), &deployment(1, 3, 3)).is_some());
        assert_eq!(how_far(&kind("Deployment"), &deployment(2, 1, 3)).as_deref(), Some("1 of 3 pods ready"));
        let none = json!({"metadata": {"generation": 1}, "spec": {"replicas": 0}, "status": {"observedGeneration": 1}});
        assert_eq!(how_far(&kind("StatefulSet"), &none), None);
        let new = json!({"metadata": {"generation": 1}, "spec": {}});
        assert_eq!(how_far(&kind("DaemonSet"), &new).as_deref(), Some("0 of 0 pods ready"));
    }

    #[test]
    fn a_person_can_start_what_was_left_stopped() {
        let workload = Workload { kind: kind("Deployment"), key: "n/web".into(), uid: "u".into() };
        let command = by_hand(&workload, &Before::Replicas(2));
        assert!(command.starts_with("kubectl -n n patch"), "{command}");
        assert!(command.contains("\"replicas\":2") && command.contains("null"), "{command}");
    }
}

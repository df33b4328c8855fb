//! Which replica of now gets the files of which replica of then.

use std::time::Duration;

use backup_core::{
    traits::Context,
    words::{Error, ErrorKind, Result},
};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::{
    facts::PodFacts,
    pods::{self, Owner, PodInfo},
};
use crate::cluster::Cluster;

/// How long a replica is waited for; the restore has waited for the rollout before.
const WAIT: Duration = Duration::from_secs(120);

/// A replica of the target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Replica {
    pub(super) namespace: String,
    /// Its name as far as it is known when planning.
    pub(super) pod: String,
    /// Whose it is; its name alone counts when it is nobody's.
    pub(super) owner: Option<Owner>,
    /// Its number in a StatefulSet.
    pub(super) ordinal: Option<u64>,
    /// Its place among the owner's pods in the order of their names.
    pub(super) index: usize,
}

/// The place of a captured pod among those of its owner, in the order of their names.
pub(super) fn index(pod: &PodFacts, all: &[PodFacts]) -> usize {
    all.iter()
        .filter(|other| {
            other.namespace == pod.namespace
                && other.owner == pod.owner
                && other.owner.is_some()
                && other.pod < pod.pod
        })
        .count()
}

/// The replica that gets the files of `pod`: that of the same number in a StatefulSet, else the one at the same place in the order
/// of names, else the one of the same name. None when there is none and `makes` says that none comes.
pub(super) fn find(
    namespace: &str,
    pod: &PodFacts,
    index: usize,
    live: &[PodInfo],
    makes: &dyn Fn(&str, &str) -> bool,
) -> Option<Replica> {
    let replica = |name: String| Replica {
        namespace: namespace.to_owned(),
        pod: name,
        owner: pod.owner.clone(),
        ordinal: pod.ordinal,
        index,
    };
    let Some(owner) = &pod.owner else {
        let is_there = live.iter().any(|live| live.name == pod.pod) || makes("Pod", &pod.pod);
        return is_there.then(|| replica(pod.pod.clone()));
    };
    if let Some(ordinal) = pod.ordinal {
        let name = format!("{}-{ordinal}", owner.name);
        let is_there = live.iter().any(|live| live.name == name) || makes(&owner.kind, &owner.name);
        return is_there.then(|| replica(name));
    }
    match of(live, owner).nth(index) {
        Some(live) => Some(replica(live.name.clone())),
        None if makes(&owner.kind, &owner.name) => {
            Some(replica(format!("pod {} of {} {}", index + 1, owner.kind, owner.name)))
        }
        None => None,
    }
}

/// An owner's pods that stay, in the order of their names.
fn of<'a>(live: &'a [PodInfo], owner: &'a Owner) -> impl Iterator<Item = &'a PodInfo> {
    let stays = |pod: &&PodInfo| {
        pod.owner.as_ref() == Some(owner)
            && !pod.is_leaving
            && !matches!(pod.phase.as_str(), "Succeeded" | "Failed")
    };
    live.iter().filter(stays)
}

/// The running pod of now that a replica is.
pub(super) async fn wait(
    cx: &Context,
    cluster: &Cluster,
    replica: &Replica,
    container: &str,
) -> Result<PodInfo> {
    let until = Instant::now() + WAIT;
    loop {
        let pods = cx.or_cancelled("look for a pod", pods::list(cluster, &replica.namespace, None)).await?;
        let found = match &replica.owner {
            Some(owner) if replica.ordinal.is_none() => of(&pods, owner).nth(replica.index),
            _ => pods.iter().find(|pod| pod.name == replica.pod && !pod.is_leaving),
        };
        if let Some(pod) = found
            && pod.container(Some(container))?.is_running
        {
            return Ok(pod.clone());
        }
        if Instant::now() >= until {
            let subject = format!("pod {}/{}", replica.namespace, replica.pod);
            return Err(Error::new(ErrorKind::NotFound, "bring files to", subject)
                .detail(format!("it does not run, or its container {container} does not"))
                .hint("when it runs, the same command goes on with this step"));
        }
        let pause = async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            Ok(())
        };
        cx.or_cancelled("wait for a pod", pause).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(pod: &str, owner: Option<(&str, &str)>, ordinal: Option<u64>) -> PodFacts {
        PodFacts {
            namespace: "n".into(),
            pod: pod.into(),
            folder: pod.into(),
            container: "c".into(),
            owner: owner.map(|(kind, name)| Owner { kind: kind.into(), name: name.into() }),
            ordinal,
            node: None,
            method: "tar".into(),
            counts: crate::files::facts::Counts::default(),
            roots: Vec::new(),
        }
    }

    fn live(name: &str, owner: Option<(&str, &str)>) -> PodInfo {
        let owners = owner.map(|(kind, name)| {
            serde_json::json!([{"apiVersion": "v1", "kind": kind, "name": name, "uid": "u", "controller": true}])
        });
        let pod = serde_json::json!({"metadata": {"name": name, "namespace": "n", "ownerReferences": owners}, "spec": {"containers": []}});
        PodInfo::from_json(pod)
    }

    fn found(pod: &PodFacts, index: usize, pods: &[PodInfo], makes: bool) -> Option<String> {
        find("n", pod, index, pods, &|_, _| makes).map(|replica| replica.pod)
    }

    #[test]
    fn replicas_of_a_stateful_set_are_matched_by_number() {
        let set = Some(("StatefulSet", "web"));
        let pods = [live("web-0", set), live("web-10", set)];
        assert_eq!(found(&facts("web-10", set, Some(10)), 1, &pods, false).as_deref(), Some("web-10"));
        assert_eq!(found(&facts("web-2", set, Some(2)), 1, &pods, false), None);
        assert_eq!(found(&facts("web-2", set, Some(2)), 1, &pods, true).as_deref(), Some("web-2"));
    }

    #[test]
    fn others_are_matched_in_the_order_of_their_names() {
        let then = Some(("Deployment", "api"));
        let captured = [facts("api-a-1", then, None), facts("api-b-2", then, None)];
        let pods = [live("api-x-8", then), live("api-y-9", then), live("other", None)];
        for (pod, expected) in captured.iter().zip(["api-x-8", "api-y-9"]) {
            assert_eq!(found(pod, index(pod, &captured), &pods, false).as_deref(), Some(expected));
        }
        assert_eq!(found(&captured[1], 1, &pods[..1], false), None);
        assert_eq!(found(&captured[1], 1, &pods[..1], true).as_deref(), Some("pod 2 of Deployment api"));
    }

    #[test]
    fn a_pod_of_nobody_is_matched_by_name() {
        let pod = facts("lone", None, None);
        assert_eq!(found(&pod, 0, &[live("lone", None)], false).as_deref(), Some("lone"));
        assert_eq!(found(&pod, 0, &[live("lonely", None)], false), None);
    }
}

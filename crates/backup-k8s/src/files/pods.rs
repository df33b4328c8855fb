//! Pods as far as files matter: containers, what is mounted where, whose replica one is.

use std::collections::{BTreeMap, BTreeSet};

use backup_core::words::{Error, ErrorKind, Result};
use k8s_openapi::{
    api::core::v1::{self as core, Pod, Volume},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use serde::{Deserialize, Serialize};

use super::wanted::{Root, lies_in, relative};
use crate::cluster::{Cluster, ResourceKind, with_query};

/// How many pods are asked for at once.
const PAGE: usize = 200;

/// Whose replica a pod is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Owner {
    /// `StatefulSet`, `Deployment`, `DaemonSet`, `Job`...
    pub(crate) kind: String,
    /// Its name.
    pub(crate) name: String,
}

/// Where a folder of a container lies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "on", rename_all = "lowercase")]
pub(crate) enum On {
    /// In the container's own layer: it is gone with the pod.
    Container,
    /// In a volume claim.
    Claim {
        /// The claim's name.
        claim: String,
        /// The folder in the volume, without slashes around it.
        folder: String,
    },
    /// On the node.
    Host {
        /// The folder there.
        folder: String,
    },
    /// In another volume, which comes and goes with the pod, or is none that we could mount.
    Volume,
    /// In something that Kubernetes fills (ConfigMap, Secret and their like).
    Config,
}

/// A pod.
#[derive(Clone, Debug)]
pub(super) struct PodInfo {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) node: Option<String>,
    pub(super) owner: Option<Owner>,
    /// A replica's number in its StatefulSet.
    pub(super) ordinal: Option<u64>,
    /// `Pending`, `Running`, `Succeeded`, `Failed`.
    pub(super) phase: String,
    pub(super) is_leaving: bool,
    /// Its containers see each other's processes: a container's first process is not number 1.
    pub(super) shares_processes: bool,
    /// The claims that it mounts.
    pub(super) claims: BTreeSet<String>,
    containers: Vec<Container>,
    default_container: String,
}

/// A container of a pod.
#[derive(Clone, Debug)]
pub(super) struct Container {
    pub(super) name: String,
    pub(super) is_running: bool,
    mounts: Vec<Mount>,
}

#[derive(Clone, Debug)]
struct Mount {
    path: String,
    on: On,
}

/// A folder that files are taken from, and where it lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) root: Root,
    pub(super) on: On,
}

impl PodInfo {
    /// True for helper pods of this program.
    pub(super) fn is_ours(&self) -> bool {
        self.name.starts_with(super::helper::PREFIX)
    }

    /// "pod a/b".
    pub(super) fn subject(&self) -> String {
        format!("pod {}/{}", self.namespace, self.name)
    }

    /// The container that is asked for, or the default one.
    pub(super) fn container(&self, name: Option<&str>) -> Result<&Container> {
        let name = name.unwrap_or(&self.default_container);
        self.containers.iter().find(|container| container.name == name).ok_or_else(|| {
            let names: Vec<&str> = self.containers.iter().map(|container| container.name.as_str()).collect();
            Error::new(ErrorKind::NotFound, "find", format!("container {name} of {}", self.subject()))
                .hint(format!("its containers are {}", names.join(", ")))
        })
    }

    /// The container and the path in it where the folder of a claim is mounted.
    pub(super) fn mount_of(&self, claim: &str) -> Option<(&str, String)> {
        self.containers.iter().filter(|container| container.is_running).find_map(|container| {
            let is_root = |mount: &&Mount| matches!(&mount.on, On::Claim { claim: c, folder } if c == claim && folder.is_empty());
            let mount = container.mounts.iter().find(is_root)?;
            Some((container.name.as_str(), mount.path.clone()))
        })
    }

    #[cfg(test)]
    pub(super) fn from_json(pod: serde_json::Value) -> Self {
        Self::new(serde_json::from_value(pod).expect("a pod"))
    }

    fn new(pod: Pod) -> Self {
        let meta = pod.metadata;
        let (spec, status) = (pod.spec.unwrap_or_default(), pod.status.unwrap_or_default());
        let name = meta.name.clone().unwrap_or_default();
        let volumes: BTreeMap<String, On> =
            spec.volumes.iter().flatten().map(|volume| (volume.name.clone(), on(volume, &name))).collect();
        let is_running = |status: &&core::ContainerStatus| {
            status.state.as_ref().is_some_and(|state| state.running.is_some())
        };
        let runs: BTreeSet<&String> = status
            .container_statuses
            .iter()
            .flatten()
            .filter(is_running)
            .map(|status| &status.name)
            .collect();
        let containers: Vec<Container> = spec
            .containers
            .iter()
            .map(|container| Container {
                name: container.name.clone(),
                is_running: runs.contains(&container.name),
                mounts: mounts(container, &volumes),
            })
            .collect();
        let annotated = meta
            .annotations
            .iter()
            .flatten()
            .find(|(key, _)| *key == "kubectl.kubernetes.io/default-container");
        let known = |name: &String| containers.iter().any(|container| container.name == *name);
        let first = containers.first().map(|container| container.name.clone()).unwrap_or_default();
        let default_container = annotated.map(|(_, name)| name.clone()).filter(known).unwrap_or(first);
        let claims = volumes
            .values()
            .filter_map(|on| match on {
                On::Claim { claim, .. } => Some(claim.clone()),
                _ => None,
            })
            .collect();
        let owner = owner(&meta);
        let ordinal = owner
            .as_ref()
            .filter(|owner| owner.kind == "StatefulSet")
            .and_then(|owner| name.strip_prefix(&owner.name)?.strip_prefix('-')?.parse().ok());
        Self {
            namespace: meta.namespace.unwrap_or_default(),
            uid: meta.uid.unwrap_or_default(),
            node: spec.node_name,
            owner,
            ordinal,
            phase: status.phase.unwrap_or_default(),
            is_leaving: meta.deletion_timestamp.is_some(),
            shares_processes: spec.share_process_namespace.unwrap_or(false),
            claims,
            containers,
            default_container,
            name,
        }
    }
}

impl Container {
    /// The folder `path` (relative), and each volume that is mounted in it: one place for each, none twice.
    pub(super) fn places(&self, path: &str) -> Vec<Place> {
        let mut paths: Vec<String> = vec![path.to_owned()];
        let below = |mount: &&Mount| mount.path != path && lies_in(mount.path.as_bytes(), path.as_bytes());
        paths.extend(self.mounts.iter().filter(below).map(|mount| mount.path.clone()));
        paths.sort();
        paths.dedup();
        let place = |root: &String| {
            let apart =
                paths.iter().filter(|other| *other != root && lies_in(other.as_bytes(), root.as_bytes()));
            Place { root: Root { path: root.clone(), apart: apart.cloned().collect() }, on: self.on(root) }
        };
        paths.iter().map(place).collect()
    }

    /// Where a folder lies.
    pub(super) fn on(&self, path: &str) -> On {
        let over = self.mounts.iter().filter(|mount| lies_in(path.as_bytes(), mount.path.as_bytes()));
        let Some(mount) = over.max_by_key(|mount| mount.path.len()) else { return On::Container };
        let rest = path[mount.path.len()..].trim_matches('/');
        match &mount.on {
            On::Claim { claim, folder } => {
                let parts = [folder.as_str(), rest].into_iter().filter(|part| !part.is_empty());
                On::Claim { claim: claim.clone(), folder: parts.collect::<Vec<_>>().join("/") }
            }
            On::Host { folder } if !rest.is_empty() => {
                On::Host { folder: format!("{}/{rest}", folder.trim_end_matches('/')) }
            }
            other => other.clone(),
        }
    }
}

fn mounts(container: &core::Container, volumes: &BTreeMap<String, On>) -> Vec<Mount> {
    let mount = |mount: &core::VolumeMount| {
        let path = relative(&mount.mount_path).ok()?;
        let sub_path = mount.sub_path.as_deref().unwrap_or_default().trim_matches('/');
        let on = match volumes.get(&mount.name)? {
            // It is different in each pod, and only the kubelet knows it.
            _ if mount.sub_path_expr.is_some() => On::Volume,
            On::Claim { claim, .. } => On::Claim { claim: claim.clone(), folder: sub_path.to_owned() },
            On::Host { folder } if sub_path.is_empty() => On::Host { folder: folder.clone() },
            On::Host { folder } => {
                On::Host { folder: format!("{}/{sub_path}", folder.trim_end_matches('/')) }
            }
            other => other.clone(),
        };
        Some(Mount { path, on })
    };
    container.volume_mounts.iter().flatten().filter_map(mount).collect()
}

fn on(volume: &Volume, pod: &str) -> On {
    let claim = |claim: String| On::Claim { claim, folder: String::new() };
    if let Some(source) = &volume.persistent_volume_claim {
        return claim(source.claim_name.clone());
    }
    if volume.ephemeral.is_some() {
        return claim(format!("{pod}-{}", volume.name));
    }
    if let Some(host) = &volume.host_path {
        return On::Host { folder: host.path.clone() };
    }
    let is_config = volume.config_map.is_some()
        || volume.secret.is_some()
        || volume.projected.is_some()
        || volume.downward_api.is_some();
    if is_config { On::Config } else { On::Volume }
}

/// A Deployment's pods belong to a ReplicaSet that has another name after each change: it is the Deployment that counts.
fn owner(meta: &ObjectMeta) -> Option<Owner> {
    let owner = meta.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))?;
    let hash = meta.labels.as_ref().and_then(|labels| labels.get("pod-template-hash"));
    let deployment = hash.and_then(|hash| owner.name.strip_suffix(hash.as_str())?.strip_suffix('-'));
    Some(match (owner.kind.as_str(), deployment) {
        ("ReplicaSet", Some(deployment)) => {
            Owner { kind: "Deployment".to_owned(), name: deployment.to_owned() }
        }
        _ => Owner { kind: owner.kind.clone(), name: owner.name.clone() },
    })
}

/// The kind of pods.
pub(super) fn pods_kind() -> ResourceKind {
    ResourceKind::new("", "v1", "Pod", "pods", true)
}

#[derive(Deserialize)]
struct PodList {
    #[serde(default)]
    metadata: ListMeta,
    #[serde(default)]
    items: Vec<Pod>,
}

#[derive(Default, Deserialize)]
struct ListMeta {
    #[serde(default, rename = "continue")]
    next: Option<String>,
}

/// The pods of a namespace, sorted by name, of a StatefulSet by number.
pub(super) async fn list(cluster: &Cluster, namespace: &str, selector: Option<&str>) -> Result<Vec<PodInfo>> {
    let mut path = with_query(&pods_kind().collection(Some(namespace)), &format!("limit={PAGE}"));
    if let Some(selector) = selector {
        path = with_query(&path, &format!("labelSelector={}", encode(selector)));
    }
    let mut pods = Vec::new();
    let mut page = path.clone();
    loop {
        let list: PodList = cluster.get(&page).await?;
        pods.extend(list.items.into_iter().map(PodInfo::new));
        match list.metadata.next.filter(|next| !next.is_empty()) {
            Some(next) => page = with_query(&path, &format!("continue={}", encode(&next))),
            None => break,
        }
    }
    pods.sort_by(|a, b| (a.ordinal, &a.name).cmp(&(b.ordinal, &b.name)));
    Ok(pods)
}

/// One pod.
pub(super) async fn get(cluster: &Cluster, namespace: &str, name: &str) -> Result<PodInfo> {
    let pod: Pod = cluster.get(&pods_kind().object(Some(namespace), name)).await?;
    Ok(PodInfo::new(pod))
}

/// A value in a query.
fn encode(value: &str) -> String {
    let mut encoded = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(value: serde_json::Value) -> PodInfo {
        PodInfo::from_json(value)
    }

    fn fastapi() -> PodInfo {
        pod(json!({
            "metadata": {
                "name": "fastapi-2", "namespace": "fastapi", "uid": "u",
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "fastapi", "uid": "x", "controller": true}],
                "annotations": {"kubectl.kubernetes.io/default-container": "app"},
            },
            "spec": {
                "containers": [
                    {"name": "proxy"},
                    {"name": "app", "volumeMounts": [
                        {"name": "data", "mountPath": "/app/data/", "subPath": "models"},
                        {"name": "cache", "mountPath": "/app/data/cache"},
                        {"name": "settings", "mountPath": "/app/settings"},
                        {"name": "host", "mountPath": "/srv"},
                    ]},
                ],
                "volumes": [
                    {"name": "data", "persistentVolumeClaim": {"claimName": "data-fastapi-2"}},
                    {"name": "cache", "emptyDir": {}},
                    {"name": "settings", "configMap": {"name": "s"}},
                    {"name": "host", "hostPath": {"path": "/var/lib/x"}},
                ],
            },
            "status": {"phase": "Running", "containerStatuses": [
                {"name": "app", "image": "i", "imageID": "", "ready": true, "restartCount": 0, "state": {"running": {}}},
            ]},
        }))
    }

    #[test]
    fn each_volume_in_a_folder_is_a_place_of_its_own() {
        let pod = fastapi();
        let container = pod.container(None).unwrap();
        assert_eq!((container.name.as_str(), container.is_running), ("app", true));
        let places = container.places("app");
        let shown: Vec<(&str, usize, &On)> =
            places.iter().map(|p| (p.root.path.as_str(), p.root.apart.len(), &p.on)).collect();
        let claim = On::Claim { claim: "data-fastapi-2".into(), folder: "models".into() };
        assert_eq!(
            shown,
            [
                ("app", 3, &On::Container),
                ("app/data", 1, &claim),
                ("app/data/cache", 0, &On::Volume),
                ("app/settings", 0, &On::Config),
            ]
        );
    }

    #[test]
    fn a_folder_below_a_mount_lies_in_its_volume() {
        let pod = fastapi();
        let container = pod.container(None).unwrap();
        assert_eq!(
            container.on("app/data/a/b"),
            On::Claim { claim: "data-fastapi-2".into(), folder: "models/a/b".into() }
        );
        assert_eq!(container.on("srv/y"), On::Host { folder: "/var/lib/x/y".into() });
        assert_eq!(container.on("app/database"), On::Container);
    }

    #[test]
    fn replicas_know_their_owner_and_number() {
        let pod = fastapi();
        assert_eq!((pod.owner.unwrap().kind.as_str(), pod.ordinal), ("StatefulSet", Some(2)));
        let of_deployment = pod_of_deployment();
        assert_eq!(of_deployment.owner, Some(Owner { kind: "Deployment".into(), name: "web".into() }));
        assert!(of_deployment.container(Some("nope")).is_err());
    }

    fn pod_of_deployment() -> PodInfo {
        pod(json!({
            "metadata": {
                "name": "web-5d8f7c-x2x9p", "labels": {"pod-template-hash": "5d8f7c"},
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-5d8f7c", "uid": "x", "controller": true}],
            },
            "spec": {"containers": [{"name": "c"}]},
        }))
    }
}

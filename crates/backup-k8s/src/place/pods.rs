//! Which pods there are, and which of them is said to lead.

use std::{collections::BTreeMap, net::IpAddr};

use backup_core::words::{Error, ErrorKind, Result};
use serde::Deserialize;

use crate::cluster::{Cluster, escaped};

/// More pods than this are no cluster of servers.
const MOST: usize = 100;
/// The annotation that names the container that kubectl takes.
const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

/// A running pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pod {
    pub(super) name: String,
    pub(super) container: String,
    addresses: Vec<String>,
    leads: bool,
}

impl Pod {
    /// Whether `host` is its name, its address, or its name in DNS.
    pub(super) fn is_called(&self, host: &str) -> bool {
        let is_address = host.parse::<IpAddr>().is_ok();
        let first = if is_address { host } else { host.split('.').next().unwrap_or_default() };
        first == self.name || self.addresses.iter().any(|address| address == host)
    }
}

#[derive(Deserialize)]
struct List {
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    metadata: Metadata,
    spec: Spec,
    status: Status,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    deletion_timestamp: Option<String>,
}

#[derive(Deserialize)]
struct Spec {
    containers: Vec<Container>,
}

#[derive(Deserialize)]
struct Container {
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    #[serde(rename = "podIPs", default)]
    pod_ips: Vec<Ip>,
    #[serde(default)]
    container_statuses: Vec<ContainerStatus>,
}

#[derive(Deserialize)]
struct Ip {
    ip: String,
}

#[derive(Deserialize)]
struct ContainerStatus {
    name: String,
    #[serde(default)]
    state: BTreeMap<String, serde_json::Value>,
}

/// The pods whose container runs, the one that is said to lead first, then by name.
pub(super) async fn running(
    cluster: &Cluster,
    namespace: &str,
    selector: &str,
    container: Option<&str>,
) -> Result<Vec<Pod>> {
    let path =
        format!("/api/v1/namespaces/{namespace}/pods?labelSelector={}&limit={MOST}", escaped(selector));
    let list: List = cluster.get(&path).await?;
    read(list, namespace, container)
}

fn read(list: List, namespace: &str, container: Option<&str>) -> Result<Vec<Pod>> {
    let mut pods = Vec::new();
    for item in list.items.into_iter().filter(|item| item.metadata.deletion_timestamp.is_none()) {
        let container = chosen(&item, namespace, container)?;
        let runs =
            |status: &ContainerStatus| status.name == container && status.state.contains_key("running");
        if item.status.container_statuses.iter().any(runs) {
            pods.push(Pod {
                leads: leads(&item.metadata.labels),
                name: item.metadata.name,
                addresses: item.status.pod_ips.into_iter().map(|ip| ip.ip).collect(),
                container,
            });
        }
    }
    pods.sort_by(|a, b| (!a.leads, &a.name).cmp(&(!b.leads, &b.name)));
    Ok(pods)
}

/// The container that is asked for, or the pod's default one: the API server knows no default when there are several.
fn chosen(item: &Item, namespace: &str, asked: Option<&str>) -> Result<String> {
    let names: Vec<&str> = item.spec.containers.iter().map(|container| container.name.as_str()).collect();
    let default = item.metadata.annotations.get(DEFAULT_CONTAINER).map(String::as_str);
    let wanted = asked.or(default.filter(|name| names.contains(name))).or(names.first().copied());
    match wanted.filter(|name| names.contains(name)) {
        Some(name) => Ok(name.to_owned()),
        None => Err(Error::new(
            ErrorKind::Config,
            "find the container",
            format!("{} of pod {namespace}/{}", wanted.unwrap_or_default(), item.metadata.name),
        )
        .hint(format!("`container` of `via` may be: {}", names.join(", ")))),
    }
}

/// Operators label the pods of their clusters with a role: `role=master`, `spilo-role`, `cnpg.io/instanceRole=primary`.
fn leads(labels: &BTreeMap<String, String>) -> bool {
    labels.iter().any(|(key, value)| {
        key.to_lowercase().ends_with("role") && matches!(value.as_str(), "master" | "primary" | "leader")
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(name: &str, labels: Value, more: Value) -> Value {
        let mut pod = json!({
            "metadata": {"name": name, "labels": labels},
            "spec": {"containers": [{"name": "postgres"}, {"name": "exporter"}]},
            "status": {
                "podIPs": [{"ip": "10.0.0.7"}, {"ip": "fd00::7"}],
                "containerStatuses": [{"name": "postgres", "state": {"running": {}}}],
            },
        });
        for (path, value) in more.as_object().unwrap() {
            *pod.pointer_mut(path).unwrap() = value.clone();
        }
        pod
    }

    fn found(items: Vec<Value>, container: Option<&str>) -> Result<Vec<Pod>> {
        read(serde_json::from_value(json!({ "items": items })).unwrap(), "db", container)
    }

    #[test]
    fn the_labelled_leader_comes_first_and_what_does_not_run_is_left_out() {
        let mut dying = pod("pg-9", json!({"role": "master"}), json!({}));
        dying["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        let waiting = json!({"/status/containerStatuses/0/state": {"waiting": {}}});
        let pods = found(
            vec![
                pod("pg-2", json!({"cnpg.io/instanceRole": "primary"}), json!({})),
                pod("pg-1", json!({"role": "replica", "tier": "master"}), json!({})),
                dying,
                pod("pg-0", json!({}), waiting),
            ],
            None,
        )
        .unwrap();
        let names: Vec<&str> = pods.iter().map(|pod| pod.name.as_str()).collect();
        assert_eq!(names, ["pg-2", "pg-1"]);
    }

    #[test]
    fn a_pod_is_known_by_its_name_its_addresses_and_its_name_in_dns() {
        let pods = found(vec![pod("pg-0", json!({}), json!({}))], None).unwrap();
        for host in ["pg-0", "10.0.0.7", "fd00::7", "pg-0.pg.db.svc.cluster.local"] {
            assert!(pods[0].is_called(host), "{host}");
        }
        for host in ["pg", "pg-00", "10.0.0.70", "pg-1.pg-0"] {
            assert!(!pods[0].is_called(host), "{host}");
        }
    }

    #[test]
    fn the_container_is_the_one_asked_for_or_kubectls_default() {
        let mut annotated = pod("pg-0", json!({}), json!({}));
        annotated["metadata"]["annotations"] = json!({ DEFAULT_CONTAINER: "exporter" });
        annotated["status"]["containerStatuses"][0]["name"] = json!("exporter");
        assert_eq!(found(vec![annotated], None).unwrap()[0].container, "exporter");
        assert_eq!(found(vec![pod("pg-0", json!({}), json!({}))], None).unwrap()[0].container, "postgres");
        let error = found(vec![pod("pg-0", json!({}), json!({}))], Some("db")).unwrap_err();
        assert!(error.to_string().contains("db of pod db/pg-0"), "{error}");
        assert!(error.advice().unwrap().contains("postgres, exporter"), "{error:?}");
    }
}

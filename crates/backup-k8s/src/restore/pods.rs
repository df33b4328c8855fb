//! Pods of workloads: what they mount, which there are, what keeps them from being ready.

use backup_core::words::Result;
use futures::StreamExt;
use serde_json::Value;

use super::{stop::Filled, survey::Ground};
use crate::{cluster::ResourceKind, list};

/// How many pods are named.
const MOST: usize = 5;

/// Whether the pods of a workload mount what is restored.
pub(super) fn uses(kind: &ResourceKind, workload: &Value, filled: &Filled) -> bool {
    let namespace = workload.pointer("/metadata/namespace").and_then(Value::as_str).unwrap_or_default();
    let name = workload.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    let template = match kind.kind.as_str() {
        "CronJob" => "/spec/jobTemplate/spec/template/spec",
        "Pod" => "/spec",
        _ => "/spec/template/spec",
    };
    let volumes = workload.pointer(template).and_then(|pod| pod.get("volumes")?.as_array());
    let mounts = volumes.into_iter().flatten().any(|volume| {
        let text = |pointer: &str| volume.pointer(pointer).and_then(Value::as_str);
        let claim = text("/persistentVolumeClaim/claimName").map(|claim| format!("{namespace}/{claim}"));
        let host = text("/hostPath/path");
        claim.is_some_and(|claim| filled.claims.contains(&claim))
            || host.is_some_and(|host| filled.hosts.iter().any(|filled| overlap(host, filled)))
    });
    let templates = workload.pointer("/spec/volumeClaimTemplates").and_then(Value::as_array);
    let own = templates.into_iter().flatten().any(|template| {
        let claim = template.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        // Of each pod: CLAIM-NAME-ORDINAL.
        let prefix = format!("{namespace}/{claim}-{name}-");
        filled.claims.iter().any(|filled| {
            filled
                .strip_prefix(&prefix)
                .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|c| c.is_ascii_digit()))
        })
    });
    mounts || own
}

/// Whether one folder is the other, or in it.
fn overlap(a: &str, b: &str) -> bool {
    let parts =
        |path: &str| path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect::<Vec<_>>();
    let (a, b) = (parts(a), parts(b));
    a.starts_with(&b) || b.starts_with(&a)
}

/// The label selector of a workload's pods, as a query takes it; none when it has no pods of its own.
fn selector(kind: &ResourceKind, workload: &Value) -> Option<String> {
    let selector = workload.pointer("/spec/selector")?;
    let labels =
        if kind.kind == "ReplicationController" { Some(selector) } else { selector.get("matchLabels") };
    let equal = labels.and_then(Value::as_object).into_iter().flatten();
    let mut parts: Vec<String> =
        equal.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect();
    let expressions = selector.get("matchExpressions").and_then(Value::as_array);
    for expression in expressions.into_iter().flatten() {
        let key = expression.get("key")?.as_str()?;
        let values = expression.get("values").and_then(Value::as_array);
        let values: Vec<&str> = values.into_iter().flatten().filter_map(Value::as_str).collect();
        parts.push(match expression.get("operator")?.as_str()? {
            "In" => format!("{key} in ({})", values.join(",")),
            "NotIn" => format!("{key} notin ({})", values.join(",")),
            "Exists" => key.to_owned(),
            _ => format!("!{key}"),
        });
    }
    (!parts.is_empty()).then(|| parts.join(","))
}

/// A pod's name, and what is to be said of it.
async fn each(
    ground: &Ground<'_>,
    kind: &ResourceKind,
    workload: &Value,
    say: impl Fn(&Value) -> Option<String>,
) -> Result<Vec<String>> {
    let Some(selector) = selector(kind, workload) else { return Ok(Vec::new()) };
    let namespace = workload.pointer("/metadata/namespace").and_then(Value::as_str);
    let pods = ResourceKind::new("", "v1", "Pod", "pods", true);
    let look = || async {
        let mut said = Vec::new();
        let mut objects = list::objects(ground.cluster, &pods, namespace, None, Some(&selector));
        while let Some(object) = objects.next().await {
            let pod: Value = super::live::parse(&pods, &object?)?;
            if said.len() < MOST {
                said.extend(say(&pod));
            }
        }
        Ok(said)
    };
    ground.patience().keep("look at the pods", look).await
}

/// Pods of a workload that may still write.
pub(super) async fn running(
    ground: &Ground<'_>,
    kind: &ResourceKind,
    workload: &Value,
) -> Result<Vec<String>> {
    each(ground, kind, workload, |pod| {
        let phase = pod.pointer("/status/phase").and_then(Value::as_str);
        let ended = matches!(phase, Some("Succeeded" | "Failed"));
        (!ended).then(|| format!("pod {}", pod_name(pod)))
    })
    .await
}

/// What keeps pods of a workload from being ready.
pub(super) async fn troubles(
    ground: &Ground<'_>,
    kind: &ResourceKind,
    workload: &Value,
) -> Result<Vec<String>> {
    each(ground, kind, workload, trouble).await
}

fn pod_name(pod: &Value) -> &str {
    pod.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default()
}

/// "pod web-1: ImagePullBackOff: Back-off pulling image"; none when the pod is ready.
fn trouble(pod: &Value) -> Option<String> {
    let conditions = pod.pointer("/status/conditions").and_then(Value::as_array);
    let condition = |wanted: &str| {
        conditions.into_iter().flatten().find(|condition| condition["type"].as_str() == Some(wanted))
    };
    if condition("Ready").is_some_and(|ready| ready["status"] == "True") {
        return None;
    }
    let state = ["/status/initContainerStatuses", "/status/containerStatuses"];
    let states = state.into_iter().filter_map(|list| pod.pointer(list)?.as_array()).flatten();
    let mut waiting = states.filter_map(|status| {
        let last = || status.pointer("/lastState/terminated");
        let state =
            status.pointer("/state/waiting").or_else(|| status.pointer("/state/terminated")).or_else(last)?;
        Some(said(state))
    });
    let why = waiting.rfind(|why| why != "Completed" && why != "PodInitializing");
    let unscheduled = || condition("PodScheduled").filter(|c| c["status"] == "False").map(said);
    let phase = || pod.pointer("/status/phase").and_then(Value::as_str).unwrap_or("Pending").to_owned();
    let why = why.or_else(unscheduled).unwrap_or_else(|| format!("{}, not ready", phase()));
    Some(format!("pod {}: {why}", pod_name(pod)))
}

/// Reason and message.
fn said(state: &Value) -> String {
    let text = |name: &str| state.get(name).and_then(Value::as_str).unwrap_or_default();
    let message: String = text("message").replace('\n', "; ").chars().take(200).collect();
    match (text("reason"), message.as_str()) {
        (reason, "") => reason.to_owned(),
        (reason, message) => format!("{reason}: {message}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn kind(kind: &str) -> ResourceKind {
        ResourceKind::new("apps", "v1", kind, "", true)
    }

    fn filled(claims: &[&str], hosts: &[&str]) -> Filled {
        Filled {
            claims: claims.iter().map(|claim| (*claim).to_owned()).collect(),
            hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
        }
    }

    #[test]
    fn what_mounts_a_claim_or_a_folder_is_found() {
        let with = |volume: Value| json!({"metadata": {"namespace": "n", "name": "web"}, "spec": {"template": {"spec": {"volumes": [volume]}}}});
        let claim = with(json!({"persistentVolumeClaim": {"claimName": "data"}}));
        assert!(uses(&kind("Deployment"), &claim, &filled(&["n/data"], &[])));
        assert!(!uses(&kind("Deployment"), &claim, &filled(&["m/data"], &["/"])));
        let host = with(json!({"hostPath": {"path": "/var/lib/storage/"}}));
        for (folder, expected) in [
            ("/var/lib/storage", true),
            ("/var/lib", true),
            ("/var/lib/storage/a", true),
            ("/var/lib/store", false),
        ] {
            assert_eq!(uses(&kind("Deployment"), &host, &filled(&[], &[folder])), expected, "{folder}");
        }
        let set = json!({"metadata": {"namespace": "n", "name": "db"}, "spec": {"volumeClaimTemplates": [{"metadata": {"name": "d"}}]}});
        assert!(uses(&kind("StatefulSet"), &set, &filled(&["n/d-db-12"], &[])));
        assert!(!uses(&kind("StatefulSet"), &set, &filled(&["n/d-db-x"], &[])));
    }

    #[test]
    fn selectors_are_written_as_queries_take_them() {
        let workload = json!({"spec": {"selector": {"matchLabels": {"a": "b"}, "matchExpressions": [
            {"key": "t", "operator": "In", "values": ["x", "y"]}, {"key": "u", "operator": "DoesNotExist"}]}}});
        assert_eq!(selector(&kind("Deployment"), &workload).as_deref(), Some("a=b,t in (x,y),!u"));
        let old = json!({"spec": {"selector": {"a": "b"}}});
        assert_eq!(selector(&kind("ReplicationController"), &old).as_deref(), Some("a=b"));
        assert_eq!(selector(&kind("CronJob"), &json!({"spec": {}})), None);
    }

    #[test]
    fn a_pod_that_is_not_ready_says_why() {
        let pod = |status: Value| json!({"metadata": {"name": "p"}, "status": status});
        let pulling = json!({"containerStatuses": [{"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no\nimage"}}}]});
        assert_eq!(trouble(&pod(pulling)).as_deref(), Some("pod p: ImagePullBackOff: no; image"));
        let waiting = json!({"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}]});
        assert_eq!(trouble(&pod(waiting)).as_deref(), Some("pod p: Unschedulable: 0/1 nodes"));
        assert_eq!(trouble(&pod(json!({"phase": "Running"}))).as_deref(), Some("pod p: Running, not ready"));
        assert_eq!(trouble(&pod(json!({"conditions": [{"type": "Ready", "status": "True"}]}))), None);
    }
}

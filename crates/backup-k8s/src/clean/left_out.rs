//! What is not restored, because the cluster makes it itself.

use serde_json::Value;

use super::{group, note, text};

/// Why an object as it was stored is not restored: somebody else makes it anew. None when it is restored.
pub(crate) fn left_out(object: &Value) -> Option<String> {
    reason(object).map(str::to_owned)
}

fn reason(object: &Value) -> Option<&'static str> {
    if object.pointer("/metadata/deletionTimestamp").is_some() {
        return Some("it was being deleted");
    }
    match (group(object), text(object, "/kind")) {
        ("" | "events.k8s.io", "Event") => Some("events tell of the past"),
        ("", "Node")
        | ("coordination.k8s.io", "Lease")
        | ("storage.k8s.io", "CSINode" | "CSIStorageCapacity" | "VolumeAttachment")
        | ("resource.k8s.io", "ResourceSlice")
        | ("networking.k8s.io", "IPAddress" | "ServiceCIDR")
        | ("certificates.k8s.io", _) => Some("every cluster makes its own"),
        ("", "Pod") => pod(object),
        ("apps", "ReplicaSet" | "ControllerRevision") => owned(object),
        ("", "ReplicationController") => owned(object),
        ("batch", "Job") => owned(object).or_else(|| finished_job(object)),
        ("resource.k8s.io", "ResourceClaim") => owned(object),
        ("", "Endpoints") => endpoints(object),
        ("discovery.k8s.io", "EndpointSlice") => slice(object),
        ("", "ConfigMap") => config_map(object),
        ("", "Secret") => secret(object),
        ("", "Service") => kubernetes_itself(object, "/metadata/name"),
        ("", "PersistentVolume") => volume(object),
        ("rbac.authorization.k8s.io", _) => {
            is(object, "labels", "kubernetes.io/bootstrapping").then_some("every cluster has its own")
        }
        ("scheduling.k8s.io", "PriorityClass") => {
            text(object, "/metadata/name").starts_with("system-").then_some("every cluster has its own")
        }
        ("apiregistration.k8s.io", _) => is(object, "labels", "kube-aggregator.kubernetes.io/automanaged")
            .then_some("the cluster registers it itself"),
        _ => None,
    }
}

fn is(object: &Value, place: &str, key: &str) -> bool {
    note(object, place, key).is_some()
}

/// The controller that owns it makes it anew.
fn owned(object: &Value) -> Option<&'static str> {
    let owners = object.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    let controlled = |owner: &Value| owner.get("controller") == Some(&Value::Bool(true));
    owners.is_some_and(|owners| owners.iter().any(controlled)).then_some("its controller makes it anew")
}

fn pod(object: &Value) -> Option<&'static str> {
    if is(object, "annotations", "kubernetes.io/config.mirror") {
        return Some("a node runs it from a file of its own");
    }
    owned(object)
        .or_else(|| matches!(text(object, "/status/phase"), "Succeeded" | "Failed").then_some("it has ended"))
}

fn finished_job(object: &Value) -> Option<&'static str> {
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array)?;
    let ended = |condition: &Value| {
        matches!(text(condition, "/type"), "Complete" | "Failed") && text(condition, "/status") == "True"
    };
    conditions.iter().any(ended).then_some("it has ended")
}

fn endpoints(object: &Value) -> Option<&'static str> {
    if is(object, "annotations", "control-plane.alpha.kubernetes.io/leader") {
        return Some("it is a leader's lock");
    }
    let made = is(object, "labels", "endpoints.kubernetes.io/managed-by")
        || is(object, "annotations", "endpoints.kubernetes.io/last-change-trigger-time");
    made.then_some("its service's selector makes it anew")
        .or_else(|| kubernetes_itself(object, "/metadata/name"))
}

fn slice(object: &Value) -> Option<&'static str> {
    let by = note(object, "labels", "endpointslice.kubernetes.io/managed-by").unwrap_or_default();
    by.ends_with(".k8s.io")
        .then_some("its service's selector makes it anew")
        .or_else(|| kubernetes_itself(object, "/metadata/labels/kubernetes.io~1service-name"))
}

/// The API server's own service.
fn kubernetes_itself(object: &Value, name: &str) -> Option<&'static str> {
    let own = text(object, "/metadata/namespace") == "default" && text(object, name) == "kubernetes";
    own.then_some("every cluster has its own")
}

fn config_map(object: &Value) -> Option<&'static str> {
    if is(object, "annotations", "control-plane.alpha.kubernetes.io/leader") {
        return Some("it is a leader's lock");
    }
    let name = text(object, "/metadata/name");
    matches!(name, "kube-root-ca.crt" | "openshift-service-ca.crt").then_some("every namespace gets its own")
}

/// Tokens that the cluster made by itself are called `ACCOUNT-token-xxxxx`; those that a person asked for are restored.
fn secret(object: &Value) -> Option<&'static str> {
    if text(object, "/type") != "kubernetes.io/service-account-token" {
        return None;
    }
    let account = note(object, "annotations", "kubernetes.io/service-account.name")?;
    let made = text(object, "/metadata/name").strip_prefix(account)?.strip_prefix("-token-")?;
    let random = made.len() == 5 && made.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    random.then_some("a token of the old cluster")
}

/// What a provisioner made and removes with its claim is made anew with the claim.
fn volume(object: &Value) -> Option<&'static str> {
    let made = is(object, "annotations", "pv.kubernetes.io/provisioned-by")
        && text(object, "/spec/persistentVolumeReclaimPolicy") == "Delete";
    made.then_some("it goes with its claim; the claim gets a new one")
}

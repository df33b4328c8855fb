//! What the API server and its controllers set in single kinds.

use serde_json::Value;

use super::{LAST_APPLIED, group, note, retain, strip, text};

pub(super) fn clean(object: &mut Value) {
    let kind = text(object, "/kind").to_owned();
    match (group(object), kind.as_str()) {
        ("", "Namespace") => strip(object, "/spec", &["finalizers"]),
        ("", "PersistentVolume") => volume(object),
        ("", "PersistentVolumeClaim") => claim(object),
        ("", "Pod") => pod(object),
        ("", "Secret") => secret(object),
        ("", "Service") => service(object),
        ("", "ServiceAccount") => service_account(object),
        ("apps", "Deployment") => {
            strip(object, "/metadata/annotations", &["deployment.kubernetes.io/revision"]);
        }
        ("apps", "DaemonSet") => {
            strip(object, "/metadata/annotations", &["deprecated.daemonset.template.generation"]);
        }
        ("apps", "StatefulSet") => stateful_set(object),
        ("batch", "Job") => job(object),
        // A controller fills in the rules of those that gather them from others.
        ("rbac.authorization.k8s.io", "ClusterRole")
            if object.get("aggregationRule").is_some_and(|rule| !rule.is_null()) =>
        {
            strip(object, "", &["rules"]);
        }
        _ => {}
    }
}

fn claim(object: &mut Value) {
    let set = [
        "pv.kubernetes.io/bind-completed",
        "pv.kubernetes.io/bound-by-controller",
        "volume.beta.kubernetes.io/storage-provisioner",
        "volume.kubernetes.io/storage-provisioner",
        "volume.kubernetes.io/selected-node",
    ];
    strip(object, "/metadata/annotations", &set);
}

fn volume(object: &mut Value) {
    // Without them the claim of that name is waited for, whatever its uid.
    strip(object, "/spec/claimRef", &["uid", "resourceVersion"]);
    strip(object, "/metadata/annotations", &["pv.kubernetes.io/bound-by-controller"]);
}

/// Ports of the node and the cluster's addresses are given out anew, unless a person chose them.
fn service(object: &mut Value) {
    let chosen = Chosen::of(object);
    let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) else { return };
    if spec.get("clusterIP").and_then(Value::as_str) != Some("None") {
        spec.remove("clusterIP");
        spec.remove("clusterIPs");
    }
    if !chosen.health_check {
        spec.remove("healthCheckNodePort");
    }
    for port in spec.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
        if !chosen.has(port)
            && let Some(port) = port.as_object_mut()
        {
            port.remove("nodePort");
        }
    }
}

/// Which ports of the node a person chose: they stand in what was applied, or somebody is recorded as their owner. The server's
/// own choice has none.
#[derive(Default)]
struct Chosen {
    /// Ports as managed fields call them: `{"port":80,"protocol":"TCP"}`; as last applied: their numbers.
    keys: Vec<Value>,
    numbers: Vec<Value>,
    health_check: bool,
}

impl Chosen {
    fn of(service: &Value) -> Self {
        let mut chosen = Self::default();
        let managed = service.pointer("/metadata/managedFields").and_then(Value::as_array);
        for spec in managed.into_iter().flatten().filter_map(|entry| entry.pointer("/fieldsV1/f:spec")) {
            chosen.health_check |= spec.get("f:healthCheckNodePort").is_some();
            for (key, port) in spec.get("f:ports").and_then(Value::as_object).into_iter().flatten() {
                if port.get("f:nodePort").is_some()
                    && let Some(key) = key.strip_prefix("k:").and_then(|key| serde_json::from_str(key).ok())
                {
                    chosen.keys.push(key);
                }
            }
        }
        let applied = note(service, "annotations", LAST_APPLIED);
        let applied: Value = applied.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        chosen.health_check |= applied.pointer("/spec/healthCheckNodePort").is_some();
        let ports = applied.pointer("/spec/ports").and_then(Value::as_array).into_iter().flatten();
        chosen.numbers = ports.filter_map(|port| port.get("nodePort").cloned()).collect();
        chosen
    }

    fn has(&self, port: &Value) -> bool {
        let same = |key: &Value, name: &str| key.get(name).is_none_or(|value| port.get(name) == Some(value));
        port.get("nodePort").is_some_and(|number| self.numbers.contains(number))
            || self.keys.iter().any(|key| same(key, "port") && same(key, "protocol"))
    }
}

/// References to tokens that the cluster made for itself.
fn service_account(object: &mut Value) {
    let prefixes = ["-token-", "-dockercfg-"].map(|made| format!("{}{made}", text(object, "/metadata/name")));
    let Some(account) = object.as_object_mut() else { return };
    for list in ["secrets", "imagePullSecrets"] {
        retain(account, list, |reference| {
            let name = text(reference, "/name");
            !prefixes.iter().any(|prefix| name.starts_with(prefix.as_str()))
        });
    }
}

/// A token that a person asked for is filled in anew by the new cluster.
fn secret(object: &mut Value) {
    if text(object, "/type") == "kubernetes.io/service-account-token" {
        strip(object, "/data", &["token", "ca.crt", "namespace"]);
        strip(object, "/metadata/annotations", &["kubernetes.io/service-account.uid"]);
        strip(object, "/metadata/labels", &["kubernetes.io/legacy-token-last-used"]);
    }
}

/// Templates of claims have a status for no reason.
fn stateful_set(object: &mut Value) {
    let templates = object.pointer_mut("/spec/volumeClaimTemplates").and_then(Value::as_array_mut);
    for template in templates.into_iter().flatten() {
        if let Some(template) = template.as_object_mut() {
            template.remove("status");
        }
    }
}

fn job(object: &mut Value) {
    let uid = ["controller-uid", "batch.kubernetes.io/controller-uid"];
    let made = [uid[0], uid[1], "job-name", "batch.kubernetes.io/job-name"];
    if object.pointer("/spec/manualSelector") != Some(&Value::Bool(true)) {
        strip(object, "/spec", &["selector"]);
        strip(object, "/spec/template/metadata/labels", &made);
    }
    strip(object, "/metadata/labels", &uid);
    strip(object, "/metadata/annotations", &["batch.kubernetes.io/job-tracking"]);
}

/// What scheduling and admission put in.
fn pod(object: &mut Value) {
    let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) else { return };
    for key in ["nodeName", "priority", "preemptionPolicy", "serviceAccount", "ephemeralContainers"] {
        spec.remove(key);
    }
    let token = |name: &str| name.starts_with("kube-api-access-");
    retain(spec, "volumes", |volume| !token(text(volume, "/name")) || volume.get("projected").is_none());
    for list in ["containers", "initContainers"] {
        for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(container) = container.as_object_mut() {
                retain(container, "volumeMounts", |mount| !token(text(mount, "/name")));
            }
        }
    }
}

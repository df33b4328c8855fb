//! What a drill makes of an object, so that nothing of it acts: pure.

use serde_json::{Map, Value, json};

use crate::{cluster::ResourceKind, restore::stopped};

/// What is done with an object of a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Treatment {
    /// It acts on nothing: it is created without its labels, annotations, finalizers and owners.
    Plain,
    /// It is created so that no pod runs for it.
    Stopped,
    /// A Service is created without a selector, an address outside, or a name elsewhere.
    Closed,
    /// It is only asked about: a dry run.
    Held(&'static str),
}

impl Treatment {
    /// That of a kind. What is not known to be harmless is only asked about.
    pub(super) fn of(kind: &ResourceKind, object: &Value) -> Self {
        if !kind.namespaced {
            return Self::Held("they are the whole cluster's");
        }
        match (kind.group.as_str(), kind.kind.as_str()) {
            ("", "Secret") if text(object, "/type") == "kubernetes.io/service-account-token" => {
                Self::Held("the cluster would make tokens for them")
            }
            (
                "",
                "Secret" | "ConfigMap" | "ServiceAccount" | "LimitRange" | "ResourceQuota" | "PodTemplate",
            )
            | ("rbac.authorization.k8s.io", "Role")
            | ("networking.k8s.io", "NetworkPolicy")
            | ("policy", "PodDisruptionBudget") => Self::Plain,
            ("", "Service") => Self::Closed,
            ("", "ReplicationController")
            | ("apps", "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet")
            | ("batch", "CronJob" | "Job") => Self::Stopped,
            ("", "Pod") => Self::Held("they would run"),
            ("", "PersistentVolumeClaim") => Self::Held("a volume would be made or taken for them"),
            ("", "Endpoints") | ("discovery.k8s.io", _) => Self::Held("traffic would go where they lead"),
            ("networking.k8s.io", "Ingress") => Self::Held("traffic would come in by them"),
            ("rbac.authorization.k8s.io", "RoleBinding") => Self::Held("they would give rights"),
            ("autoscaling", _) => Self::Held("they would start pods"),
            ("" | "apps" | "batch" | "policy" | "networking.k8s.io", _) => {
                Self::Held("what they would start is not known")
            }
            _ => Self::Held("operators would act on them"),
        }
    }

    /// What was done, for the report; `kinds` as in "Deployments".
    pub(super) fn said(self) -> Option<String> {
        match self {
            Self::Plain => None,
            Self::Stopped => Some("created stopped: no replicas, suspended, on no node".to_owned()),
            Self::Closed => Some(
                "created for inside the cluster only, without a selector: no endpoints, no ports of nodes, no load balancer, no other name"
                    .to_owned(),
            ),
            Self::Held(why) => Some(format!("not created, only asked about (dry run): {why}")),
        }
    }

    /// The form in which an object is created, none when it is not.
    pub(super) fn form(
        self,
        kind: &ResourceKind,
        object: &Value,
        mark: &Map<String, Value>,
    ) -> Option<Value> {
        let mut form = object.clone();
        match self {
            Self::Held(_) => return None,
            Self::Plain => {}
            Self::Stopped => stopped::stop(&kind.kind, &mut form),
            Self::Closed => close(&mut form),
        }
        let metadata = form.get_mut("metadata").and_then(Value::as_object_mut)?;
        metadata.retain(|key, _| key == "name" || key == "namespace");
        metadata.insert("labels".to_owned(), Value::Object(mark.clone()));
        Some(form)
    }
}

fn close(service: &mut Value) {
    let Some(spec) = service.get_mut("spec").and_then(Value::as_object_mut) else { return };
    let headless = spec.get("clusterIP").and_then(Value::as_str) == Some("None");
    let outside = [
        "selector",
        "externalName",
        "externalIPs",
        "externalTrafficPolicy",
        "healthCheckNodePort",
        "loadBalancerIP",
        "loadBalancerClass",
        "loadBalancerSourceRanges",
        "allocateLoadBalancerNodePorts",
    ];
    outside.iter().for_each(|key| drop(spec.remove(*key)));
    spec.insert("type".to_owned(), json!("ClusterIP"));
    for port in spec.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(port) = port.as_object_mut() {
            port.remove("nodePort");
        }
    }
    // One that was only another's name has no ports, and a Service with an address of its own needs some.
    let ports = spec.get("ports").and_then(Value::as_array);
    if !headless && ports.is_none_or(Vec::is_empty) {
        spec.insert("clusterIP".to_owned(), json!("None"));
    }
}

/// The labels of a namespace that say which pods it takes. Others are for operators to act on.
pub(super) fn policy_labels(namespace: &Value) -> Map<String, Value> {
    let labels = namespace.pointer("/metadata/labels").and_then(Value::as_object);
    let is_policy = |key: &str| key.starts_with("pod-security.kubernetes.io/");
    let kept = labels.into_iter().flatten().filter(|(key, _)| is_policy(key));
    kept.map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// The form in which the API server is asked about an object: what another object of the same session would have to be there
/// for, and is only asked about itself, is taken out; `creates` says whether accounts are created.
pub(super) fn askable(kind: &ResourceKind, object: &mut Value, creates: bool) {
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "Pod") => {
            if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
                spec.remove("priorityClassName");
                spec.remove("runtimeClassName");
                if !creates {
                    spec.remove("serviceAccountName");
                }
            }
        }
        // A cluster has one only.
        ("scheduling.k8s.io", "PriorityClass") if object.get("globalDefault").is_some() => {
            object["globalDefault"] = json!(false);
        }
        _ => {}
    }
}

fn text<'a>(object: &'a Value, path: &str) -> &'a str {
    object.pointer(path).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(group: &str, kind: &str, namespaced: bool) -> ResourceKind {
        ResourceKind::new(group, "v1", kind, &format!("{}s", kind.to_lowercase()), namespaced)
    }

    fn mark() -> Map<String, Value> {
        Map::from_iter([("ours".to_owned(), json!("yes"))])
    }

    fn form(group: &str, name: &str, object: Value) -> Option<Value> {
        let kind = kind(group, name, true);
        Treatment::of(&kind, &object).form(&kind, &object, &mark())
    }

    #[test]
    fn only_what_is_known_to_be_harmless_is_created() {
        let held = [
            ("", "Pod"),
            ("", "PersistentVolumeClaim"),
            ("", "Endpoints"),
            ("", "Unheard"),
            ("discovery.k8s.io", "EndpointSlice"),
            ("networking.k8s.io", "Ingress"),
            ("networking.k8s.io", "Unheard"),
            ("gateway.networking.k8s.io", "HTTPRoute"),
            ("rbac.authorization.k8s.io", "RoleBinding"),
            ("autoscaling", "HorizontalPodAutoscaler"),
            ("external-secrets.io", "ExternalSecret"),
            ("apps", "Unheard"),
        ];
        for (group, name) in held {
            assert_eq!(form(group, name, json!({"metadata": {"name": "x"}})), None, "{name}");
        }
        for name in ["ConfigMap", "CustomResourceDefinition", "ValidatingWebhookConfiguration", "APIService"]
        {
            let treatment = Treatment::of(&kind("", name, false), &json!({}));
            assert!(matches!(treatment, Treatment::Held(_)), "{name} of the cluster");
        }
        let token = json!({"type": "kubernetes.io/service-account-token", "metadata": {"name": "x"}});
        assert_eq!(form("", "Secret", token), None);
    }

    #[test]
    fn nothing_is_left_that_an_operator_could_know_an_object_by() {
        let object = json!({"metadata": {
            "name": "x", "namespace": "n", "labels": {"app": "x"}, "annotations": {"replicate": "yes"},
            "finalizers": ["example.com/keep"],
        }, "data": {"a": "b"}});
        let expected = json!({"metadata": {"name": "x", "namespace": "n", "labels": {"ours": "yes"}}, "data": {"a": "b"}});
        assert_eq!(form("", "ConfigMap", object), Some(expected));
    }

    #[test]
    fn no_workload_has_a_pod() {
        let object = |spec: Value| json!({"metadata": {"name": "x"}, "spec": spec});
        let template = json!({"spec": {"containers": []}});
        for (group, name) in [
            ("apps", "Deployment"),
            ("apps", "StatefulSet"),
            ("apps", "ReplicaSet"),
            ("", "ReplicationController"),
        ] {
            for spec in [json!({"template": template}), json!({"replicas": 3, "template": template})] {
                assert_eq!(form(group, name, object(spec)).unwrap()["spec"]["replicas"], 0, "{name}");
            }
        }
        for name in ["Job", "CronJob"] {
            assert_eq!(form("batch", name, object(json!({}))).unwrap()["spec"]["suspend"], true, "{name}");
        }
        let nodes = form("apps", "DaemonSet", object(json!({"template": template}))).unwrap();
        assert_eq!(nodes["spec"]["template"]["spec"]["nodeSelector"][stopped::MARK], "true");
        assert_eq!(nodes["metadata"].get("annotations"), None);
    }

    #[test]
    fn a_service_leads_nowhere() {
        let service = |spec: Value| {
            let closed = form("", "Service", json!({"metadata": {"name": "s"}, "spec": spec})).unwrap();
            closed["spec"].clone()
        };
        assert_eq!(
            service(json!({
                "type": "LoadBalancer", "selector": {"app": "x"}, "externalIPs": ["192.0.2.1"],
                "externalTrafficPolicy": "Local", "healthCheckNodePort": 30001, "loadBalancerIP": "192.0.2.2",
                "ports": [{"port": 80, "nodePort": 30000}],
            })),
            json!({"type": "ClusterIP", "ports": [{"port": 80}]})
        );
        assert_eq!(
            service(json!({"type": "ExternalName", "externalName": "example.com"})),
            json!({"type": "ClusterIP", "clusterIP": "None"})
        );
        let headless = json!({"type": "ClusterIP", "clusterIP": "None", "ports": [{"port": 1}]});
        assert_eq!(service(headless.clone()), headless);
    }

    #[test]
    fn a_namespace_keeps_what_it_demands_of_pods() {
        let namespace = json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted", "sync": "yes"}}});
        let kept: Vec<String> = policy_labels(&namespace).into_iter().map(|(key, _)| key).collect();
        assert_eq!(kept, ["pod-security.kubernetes.io/enforce"]);
    }
}

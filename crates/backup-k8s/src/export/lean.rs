//! What of the cluster at large the namespaces lean on.

use std::collections::BTreeSet;

use backup_core::words::{Error, ErrorKind, Result};
use serde_json::Value;

use super::{
    head::Head,
    refs::{self, NAMESPACE, Named},
};
use crate::{
    cluster::ResourceKind,
    filter::{Labels, Selector},
};

const ROLE: &str = "ClusterRole";

/// What is known of the namespaces' objects, and of what they lean on so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Leaning {
    /// The chosen namespaces.
    pub(super) namespaces: BTreeSet<String>,
    /// Their labels.
    pub(super) labels: Vec<Labels>,
    /// Whether all of their objects are exported: what is not there yet counts as well then.
    pub(super) all: bool,
    /// Service accounts that are exported: namespace and name.
    pub(super) accounts: BTreeSet<(String, String)>,
    /// Services that are exported.
    pub(super) services: BTreeSet<(String, String)>,
    /// Names of cluster-wide objects: kind and name.
    pub(super) named: Named,
    /// Roles that gather the rules of those of these labels.
    pub(super) roles: Vec<Selector>,
    /// Policies that were taken: their bindings are, too.
    pub(super) policies: BTreeSet<String>,
}

/// True for kinds that name what is in namespaces: they are looked through whether somebody names them or not. Custom kinds may.
pub(crate) fn looks_into_namespaces(kind: &ResourceKind) -> bool {
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "PersistentVolume")
        | ("rbac.authorization.k8s.io", "ClusterRoleBinding")
        | ("apiregistration.k8s.io", "APIService") => true,
        ("admissionregistration.k8s.io", _) => true,
        _ => !kind.is_of_api_server(),
    }
}

/// Whether namespaces may lean on objects of a kind. Nodes and the like are the cluster's own; definitions of kinds are looked
/// at apart.
pub(crate) fn may_be_leant_on(kind: &ResourceKind) -> bool {
    !kind.namespaced && !is_clusters_own(kind)
}

fn is_clusters_own(kind: &ResourceKind) -> bool {
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "Node" | "Namespace")
        | ("apiextensions.k8s.io", "CustomResourceDefinition")
        | ("storage.k8s.io", "CSINode" | "VolumeAttachment")
        | ("resource.k8s.io", "ResourceSlice")
        | ("networking.k8s.io", "IPAddress" | "ServiceCIDR") => true,
        (group, _) => group == "certificates.k8s.io" || group == "flowcontrol.apiserver.k8s.io",
    }
}

impl Leaning {
    /// Whether the namespaces lean on an object.
    pub(super) fn wants(&self, kind: &ResourceKind, head: &Head<'_>, object: &[u8]) -> Result<bool> {
        if self.named.contains(&(kind.kind.clone(), head.metadata.name.to_string())) {
            return Ok(true);
        }
        if kind.kind == ROLE {
            return Ok(self.roles.iter().any(|selector| selector.matches(&head.labels())));
        }
        if !looks_into_namespaces(kind) {
            return Ok(false);
        }
        if !kind.is_of_api_server() {
            let mut named = Named::new();
            refs::gather(object, &|kind| kind == NAMESPACE, &mut named).map_err(|e| not_json(kind, e))?;
            return Ok(self.all && named.iter().any(|(_, namespace)| self.namespaces.contains(namespace)));
        }
        let object = parse(object)?;
        Ok(match kind.kind.as_str() {
            "PersistentVolume" => {
                // With a choice of objects, only the volumes of the chosen claims; they name them.
                self.all && self.is_inside(&object, "/spec/claimRef/namespace")
            }
            "ClusterRoleBinding" => list(&object, "/subjects").any(|subject| self.is_account(subject)),
            "APIService" => object.pointer("/spec/service").is_some_and(|service| self.is_service(service)),
            "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration" => {
                list(&object, "/webhooks").any(|webhook| self.is_webhook(webhook))
            }
            kind => self.is_policy(kind, &object),
        })
    }

    /// Takes in what an object names, as it is exported.
    pub(super) fn took(
        &mut self,
        kind: &ResourceKind,
        head: &Head<'_>,
        object: &[u8],
        of_interest: &dyn Fn(&str) -> bool,
    ) -> Result<()> {
        refs::gather(object, of_interest, &mut self.named).map_err(|e| not_json(kind, e))?;
        if kind.group == "admissionregistration.k8s.io" {
            if let Some(policy) = kind.kind.strip_suffix("Binding") {
                let object = parse(object)?;
                let name = object.pointer("/spec/policyName").and_then(Value::as_str);
                self.named.extend(name.map(|name| (policy.to_owned(), name.to_owned())));
            } else if kind.kind.ends_with("Policy") {
                self.policies.insert(head.metadata.name.to_string());
            }
        }
        if kind.kind == ROLE {
            let object = parse(object)?;
            let selectors = list(&object, "/aggregationRule/clusterRoleSelectors");
            self.roles.extend(selectors.filter_map(Selector::from_object));
        }
        Ok(())
    }

    fn is_inside(&self, object: &Value, path: &str) -> bool {
        object
            .pointer(path)
            .and_then(Value::as_str)
            .is_some_and(|namespace| self.namespaces.contains(namespace))
    }

    /// A subject of a binding: an account, or all accounts of a namespace.
    fn is_account(&self, subject: &Value) -> bool {
        let text = |key: &str| subject.get(key).and_then(Value::as_str).unwrap_or_default();
        let one = |namespace: &str, name: &str| {
            self.namespaces.contains(namespace)
                && (self.all || self.accounts.contains(&(namespace.to_owned(), name.to_owned())))
        };
        match text("kind") {
            "ServiceAccount" => one(text("namespace"), text("name")),
            "User" => text("name")
                .strip_prefix("system:serviceaccount:")
                .and_then(|account| account.split_once(':'))
                .is_some_and(|(namespace, name)| one(namespace, name)),
            "Group" => text("name")
                .strip_prefix("system:serviceaccounts:")
                .is_some_and(|namespace| self.namespaces.contains(namespace)),
            _ => false,
        }
    }

    fn is_service(&self, service: &Value) -> bool {
        let text = |key: &str| service.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        self.namespaces.contains(&text("namespace"))
            && (self.all || self.services.contains(&(text("namespace"), text("name"))))
    }

    fn is_webhook(&self, webhook: &Value) -> bool {
        webhook.pointer("/clientConfig/service").is_some_and(|service| self.is_service(service))
            || webhook.get("namespaceSelector").is_some_and(|selector| self.is_selected(selector))
    }

    fn is_policy(&self, kind: &str, object: &Value) -> bool {
        let selectors =
            ["/spec/matchConstraints/namespaceSelector", "/spec/matchResources/namespaceSelector"];
        let policy = object.pointer("/spec/policyName").and_then(Value::as_str);
        selectors.iter().any(|path| object.pointer(path).is_some_and(|selector| self.is_selected(selector)))
            || (kind.ends_with("Binding") && policy.is_some_and(|name| self.policies.contains(name)))
    }

    /// Whether a selector means the namespaces, and not just any.
    fn is_selected(&self, selector: &Value) -> bool {
        let Some(selector) = Selector::from_object(selector) else { return false };
        let any = Labels::from([("kubernetes.io/metadata.name".to_owned(), "any".to_owned())]);
        self.all && !selector.matches(&any) && self.labels.iter().any(|labels| selector.matches(labels))
    }
}

fn list<'a>(object: &'a Value, path: &str) -> impl Iterator<Item = &'a Value> {
    object.pointer(path).and_then(Value::as_array).into_iter().flatten()
}

fn parse(object: &[u8]) -> Result<Value> {
    serde_json::from_slice(object)
        .map_err(|e| Error::new(ErrorKind::Corrupt, "understand", "an object of the API server").because(e))
}

/// An object that is no JSON.
pub(super) fn not_json(kind: &ResourceKind, error: serde_json::Error) -> Error {
    Error::new(ErrorKind::Corrupt, "understand", format!("an object of {}", kind.resource())).because(error)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn leaning(all: bool) -> Leaning {
        let labels = |pairs: &[(&str, &str)]| -> Labels {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        Leaning {
            namespaces: ["shop".to_owned()].into(),
            labels: vec![labels(&[("kubernetes.io/metadata.name", "shop"), ("team", "a")])],
            all,
            accounts: [("shop".to_owned(), "app".to_owned())].into(),
            ..Leaning::default()
        }
    }

    fn wants(leaning: &Leaning, group: &str, kind: &str, object: Value) -> bool {
        let object = serde_json::to_vec(&object).unwrap();
        let kind = ResourceKind::new(group, "v1", kind, "x", false);
        leaning.wants(&kind, &Head::read(&object).unwrap(), &object).unwrap()
    }

    fn binding(subject: Value) -> Value {
        json!({"metadata": {"name": "b"}, "subjects": [{"kind": "User", "name": "x"}, subject]})
    }

    #[test]
    fn bindings_that_name_the_accounts_are_wanted() {
        let rbac = "rbac.authorization.k8s.io";
        let account =
            |name: &str| binding(json!({"kind": "ServiceAccount", "namespace": "shop", "name": name}));
        for subject in [
            account("app"),
            account("not-yet"),
            binding(json!({"kind": "Group", "name": "system:serviceaccounts:shop"})),
            binding(json!({"kind": "User", "name": "system:serviceaccount:shop:app"})),
        ] {
            assert!(wants(&leaning(true), rbac, "ClusterRoleBinding", subject.clone()), "{subject}");
        }
        for subject in [
            binding(json!({"kind": "ServiceAccount", "namespace": "other", "name": "app"})),
            binding(json!({"kind": "Group", "name": "system:serviceaccounts"})),
            binding(json!({"kind": "Group", "name": "system:authenticated"})),
        ] {
            assert!(!wants(&leaning(true), rbac, "ClusterRoleBinding", subject.clone()), "{subject}");
        }
        assert!(wants(&leaning(false), rbac, "ClusterRoleBinding", account("app")));
        assert!(
            !wants(&leaning(false), rbac, "ClusterRoleBinding", account("not-yet")),
            "it is not exported"
        );
    }

    #[test]
    fn webhooks_and_policies_of_the_namespaces_are_wanted_and_those_of_all_are_not() {
        let group = "admissionregistration.k8s.io";
        let hook = |webhook: Value| json!({"metadata": {"name": "w"}, "webhooks": [webhook]});
        let here = hook(json!({"clientConfig": {"service": {"namespace": "shop", "name": "s"}}}));
        assert!(wants(&leaning(true), group, "ValidatingWebhookConfiguration", here));
        let elsewhere = hook(
            json!({"clientConfig": {"service": {"namespace": "ops", "name": "s"}}, "namespaceSelector": {}}),
        );
        assert!(!wants(&leaning(true), group, "MutatingWebhookConfiguration", elsewhere));
        let but_one = json!({"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["ops"]}]});
        assert!(!wants(
            &leaning(true),
            group,
            "MutatingWebhookConfiguration",
            hook(json!({"namespaceSelector": but_one}))
        ));
        let ours = json!({"matchLabels": {"team": "a"}});
        let policy =
            json!({"metadata": {"name": "p"}, "spec": {"matchConstraints": {"namespaceSelector": ours}}});
        assert!(wants(&leaning(true), group, "ValidatingAdmissionPolicy", policy.clone()));
        let binding = json!({"metadata": {"name": "b"}, "spec": {"policyName": "p"}});
        assert!(!wants(&leaning(true), group, "ValidatingAdmissionPolicyBinding", binding.clone()));
        let mut leaning = leaning(true);
        let kind = ResourceKind::new(group, "v1", "ValidatingAdmissionPolicy", "x", false);
        let policy = serde_json::to_vec(&policy).unwrap();
        leaning.took(&kind, &Head::read(&policy).unwrap(), &policy, &|_| true).unwrap();
        assert!(
            wants(&leaning, group, "ValidatingAdmissionPolicyBinding", binding),
            "its policy is exported"
        );
    }

    #[test]
    fn roles_that_a_role_gathers_from_are_wanted() {
        let mut leaning = leaning(true);
        let kind = ResourceKind::new("rbac.authorization.k8s.io", "v1", ROLE, "clusterroles", false);
        let role = json!({"metadata": {"name": "all"}, "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"into": "all"}}]}});
        let role = serde_json::to_vec(&role).unwrap();
        leaning.took(&kind, &Head::read(&role).unwrap(), &role, &|_| true).unwrap();
        let part = json!({"metadata": {"name": "part", "labels": {"into": "all"}}});
        assert!(wants(&leaning, "rbac.authorization.k8s.io", ROLE, part));
        assert!(!wants(&leaning, "rbac.authorization.k8s.io", ROLE, json!({"metadata": {"name": "part"}})));
    }

    #[test]
    fn custom_objects_that_name_the_namespace_are_wanted() {
        let tenant = |namespace: &str| json!({"metadata": {"name": "t"}, "spec": {"places": [{"namespace": namespace}]}});
        assert!(wants(&leaning(true), "example.com", "Tenant", tenant("shop")));
        assert!(!wants(&leaning(true), "example.com", "Tenant", tenant("ops")));
        assert!(!wants(&leaning(true), "storage.k8s.io", "StorageClass", tenant("shop")), "those are named");
    }

    #[test]
    fn volumes_of_the_namespaces_are_wanted() {
        let volume = |namespace: &str| json!({"metadata": {"name": "v"}, "spec": {"claimRef": {"namespace": namespace}}});
        assert!(wants(&leaning(true), "", "PersistentVolume", volume("shop")));
        assert!(!wants(&leaning(true), "", "PersistentVolume", volume("ops")));
        assert!(!wants(&leaning(false), "", "PersistentVolume", volume("shop")), "its claim is not exported");
    }
}

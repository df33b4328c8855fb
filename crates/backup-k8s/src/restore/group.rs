//! Which objects are restored together, in one step.

use backup_core::traits::Phase;
use serde::{Deserialize, Serialize};

use crate::cluster::ResourceKind;

/// Objects that are restored in one step, in the order of the steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Group {
    /// Namespaces.
    Namespaces,
    /// Custom resource definitions.
    Definitions,
    /// Classes of storage, priority, ingress; volumes.
    Storage,
    /// Volume claims.
    Claims,
    /// Accounts, roles, bindings.
    Rights,
    /// Secrets.
    Secrets,
    /// ConfigMaps, limits and quotas.
    Config,
    /// Services and what else no pod runs for.
    Services,
    /// What runs pods.
    Workloads,
    /// Custom resources: the operators that convert, check and serve them are workloads.
    Custom,
    /// What stands between the API server and all others: webhooks, policies, aggregated APIs.
    Webhooks,
}

impl Group {
    /// Where a kind belongs.
    pub(super) fn of(kind: &ResourceKind) -> Self {
        match (kind.group.as_str(), kind.kind.as_str()) {
            ("", "Namespace") => Self::Namespaces,
            ("apiextensions.k8s.io", "CustomResourceDefinition") => Self::Definitions,
            ("", "PersistentVolume") | ("storage.k8s.io" | "scheduling.k8s.io", _) => Self::Storage,
            ("networking.k8s.io", "IngressClass") | ("node.k8s.io", "RuntimeClass") => Self::Storage,
            ("", "PersistentVolumeClaim") => Self::Claims,
            ("", "ServiceAccount") | ("rbac.authorization.k8s.io", _) => Self::Rights,
            ("", "Secret") => Self::Secrets,
            ("", "ConfigMap" | "LimitRange" | "ResourceQuota") => Self::Config,
            ("", "Pod" | "ReplicationController") | ("apps" | "batch", _) => Self::Workloads,
            ("admissionregistration.k8s.io" | "apiregistration.k8s.io", _) => Self::Webhooks,
            (group, _) if is_builtin(group) => Self::Services,
            _ => Self::Custom,
        }
    }

    /// How its objects are called.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Definitions => "custom resource definitions",
            Self::Storage => "classes and volumes",
            Self::Claims => "volume claims",
            Self::Rights => "accounts and rights",
            Self::Config => "configuration",
            Self::Custom => "custom resources",
            Self::Webhooks => "webhooks and policies",
            other => other.name(),
        }
    }

    /// Its step's id.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Namespaces => "namespaces",
            Self::Definitions => "definitions",
            Self::Storage => "storage",
            Self::Claims => "claims",
            Self::Rights => "rights",
            Self::Secrets => "secrets",
            Self::Config => "config",
            Self::Services => "services",
            Self::Workloads => "workloads",
            Self::Custom => "custom",
            Self::Webhooks => "webhooks",
        }
    }

    /// When its turn is. Custom resources come with the workloads: an operator starts pods for them, which must find the files
    /// of their volumes.
    pub(super) fn phase(self) -> Phase {
        match self {
            Self::Custom | Self::Workloads | Self::Webhooks => Phase::Start,
            _ => Phase::Configuration,
        }
    }
}

/// Whether Kubernetes itself serves the group: names below `k8s.io` are reserved, but add-ons use them too, as custom resources.
fn is_builtin(group: &str) -> bool {
    let known = [
        "",
        "autoscaling",
        "policy",
        "networking.k8s.io",
        "discovery.k8s.io",
        "coordination.k8s.io",
        "certificates.k8s.io",
        "flowcontrol.apiserver.k8s.io",
        "resource.k8s.io",
        "node.k8s.io",
    ];
    known.contains(&group)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_come_when_what_they_need_is_there() {
        let group = |group: &str, kind: &str| Group::of(&ResourceKind::new(group, "v1", kind, "", true));
        let order = [
            group("", "Namespace"),
            group("apiextensions.k8s.io", "CustomResourceDefinition"),
            group("", "PersistentVolume"),
            group("", "PersistentVolumeClaim"),
            group("rbac.authorization.k8s.io", "RoleBinding"),
            group("", "Secret"),
            group("", "ConfigMap"),
            group("networking.k8s.io", "Ingress"),
            group("apps", "Deployment"),
            group("gateway.networking.k8s.io", "Gateway"),
            group("admissionregistration.k8s.io", "MutatingWebhookConfiguration"),
        ];
        assert!(order.is_sorted() && order.windows(2).all(|pair| pair[0] != pair[1]));
        assert!(order.iter().map(|group| group.phase()).is_sorted());
        assert_eq!(group("policy", "PodDisruptionBudget"), Group::Services);
        assert_eq!(group("example.com", "Widget").phase(), Phase::Start);
    }
}

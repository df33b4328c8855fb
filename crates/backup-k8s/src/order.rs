//! In which order objects come back: what others need before what needs it.

/// The place of a kind, from 0. Kinds of the same rank come in the order of their names.
pub(crate) fn rank(group: &str, kind: &str) -> u8 {
    match (group, kind) {
        ("apiextensions.k8s.io", "CustomResourceDefinition") => 0,
        ("", "Namespace") => 1,
        ("storage.k8s.io", _) => 2,
        ("scheduling.k8s.io" | "node.k8s.io", _) | ("networking.k8s.io", "IngressClass") => 3,
        ("", "PersistentVolume") => 4,
        ("", "PersistentVolumeClaim") => 5,
        ("rbac.authorization.k8s.io", "ClusterRole") => 6,
        ("rbac.authorization.k8s.io", "Role") => 7,
        ("", "ServiceAccount") => 8,
        ("rbac.authorization.k8s.io", _) => 9,
        ("", "Secret") => 10,
        ("", "ConfigMap") => 11,
        ("", "LimitRange") => 12,
        ("", "Pod") => 13,
        ("", "Service") => 14,
        ("", "Endpoints") | ("discovery.k8s.io", "EndpointSlice") => 15,
        ("", "ReplicationController") => 16,
        ("apps", _) => 16,
        ("batch", _) => 17,
        ("apiregistration.k8s.io", _) => 19,
        ("admissionregistration.k8s.io", kind) => {
            // A policy's binding refuses from when it is there; a webhook does from when its service is not.
            if kind.ends_with("Policy") {
                20
            } else if kind.ends_with("Binding") {
                21
            } else {
                22
            }
        }
        _ => 18,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_need_comes_first_and_webhooks_come_last() {
        let order = [
            ("apiextensions.k8s.io", "CustomResourceDefinition"),
            ("", "Namespace"),
            ("storage.k8s.io", "StorageClass"),
            ("scheduling.k8s.io", "PriorityClass"),
            ("", "PersistentVolume"),
            ("", "PersistentVolumeClaim"),
            ("rbac.authorization.k8s.io", "ClusterRole"),
            ("rbac.authorization.k8s.io", "Role"),
            ("", "ServiceAccount"),
            ("rbac.authorization.k8s.io", "ClusterRoleBinding"),
            ("", "Secret"),
            ("", "ConfigMap"),
            ("", "LimitRange"),
            ("", "Pod"),
            ("", "Service"),
            ("apps", "Deployment"),
            ("batch", "CronJob"),
            ("example.com", "Widget"),
            ("apiregistration.k8s.io", "APIService"),
            ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy"),
            ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding"),
            ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"),
        ];
        let ranks: Vec<u8> = order.iter().map(|(group, kind)| rank(group, kind)).collect();
        assert!(ranks.is_sorted_by(|a, b| a < b), "{ranks:?}");
    }
}

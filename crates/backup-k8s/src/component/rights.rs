//! Rights, one by one: whether we have them, and the rule that gives them.

use backup_core::words::Result;
use http::Method;
use serde_json::{Value, json};

use crate::cluster::{Cluster, ResourceKind, to_json};

const REVIEWS: &str = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";

/// One right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Right {
    pub(crate) verb: &'static str,
    pub(crate) group: String,
    /// `secrets`, or `pods/exec`.
    pub(crate) resource: String,
    /// None: of the cluster at large.
    pub(crate) namespace: Option<String>,
    /// Only to this object.
    pub(crate) name: Option<String>,
}

impl Right {
    /// To list a kind.
    pub(crate) fn list(kind: &ResourceKind, namespace: Option<&str>) -> Self {
        let (group, resource) = (kind.group.clone(), kind.plural.clone());
        Self { verb: "list", group, resource, namespace: namespace.map(str::to_owned), name: None }
    }

    /// To do something with pods.
    pub(crate) fn pods(verb: &'static str, resource: &str, namespace: &str) -> Self {
        let namespace = Some(namespace.to_owned());
        Self { verb, group: String::new(), resource: resource.to_owned(), namespace, name: None }
    }

    /// To do something with namespaces.
    pub(crate) fn namespaces(verb: &'static str) -> Self {
        Self { verb, group: String::new(), resource: "namespaces".to_owned(), namespace: None, name: None }
    }

    /// Asks the API server.
    pub(crate) async fn is_given(&self, cluster: &Cluster) -> Result<bool> {
        let (resource, sub) = self.resource.split_once('/').unwrap_or((&self.resource, ""));
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {
                "namespace": self.namespace, "verb": self.verb, "group": self.group, "resource": resource,
                "subresource": sub, "name": self.name,
            }},
        });
        let body = to_json(&review)?;
        let ask =
            || cluster.ask::<Value>(Method::POST, REVIEWS, None, Some(("application/json", body.clone())));
        let answer = cluster.patiently(ask).await?;
        Ok(answer.pointer("/status/allowed") == Some(&Value::Bool(true)))
    }

    /// "list secrets in namespace a".
    pub(crate) fn words(&self) -> String {
        let dot = if self.group.is_empty() { "" } else { "." };
        let place =
            self.namespace.as_ref().map_or(String::new(), |namespace| format!(" in namespace {namespace}"));
        let name = self.name.as_ref().map_or(String::new(), |name| format!(" {name}"));
        format!("{} {}{dot}{}{name}{place}", self.verb, self.resource, self.group)
    }

    /// What to add to which role.
    pub(crate) fn rule(&self) -> String {
        let role = match &self.namespace {
            Some(namespace) => format!("a Role in namespace {namespace}"),
            None => "a ClusterRole".to_owned(),
        };
        let verbs =
            if self.verb == "list" { "\"get\", \"list\"".to_owned() } else { format!("\"{}\"", self.verb) };
        let names = self.name.as_ref().map_or(String::new(), |name| format!(", resourceNames: [\"{name}\"]"));
        let (group, resource) = (&self.group, &self.resource);
        format!(
            "add to {role}: {{apiGroups: [\"{group}\"], resources: [\"{resource}\"]{names}, verbs: [{verbs}]}}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_right_is_named_with_the_rule_that_gives_it() {
        let kind = ResourceKind::new("apps", "v1", "Deployment", "deployments", true);
        let right = Right::list(&kind, Some("shop"));
        assert_eq!(right.words(), "list deployments.apps in namespace shop");
        assert_eq!(
            right.rule(),
            r#"add to a Role in namespace shop: {apiGroups: ["apps"], resources: ["deployments"], verbs: ["get", "list"]}"#
        );
        let exec = Right::pods("create", "pods/exec", "shop");
        assert_eq!(
            exec.rule(),
            r#"add to a Role in namespace shop: {apiGroups: [""], resources: ["pods/exec"], verbs: ["create"]}"#
        );
    }
}

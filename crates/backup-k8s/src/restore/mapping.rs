//! Into another namespace: every reference to the old one that Kubernetes' own kinds have is rewritten.

use std::collections::BTreeMap;

use backup_core::words::{Error, ErrorKind, Result};
use serde_json::{Map, Value};

use crate::{clean::reprovision, cluster::ResourceKind};

/// The label that every Namespace has with its own name.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// Which namespaces are restored, and which becomes which.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Mapping {
    /// From and to; empty when all are restored in place.
    chosen: BTreeMap<String, String>,
}

impl Mapping {
    /// Reads `FROM:TO,FROM`; `known` are the namespaces of the backup.
    pub(super) fn read(text: Option<&str>, known: &[String]) -> Result<Self> {
        let mut chosen = BTreeMap::new();
        let pairs = text.into_iter().flat_map(|text| text.split(',')).map(str::trim);
        for pair in pairs {
            let wrong = |detail: String| {
                Error::new(ErrorKind::Config, "read the option", format!("namespace={pair}"))
                    .detail(detail)
                    .hint("write namespace=FROM:TO, or namespace=NAME for one of several in place")
            };
            let (from, to) = pair.split_once(':').unwrap_or((pair, pair));
            if !known.iter().any(|name| name == from) {
                return Err(wrong(format!("the backup has no namespace `{from}`"))
                    .hint(format!("it has: {}", known.join(", "))));
            }
            if !is_label(to) {
                return Err(wrong(format!("`{to}` is no name for a namespace"))
                    .hint("a name has lower-case letters, digits and `-`, at most 63"));
            }
            if chosen.insert(from.to_owned(), to.to_owned()).is_some() {
                return Err(wrong(format!("`{from}` stands there twice")));
            }
        }
        let mapping = Self { chosen };
        mapping.refuse_merging()?;
        Ok(mapping)
    }

    /// Each namespace to its own name; several may go to one where nothing is written.
    pub(super) fn of(chosen: BTreeMap<String, String>) -> Self {
        Self { chosen }
    }

    /// Objects of two namespaces would overwrite each other in one.
    fn refuse_merging(&self) -> Result<()> {
        let mut from: BTreeMap<&str, &str> = BTreeMap::new();
        for (name, to) in &self.chosen {
            if let Some(other) = from.insert(to, name) {
                return Err(Error::new(ErrorKind::Config, "restore into the namespace", to.clone())
                    .detail(format!("`{other}` and `{name}` of the backup would both go there"))
                    .hint("map them to two namespaces"));
            }
        }
        Ok(())
    }

    /// Whether the objects of `namespace` are restored.
    pub(super) fn takes(&self, namespace: &str) -> bool {
        self.chosen.is_empty() || self.chosen.contains_key(namespace)
    }

    /// Where the objects of `namespace` go.
    pub(super) fn target<'a>(&'a self, namespace: &'a str) -> &'a str {
        self.chosen.get(namespace).map_or(namespace, String::as_str)
    }

    /// Whether `namespace` goes elsewhere.
    pub(super) fn moves(&self, namespace: &str) -> bool {
        self.target(namespace) != namespace
    }

    /// What goes elsewhere: from and to.
    pub(super) fn moved(&self) -> impl Iterator<Item = (&str, &str)> {
        self.chosen.iter().map(|(from, to)| (from.as_str(), to.as_str())).filter(|(from, to)| from != to)
    }

    /// Rewrites an object. True when it is a copy now: another object than the original, or one that refers to the copy.
    pub(super) fn apply(&self, kind: &ResourceKind, object: &mut Value) -> bool {
        if self.moved().next().is_none() {
            return false;
        }
        let mut changed = false;
        if kind.namespaced {
            changed |= self.string(object.pointer_mut("/metadata/namespace"));
            if changed {
                loosen(kind, object);
            }
        }
        changed |= match (kind.group.as_str(), kind.kind.as_str()) {
            ("", "Namespace") => self.namespace(object),
            ("", "PersistentVolume") => self.string(object.pointer_mut("/spec/claimRef/namespace")),
            ("rbac.authorization.k8s.io", "RoleBinding") => self.subjects(object),
            ("rbac.authorization.k8s.io", "ClusterRoleBinding") => self.cluster_binding(object),
            ("admissionregistration.k8s.io", _) => self.webhooks(object),
            ("apiextensions.k8s.io", "CustomResourceDefinition") => {
                self.string(object.pointer_mut("/spec/conversion/webhook/clientConfig/service/namespace"))
            }
            ("apiregistration.k8s.io", "APIService") => {
                self.string(object.pointer_mut("/spec/service/namespace"))
            }
            ("networking.k8s.io", "NetworkPolicy") => self.policy(object),
            _ => false,
        };
        changed
    }

    /// Whether a text of the object names a Service of a namespace that goes elsewhere, as `NAME.NAMESPACE.svc`.
    pub(super) fn is_mentioned(&self, object: &Value) -> bool {
        let wanted: Vec<String> = self.moved().map(|(from, _)| format!(".{from}.svc")).collect();
        !wanted.is_empty() && mentions(object, &wanted)
    }

    fn string(&self, value: Option<&mut Value>) -> bool {
        let Some(Value::String(name)) = value else { return false };
        if !self.moves(name) {
            return false;
        }
        *name = self.target(name).to_owned();
        true
    }

    fn namespace(&self, object: &mut Value) -> bool {
        let changed = self.string(object.pointer_mut("/metadata/name"));
        if let Some(Value::Object(labels)) = object.pointer_mut("/metadata/labels") {
            self.string(labels.get_mut(NAME_LABEL));
        }
        changed
    }

    fn subjects(&self, object: &mut Value) -> bool {
        let mut changed = false;
        for subject in items(object.get_mut("subjects")) {
            changed |= self.string(subject.get_mut("namespace"));
            let Some(Value::String(name)) = subject.get_mut("name") else { continue };
            let mut parts: Vec<&str> = name.split(':').collect();
            if let ["system", "serviceaccounts", namespace] | ["system", "serviceaccount", namespace, _] =
                parts.as_mut_slice()
                && self.moves(namespace)
            {
                *namespace = self.target(namespace);
                *name = parts.join(":");
                changed = true;
            }
        }
        changed
    }

    /// A copy under the original's name would take the original's rights away: it gets a name of its own.
    fn cluster_binding(&self, object: &mut Value) -> bool {
        if !self.subjects(object) {
            return false;
        }
        let copy = self.moved().next().map_or("copy", |(_, to)| to);
        if let Some(Value::String(name)) = object.pointer_mut("/metadata/name") {
            *name = format!("{name}-{copy}");
        }
        true
    }

    fn webhooks(&self, object: &mut Value) -> bool {
        let mut changed = false;
        for webhook in items(object.get_mut("webhooks")) {
            changed |= self.string(webhook.pointer_mut("/clientConfig/service/namespace"));
            changed |= webhook.get_mut("namespaceSelector").is_some_and(|selector| self.selector(selector));
        }
        let pointers = ["/spec/matchConstraints/namespaceSelector", "/spec/matchResources/namespaceSelector"];
        for pointer in pointers {
            changed |= object.pointer_mut(pointer).is_some_and(|selector| self.selector(selector));
        }
        changed
    }

    fn policy(&self, object: &mut Value) -> bool {
        let mut changed = false;
        for (rules, peers) in [("/spec/ingress", "from"), ("/spec/egress", "to")] {
            for rule in items(object.pointer_mut(rules)) {
                for peer in items(rule.get_mut(peers)) {
                    changed |= peer.get_mut("namespaceSelector").is_some_and(|s| self.selector(s));
                }
            }
        }
        changed
    }

    /// A selector of namespaces that chooses them by their names.
    fn selector(&self, selector: &mut Value) -> bool {
        let mut changed = false;
        if let Some(Value::Object(labels)) = selector.get_mut("matchLabels") {
            changed |= self.string(labels.get_mut(NAME_LABEL));
        }
        for expression in items(selector.get_mut("matchExpressions")) {
            if expression.get("key").and_then(Value::as_str) == Some(NAME_LABEL) {
                for value in items(expression.get_mut("values")) {
                    changed |= self.string(Some(value));
                }
            }
        }
        changed
    }
}

/// Takes from a copy what only one object of a cluster can have: its volume, its ports on the nodes.
fn loosen(kind: &ResourceKind, object: &mut Value) {
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "PersistentVolumeClaim") => reprovision(object),
        ("", "Service") => {
            let headless = |ip: &Value| ip.as_str() == Some("None");
            if let Some(Value::Object(spec)) = object.get_mut("spec") {
                spec.remove("healthCheckNodePort");
                if !spec.get("clusterIP").is_some_and(headless) {
                    spec.remove("clusterIP");
                    spec.remove("clusterIPs");
                }
            }
            for port in items(object.pointer_mut("/spec/ports")) {
                if let Value::Object(port) = port {
                    port.remove("nodePort");
                }
            }
        }
        _ => {}
    }
}

/// The elements of a list; none for anything else.
fn items(value: Option<&mut Value>) -> impl Iterator<Item = &mut Value> {
    let list = match value {
        Some(Value::Array(list)) => list.as_mut_slice(),
        _ => &mut [],
    };
    list.iter_mut()
}

fn mentions(value: &Value, wanted: &[String]) -> bool {
    let in_table = |table: &Map<String, Value>| table.values().any(|value| mentions(value, wanted));
    match value {
        Value::String(text) => wanted.iter().any(|wanted| text.contains(wanted.as_str())),
        Value::Array(list) => list.iter().any(|value| mentions(value, wanted)),
        Value::Object(table) => in_table(table),
        _ => false,
    }
}

/// Whether a namespace may be called so (RFC 1123 label).
fn is_label(name: &str) -> bool {
    let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let bytes = name.as_bytes();
    !name.is_empty()
        && name.len() <= 63
        && bytes.iter().all(|c| plain(*c) || *c == b'-')
        && plain(bytes[0])
        && plain(bytes[bytes.len() - 1])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn kind(group: &str, kind: &str, namespaced: bool) -> ResourceKind {
        let plural = format!("{}s", kind.to_lowercase());
        ResourceKind::new(group, "v1", kind, &plural, namespaced)
    }

    fn known() -> Vec<String> {
        ["app", "db"].map(str::to_owned).to_vec()
    }

    fn mapped(kind: &ResourceKind, mut object: Value) -> (bool, Value) {
        let changed = Mapping::read(Some("app:copy"), &known()).unwrap().apply(kind, &mut object);
        (changed, object)
    }

    #[test]
    fn bad_mappings_say_what_is_wrong() {
        for (text, said) in [
            ("web:copy", "no namespace `web`"),
            ("app:Copy", "no name for a namespace"),
            ("app:-x", "no name for a namespace"),
            ("app:", "no name for a namespace"),
            ("app:a,app:b", "twice"),
            ("app:db,db", "would both go there"),
            ("app:x,db:x", "would both go there"),
        ] {
            let error = Mapping::read(Some(text), &known()).unwrap_err();
            assert!(error.to_string().contains(said), "{error}");
            assert_eq!(error.kind(), ErrorKind::Config);
        }
        // Exchanged is not merged.
        assert!(Mapping::read(Some("app:db, db:app"), &known()).is_ok());
    }

    #[test]
    fn only_the_namespaces_that_are_named_are_restored() {
        let some = Mapping::read(Some("app"), &known()).unwrap();
        assert!(some.takes("app") && !some.takes("db") && !some.moves("app"));
        let all = Mapping::read(None, &known()).unwrap();
        assert!(all.takes("app") && all.takes("db") && all.target("db") == "db");
    }

    #[test]
    fn accounts_that_a_binding_names_are_those_of_the_copy() {
        let binding = json!({
            "metadata": {"name": "read", "namespace": "app"},
            "subjects": [
                {"kind": "ServiceAccount", "name": "web", "namespace": "app"},
                {"kind": "ServiceAccount", "name": "web", "namespace": "other"},
                {"kind": "Group", "name": "system:serviceaccounts:app"},
                {"kind": "User", "name": "system:serviceaccount:app:web"},
            ]
        });
        let rbac = "rbac.authorization.k8s.io";
        let (changed, object) = mapped(&kind(rbac, "RoleBinding", true), binding.clone());
        assert!(changed);
        assert_eq!(object["metadata"], json!({"name": "read", "namespace": "copy"}));
        let names: Vec<&str> = object["subjects"]
            .as_array()
            .unwrap()
            .iter()
            .map(|s| s.get("namespace").unwrap_or(&s["name"]).as_str().unwrap())
            .collect();
        assert_eq!(names, ["copy", "other", "system:serviceaccounts:copy", "system:serviceaccount:copy:web"]);
        let (_, object) = mapped(&kind(rbac, "ClusterRoleBinding", false), binding);
        assert_eq!(object["metadata"]["name"], "read-copy");
    }

    #[test]
    fn a_copy_has_a_volume_and_ports_of_its_own() {
        let claim = json!({
            "metadata": {"name": "d", "namespace": "app", "annotations": {"a": "b"}},
            "spec": {"volumeName": "pv-1", "storageClassName": "x"}
        });
        let (_, object) = mapped(&kind("", "PersistentVolumeClaim", true), claim);
        assert_eq!(object["spec"], json!({"storageClassName": "x"}));
        assert_eq!(object["metadata"]["annotations"], json!({"a": "b"}));
        let service = json!({
            "metadata": {"name": "s", "namespace": "app"},
            "spec": {"clusterIP": "None", "ports": [{"port": 1, "nodePort": 30000}]}
        });
        let (_, object) = mapped(&kind("", "Service", true), service);
        assert_eq!(object["spec"], json!({"clusterIP": "None", "ports": [{"port": 1}]}));
    }

    #[test]
    fn selectors_of_namespaces_by_name_choose_the_copy() {
        let policy = json!({"metadata": {"name": "p", "namespace": "db"}, "spec": {"ingress": [{"from": [
            {"namespaceSelector": {"matchLabels": {NAME_LABEL: "app"}}},
            {"namespaceSelector": {"matchExpressions": [{"key": NAME_LABEL, "operator": "In", "values": ["app", "x"]}]}},
        ]}]}});
        let (changed, object) = mapped(&kind("networking.k8s.io", "NetworkPolicy", true), policy);
        assert!(changed);
        let from = &object["spec"]["ingress"][0]["from"];
        assert_eq!(from[0]["namespaceSelector"]["matchLabels"][NAME_LABEL], "copy");
        assert_eq!(from[1]["namespaceSelector"]["matchExpressions"][0]["values"], json!(["copy", "x"]));
        assert_eq!(object["metadata"]["namespace"], "db");
    }

    #[test]
    fn what_serves_the_whole_cluster_refers_to_the_copy() {
        let hook = json!({"metadata": {"name": "w"}, "webhooks": [{"clientConfig": {"service": {"namespace": "app", "name": "h"}}}]});
        let admission = kind("admissionregistration.k8s.io", "ValidatingWebhookConfiguration", false);
        let (changed, object) = mapped(&admission, hook);
        assert!(changed);
        assert_eq!(object["webhooks"][0]["clientConfig"]["service"]["namespace"], "copy");
        let namespace = json!({"metadata": {"name": "app", "labels": {NAME_LABEL: "app"}}});
        let (_, object) = mapped(&kind("", "Namespace", false), namespace);
        assert_eq!(object["metadata"], json!({"name": "copy", "labels": {NAME_LABEL: "copy"}}));
    }

    #[test]
    fn names_of_services_in_texts_are_found() {
        let mapping = Mapping::read(Some("app:copy"), &known()).unwrap();
        assert!(mapping.is_mentioned(&json!({"data": {"url": "http://web.app.svc:80"}})));
        assert!(!mapping.is_mentioned(&json!({"data": {"url": "http://web.app2.svc:80"}})));
    }
}

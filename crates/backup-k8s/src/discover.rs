//! Which kinds the API server serves.

use std::collections::BTreeMap;

use backup_core::words::{Error, Result};
use futures::{StreamExt, TryStreamExt};
use http::Method;
use serde::Deserialize;

use crate::cluster::{Cluster, ResourceKind, is_lost};

/// All groups in one answer (Kubernetes 1.26 and newer); else the list of groups, which are then asked one by one.
const ACCEPT: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,\
                      application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";

/// What an object must be capable of to be backed up.
const VERBS: [&str; 4] = ["list", "get", "create", "delete"];

/// Groups that serve objects of other groups once more, with what they serve.
const TWICE: [(&str, &str); 3] =
    [("events.k8s.io", "events"), ("extensions", "*"), ("authorization.openshift.io", "*")];

/// How many groups are asked at once.
const SIDE_BY_SIDE: usize = 8;

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Discovery {
    /// Every kind that can be listed, read, created and deleted, each once, in the order of their names.
    pub(crate) kinds: Vec<ResourceKind>,
    /// Kinds that can be listed, but neither created nor deleted: they are views of something else.
    pub(crate) views: Vec<ResourceKind>,
    /// Groups (`metrics.k8s.io/v1beta1`) that could not be asked.
    pub(crate) unreadable: Vec<(String, Error)>,
}

impl Discovery {
    /// The kind called `plural` in `group`.
    pub(crate) fn find(&self, group: &str, plural: &str) -> Option<&ResourceKind> {
        self.kinds.iter().find(|kind| kind.group == group && kind.plural == plural)
    }
}

/// Asks the API server for all kinds. A group that does not answer is recorded and does not hold up the others.
pub(crate) async fn discover(cluster: &Cluster) -> Result<Discovery> {
    let both = || async { futures::try_join!(groups(cluster, "/api"), groups(cluster, "/apis")) };
    let (core, groups) = cluster.patiently(both).await?;
    let asked = core.into_iter().chain(groups).map(|version| async move {
        let resources = match version.resources {
            Some(resources) => Ok(resources),
            None => cluster.patiently(|| resources_of(cluster, &version.group, &version.version)).await,
        };
        match resources {
            Err(error) if is_lost(&error) => Err(error),
            resources => Ok((version.group, version.version, resources)),
        }
    });
    // In the order in which the server prefers the versions.
    let answers: Vec<_> = futures::stream::iter(asked).buffered(SIDE_BY_SIDE).try_collect().await?;
    Ok(assemble(answers))
}

type Answer = (String, String, Result<Vec<Resource>>);

/// Each kind once: in the first version of its group that has it.
fn assemble(answers: Vec<Answer>) -> Discovery {
    let mut discovery = Discovery::default();
    let mut found: BTreeMap<(String, String), (ResourceKind, bool)> = BTreeMap::new();
    for (group, version, resources) in answers {
        let resources = match resources {
            Ok(resources) => resources,
            Err(error) => {
                discovery.unreadable.push((name(&group, &version), error));
                continue;
            }
        };
        for resource in resources {
            let can = |verb: &&str| resource.verbs.iter().any(|own| own == verb);
            if resource.plural.contains('/') || !can(&"list") {
                continue;
            }
            let kind =
                ResourceKind::new(&group, &version, &resource.kind, &resource.plural, resource.namespaced);
            let whole = VERBS.iter().all(can);
            let key = (group.clone(), resource.plural);
            match found.get(&key) {
                Some((_, true)) => {}
                Some((_, false)) if !whole => {}
                _ => drop(found.insert(key, (kind, whole))),
            }
        }
    }
    let elsewhere: Vec<(String, String)> = found.keys().cloned().collect();
    for ((group, plural), (kind, whole)) in found {
        let twice = TWICE.iter().any(|(twice, what)| *twice == group && (*what == "*" || *what == plural));
        if twice && elsewhere.iter().any(|(other, same)| *other != group && *same == plural) {
            continue;
        }
        if whole { &mut discovery.kinds } else { &mut discovery.views }.push(kind);
    }
    discovery
}

fn name(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

/// A version of a group; its resources, where the answer had them and they are fresh.
struct Version {
    group: String,
    version: String,
    resources: Option<Vec<Resource>>,
}

struct Resource {
    plural: String,
    kind: String,
    namespaced: bool,
    verbs: Vec<String>,
}

async fn groups(cluster: &Cluster, root: &str) -> Result<Vec<Version>> {
    let document: Document = cluster.ask(Method::GET, root, Some(ACCEPT), None).await?;
    Ok(document.versions())
}

async fn resources_of(cluster: &Cluster, group: &str, version: &str) -> Result<Vec<Resource>> {
    let root = if group.is_empty() { "/api" } else { "/apis" };
    let list: PlainList = cluster.get(&format!("{root}/{}", name(group, version))).await?;
    let resource = |plain: Plain| Resource {
        plural: plain.name,
        kind: plain.kind,
        namespaced: plain.namespaced,
        verbs: plain.verbs,
    };
    Ok(list.resources.into_iter().map(resource).collect())
}

/// `/api` or `/apis`: aggregated, or the plain lists of older servers.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Document {
    items: Vec<AggregatedGroup>,
    groups: Vec<PlainGroup>,
    versions: Vec<String>,
}

impl Document {
    fn versions(self) -> Vec<Version> {
        let aggregated = self.items.into_iter().flat_map(|group| {
            let name = group.metadata.name;
            group.versions.into_iter().map(move |version| version.understood(&name))
        });
        let plain = self.groups.into_iter().flat_map(PlainGroup::ordered);
        let core = self.versions.into_iter().map(|version| (String::new(), version));
        let unasked = |(group, version)| Version { group, version, resources: None };
        aggregated.chain(plain.chain(core).map(unasked)).collect()
    }
}

#[derive(Deserialize)]
struct AggregatedGroup {
    #[serde(default)]
    metadata: GroupName,
    #[serde(default)]
    versions: Vec<AggregatedVersion>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct GroupName {
    name: String,
}

#[derive(Deserialize)]
struct AggregatedVersion {
    version: String,
    #[serde(default)]
    resources: Vec<Aggregated>,
    #[serde(default)]
    freshness: String,
}

impl AggregatedVersion {
    /// What is stale is asked again: the group may be down.
    fn understood(self, group: &str) -> Version {
        let resource = |entry: Aggregated| {
            Some(Resource {
                plural: entry.resource,
                kind: entry.response_kind?.kind,
                namespaced: entry.scope == "Namespaced",
                verbs: entry.verbs,
            })
        };
        let fresh = self.freshness != "Stale";
        Version {
            group: group.to_owned(),
            version: self.version,
            resources: fresh.then(|| self.resources.into_iter().filter_map(resource).collect()),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Aggregated {
    resource: String,
    #[serde(default)]
    response_kind: Option<KindName>,
    #[serde(default)]
    scope: String,
    #[serde(default)]
    verbs: Vec<String>,
}

#[derive(Deserialize)]
struct KindName {
    kind: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PlainGroup {
    name: String,
    versions: Vec<PlainVersion>,
    #[serde(default)]
    preferred_version: Option<PlainVersion>,
}

impl PlainGroup {
    fn ordered(self) -> Vec<(String, String)> {
        let preferred = self.preferred_version.map(|version| version.version);
        let mut versions: Vec<String> = self.versions.into_iter().map(|version| version.version).collect();
        versions.sort_by_key(|version| Some(version) != preferred.as_ref());
        versions.into_iter().map(|version| (self.name.clone(), version)).collect()
    }
}

#[derive(Deserialize)]
struct PlainVersion {
    version: String,
}

#[derive(Deserialize)]
struct PlainList {
    #[serde(default)]
    resources: Vec<Plain>,
}

#[derive(Deserialize)]
struct Plain {
    name: String,
    kind: String,
    #[serde(default)]
    namespaced: bool,
    #[serde(default)]
    verbs: Vec<String>,
}

#[cfg(test)]
mod tests {
    use backup_core::words::ErrorKind;
    use serde_json::json;

    use super::*;

    fn resource(plural: &str, kind: &str, verbs: &[&str]) -> Resource {
        let verbs = verbs.iter().map(|verb| (*verb).to_owned()).collect();
        Resource { plural: plural.to_owned(), kind: kind.to_owned(), namespaced: true, verbs }
    }

    fn answer(group: &str, version: &str, resources: Vec<Resource>) -> Answer {
        (group.to_owned(), version.to_owned(), Ok(resources))
    }

    fn names(kinds: &[ResourceKind]) -> Vec<String> {
        kinds.iter().map(|kind| format!("{} {}", kind.resource(), kind.version)).collect()
    }

    const ALL: &[&str] = &["create", "delete", "get", "list", "watch"];

    #[test]
    fn each_kind_is_there_once_in_its_preferred_version_and_none_is_missed() {
        let discovery = assemble(vec![
            answer("", "v1", vec![resource("events", "Event", ALL), resource("secrets", "Secret", ALL)]),
            answer(
                "autoscaling",
                "v2",
                vec![resource("horizontalpodautoscalers", "HorizontalPodAutoscaler", ALL)],
            ),
            answer(
                "autoscaling",
                "v1",
                vec![
                    resource("horizontalpodautoscalers", "HorizontalPodAutoscaler", ALL),
                    resource("olds", "Old", ALL),
                ],
            ),
            answer("events.k8s.io", "v1", vec![resource("events", "Event", ALL)]),
            answer(
                "extensions",
                "v1beta1",
                vec![resource("ingresses", "Ingress", ALL), resource("onlies", "Only", ALL)],
            ),
            answer("networking.k8s.io", "v1", vec![resource("ingresses", "Ingress", ALL)]),
        ]);
        let expected = [
            "events v1",
            "secrets v1",
            "horizontalpodautoscalers.autoscaling v2",
            "olds.autoscaling v1",
            "onlies.extensions v1beta1",
            "ingresses.networking.k8s.io v1",
        ];
        assert_eq!(names(&discovery.kinds), expected);
    }

    #[test]
    fn views_and_subresources_are_no_kinds_and_a_group_that_is_down_is_named() {
        let down = Error::new(ErrorKind::Unreachable, "ask", "x");
        let discovery = assemble(vec![
            answer(
                "",
                "v1",
                vec![
                    resource("pods/log", "Pod", ALL),
                    resource("componentstatuses", "ComponentStatus", &["get", "list"]),
                    resource("bindings", "Binding", &["create"]),
                ],
            ),
            ("down.example.com".to_owned(), "v1".to_owned(), Err(down)),
        ]);
        assert!(discovery.kinds.is_empty());
        assert_eq!(names(&discovery.views), ["componentstatuses v1"]);
        assert_eq!(discovery.unreadable[0].0, "down.example.com/v1");
    }

    #[test]
    fn a_stale_version_is_asked_again_and_plain_lists_are_understood() {
        let aggregated: Document = serde_json::from_value(json!({"items": [
            {"metadata": {"name": "a"}, "versions": [
                {"version": "v1", "freshness": "Current", "resources": [
                    {"resource": "xs", "scope": "Namespaced", "responseKind": {"kind": "X"}, "verbs": ["list"]},
                    {"resource": "only-subresources", "scope": "Namespaced", "verbs": []},
                ]},
                {"version": "v2", "freshness": "Stale"},
            ]},
        ]}))
        .unwrap();
        let versions = aggregated.versions();
        assert_eq!(versions[0].resources.as_ref().unwrap().len(), 1);
        assert!(versions[1].resources.is_none());
        let plain: Document = serde_json::from_value(json!({"groups": [
            {"name": "a", "versions": [{"version": "v1"}, {"version": "v2"}], "preferredVersion": {"version": "v2"}},
        ]}))
        .unwrap();
        let order: Vec<_> = plain.versions().into_iter().map(|version| version.version).collect();
        assert_eq!(order, ["v2", "v1"]);
    }
}

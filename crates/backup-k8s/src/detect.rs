//! Looking for a Kubernetes and what runs on it.

use backup_core::traits::Detected;
use serde_json::Value;

use crate::{cluster::Cluster, config::Access};

/// Namespaces of Kubernetes itself.
const ITS_OWN: &str = "kube-";
/// Namespaces that have a preset of their name.
const PRESETS: [&str; 2] = ["supabase", "fastapi"];

/// What runs on the cluster that a kubeconfig or a service account leads to.
pub(crate) async fn detect() -> Vec<Detected> {
    let access = Access { request_timeout: Some(5), ..Access::default() };
    let Ok(cluster) = Cluster::connect(&access).await else { return Vec::new() };
    let Ok(list) = cluster.get::<Value>("/api/v1/namespaces").await else { return Vec::new() };
    let names = list["items"].as_array().into_iter().flatten();
    let names = names.filter_map(|namespace| namespace["metadata"]["name"].as_str());
    let (presets, others): (Vec<&str>, Vec<&str>) =
        names.filter(|name| !name.starts_with(ITS_OWN)).partition(|name| PRESETS.contains(name));
    let at = cluster.server();
    let mut found: Vec<Detected> = presets
        .iter()
        .map(|name| Detected {
            what: format!("the namespace {name} at {at}"),
            section: format!("[[component]]\nkind = {name:?}"),
        })
        .collect();
    if !others.is_empty() {
        let listed: Vec<String> = others.iter().map(|name| format!("{name:?}")).collect();
        found.push(Detected {
            what: format!("{} more namespace(s) at {at}", others.len()),
            section: format!("[[component]]\nkind = \"kubernetes\"\nnamespaces = [{}]", listed.join(", ")),
        });
    }
    found
}

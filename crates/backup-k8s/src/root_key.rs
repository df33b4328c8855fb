//! The root key of Supabase's Vault (pgsodium): secrets in a restored database are read with it, and with nothing else.

use backup_core::{
    traits::Captured,
    words::{Coverage, Error, ErrorKind, Result},
};
use futures::StreamExt;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    cluster::{Cluster, ResourceKind},
    config::{KubernetesConfig, RootKey, StateConfig},
    filter::{Choice, Labels},
    list,
};

/// The fact that says where it is. The key itself is in no fact.
const FACT: &str = "root_key";
/// What the data of a Secret is called when it is the key.
const NAMES: [&str; 4] = ["pgsodium_root", "pgsodium-root", "vault_enc_key", "root_key"];
/// Where it lives in Supabase's image of PostgreSQL.
const HINT: &str = "in Supabase's PostgreSQL it is /etc/postgresql-custom/pgsodium_root.key: name it in `root_key` \
    ({ path = ..., selector = ... } or { secret = \"NAME/KEY\" }), or keep it elsewhere";

/// What of a Secret tells whether it is the key.
#[derive(Deserialize)]
struct Secret {
    metadata: Metadata,
    #[serde(default)]
    data: std::collections::BTreeMap<String, serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
    #[serde(default)]
    labels: Option<Labels>,
}

/// Refuses what contradicts itself.
///
/// # Errors
/// [`ErrorKind::Config`].
pub(crate) fn check_config(config: &KubernetesConfig) -> Result<()> {
    let Some(key) = &config.root_key else { return Ok(()) };
    let wrong = |detail: &str, hint: &str| {
        Err(Error::new(ErrorKind::Config, "use the section", "root_key").detail(detail).hint(hint))
    };
    match (&key.secret, &key.path) {
        (Some(_), Some(_)) => wrong("both `secret` and `path` are given", "name one of them"),
        (Some(secret), None) if parts(secret).is_none() => {
            wrong("`secret` names no key", "root_key = { secret = \"NAME/KEY\" }")
        }
        (None, Some(_)) if config.state.is_some() => wrong(
            "`path` and `state` are both given, and files of running containers are taken of one place",
            "give the key a component of its own: kind = \"kubernetes\" with its `namespace` and `state`",
        ),
        (None, Some(path)) if path.rsplit_once('/').is_none_or(|(_, file)| file.is_empty()) => wrong(
            "`path` names no file",
            "root_key = { path = \"/etc/postgresql-custom/pgsodium_root.key\" }",
        ),
        _ => Ok(()),
    }
}

/// The key's file as state files, where it is one.
pub(crate) fn state(key: &RootKey) -> Option<StateConfig> {
    let (folder, file) = key.path.as_ref()?.rsplit_once('/')?;
    Some(StateConfig {
        path: if folder.is_empty() { "/".to_owned() } else { folder.to_owned() },
        include: vec![file.to_owned()],
        exclude: Vec::new(),
        selector: key.selector.clone(),
        container: key.container.clone(),
    })
}

/// Looks where the key is and whether it is in the backup; says so in facts, or what is missing.
pub(crate) async fn look(
    cluster: &Cluster,
    key: &RootKey,
    namespaces: &[String],
    choice: &Choice,
    captured: &mut Captured,
) {
    if let Some(path) = &key.path {
        let files = captured.facts.get("state").is_some_and(has_files);
        match files {
            true => drop(
                captured.facts.insert(FACT.to_owned(), json!([format!("{path} in the artifact `state`")])),
            ),
            false => missing(captured, path, "the file was not found in a running pod".to_owned()),
        }
        return;
    }
    let mut found = Vec::new();
    for namespace in namespaces {
        match search(cluster, key, namespace, choice).await {
            Ok(some) => found.extend(some),
            Err(error) => {
                return missing(captured, namespace, format!("could not be looked for: {}", error.chain()));
            }
        }
    }
    match (found.is_empty(), &key.secret) {
        (false, _) => drop(captured.facts.insert(FACT.to_owned(), json!(found))),
        (true, Some(secret)) => missing(captured, secret, "no such Secret is in the backup".to_owned()),
        (true, None) => captured.warnings.push(format!(
            "the root key of the Vault (pgsodium) is not in the backup: without it restored secrets cannot be read; {HINT}"
        )),
    }
}

fn has_files(state: &Value) -> bool {
    let pods = state["pods"].as_array();
    pods.into_iter().flatten().any(|pod| pod["files"].as_u64().is_some_and(|files| files > 0))
}

fn missing(captured: &mut Captured, what: &str, why: String) {
    captured.coverage.push(Coverage { what: format!("root key of the Vault: {what}"), why, missing: true });
}

/// `NAME/KEY` in two.
fn parts(secret: &str) -> Option<(&str, &str)> {
    secret.split_once('/').filter(|(name, key)| !name.is_empty() && !key.is_empty())
}

/// The Secrets of a namespace that hold it and are exported, as people find them.
async fn search(cluster: &Cluster, key: &RootKey, namespace: &str, choice: &Choice) -> Result<Vec<String>> {
    let kind = ResourceKind::new("", "v1", "Secret", "secrets", true);
    let mut found = Vec::new();
    let mut secrets = list::objects(cluster, &kind, Some(namespace), None, None);
    while let Some(object) = secrets.next().await {
        let object = object?;
        let secret: Secret = serde_json::from_slice(&object).map_err(|e| {
            Error::new(ErrorKind::Corrupt, "read", format!("a Secret of {namespace}")).because(e)
        })?;
        let labels = secret.metadata.labels.unwrap_or_default();
        if !choice.takes(&kind, &secret.metadata.name, &labels) {
            continue;
        }
        let name = &secret.metadata.name;
        let keys = secret.data.keys().filter(|data| match key.secret.as_deref().and_then(parts) {
            Some(wanted) => wanted == (name.as_str(), data.as_str()),
            None => is_root_key(data),
        });
        found.extend(keys.map(|data| format!("Secret {namespace}/{name}, key {data}")));
    }
    Ok(found)
}

fn is_root_key(data: &str) -> bool {
    let data = data.to_lowercase();
    NAMES.iter().any(|name| data.contains(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(value: Value) -> KubernetesConfig {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        for bad in [
            json!({"root_key": {"secret": "a/b", "path": "/c"}}),
            json!({"root_key": {"secret": "a"}}),
            json!({"root_key": {"secret": "/b"}}),
            json!({"root_key": {"path": "/a/"}}),
            json!({"root_key": {"path": "/a/b"}, "state": {}}),
        ] {
            assert_eq!(check_config(&config(bad.clone())).unwrap_err().kind(), ErrorKind::Config, "{bad}");
        }
        for good in [json!({}), json!({"root_key": {}}), json!({"root_key": {"path": "/a/b"}})] {
            check_config(&config(good)).unwrap();
        }
    }

    #[test]
    fn a_file_is_taken_as_one_state_file_of_its_folder() {
        let key = RootKey {
            path: Some("/etc/postgresql-custom/pgsodium_root.key".into()),
            selector: Some("app=db".into()),
            ..RootKey::default()
        };
        let state = state(&key).unwrap();
        assert_eq!(
            (state.path.as_str(), state.include),
            ("/etc/postgresql-custom", vec!["pgsodium_root.key".into()])
        );
        assert_eq!(state.selector.as_deref(), Some("app=db"));
    }

    #[test]
    fn keys_are_known_by_the_names_that_supabase_gives_them() {
        assert!(is_root_key("pgsodium_root.key") && is_root_key("VAULT_ENC_KEY"));
        assert!(!is_root_key("password") && !is_root_key("jwt"));
    }
}

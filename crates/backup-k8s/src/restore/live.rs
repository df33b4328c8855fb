//! What is in the cluster now: of each object only what tells whether it is the wanted one.

use std::collections::HashMap;

use backup_core::words::{Error, ErrorKind, Result};
use futures::{Stream, StreamExt};
use serde_json::Value;

use super::{
    backup::{Key, key},
    decide::{ClaimOf, Live},
    normal::{fingerprint, normalise},
    retry::Patience,
    stopped,
};
use crate::{
    clean,
    cluster::{Cluster, ResourceKind, refusal},
    list,
};

/// The objects of a kind in the cluster, by `NAMESPACE/NAME`.
pub(super) type Map = HashMap<Key, Live>;

/// The objects of a kind, in `namespaces` when it is namespaced. None when the cluster does not serve the kind in this version.
pub(super) async fn read(
    cluster: &Cluster,
    kind: &ResourceKind,
    namespaces: &[&str],
    patience: Patience<'_>,
) -> Result<Option<Map>> {
    let places: Vec<Option<&str>> =
        if kind.namespaced { namespaces.iter().copied().map(Some).collect() } else { vec![None] };
    let mut map = Map::new();
    for place in places {
        let read = patience.keep("list", || place_of(cluster, kind, place)).await;
        match read {
            Ok(read) => map.extend(read),
            Err(error) if is_unserved(&error) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    Ok(Some(map))
}

async fn place_of(cluster: &Cluster, kind: &ResourceKind, namespace: Option<&str>) -> Result<Map> {
    let mut map = Map::new();
    let mut objects = objects(cluster, kind, namespace);
    while let Some(object) = objects.next().await {
        let mut object = object?;
        let key = key(&object);
        map.insert(key, live(kind, &mut object));
    }
    Ok(map)
}

/// The raw objects of a kind.
pub(super) fn objects(
    cluster: &Cluster,
    kind: &ResourceKind,
    namespace: Option<&str>,
) -> impl Stream<Item = Result<Value>> + Send + Unpin + use<> {
    let parsed = kind.clone();
    list::objects(cluster, kind, namespace, None, None).map(move |object| parse(&parsed, &object?))
}

/// A raw object of the cluster.
pub(super) fn parse(kind: &ResourceKind, bytes: &[u8]) -> Result<Value> {
    serde_json::from_slice(bytes)
        .map_err(|e| Error::new(ErrorKind::Corrupt, "understand", kind.resource()).because(e))
}

/// One object; none when there is none of that name.
pub(super) async fn get(cluster: &Cluster, kind: &ResourceKind, key: &str) -> Result<Option<Value>> {
    match cluster.get::<Value>(&path(kind, key)).await {
        Ok(object) => Ok(Some(object)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Where the object with this key is.
pub(super) fn path(kind: &ResourceKind, key: &str) -> String {
    let (namespace, name) = key.split_once('/').unwrap_or(("", key));
    kind.object(Some(namespace), name)
}

/// What is remembered of an object.
pub(super) fn live(kind: &ResourceKind, object: &mut Value) -> Live {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
    let uid = text("/metadata/uid").unwrap_or_default().into();
    let going = text("/metadata/deletionTimestamp").is_some();
    let claim = match (kind.kind.as_str(), text("/spec/claimRef/namespace"), text("/spec/claimRef/name")) {
        ("PersistentVolume", Some(namespace), Some(name)) => Some(Box::new(ClaimOf {
            key: format!("{namespace}/{name}"),
            released: text("/status/phase") == Some("Released"),
        })),
        _ => None,
    };
    let stopped = stopped::before(object).is_some();
    comparable(object);
    Live { uid, print: fingerprint(object), going, stopped, claim }
}

/// Brings an object of the cluster into the form in which it is compared.
pub(super) fn comparable(object: &mut Value) {
    clean::clean(object);
    normalise(object);
}

/// Whether the API server does not know the kind: lists of those that it knows may be empty.
fn is_unserved(error: &Error) -> bool {
    refusal(error).is_some_and(|refusal| refusal.code == 404)
}

/// Why nothing of a kind can be restored, with the versions in which the cluster has it.
pub(super) async fn unserved(cluster: &Cluster, kind: &ResourceKind) -> String {
    let versions = match cluster.get::<Value>(&format!("/apis/{}", kind.group)).await {
        Ok(group) => {
            let listed = group.get("versions").and_then(Value::as_array).cloned().unwrap_or_default();
            let names = listed.iter().filter_map(|version| version.get("version")?.as_str());
            names.filter(|version| *version != kind.version).map(str::to_owned).collect::<Vec<_>>().join(", ")
        }
        Err(_) => String::new(),
    };
    let what = format!("the cluster does not serve {} in {}", kind.resource(), kind.version);
    if versions.is_empty() {
        format!("{what}: install what defines it first")
    } else {
        format!("{what}; of that group it serves {versions}")
    }
}

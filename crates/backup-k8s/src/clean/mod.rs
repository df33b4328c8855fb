//! From an object as the API server shows it to one that it takes: what it sets itself goes.
//!
//! Objects are stored as they were; these rules are used for the files that a person applies by hand, and at a restore.

mod kinds;
mod left_out;

use serde_json::{Map, Value};

pub(crate) use left_out::left_out;

const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// What the API server sets in every object's metadata.
const METADATA: [&str; 9] = [
    "selfLink",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "ownerReferences",
    "managedFields",
];

/// Finalizers that controllers of every cluster set where they are needed.
const FINALIZERS: [&str; 6] = [
    "foregroundDeletion",
    "orphan",
    "kubernetes.io/pv-protection",
    "kubernetes.io/pvc-protection",
    "service.kubernetes.io/load-balancer-cleanup",
    "batch.kubernetes.io/job-tracking",
];

/// Strips what the server sets. Call [`left_out`] before: it looks at what goes here.
pub(crate) fn clean(object: &mut Value) {
    kinds::clean(object);
    let Some(object) = object.as_object_mut() else { return };
    object.remove("status");
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        if metadata.contains_key("name") {
            metadata.remove("generateName");
        }
        METADATA.iter().for_each(|key| drop(metadata.remove(*key)));
        retain(metadata, "finalizers", |finalizer| {
            finalizer.as_str().is_none_or(|finalizer| !FINALIZERS.contains(&finalizer))
        });
    }
}

/// Removes what `kubectl apply` keeps for itself. `kubectl apply --server-side` would make all that it applies of it, defaults
/// too, and the next plain `kubectl apply` would then remove what its manifest does not name.
pub(crate) fn forget_last_applied(object: &mut Value) {
    strip(object, "/metadata/annotations", &[LAST_APPLIED]);
}

/// Makes a cleaned claim ask for a new volume, where its old one does not come back.
pub(crate) fn reprovision(claim: &mut Value) {
    if let Some(spec) = claim.get_mut("spec").and_then(Value::as_object_mut) {
        spec.remove("volumeName");
    }
}

/// The group of an `apiVersion`.
fn group(object: &Value) -> &str {
    text(object, "/apiVersion").split_once('/').map_or("", |(group, _)| group)
}

/// The text at a path, or an empty one.
fn text<'a>(object: &'a Value, path: &str) -> &'a str {
    object.pointer(path).and_then(Value::as_str).unwrap_or_default()
}

/// An annotation or label, by its whole key.
fn note<'a>(object: &'a Value, place: &str, key: &str) -> Option<&'a str> {
    object.get("metadata")?.get(place)?.get(key)?.as_str()
}

/// Keeps what `keep` says of a list; an empty one goes.
fn retain(parent: &mut Map<String, Value>, key: &str, keep: impl Fn(&Value) -> bool) {
    let Some(list) = parent.get_mut(key).and_then(Value::as_array_mut) else { return };
    list.retain(keep);
    if list.is_empty() {
        parent.remove(key);
    }
}

/// Removes keys of the map at `path`; a map that is empty then goes.
fn strip(object: &mut Value, path: &str, keys: &[&str]) {
    let Some(map) = object.pointer_mut(path).and_then(Value::as_object_mut) else { return };
    let before = map.len();
    keys.iter().for_each(|key| drop(map.remove(*key)));
    if map.is_empty() && before > 0 {
        let Some((parent, key)) = path.rsplit_once('/') else { return };
        if let Some(parent) = object.pointer_mut(parent).and_then(Value::as_object_mut) {
            parent.remove(key);
        }
    }
}

#[cfg(test)]
mod tests;

//! The form in which objects are compared: without what the restore itself or a controller writes into them.

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::{diff::drop_nulls, stopped};

/// What kubectl notes for itself: it says nothing of what an object is.
const IGNORED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// A hash by which equal objects are known.
pub(super) type Fingerprint = [u8; 16];

/// Brings a cleaned object into the form in which it is compared.
pub(super) fn normalise(object: &mut Value) {
    drop_nulls(object);
    stopped::undo(object);
    if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
        if let Some(Value::Object(annotations)) = metadata.get_mut("annotations") {
            annotations.remove(IGNORED);
        }
        drop_empty(metadata, "annotations");
        drop_empty(metadata, "labels");
    }
}

fn drop_empty(table: &mut Map<String, Value>, key: &str) {
    if table.get(key).and_then(Value::as_object).is_some_and(Map::is_empty) {
        table.remove(key);
    }
}

/// The fingerprint of an object in that form. The order of fields does not matter.
pub(super) fn fingerprint(object: &Value) -> Fingerprint {
    let mut hash = Sha256::new();
    feed(&mut hash, object);
    short(hash)
}

/// The first half of a hash: no one but the cluster's own administrators could gain by a collision.
pub(super) fn short(hash: Sha256) -> Fingerprint {
    let mut fingerprint = [0; 16];
    fingerprint.copy_from_slice(&hash.finalize()[..16]);
    fingerprint
}

fn feed(hash: &mut Sha256, value: &Value) {
    match value {
        Value::Object(table) => {
            let mut keys: Vec<&String> = table.keys().collect();
            keys.sort_unstable();
            hash.update(b"{");
            for key in keys {
                text(hash, key);
                feed(hash, &table[key]);
            }
            hash.update(b"}");
        }
        Value::Array(list) => {
            hash.update(b"[");
            list.iter().for_each(|value| feed(hash, value));
            hash.update(b"]");
        }
        Value::String(string) => text(hash, string),
        other => {
            hash.update(b"#");
            text(hash, &other.to_string());
        }
    }
}

/// A text with its length before it, so that no two sequences are alike.
fn text(hash: &mut Sha256, text: &str) {
    hash.update((text.len() as u64).to_le_bytes());
    hash.update(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_noted_aside_does_not_count() {
        let mut object = json!({
            "metadata": {"name": "a", "labels": {}, "annotations": {IGNORED: "{}"}},
            "spec": {"template": {"metadata": {"creationTimestamp": null}}}
        });
        normalise(&mut object);
        assert_eq!(object, json!({"metadata": {"name": "a"}, "spec": {"template": {"metadata": {}}}}));
    }

    #[test]
    fn fingerprints_tell_values_apart() {
        let all = [
            json!({"a": "b"}),
            json!({"a": ["b"]}),
            json!({"a": "1"}),
            json!({"a": 1}),
            json!({"a": ["b", "c"]}),
            json!({"a": "", "b": "c"}),
            json!([["a"], "b"]),
            json!(["a", ["b"]]),
        ];
        let prints: std::collections::HashSet<Fingerprint> = all.iter().map(fingerprint).collect();
        assert_eq!(prints.len(), all.len());
        assert_eq!(fingerprint(&json!({"a": 1, "b": 2})), fingerprint(&json!({"b": 2, "a": 1})));
    }
}

//! What an object names that is not in its namespace: classes, volumes, roles, issuers, found without making a tree of it.

use std::{borrow::Cow, collections::BTreeSet, fmt};

use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Fields whose text names an object of one kind.
const FIELDS: [(&str, &str); 7] = [
    ("namespace", NAMESPACE),
    ("volumeName", "PersistentVolume"),
    ("kubernetes.io/ingress.class", "IngressClass"),
    ("volume.beta.kubernetes.io/storage-class", "StorageClass"),
    ("cert-manager.io/cluster-issuer", "ClusterIssuer"),
    ("persistentVolumeName", "PersistentVolume"),
    ("boundVolumeSnapshotContentName", "VolumeSnapshotContent"),
];

/// Fields that hold no such names, or the payload.
const SKIPPED: [&str; 4] = ["managedFields", "data", "binaryData", "stringData"];

/// Objects that are named: kind and name.
pub(crate) type Named = BTreeSet<(String, String)>;

/// The kind of what `namespace: a` names.
pub(crate) const NAMESPACE: &str = "Namespace";

/// Adds what `object` names to `named`, of the kinds that `of_interest` says.
pub(crate) fn gather(
    object: &[u8],
    of_interest: &dyn Fn(&str) -> bool,
    named: &mut Named,
) -> Result<(), serde_json::Error> {
    let mut json = serde_json::Deserializer::from_slice(object);
    let mut found = Found { of_interest, named };
    Walk(&mut found, 0).deserialize(&mut json)?;
    json.end()
}

struct Found<'a> {
    of_interest: &'a dyn Fn(&str) -> bool,
    named: &'a mut Named,
}

impl Found<'_> {
    fn add(&mut self, kind: &str, name: &str) {
        if !name.is_empty() && (self.of_interest)(kind) {
            self.named.insert((kind.to_owned(), name.to_owned()));
        }
    }

    /// `storageClassName: fast` names a StorageClass.
    fn field(&mut self, key: &str, name: &str) {
        if let Some((_, kind)) = FIELDS.iter().find(|(field, _)| *field == key) {
            self.add(kind, name);
        } else if let Some(class) = key.strip_suffix("Name").filter(|class| class.ends_with("Class")) {
            let kind = class[..1].to_ascii_uppercase() + &class[1..];
            self.add(&kind, name);
        }
    }
}

/// Walks over a value at a depth; a text is handed back.
struct Walk<'a, 'b>(&'a mut Found<'b>, usize);

impl<'de> DeserializeSeed<'de> for Walk<'_, '_> {
    type Value = Option<Cow<'de, str>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_, '_> {
    type Value = Option<Cow<'de, str>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Some(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Some(Cow::Owned(text.to_owned())))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        while list.next_element_seed(Walk(self.0, self.1 + 1))?.is_some() {}
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut kind, mut name) = (None, None);
        while let Some(Key(key)) = map.next_key()? {
            if SKIPPED.contains(&&*key) || (self.1 == 0 && key == "status") {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let Some(text) = map.next_value_seed(Walk(self.0, self.1 + 1))? else { continue };
            match &*key {
                "kind" => kind = Some(text),
                "name" => name = Some(text),
                field => self.0.field(field, &text),
            }
        }
        // The object's own kind stands at the top, its name does not.
        if let (Some(kind), Some(name)) = (kind, name) {
            self.0.add(&kind, &name);
        }
        Ok(None)
    }
}

struct Key<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Key<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Key(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Key(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Read)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn named(object: &Value) -> Vec<String> {
        let mut named = Named::new();
        gather(object.to_string().as_bytes(), &|kind| kind != "Secret", &mut named).unwrap();
        named.into_iter().map(|(kind, name)| format!("{kind} {name}")).collect()
    }

    #[test]
    fn classes_volumes_and_references_are_found() {
        let object = json!({
            "apiVersion": "v1", "kind": "Thing",
            "metadata": {"name": "t", "annotations": {"cert-manager.io/cluster-issuer": "le\n"},
                "managedFields": [{"kind": "Skipped", "name": "x"}]},
            "spec": {
                "storageClassName": "fast", "volumeName": "pv-1", "priorityClassName": "",
                "template": {"spec": {"runtimeClassName": "gvisor", "volumes": [{"x": 1.5, "y": [true, null, -1]}]}},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "name": "reader", "kind": "ClusterRole"},
                "secretRef": {"kind": "Secret", "name": "s", "namespace": "other"},
            },
            "status": {"kind": "Skipped", "name": "y"},
            "data": {"kind": "Skipped", "name": "z"},
        });
        let expected = [
            "ClusterIssuer le\n",
            "ClusterRole reader",
            "Namespace other",
            "PersistentVolume pv-1",
            "RuntimeClass gvisor",
            "StorageClass fast",
        ];
        assert_eq!(named(&object), expected);
    }
}

//! A JSON Schema of the whole file, for editors: the common part and what each kind says of its own sections.

use serde_json::{Map, Value, json};

use super::{alerts, model::File, stores::common_schema};
use crate::registry::{Registry, section_schema};

/// The schema (2020-12) of a configuration whose kinds are those of `registry`.
pub(crate) fn schema(registry: &Registry) -> Value {
    let mut schema = schemars::schema_for!(File).to_value();
    let components = registry.components().map(|factory| (factory.kind(), section_schema(factory)));
    let stores = registry.stores().map(|factory| (factory.kind(), factory.schema()));
    compose(&mut schema, "/properties", "component", components);
    compose(&mut schema, "/properties", "store", stores);
    compose(&mut schema, "/$defs/AlertsSection/properties", "notifier", alerts::schemas());
    schema
}

/// Puts each kind's schema where the sections called `key` stand, among the properties at `place`.
fn compose(root: &mut Value, place: &str, key: &str, kinds: impl Iterator<Item = (&'static str, Value)>) {
    let mut branches = Vec::new();
    for (kind, mut schema) in kinds {
        let prefix = format!("{key}.{kind}.");
        rename_references(&mut schema, &prefix);
        let definitions = schema.as_object_mut().and_then(|schema| schema.remove("$defs"));
        for (name, definition) in definitions.as_ref().and_then(Value::as_object).into_iter().flatten() {
            root["$defs"][format!("{prefix}{name}")] = definition.clone();
        }
        let mut branch = with_kind(schema, kind);
        if key == "store" {
            for (key, schema) in common_schema() {
                branch["properties"][key] = schema;
            }
        }
        branches.push(branch);
    }
    if let Some(properties) = root.pointer_mut(place) {
        properties[key]["items"] = json!({ "oneOf": branches });
    }
}

/// `#/$defs/X` becomes `#/$defs/PREFIXX`, so that two kinds may use one name.
fn rename_references(schema: &mut Value, prefix: &str) {
    match schema {
        Value::Object(table) => {
            if let Some(Value::String(reference)) = table.get_mut("$ref")
                && let Some(name) = reference.strip_prefix("#/$defs/")
            {
                *reference = format!("#/$defs/{prefix}{name}");
            }
            table.values_mut().for_each(|child| rename_references(child, prefix));
        }
        Value::Array(items) => items.iter_mut().for_each(|child| rename_references(child, prefix)),
        _ => {}
    }
}

/// A kind's schema with the keys `kind` and `name`, which every section has.
fn with_kind(mut schema: Value, kind: &str) -> Value {
    if !schema.is_object() {
        schema = json!({ "type": "object" });
    }
    let table = schema.as_object_mut().expect("it was made an object above");
    table.remove("$schema");
    let properties = table.entry("properties").or_insert_with(|| Value::Object(Map::new()));
    properties["kind"] = json!({ "const": kind });
    properties["name"] = json!({ "type": "string", "description": "Default: the kind." });
    let required = table.entry("required").or_insert_with(|| json!([]));
    if let Some(required) = required.as_array_mut() {
        required.insert(0, json!("kind"));
    }
    schema
}

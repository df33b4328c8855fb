//! A configuration as it is understood: each value with the place it was written in, each default, and no secret.

use backup_core::traits::Node;
use serde_json::{Map, Value};

/// What stands for a secret.
const MASKED: &str = "********";
/// Parts of keys that only secrets have, for kinds whose schema does not say so.
const SECRET_KEYS: [&str; 5] = ["password", "passphrase", "secret", "token", "api_key"];

/// A table of the configuration.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Block {
    /// As TOML has it: `[retention]`, `[[store]]`; empty for what stands before all tables.
    pub(crate) heading: String,
    /// Where it is, its parts joined by dots, with indices: `store.0`.
    pub(crate) path: String,
    /// Whether it was written.
    pub(crate) written: bool,
    pub(crate) settings: Vec<Setting>,
}

/// A key that has a value, or a default.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Setting {
    pub(crate) key: String,
    pub(crate) is: Is,
    /// Whether it is a secret by its schema or its name.
    pub(crate) secret: bool,
}

/// What a key is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Is {
    /// Written, without secrets, in this line.
    Written(Value, Option<usize>),
    /// Not written: what counts instead, in the schema's words.
    Default(String),
}

/// What `root` says, as `schema` (of the whole file) understands it.
pub(crate) fn blocks(root: &Node, schema: &Value) -> Vec<Block> {
    let mut walk = Walk { root, schema, blocks: Vec::new() };
    walk.table(root.value(), schema, "", "", "");
    walk.blocks
}

/// Values at which a secret may be written as it is or by where it comes from, with their paths.
pub(crate) fn secrets(root: &Node, schema: &Value) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    for block in blocks(root, schema) {
        for setting in block.settings.iter().filter(|setting| setting.secret) {
            let path = join(&block.path, &setting.key);
            let pointer = format!("/{}", path.replace('.', "/"));
            found.extend(root.value().pointer(&pointer).map(|value| (path, value.clone())));
        }
    }
    found
}

struct Walk<'a> {
    root: &'a Node,
    schema: &'a Value,
    blocks: Vec<Block>,
}

impl Walk<'_> {
    fn table(&mut self, value: &Value, schema: &Value, heading: &str, names: &str, path: &str) {
        let nothing = Map::new();
        let table = value.as_object().unwrap_or(&nothing);
        let branches = fitting(schema, self.schema, table);
        let at = self.blocks.len();
        self.blocks.push(Block {
            heading: heading.to_owned(),
            path: path.to_owned(),
            written: !value.is_null(),
            settings: Vec::new(),
        });
        let mut settings = Vec::new();
        for (key, value) in table {
            let property = property(&branches, key).unwrap_or(&Value::Null);
            let (names, path) = (join(names, key), join(path, key));
            let secret = is_secret(property, self.schema) || sounds_secret(key, value);
            match value {
                Value::Object(_) if !secret => {
                    self.table(value, property, &format!("[{names}]"), &names, &path);
                }
                Value::Array(items) if !items.is_empty() && items.iter().all(Value::is_object) && !secret => {
                    let schema = items_of(property, self.schema);
                    for (index, item) in items.iter().enumerate() {
                        let path = join(&path, &index.to_string());
                        self.table(item, schema, &format!("[[{names}]]"), &names, &path);
                    }
                }
                _ => {
                    let shown = if secret { masked(value) } else { without_password(value) };
                    let line = self.root.line(&path);
                    settings.push(Setting { key: key.clone(), is: Is::Written(shown, line), secret });
                }
            }
        }
        self.defaults(table, &branches, (names, path), &mut settings);
        self.blocks[at].settings = settings;
    }

    /// What is not written and counts all the same.
    fn defaults(
        &mut self,
        table: &Map<String, Value>,
        branches: &[&Value],
        (names, path): (&str, &str),
        settings: &mut Vec<Setting>,
    ) {
        let properties = branches.iter().filter_map(|branch| branch.get("properties")?.as_object()).flatten();
        for (key, property) in properties.filter(|(key, _)| !table.contains_key(*key)) {
            if let Some(text) = default_of(property) {
                settings.push(Setting { key: key.clone(), is: Is::Default(text), secret: false });
            } else if is_section(property, self.schema) {
                let names = join(names, key);
                self.table(&Value::Null, property, &format!("[{names}]"), &names, &join(path, key));
            }
        }
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// The schema with references followed and alternatives unfolded, without those of another kind than the table's.
fn fitting<'s>(schema: &'s Value, root: &'s Value, table: &Map<String, Value>) -> Vec<&'s Value> {
    let mut all = Vec::new();
    unfold(schema, root, &mut |branch| {
        let kind = branch.pointer("/properties/kind/const");
        if kind.is_none() || kind == table.get("kind") {
            all.push(branch);
        }
    });
    all
}

/// Calls `each` with the schema, with what it refers to, and with its alternatives, down to the last.
fn unfold<'s>(schema: &'s Value, root: &'s Value, each: &mut impl FnMut(&'s Value)) {
    each(schema);
    let target = schema.get("$ref").and_then(Value::as_str).and_then(|reference| reference.strip_prefix('#'));
    if let Some(target) = target.and_then(|pointer| root.pointer(pointer)) {
        unfold(target, root, each);
    }
    for word in ["anyOf", "oneOf", "allOf"] {
        for branch in schema.get(word).and_then(Value::as_array).into_iter().flatten() {
            unfold(branch, root, each);
        }
    }
}

fn property<'s>(branches: &[&'s Value], key: &str) -> Option<&'s Value> {
    let named = branches.iter().find_map(|branch| branch.get("properties")?.get(key));
    named.or_else(|| branches.iter().find_map(|branch| branch.get("additionalProperties")))
}

fn items_of<'s>(schema: &'s Value, root: &'s Value) -> &'s Value {
    let mut items = None;
    unfold(schema, root, &mut |branch| items = items.or_else(|| branch.get("items")));
    items.unwrap_or(&Value::Null)
}

fn is_secret(schema: &Value, root: &Value) -> bool {
    let mut secret = false;
    unfold(schema, root, &mut |branch| secret |= branch.get("writeOnly") == Some(&Value::Bool(true)));
    secret || (!items_of(schema, root).is_null() && is_secret(items_of(schema, root), root))
}

/// Whether a table is there though it is not written: one that may be missing altogether is not.
fn is_section(schema: &Value, root: &Value) -> bool {
    let (mut table, mut may_be_missing) = (false, false);
    unfold(schema, root, &mut |branch| {
        table |= branch.get("properties").is_some();
        may_be_missing |= branch.get("type") == Some(&Value::String("null".to_owned()));
    });
    table && !may_be_missing
}

fn sounds_secret(key: &str, value: &Value) -> bool {
    let key = key.to_lowercase().replace('-', "_");
    value.is_string() && SECRET_KEYS.iter().any(|part| key.contains(part))
}

/// A secret without itself: where it comes from may be shown.
fn masked(value: &Value) -> Value {
    match value {
        Value::Object(_) => value.clone(),
        Value::Array(items) => Value::Array(items.iter().map(masked).collect()),
        _ => Value::String(MASKED.to_owned()),
    }
}

/// Addresses without the password that may stand in them.
fn without_password(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(address_without_password(text)),
        Value::Array(items) => Value::Array(items.iter().map(without_password).collect()),
        other => other.clone(),
    }
}

fn address_without_password(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..end].rsplit_once('@').map(|(user, host)| (user.split_once(':'), host)) {
        Some((Some((user, _)), host)) => format!("{scheme}://{user}:{MASKED}@{host}{}", &rest[end..]),
        _ => text.to_owned(),
    }
}

/// What the schema says that counts where nothing is written.
fn default_of(schema: &Value) -> Option<String> {
    let said = schema.get("description").and_then(Value::as_str).and_then(|text| {
        let (_, after) = text.split_once("Default: ")?;
        // A sentence ends with a dot and a space, or with the text; `1.5` has neither.
        let end = after.find(". ").or_else(|| after.find(".\n")).unwrap_or(after.len());
        Some(after[..end].trim_end_matches('.').replace('\n', " "))
    });
    let plain = || match schema.get("default") {
        None | Some(Value::Null) => None,
        Some(Value::Array(items)) if items.is_empty() => None,
        Some(value) if value.is_object() => None,
        Some(Value::String(text)) if text.is_empty() => None,
        Some(value) => Some(value.to_string()),
    };
    said.or_else(plain)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema() -> Value {
        json!({
            "properties": {
                "name": { "type": "string" },
                "zone": { "type": "string", "default": "UTC" },
                "limits": { "$ref": "#/$defs/Limits" },
                "maybe": { "anyOf": [{ "$ref": "#/$defs/Limits" }, { "type": "null" }] },
                "store": { "items": { "oneOf": [
                    { "properties": { "kind": { "const": "a" }, "key": { "$ref": "#/$defs/Secret" } } },
                    { "properties": { "kind": { "const": "b" }, "key": { "type": "string", "description": "Default: none." } } },
                ] } },
            },
            "$defs": {
                "Limits": { "type": "object", "properties": {
                    "age": { "type": "string", "description": "How old. Default: 1.5 days. More is too old." },
                } },
                "Secret": { "writeOnly": true, "anyOf": [{ "type": "string" }, { "type": "object" }] },
            },
        })
    }

    fn of(value: Value) -> Vec<Block> {
        blocks(&Node::new(value), &schema())
    }

    #[test]
    fn what_is_written_and_what_counts_without_it_are_told_apart() {
        let blocks = of(json!({ "name": "crm", "store": [{ "kind": "b" }] }));
        let headings: Vec<(&str, bool)> = blocks.iter().map(|b| (b.heading.as_str(), b.written)).collect();
        assert_eq!(headings, [("", true), ("[[store]]", true), ("[limits]", false)]);
        let is = |block: usize, key: &str| {
            blocks[block].settings.iter().find(|s| s.key == key).map(|s| s.is.clone())
        };
        assert_eq!(is(0, "name"), Some(Is::Written(json!("crm"), None)));
        assert_eq!(is(0, "zone"), Some(Is::Default("\"UTC\"".to_owned())));
        assert_eq!(is(1, "key"), Some(Is::Default("none".to_owned())));
        assert_eq!(is(2, "age"), Some(Is::Default("1.5 days".to_owned())));
    }

    #[test]
    fn a_secret_is_masked_by_its_schema_by_its_name_and_inside_an_address() {
        let root = Node::new(json!({
            "store": [
                { "kind": "a", "key": "hunter2" },
                { "kind": "a", "key": { "env": "X" } },
                { "kind": "b", "key": "shown", "Admin-Password": "hunter2", "url": "http://u:hunter2@h/x@y" },
            ],
        }));
        let text = format!("{:?}", blocks(&root, &schema()));
        assert!(!text.contains("hunter2"), "{text}");
        for shown in ["\"env\": String(\"X\")", "shown", "http://u:********@h/x@y"] {
            assert!(text.contains(shown), "{shown}: {text}");
        }
        let paths: Vec<String> = secrets(&root, &schema()).into_iter().map(|(path, _)| path).collect();
        assert_eq!(paths, ["store.0.key", "store.1.key", "store.2.Admin-Password"]);
    }
}

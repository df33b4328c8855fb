//! A piece of configuration that remembers where it was written.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::words::{Error, ErrorKind, Result};

/// Positions (line, column; both from 1) by path ("component.0.endpoints").
type Positions = BTreeMap<String, (usize, usize)>;

/// A configuration value with the place it came from, so that every error names line and column.
#[derive(Clone, Debug)]
pub struct Node {
    value: Value,
    path: String,
    origin: Option<Arc<(String, Positions)>>,
}

impl Node {
    /// A value that was written nowhere, as programs that embed the engine have.
    pub fn new(value: Value) -> Self {
        Self { value, path: String::new(), origin: None }
    }

    /// The options of a restore; none at all are an empty table.
    pub fn options(options: &Value) -> Self {
        Self::new(if options.is_null() { Value::Object(serde_json::Map::new()) } else { options.clone() })
    }

    /// The root of the file `file`, with the position of each path (parts joined by `.`).
    pub fn from_file(file: &Path, value: Value, positions: Positions) -> Self {
        Self { value, path: String::new(), origin: Some(Arc::new((file.display().to_string(), positions))) }
    }

    /// The value.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// The child called `name`, if any.
    pub fn get(&self, name: &str) -> Option<Self> {
        let value = self.value.get(name)?.clone();
        Some(Self { value, path: join(&self.path, name), origin: self.origin.clone() })
    }

    /// The elements of a list; none for other values.
    pub fn items(&self) -> Vec<Self> {
        let items = self.value.as_array().map(Vec::as_slice).unwrap_or_default();
        items
            .iter()
            .enumerate()
            .map(|(index, value)| Self {
                value: value.clone(),
                path: join(&self.path, &index.to_string()),
                origin: self.origin.clone(),
            })
            .collect()
    }

    /// The same table without these keys.
    #[must_use]
    pub fn without(&self, keys: &[&str]) -> Self {
        let mut node = self.clone();
        if let Value::Object(table) = &mut node.value {
            table.retain(|key, _| !keys.contains(&key.as_str()));
        }
        node
    }

    /// The same table with `defaults` under it: keys that it lacks are added, tables in both are joined likewise. Errors about what
    /// was added name the place of this node.
    #[must_use]
    pub fn with_defaults(&self, defaults: &Value) -> Self {
        let mut node = self.clone();
        add_defaults(&mut node.value, defaults);
        node
    }

    /// Reads the value as a `T`, after its keys were held against `schema` (unknown ones are errors that name the nearest).
    ///
    /// # Errors
    /// [`ErrorKind::Config`] with file, line and column.
    pub fn parse<T: DeserializeOwned + schemars::JsonSchema>(&self) -> Result<T> {
        let schema = schemars::schema_for!(T).to_value();
        self.check_keys(&schema)?;
        serde_path_to_error::deserialize(&self.value).map_err(|e| {
            let inner = e.path().to_string();
            let path =
                if inner == "." { String::new() } else { inner.replace(['[', ']'], ".").replace("..", ".") };
            self.error(path.trim_matches('.'), e.into_inner().to_string())
        })
    }

    /// Holds all keys against a JSON Schema: a key that it does not name is an error with the nearest one that it does.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] with file, line and column.
    pub fn check_keys(&self, schema: &Value) -> Result<()> {
        check_keys(self, &self.value, "", schema, schema)
    }

    /// The line, from 1, that the value at `path` below this node was written in; none for what was written nowhere.
    pub fn line(&self, path: &str) -> Option<usize> {
        let path = if self.path.is_empty() { path.to_owned() } else { join(&self.path, path) };
        self.origin.as_ref()?.1.get(&path).map(|(line, _)| *line)
    }

    /// A configuration error about the value at `path` below this node ("" for itself).
    pub fn error(&self, path: &str, message: impl Into<String>) -> Error {
        let path = if path.is_empty() { self.path.clone() } else { join(&self.path, path) };
        let shown = if path.is_empty() { "the configuration" } else { &path };
        let subject = match &self.origin {
            Some(origin) => {
                let (line, column) = nearest_position(&origin.1, &path);
                format!("{}:{line}:{column}: {shown}", origin.0)
            }
            None => shown.to_owned(),
        };
        Error::new(ErrorKind::Config, "read the configuration", subject).detail(message)
    }
}

fn add_defaults(value: &mut Value, defaults: &Value) {
    let (Value::Object(table), Value::Object(defaults)) = (value, defaults) else { return };
    for (key, default) in defaults {
        match table.get_mut(key) {
            Some(own) => add_defaults(own, default),
            None => drop(table.insert(key.clone(), default.clone())),
        }
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// The position of `path`, or of what it stands in.
fn nearest_position(positions: &Positions, path: &str) -> (usize, usize) {
    let mut path = path;
    loop {
        if let Some(position) = positions.get(path) {
            return *position;
        }
        match path.rsplit_once('.') {
            Some((parent, _)) => path = parent,
            None => return positions.get("").copied().unwrap_or((1, 1)),
        }
    }
}

fn check_keys(node: &Node, value: &Value, path: &str, schema: &Value, root: &Value) -> Result<()> {
    let schemas = alternatives(schema, root);
    match value {
        Value::Object(table) => {
            let known: Vec<&String> = schemas
                .iter()
                .filter_map(|s| s.get("properties")?.as_object())
                .flat_map(|p| p.keys())
                .collect();
            let open = schemas.iter().any(|s| match s.get("additionalProperties") {
                Some(Value::Bool(allowed)) => *allowed,
                Some(_) => true,
                None => s.get("properties").is_none() && accepts_object(s),
            });
            for (key, child) in table {
                let at = join(path, key);
                if !known.contains(&key) {
                    if open || known.is_empty() {
                        continue;
                    }
                    return Err(unknown_key(node, &at, key, &known));
                }
                for property in schemas.iter().filter_map(|s| s.get("properties")?.get(key)).take(1) {
                    check_keys(node, child, &at, property, root)?;
                }
            }
            Ok(())
        }
        Value::Array(items) => {
            let Some(item_schema) = schemas.iter().find_map(|s| s.get("items")) else { return Ok(()) };
            items.iter().enumerate().try_for_each(|(i, item)| {
                check_keys(node, item, &join(path, &i.to_string()), item_schema, root)
            })
        }
        _ => Ok(()),
    }
}

fn accepts_object(schema: &Value) -> bool {
    match schema.get("type") {
        None => schema.get("const").is_none() && schema.get("enum").is_none(),
        Some(Value::String(kind)) => kind == "object",
        Some(kinds) => kinds.as_array().is_some_and(|kinds| kinds.iter().any(|k| k == "object")),
    }
}

/// A schema with references followed and `anyOf`, `oneOf`, `allOf` unfolded.
fn alternatives<'a>(schema: &'a Value, root: &'a Value) -> Vec<&'a Value> {
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        let target = reference.strip_prefix('#').and_then(|pointer| root.pointer(pointer));
        return target.map(|target| alternatives(target, root)).unwrap_or_default();
    }
    let branches: Vec<&Value> = ["anyOf", "oneOf", "allOf"]
        .iter()
        .filter_map(|word| schema.get(word)?.as_array())
        .flatten()
        .flat_map(|branch| alternatives(branch, root))
        .collect();
    if branches.is_empty() {
        return vec![schema];
    }
    // A table's own properties may stand beside the branches that its flattened enums brought.
    if schema.get("properties").is_some() { branches.into_iter().chain([schema]).collect() } else { branches }
}

fn unknown_key(node: &Node, path: &str, key: &str, known: &[&String]) -> Error {
    let error = node.error(path, format!("unknown key `{key}`"));
    match nearest(key, known.iter().map(|k| k.as_str())) {
        Some(name) => error.hint(format!("did you mean `{name}`?")),
        None => {
            let names: Vec<&str> = known.iter().map(|k| k.as_str()).collect();
            error.hint(format!("known here: {}", names.join(", ")))
        }
    }
}

/// The name among `known` that `word` was probably meant to be.
pub fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|name| (edit_distance(word, name), name))
        .filter(|(distance, name)| *distance <= name.len().max(word.len()).div_ceil(3))
        .min()
        .map(|(_, name)| name)
}

/// Levenshtein distance in characters.
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Section {
        endpoints: Vec<String>,
        #[serde(default)]
        user: Option<String>,
        #[serde(default)]
        tls: Option<Tls>,
    }

    #[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Tls {
        ca: String,
    }

    fn node(value: Value, positions: &[(&str, (usize, usize))]) -> Node {
        let positions = positions.iter().map(|(path, at)| ((*path).to_owned(), *at)).collect();
        Node::from_file(Path::new("c.toml"), value, positions)
    }

    #[test]
    fn defaults_fill_what_is_missing_and_change_nothing_that_is_there() {
        let node = Node::new(serde_json::json!({ "a": 1, "t": { "x": 1 }, "l": [1] }));
        let full =
            node.with_defaults(&serde_json::json!({ "a": 2, "b": 3, "t": { "x": 2, "y": 2 }, "l": [2] }));
        assert_eq!(*full.value(), serde_json::json!({ "a": 1, "b": 3, "t": { "x": 1, "y": 2 }, "l": [1] }));
    }

    #[test]
    fn an_unknown_key_names_its_place_and_the_nearest_known_one() {
        let node = node(serde_json::json!({"endpoint": []}), &[("endpoint", (3, 1))]);
        let error = node.parse::<Section>().unwrap_err();
        assert!(error.to_string().contains("c.toml:3:1: endpoint: unknown key `endpoint`"), "{error}");
        assert_eq!(error.advice(), Some("did you mean `endpoints`?"));
    }

    #[test]
    fn a_nested_unknown_key_is_found_behind_an_option() {
        let node = node(
            serde_json::json!({"endpoints": [], "tls": {"caa": "x"}}),
            &[("tls", (4, 1)), ("tls.caa", (5, 2))],
        );
        let error = node.parse::<Section>().unwrap_err();
        assert!(error.to_string().contains("c.toml:5:2: tls.caa"), "{error}");
    }

    #[test]
    fn a_wrong_type_names_the_place_of_the_value() {
        let node = node(
            serde_json::json!({"endpoints": ["a", 5]}),
            &[("endpoints", (1, 1)), ("endpoints.1", (1, 19))],
        );
        let error = node.parse::<Section>().unwrap_err();
        assert!(error.to_string().contains("c.toml:1:19: endpoints.1"), "{error}");
    }

    #[test]
    fn a_far_off_word_has_no_nearest_name() {
        assert_eq!(nearest("pasword", ["user", "password"].into_iter()), Some("password"));
        assert_eq!(nearest("zzz", ["user", "password"].into_iter()), None);
    }
}

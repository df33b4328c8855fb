//! `--set [COMPONENT.]KEY=VALUE`, read by what the component's kind says of its restore options.

use std::collections::BTreeMap;

use backup_core::{
    traits::nearest,
    words::{Error, ErrorKind, Result},
};
use serde_json::{Map, Value};

/// A component that takes options.
#[derive(Debug)]
pub(crate) struct Taker {
    /// Its name.
    pub(crate) name: String,
    /// JSON Schema of its restore options.
    pub(crate) schema: Value,
}

/// The options of each component, by its name.
///
/// # Errors
/// [`ErrorKind::Config`] for an option that no component has, or a value that is not what the option takes.
pub(crate) fn read(set: &[String], takers: &[Taker]) -> Result<BTreeMap<String, Value>> {
    let mut options: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    for text in set {
        let (key, value) = text
            .split_once('=')
            .ok_or_else(|| wrong(text).detail("there is no `=`").hint("write --set KEY=VALUE"))?;
        let (taker, key) = find(key, takers)?;
        let schema = property(&taker.schema, key).ok_or_else(|| unknown(key, &[taker]))?;
        let value = typed(schema, &taker.schema, value).map_err(|detail| wrong(text).detail(detail))?;
        if options.entry(taker.name.clone()).or_default().insert(key.to_owned(), value).is_some() {
            return Err(wrong(text).detail(format!("`{key}` of {} is set twice", taker.name)));
        }
    }
    Ok(options.into_iter().map(|(name, table)| (name, Value::Object(table))).collect())
}

fn wrong(text: &str) -> Error {
    Error::new(ErrorKind::Config, "read the option", format!("--set {text}"))
}

/// The one component that an option is for, and the option's name without the component's.
fn find<'t, 'k>(key: &'k str, takers: &'t [Taker]) -> Result<(&'t Taker, &'k str)> {
    if let Some((name, rest)) = key.split_once('.')
        && let Some(taker) = takers.iter().find(|taker| taker.name == name)
    {
        return Ok((taker, rest));
    }
    let having: Vec<&Taker> = takers.iter().filter(|taker| property(&taker.schema, key).is_some()).collect();
    match having.as_slice() {
        [one] => Ok((one, key)),
        [] => Err(unknown(key, &takers.iter().collect::<Vec<_>>())),
        several => {
            let names: Vec<String> = several.iter().map(|taker| format!("{}.{key}", taker.name)).collect();
            Err(wrong(key)
                .detail("several components have this option")
                .hint(format!("write {}", names.join(" or "))))
        }
    }
}

fn unknown(key: &str, takers: &[&Taker]) -> Error {
    let known: Vec<&str> = takers
        .iter()
        .filter_map(|taker| taker.schema.get("properties")?.as_object())
        .flat_map(|properties| properties.keys().map(String::as_str))
        .collect();
    let names: Vec<&str> = takers.iter().map(|taker| taker.name.as_str()).collect();
    let error = wrong(key).detail(format!("{} has no option `{key}`", names.join(", ")));
    match nearest(key, known.iter().copied()) {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None if known.is_empty() => error.hint("it has no options"),
        None => error.hint(format!("there are: {}", known.join(", "))),
    }
}

fn property<'s>(schema: &'s Value, key: &str) -> Option<&'s Value> {
    schema.get("properties")?.get(key)
}

/// The schema with references followed and alternatives unfolded.
fn alternatives<'s>(schema: &'s Value, root: &'s Value) -> Vec<&'s Value> {
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        let target = reference.strip_prefix('#').and_then(|pointer| root.pointer(pointer));
        return target.map(|target| alternatives(target, root)).unwrap_or_default();
    }
    let branches =
        ["anyOf", "oneOf", "allOf"].iter().filter_map(|word| schema.get(word)?.as_array()).flatten();
    let mut all: Vec<&Value> = branches.flat_map(|branch| alternatives(branch, root)).collect();
    if all.is_empty() {
        all.push(schema);
    }
    all
}

/// `text` as the most exact type that the schema takes.
fn typed(schema: &Value, root: &Value, text: &str) -> Result<Value, String> {
    let alternatives = alternatives(schema, root);
    let takes = |kind: &str| alternatives.iter().any(|schema| has_type(schema, kind));
    let anything = alternatives.iter().all(|schema| schema.get("type").is_none() && words(schema).is_empty());
    if takes("boolean")
        && let Ok(flag) = text.parse()
    {
        return Ok(Value::Bool(flag));
    }
    if (takes("integer") || takes("number"))
        && let Ok(number) = text.parse::<i64>()
    {
        return Ok(number.into());
    }
    if takes("number")
        && let Ok(number) = text.parse::<f64>()
    {
        return Ok(number.into());
    }
    if (takes("array") || takes("object")) && text.starts_with(['[', '{']) {
        return serde_json::from_str(text).map_err(|e| format!("this is not JSON: {e}"));
    }
    let known: Vec<&str> = alternatives.iter().flat_map(|schema| words(schema)).collect();
    if takes("array") {
        return list(&alternatives, root, text);
    }
    if known.contains(&text)
        || anything
        || alternatives.iter().any(|s| has_type(s, "string") && words(s).is_empty())
    {
        return Ok(Value::String(text.to_owned()));
    }
    Err(expected(&alternatives, &known))
}

/// `a,b,c`, each as the list's items are.
fn list(alternatives: &[&Value], root: &Value, text: &str) -> Result<Value, String> {
    let item = alternatives.iter().find_map(|schema| schema.get("items"));
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    let values = parts.map(|part| match item {
        Some(schema) => typed(schema, root, part),
        None => Ok(Value::String(part.to_owned())),
    });
    values.collect::<Result<Vec<_>, _>>().map(Value::Array)
}

fn has_type(schema: &Value, kind: &str) -> bool {
    match schema.get("type") {
        Some(Value::String(name)) => name == kind,
        Some(Value::Array(names)) => names.iter().any(|name| name == kind),
        _ => false,
    }
}

/// The words of an enumeration.
fn words(schema: &Value) -> Vec<&str> {
    let listed = schema.get("enum").and_then(Value::as_array).into_iter().flatten();
    listed.chain(schema.get("const")).filter_map(Value::as_str).collect()
}

fn expected(alternatives: &[&Value], known: &[&str]) -> String {
    let mut names: Vec<String> = known.iter().map(|word| format!("`{word}`")).collect();
    for (kind, shown) in [
        ("boolean", "`true` or `false`"),
        ("integer", "a whole number"),
        ("number", "a number"),
        ("object", "a JSON object"),
    ] {
        if alternatives.iter().any(|schema| has_type(schema, kind)) {
            names.push(shown.to_owned());
        }
    }
    format!("this takes {}", names.join(" or "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[derive(schemars::JsonSchema)]
    #[allow(dead_code)]
    struct Options {
        /// A name.
        into: Option<String>,
        switch: Option<Switch>,
        force: bool,
        members: Vec<String>,
        bump: Option<u64>,
        ports: BTreeMap<String, u16>,
    }

    #[derive(schemars::JsonSchema)]
    #[serde(rename_all = "lowercase")]
    #[allow(dead_code)]
    enum Switch {
        First,
        Last,
    }

    fn takers() -> Vec<Taker> {
        let other = json!({"type": "object", "properties": {"force": {"type": "boolean"}, "data_dir": {"type": "string"}}});
        vec![
            Taker { name: "postgres".into(), schema: schemars::schema_for!(Options).to_value() },
            Taker { name: "etcd".into(), schema: other },
        ]
    }

    fn set(options: &[&str]) -> Result<BTreeMap<String, Value>> {
        let options: Vec<String> = options.iter().map(|text| (*text).to_owned()).collect();
        read(&options, &takers())
    }

    #[test]
    fn values_take_the_type_of_their_option() {
        let options = set(&[
            "into=2",
            "switch=first",
            "postgres.force=true",
            "members=a, b",
            "bump=7",
            "ports={\"a\":1}",
            "data_dir=/x=y",
        ])
        .unwrap();
        let expected = json!({
            "into": "2", "switch": "first", "force": true, "members": ["a", "b"], "bump": 7, "ports": {"a": 1}
        });
        assert_eq!(options["postgres"], expected);
        assert_eq!(options["etcd"], json!({"data_dir": "/x=y"}));
    }

    #[test]
    fn an_unknown_option_names_the_nearest() {
        let error = set(&["member=a"]).unwrap_err();
        assert_eq!(error.advice(), Some("did you mean `members`?"));
        let error = set(&["etcd.member=a"]).unwrap_err();
        assert_eq!(error.advice(), Some("there are: data_dir, force"));
    }

    #[test]
    fn an_option_of_several_components_wants_a_name() {
        let error = set(&["force=true"]).unwrap_err();
        assert_eq!(error.advice(), Some("write postgres.force or etcd.force"));
    }

    #[test]
    fn a_value_of_another_type_is_refused_with_what_it_takes() {
        for (option, detail) in [
            ("etcd.force=yes", "this takes `true` or `false`"),
            ("switch=firts", "this takes `first` or `last`"),
            ("bump=x", "this takes a whole number"),
            ("into", "there is no `=`"),
        ] {
            let error = set(&[option]).unwrap_err();
            assert!(error.to_string().ends_with(detail), "{error}");
            assert_eq!(error.kind(), ErrorKind::Config);
        }
        assert!(set(&["into=a", "into=b"]).unwrap_err().to_string().contains("set twice"));
    }
}

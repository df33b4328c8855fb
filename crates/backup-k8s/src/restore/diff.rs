//! What tells two objects apart, field by field.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// How many differences of one object are kept; more are counted.
const MOST: usize = 200;
/// Lists whose elements have an owner each: server-side apply leaves those alone that it is not told of.
const MERGED: [&str; 16] = [
    "containers",
    "initContainers",
    "ephemeralContainers",
    "env",
    "ports",
    "volumes",
    "volumeMounts",
    "volumeDevices",
    "imagePullSecrets",
    "secrets",
    "hostAliases",
    "topologySpreadConstraints",
    "webhooks",
    "matchConditions",
    "resourceClaims",
    "finalizers",
];
/// What names the elements of a list, the first that all of them have.
const KEYS: [&str; 9] =
    ["name", "mountPath", "devicePath", "containerPort", "port", "key", "type", "ip", "topologyKey"];

/// One piece of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// A field.
    Field(String),
    /// An element of a list by what names it, or by its number.
    Element(String),
}

/// One field that differs.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Change {
    /// Where.
    pub(super) path: Vec<Piece>,
    /// What is in the cluster.
    pub(super) there: Option<Value>,
    /// What the backup has.
    pub(super) wanted: Option<Value>,
}

/// What tells an object of the cluster from the one that is wanted.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Difference {
    /// What an update would set.
    pub(super) changes: Vec<Change>,
    /// What only the cluster has, and an update leaves alone.
    pub(super) extras: Vec<Change>,
    /// How many more there are.
    pub(super) more: usize,
}

impl Difference {
    /// True when all that is wanted is there.
    pub(super) fn is_contained(&self) -> bool {
        self.changes.is_empty()
    }

    fn add(&mut self, path: &[Piece], there: Option<&Value>, wanted: Option<&Value>, extra: bool) {
        let first_change = !extra && self.changes.is_empty();
        if self.changes.len() + self.extras.len() >= MOST && !first_change {
            self.more += 1;
            return;
        }
        let change = Change { path: path.to_vec(), there: there.cloned(), wanted: wanted.cloned() };
        if extra { &mut self.extras } else { &mut self.changes }.push(change);
    }
}

/// What tells `there` from `wanted`.
pub(super) fn compare(wanted: &Value, there: &Value) -> Difference {
    let mut difference = Difference::default();
    walk(&mut Vec::new(), Some(wanted), Some(there), true, &mut difference);
    difference
}

/// `kept`: what only the cluster has at this place is left alone by an update.
fn walk(
    path: &mut Vec<Piece>,
    wanted: Option<&Value>,
    there: Option<&Value>,
    kept: bool,
    out: &mut Difference,
) {
    match (wanted, there) {
        (None, None) => {}
        (Some(wanted), Some(there)) if wanted == there => {}
        (Some(Value::Object(a)), Some(Value::Object(b))) => {
            let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for key in keys {
                path.push(Piece::Field(key.clone()));
                walk(path, a.get(key), b.get(key), kept, out);
                path.pop();
            }
        }
        (Some(Value::Array(a)), Some(Value::Array(b))) => lists(path, a, b, kept, out),
        (None, there) => out.add(path, there, None, kept),
        (wanted, there) => out.add(path, there, wanted, false),
    }
}

fn lists(path: &mut Vec<Piece>, a: &[Value], b: &[Value], kept: bool, out: &mut Difference) {
    let merged = match path.last() {
        Some(Piece::Field(name)) => MERGED.contains(&name.as_str()),
        _ => false,
    };
    // Whatever replaces a list whole replaces what is in its elements.
    let kept = kept && merged;
    if let Some(key) = KEYS.into_iter().find(|key| names_all(a, key) && names_all(b, key)) {
        let name = |element: &Value| element.get(key).map(plain).unwrap_or_default();
        let names: BTreeSet<String> = a.iter().chain(b).map(name).collect();
        for wanted in names {
            let find = |list: &'_ [Value]| list.iter().position(|element| name(element) == wanted);
            let (a, b) = (find(a).map(|at| &a[at]), find(b).map(|at| &b[at]));
            path.push(Piece::Element(wanted));
            walk(path, a, b, kept, out);
            path.pop();
        }
    } else if merged && a.iter().chain(b).all(is_plain) {
        let missing: Vec<&Value> = a.iter().filter(|value| !b.contains(value)).collect();
        missing.into_iter().for_each(|value| out.add(path, None, Some(value), false));
        b.iter().filter(|value| !a.contains(value)).for_each(|value| out.add(path, Some(value), None, kept));
    } else if a.iter().chain(b).all(is_plain) {
        out.add(path, Some(&Value::Array(b.to_vec())), Some(&Value::Array(a.to_vec())), false);
    } else {
        for at in 0..a.len().max(b.len()) {
            path.push(Piece::Element(at.to_string()));
            walk(path, a.get(at), b.get(at), kept, out);
            path.pop();
        }
    }
}

/// Whether `key` tells the elements of the list apart.
fn names_all(list: &[Value], key: &str) -> bool {
    let mut seen = BTreeSet::new();
    list.iter().all(|element| match element.get(key) {
        Some(name) if is_plain(name) => seen.insert(plain(name)),
        _ => false,
    })
}

fn is_plain(value: &Value) -> bool {
    !value.is_array() && !value.is_object()
}

/// A plain value without quotes.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Drops fields that are null: to the API server they are not there.
pub(super) fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(table) => drop_null_fields(table),
        Value::Array(list) => list.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

fn drop_null_fields(table: &mut Map<String, Value>) {
    table.retain(|_, value| !value.is_null());
    table.values_mut().for_each(drop_nulls);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn paths(changes: &[Change]) -> Vec<String> {
        changes.iter().map(|change| crate::restore::show::path(&change.path)).collect()
    }

    #[test]
    fn elements_are_matched_by_name() {
        let wanted =
            json!({"spec": {"containers": [{"name": "a", "image": "a:1"}, {"name": "b", "image": "b:1"}]}});
        let there = json!({"spec": {"containers": [{"name": "b", "image": "b:2"}, {"name": "c"}, {"name": "a", "image": "a:1"}]}});
        let difference = compare(&wanted, &there);
        assert_eq!(paths(&difference.changes), ["spec.containers[b].image"]);
        assert_eq!(paths(&difference.extras), ["spec.containers[c]"]);
    }

    #[test]
    fn a_list_that_is_set_whole_loses_what_only_the_cluster_has() {
        let wanted = json!({"rules": [{"verbs": ["get"]}], "data": {"a": "1"}});
        let there = json!({"rules": [{"verbs": ["get"]}, {"verbs": ["*"]}], "data": {"a": "1", "b": "2"}});
        let difference = compare(&wanted, &there);
        assert_eq!(paths(&difference.changes), ["rules[1]"]);
        assert_eq!(paths(&difference.extras), ["data.b"]);
        let accounts = compare(
            &json!({"subjects": [{"name": "a"}]}),
            &json!({"subjects": [{"name": "a"}, {"name": "b"}]}),
        );
        assert!(!accounts.is_contained());
    }

    #[test]
    fn sets_differ_by_their_elements_and_other_lists_as_a_whole() {
        let finalizers = |list: Value| json!({"metadata": {"finalizers": list}});
        let difference = compare(&finalizers(json!(["a"])), &finalizers(json!(["b", "a"])));
        assert!(difference.is_contained() && difference.extras.len() == 1);
        let difference = compare(&json!({"args": ["a", "b"]}), &json!({"args": ["b", "a"]}));
        assert_eq!(paths(&difference.changes), ["args"]);
    }

    #[test]
    fn many_differences_are_counted_but_one_change_is_always_kept() {
        let there: Map<String, Value> = (0..500).map(|n| (format!("k{n:03}"), json!(n))).collect();
        let difference = compare(&json!({"z": 1}), &Value::Object(there));
        assert_eq!((difference.changes.len(), difference.extras.len(), difference.more), (1, MOST, 300));
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::from),
            (0..3_i64).prop_map(Value::from),
            "[ab]{0,2}".prop_map(Value::from)
        ];
        leaf.prop_recursive(4, 40, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("(name|env|ports|a|b)", inner, 0..4)
                    .prop_map(|table| Value::Object(table.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn only_equal_objects_have_no_difference(a in value(), b in value()) {
            prop_assert_eq!(compare(&a, &a), Difference::default());
            let difference = compare(&a, &b);
            let reordered = |a: &Value, b: &Value| {
                let (a, b) = (compare(a, b), compare(b, a));
                a == Difference::default() && b == Difference::default()
            };
            prop_assert_eq!(difference == Difference::default(), a == b || reordered(&a, &b));
        }

        #[test]
        fn a_field_that_only_the_cluster_has_is_no_change(a in value(), extra in value()) {
            let mut there = json!({"x": a});
            let wanted = there.clone();
            there["y"] = extra;
            let difference = compare(&wanted, &there);
            prop_assert!(difference.is_contained());
            prop_assert_eq!(difference.extras.len(), 1);
        }
    }
}

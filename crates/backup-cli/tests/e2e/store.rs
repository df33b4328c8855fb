//! What lies in a store, read without the product.

use std::{collections::BTreeSet, path::PathBuf};

use serde_json::Value;

use crate::support::{Bench, tree};

/// The types' folders.
const TYPES: [&str; 4] = ["daily", "weekly", "monthly", "yearly"];

/// A JSON file of a session's folder.
#[track_caller]
pub(crate) fn session_file(bench: &Bench, session: &str, file: &str) -> Value {
    let path = bench.path("store/sessions").join(session).join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap()
}

/// A session's manifest.
#[track_caller]
pub(crate) fn manifest(bench: &Bench, session: &str) -> Value {
    session_file(bench, session, "manifest.json")
}

/// What the manifest says of a component.
#[track_caller]
pub(crate) fn record(bench: &Bench, session: &str, component: &str) -> Value {
    let manifest = manifest(bench, session);
    let records = manifest["components"].as_array().unwrap();
    records.iter().find(|record| record["name"] == component).unwrap().clone()
}

/// The path of a component's only stored file.
#[track_caller]
pub(crate) fn artifact(bench: &Bench, session: &str, component: &str) -> PathBuf {
    let record = record(bench, session, component);
    bench.path("store").join(record["artifacts"][0]["volumes"][0]["key"].as_str().unwrap())
}

/// Sessions that have a manifest and no purge.
pub(crate) fn good_sessions(bench: &Bench) -> Vec<String> {
    let mut all: Vec<String> = std::fs::read_dir(bench.path("store/sessions"))
        .map(|entries| entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect())
        .unwrap_or_default();
    all.retain(|session| {
        let files = tree(&bench.path("store/sessions").join(session));
        files.iter().any(|file| file == "manifest.json")
            && !files.iter().any(|file| file.starts_with("purge-"))
    });
    all.sort();
    all
}

/// Stored files of artifacts and archives.
pub(crate) fn objects(bench: &Bench) -> BTreeSet<String> {
    let is_object = |file: &String| TYPES.iter().any(|folder| file.starts_with(&format!("{folder}/")));
    tree(&bench.path("store")).into_iter().filter(is_object).collect()
}

/// Nothing lies there that no good session names, and nothing half-written.
#[track_caller]
pub(crate) fn assert_tidy(bench: &Bench) {
    let mut named = BTreeSet::new();
    for session in good_sessions(bench) {
        collect_keys(&manifest(bench, &session), &mut named);
        if bench.path("store/sessions").join(&session).join("unified.json").exists() {
            collect_keys(&session_file(bench, &session, "unified.json"), &mut named);
        }
    }
    assert_eq!(objects(bench), named);
    let unfinished: Vec<String> =
        tree(&bench.path("store")).into_iter().filter(|file| file.contains(".tmp")).collect();
    assert_eq!(unfinished, Vec::<String>::new());
}

/// All values under `"key"`, wherever they are.
fn collect_keys(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| match value {
            Value::String(key) if name == "key" => drop(found.insert(key.clone())),
            other => collect_keys(other, found),
        }),
        Value::Array(items) => items.iter().for_each(|item| collect_keys(item, found)),
        _ => {}
    }
}

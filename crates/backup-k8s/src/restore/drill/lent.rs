//! The cluster that is lent to a drill, and the throwaway namespaces there.
//!
//! A namespace says in its labels which drill and which session it is of, in its annotations who made it and until when. Which
//! ones are made stands in the drill's folder before the first is; those of a drill that was killed are found by the label.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    time::{Duration, Instant},
};

use backup_core::{
    repository::ProcessIdentity,
    traits::{Context, Throwaway},
    words::{Error, ErrorKind, Result},
};
use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use crate::{
    cluster::{Cluster, escaped},
    component::Right,
};

/// The label of all that a drill makes, with the drill's id.
pub(super) const DRILL: &str = "ha-backup/drill";
const SESSION: &str = "ha-backup/session";
/// The label with the name of the namespace in the session.
const ORIGINAL: &str = "ha-backup/drill-of";
const OWNER: &str = "ha-backup/drill-owner";
const UNTIL: &str = "ha-backup/drill-until";
/// The file in the drill's folder with the names of its namespaces, a line each.
const BOOK: &str = "namespaces";
/// How long a namespace may take to go.
const GONE: Duration = Duration::from_secs(90);
const POLL: Duration = Duration::from_millis(200);
const NAMESPACES: &str = "/api/v1/namespaces";

/// The id of the drill in a place.
pub(super) fn id(place: &dyn Throwaway) -> String {
    place.folder().file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The label that says whose an object is.
pub(super) fn mark(id: &str) -> Map<String, Value> {
    Map::from_iter([(DRILL.to_owned(), json!(id))])
}

/// What must be allowed with namespaces before one is made: one that cannot be removed again least of all.
const VERBS: [&str; 4] = ["create", "get", "list", "delete"];

/// The rights over namespaces that a drill lacks.
pub(crate) async fn missing_rights(cluster: &Cluster) -> Result<Vec<Right>> {
    let mut missing = Vec::new();
    for right in VERBS.map(Right::namespaces) {
        if !right.is_given(cluster).await? {
            missing.push(right);
        }
    }
    Ok(missing)
}

/// Why no namespace can be made, with the rules that would allow it.
pub(super) async fn forbidden(cluster: &Cluster) -> Result<Option<String>> {
    let missing = missing_rights(cluster).await?;
    if missing.is_empty() {
        return Ok(None);
    }
    let words: Vec<String> = missing.iter().map(Right::words).collect();
    let rules: Vec<String> = missing.iter().map(Right::rule).collect();
    Ok(Some(format!(
        "it may not {} in the cluster that is lent: {}; or set dry_run = true",
        words.join(", "),
        rules.join("; ")
    )))
}

/// The namespaces of a drill: those of the session, and what each is called. `labels` are those of the original to keep.
pub(super) async fn make(
    cx: &Context,
    cluster: &Cluster,
    place: &dyn Throwaway,
    session: &[String],
    labels: &BTreeMap<String, Map<String, Value>>,
) -> Result<BTreeMap<String, String>> {
    let id = id(place);
    let name = |number: usize| if number == 0 { id.clone() } else { format!("{id}-{}", number + 1) };
    let names: Vec<String> = (0..session.len()).map(name).collect();
    let book = book(place);
    std::fs::write(&book, names.join("\n")).map_err(|e| Error::io("write", book.display().to_string(), e))?;
    let owner = serde_json::to_string(&ProcessIdentity::current())
        .map_err(|e| Error::new(ErrorKind::Internal, "write", "who drills").because(e))?;
    for (original, name) in session.iter().zip(&names) {
        let mut labels = labels.get(original).cloned().unwrap_or_default();
        labels.extend(mark(&id));
        labels.insert(ORIGINAL.to_owned(), json!(original));
        labels.insert(SESSION.to_owned(), json!(place.session().to_string()));
        let namespace = json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": name, "labels": labels, "annotations": {
                OWNER: owner, UNTIL: place.ends_by().to_rfc3339(),
            }},
        });
        let create = || cluster.create(NAMESPACES, &namespace);
        match cx.or_cancelled("drill", cluster.patiently(create)).await {
            // Made by an answer that was lost: the name is ours alone.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            made => drop(made?),
        }
    }
    Ok(session.iter().cloned().zip(names).collect())
}

/// Removes the namespaces of the drill in `place`, where it had begun to make any.
pub(super) async fn remove(cluster: &Cluster, place: &dyn Throwaway) -> Result<()> {
    let id = id(place);
    for name in begun(place)? {
        let path = path(&name);
        let look = || cluster.get::<Value>(&path);
        match cluster.patiently(look).await {
            Ok(there) if is_of(&there, &id) => delete(cluster, &name, &there).await?,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Whether the drill in `place` had begun to make namespaces; their names.
pub(super) fn begun(place: &dyn Throwaway) -> Result<Vec<String>> {
    let book = book(place);
    match std::fs::read_to_string(&book) {
        Ok(names) => Ok(names.lines().map(str::to_owned).collect()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(Error::io("read", book.display().to_string(), e)),
    }
}

/// Removes the namespaces of drills that have ended without it; their names.
pub(super) async fn sweep(cx: &Context, cluster: &Cluster) -> Result<Vec<String>> {
    let path = format!("{NAMESPACES}?labelSelector={}", escaped(DRILL));
    let list: Value = cluster.patiently(|| cluster.get(&path)).await?;
    let mut swept = Vec::new();
    for namespace in list.get("items").and_then(Value::as_array).into_iter().flatten() {
        let name = text(namespace, "/metadata/name");
        if is_left_behind(namespace, cx.now(), ProcessIdentity::is_gone) {
            cx.or_cancelled("drill", delete(cluster, name, namespace)).await?;
            swept.push(name.to_owned());
        }
    }
    Ok(swept)
}

/// Whether nobody drills in a namespace any more: its owner is certainly gone, or its time is long over.
fn is_left_behind(namespace: &Value, now: DateTime<Utc>, is_gone: impl Fn(&ProcessIdentity) -> bool) -> bool {
    let note = |key: &str| namespace.get("metadata")?.get("annotations")?.get(key)?.as_str();
    let owner = note(OWNER).and_then(|text| serde_json::from_str::<ProcessIdentity>(text).ok());
    let until = note(UNTIL).and_then(|text| DateTime::parse_from_rfc3339(text).ok());
    owner.is_some_and(|owner| is_gone(&owner)) || until.is_some_and(|until| until < now)
}

/// Deletes the namespace that was seen, and waits until it is gone.
async fn delete(cluster: &Cluster, name: &str, seen: &Value) -> Result<()> {
    let (path, uid) = (path(name), text(seen, "/metadata/uid"));
    let body = json!({"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": uid}});
    let body = crate::cluster::to_json(&body)?;
    let ask =
        || cluster.ask::<Value>(http::Method::DELETE, &path, None, Some(("application/json", body.clone())));
    match cluster.patiently(ask).await {
        // It is being deleted already, or is another one's now.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Conflict) => {}
        asked => drop(asked?),
    }
    let begun = Instant::now();
    loop {
        match cluster.patiently(|| cluster.get::<Value>(&path)).await {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Ok(there) if text(&there, "/metadata/uid") != uid => return Ok(()),
            Ok(there) if begun.elapsed() > GONE => return Err(stays(name, &there)),
            Ok(_) => tokio::time::sleep(POLL).await,
            Err(error) => return Err(error),
        }
    }
}

/// What the cluster says keeps the namespace.
fn stays(name: &str, namespace: &Value) -> Error {
    let conditions = namespace.pointer("/status/conditions").and_then(Value::as_array);
    let holding = conditions.into_iter().flatten().filter(|one| text(one, "/status") == "True");
    let why: Vec<&str> = holding.map(|one| text(one, "/message")).collect();
    let why = if why.is_empty() { "it does not say why".to_owned() } else { why.join("; ") };
    Error::new(ErrorKind::TimedOut, "remove", format!("namespace {name}"))
        .detail(format!("it is being deleted, and still there after {} s: {why}", GONE.as_secs()))
        .hint("the cluster goes on deleting it; `kubectl get namespaces -l ha-backup/drill` shows whether it is gone")
}

fn is_of(namespace: &Value, id: &str) -> bool {
    let label = namespace.get("metadata").and_then(|metadata| metadata.get("labels")?.get(DRILL));
    label.and_then(Value::as_str) == Some(id)
}

fn book(place: &dyn Throwaway) -> PathBuf {
    place.folder().join(BOOK)
}

fn path(name: &str) -> String {
    format!("{NAMESPACES}/{name}")
}

fn text<'a>(object: &'a Value, path: &str) -> &'a str {
    object.pointer(path).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_is_left_behind_when_its_owner_is_gone_or_its_time_is_over() {
        let now: DateTime<Utc> = "2026-01-01T12:00:00Z".parse().unwrap();
        let owner = serde_json::to_string(&ProcessIdentity::current()).unwrap();
        let namespace = |until: &str| json!({"metadata": {"annotations": {OWNER: owner, UNTIL: until}}});
        let (later, earlier) = (namespace("2026-01-01T12:00:01Z"), namespace("2026-01-01T11:59:59Z"));
        assert!(!is_left_behind(&later, now, |_| false), "somebody may be at it");
        assert!(is_left_behind(&later, now, |_| true));
        assert!(is_left_behind(&earlier, now, |_| false), "another host's, long over");
        for unclear in [json!({}), namespace("soon"), json!({"metadata": {"annotations": {OWNER: "x"}}})] {
            assert!(!is_left_behind(&unclear, now, |_| false), "what is not ours for certain stays");
        }
    }
}

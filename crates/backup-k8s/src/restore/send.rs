//! Writing one object.

use std::time::{Duration, Instant};

use backup_core::words::{Error, ErrorKind, Result};
use http::Method;
use serde_json::{Value, json};

use super::{live, prepare::Wanted};
use crate::{
    clean,
    cluster::{Cluster, FIELD_MANAGER, ResourceKind, refusal, to_json, with_query},
};

const APPLY: &str = "application/apply-patch+yaml";
const MERGE: &str = "application/merge-patch+json";

/// How an object is applied.
#[derive(Clone, Copy, Debug)]
pub(super) struct How<'a> {
    /// Fields that others own are taken from them.
    pub(super) force: bool,
    /// Nothing is written.
    pub(super) dry: bool,
    /// It must be this object still.
    pub(super) uid: Option<&'a str>,
}

/// Applies an object as ours; what the API server made of it.
pub(super) async fn apply(
    cluster: &Cluster,
    kind: &ResourceKind,
    wanted: &Wanted,
    how: How<'_>,
) -> Result<Value> {
    let mut object = wanted.object.clone();
    if let Some(uid) = how.uid {
        object["metadata"]["uid"] = uid.into();
    }
    let path = query(live::path(kind, &wanted.key), how);
    let path = if how.force { with_query(&path, "force=true") } else { path };
    // JSON is YAML too.
    let sent = cluster.ask(Method::PATCH, &path, None, Some((APPLY, to_json(&object)?))).await;
    match sent {
        Err(error) if cannot_merge(&error) => write(cluster, kind, wanted, how).await,
        sent => sent,
    }
}

/// Lists that name an element twice can't be merged, though they can be stored; such objects are written whole.
fn cannot_merge(error: &Error) -> bool {
    refusal(error).is_some_and(|refusal| {
        refusal.code == 415 || refusal.message.contains("failed to create typed patch object")
    })
}

async fn write(cluster: &Cluster, kind: &ResourceKind, wanted: &Wanted, how: How<'_>) -> Result<Value> {
    let mut object = wanted.object.clone();
    let there = live::get(cluster, kind, &wanted.key).await?;
    let version = there.as_ref().and_then(|there| there.pointer("/metadata/resourceVersion")).cloned();
    let (method, path) = match version {
        Some(version) => {
            object["metadata"]["resourceVersion"] = version;
            (Method::PUT, live::path(kind, &wanted.key))
        }
        None => (Method::POST, kind.collection(wanted.namespace())),
    };
    cluster.ask(method, &query(path, how), None, Some(("application/json", to_json(&object)?))).await
}

fn query(path: String, how: How<'_>) -> String {
    let path = with_query(&path, &format!("fieldManager={FIELD_MANAGER}"));
    if how.dry { with_query(&path, "dryRun=All") } else { path }
}

/// Changes some fields of an object that must be the one with this uid.
pub(super) async fn patch(
    cluster: &Cluster,
    kind: &ResourceKind,
    key: &str,
    uid: &str,
    mut patch: Value,
) -> Result<Value> {
    patch["metadata"]["uid"] = uid.into();
    let path = query(live::path(kind, key), How { force: false, dry: false, uid: None });
    cluster.ask(Method::PATCH, &path, None, Some((MERGE, to_json(&patch)?))).await
}

/// Lets a volume forget the claim that is gone: a claim of that name then gets it again.
pub(super) async fn rebind(cluster: &Cluster, kind: &ResourceKind, key: &str, uid: &str) -> Result<Value> {
    let forget = json!({"spec": {"claimRef": {"uid": null, "resourceVersion": null}}});
    patch(cluster, kind, key, uid, forget).await
}

/// Deletes the object with this uid, and waits until it is gone.
pub(super) async fn delete(
    cluster: &Cluster,
    kind: &ResourceKind,
    key: &str,
    uid: &str,
    wait: Duration,
) -> Result<()> {
    // What it owns goes first where that are pods: two generations of them would meet.
    let policy = if ["apps", "batch"].contains(&kind.group.as_str()) { "Foreground" } else { "Background" };
    let options = json!({
        "kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": policy, "preconditions": {"uid": uid}
    });
    let path = live::path(kind, key);
    let asked: Result<Value> =
        cluster.ask(Method::DELETE, &path, None, Some(("application/json", to_json(&options)?))).await;
    match asked {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        asked => asked?,
    };
    let begun = Instant::now();
    loop {
        let Some(there) = live::get(cluster, kind, key).await? else { return Ok(()) };
        if there.pointer("/metadata/uid").and_then(Value::as_str) != Some(uid) {
            return Ok(());
        }
        if begun.elapsed() > wait {
            let finalizers = there.pointer("/metadata/finalizers").map(Value::to_string).unwrap_or_default();
            // Not a time-out, which would be tried again: it was waited for already.
            return Err(Error::new(ErrorKind::Failed, "delete", super::tally::name(kind, key))
                .detail(format!("it is not gone after {} s; its finalizers: {finalizers}", wait.as_secs()))
                .hint("something in the cluster has to let it go"));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Deletes an object and creates the wanted one. When that is refused, the old one is put back.
pub(super) async fn replace(
    cluster: &Cluster,
    kind: &ResourceKind,
    wanted: &Wanted,
    uid: &str,
    wait: Duration,
) -> Result<Value> {
    let old = live::get(cluster, kind, &wanted.key).await?;
    delete(cluster, kind, &wanted.key, uid, wait).await?;
    let how = How { force: true, dry: false, uid: None };
    let refused = match apply(cluster, kind, wanted, how).await {
        Err(error) if refusal(&error).is_some_and(|refusal| refusal.code < 500 && refusal.code != 429) => {
            error
        }
        // What may pass is tried again by the caller, who finds it gone.
        made => return made,
    };
    let Some(mut old) = old else { return Err(refused) };
    clean::clean(&mut old);
    let back = kind.collection(wanted.namespace());
    let name = super::tally::name(kind, &wanted.key);
    let error = Error::new(refused.kind(), "create anew", name);
    Err(match cluster.create(&back, &old).await {
        Ok(_) => error.detail("the old one was put back").because(refused),
        Err(lost) => error
            .detail(format!("and the old one could not be put back ({}): it is gone", said(&lost)))
            .hint("mend what is refused, then give the same command again: it is created then")
            .because(refused),
    })
}

/// What the API server said, in one short line, without values: they may be anything.
pub(super) fn said(error: &Error) -> String {
    let Some(refusal) = refusal(error) else { return error.chain() };
    let line = refusal.message.lines().next().unwrap_or_default().trim();
    let line = without_value(line);
    match line.char_indices().nth(400) {
        Some((at, _)) => format!("{}...", &line[..at]),
        None => line,
    }
}

fn without_value(line: &str) -> String {
    const BEFORE: &str = "Invalid value: ";
    let Some(at) = line.find(BEFORE) else { return line.to_owned() };
    let (head, tail) = line.split_at(at + BEFORE.len());
    let end = tail.rfind(": ").unwrap_or(tail.len());
    let (value, reason) = tail.split_at(end);
    let plain = value.len() <= 40 && !value.contains(['{', '[']);
    format!("{head}{}{reason}", if plain { value } else { "(not shown)" })
}

/// Whether an object has a field that never changes.
pub(super) fn is_immutable(error: &Error) -> bool {
    refusal(error).is_some_and(|refusal| {
        let said = |text: &str| refusal.message.contains(text);
        refusal.code == 422
            && (said("immutable") || said("may not change") || said("are forbidden") || said("Forbidden"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_shown_without_the_values_in_them() {
        let job = "Job.batch \"j\" is invalid: spec.template: Invalid value: core.PodTemplateSpec{Env: \"hunter2: x\"}: field is immutable";
        assert_eq!(
            without_value(job),
            "Job.batch \"j\" is invalid: spec.template: Invalid value: (not shown): field is immutable"
        );
        let service = "Service \"s\" is invalid: spec.type: Invalid value: \"X\": unknown";
        assert_eq!(without_value(service), service);
        assert_eq!(without_value("denied"), "denied");
    }
}

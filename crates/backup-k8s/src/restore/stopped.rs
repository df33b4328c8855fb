//! The mark that a stopped workload carries: how it ran before. It is set in the same write that stops it, so that no crash,
//! of ours or of the journal's store, loses a replica count.

use serde_json::{Map, Value, json};

/// The annotation, and the label that no node has.
pub(super) const MARK: &str = "ha-backup/stopped";

/// How a workload ran before it was stopped.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Before {
    /// With so many pods.
    Replicas(u64),
    /// Suspended or not.
    Suspend(bool),
    /// With a pod on each node that it chose.
    Nodes,
}

impl Before {
    /// How a workload of this kind runs; none for kinds that can't be stopped.
    pub(super) fn of(kind: &str, object: &Value) -> Option<Self> {
        let spec = object.get("spec")?;
        match kind {
            "Deployment" | "StatefulSet" | "ReplicaSet" | "ReplicationController" => {
                Some(Self::Replicas(spec.get("replicas").and_then(Value::as_u64).unwrap_or(1)))
            }
            "CronJob" | "Job" => {
                Some(Self::Suspend(spec.get("suspend").and_then(Value::as_bool).unwrap_or(false)))
            }
            "DaemonSet" => Some(Self::Nodes),
            _ => None,
        }
    }

    /// True when there is nothing to stop.
    pub(super) fn is_still(&self) -> bool {
        matches!(self, Self::Replicas(0) | Self::Suspend(true))
    }

    /// The merge patch that stops it and says how it ran.
    pub(super) fn stop(&self) -> Value {
        let spec = match self {
            Self::Replicas(_) => json!({"replicas": 0}),
            Self::Suspend(_) => json!({"suspend": true}),
            Self::Nodes => json!({"template": {"spec": {"nodeSelector": {MARK: "true"}}}}),
        };
        json!({"metadata": {"annotations": {MARK: self.text()}}, "spec": spec})
    }

    /// The merge patch that lets it run as before.
    pub(super) fn start(&self) -> Value {
        let spec = match self {
            Self::Replicas(count) => json!({"replicas": count}),
            Self::Suspend(suspended) => json!({"suspend": suspended}),
            Self::Nodes => json!({"template": {"spec": {"nodeSelector": {MARK: null}}}}),
        };
        json!({"metadata": {"annotations": {MARK: null}}, "spec": spec})
    }

    /// The merge patch that takes the mark away and leaves alone how it runs now.
    pub(super) fn forget(&self) -> Value {
        let mut patch = self.start();
        if !matches!(self, Self::Nodes)
            && let Value::Object(patch) = &mut patch
        {
            patch.remove("spec");
        }
        patch
    }

    /// For people.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Replicas(count) => format!("{count} -> 0 pods"),
            Self::Suspend(_) => "suspended".to_owned(),
            Self::Nodes => "no pod on any node".to_owned(),
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Replicas(count) => format!("replicas={count}"),
            Self::Suspend(suspended) => format!("suspend={suspended}"),
            Self::Nodes => "nodes".to_owned(),
        }
    }

    fn read(text: &str) -> Option<Self> {
        match text.split_once('=') {
            Some(("replicas", count)) => count.parse().ok().map(Self::Replicas),
            Some(("suspend", suspended)) => suspended.parse().ok().map(Self::Suspend),
            None if text == "nodes" => Some(Self::Nodes),
            _ => None,
        }
    }
}

/// How a stopped workload ran before; none when it is not stopped.
pub(super) fn before(object: &Value) -> Option<Before> {
    Before::read(object.get("metadata")?.get("annotations")?.get(MARK)?.as_str()?)
}

/// Makes of a stopped workload the one that it was.
pub(super) fn undo(object: &mut Value) {
    let Some(before) = before(object) else { return };
    merge(object, &before.start());
    if before == Before::Nodes
        && let Some(Value::Object(pod)) = object.pointer_mut("/spec/template/spec")
        && pod.get("nodeSelector").and_then(Value::as_object).is_some_and(Map::is_empty)
    {
        pod.remove("nodeSelector");
    }
}

/// Makes of a workload a stopped one.
pub(super) fn stop(kind: &str, object: &mut Value) {
    if let Some(before) = Before::of(kind, object).filter(|before| !before.is_still()) {
        merge(object, &before.stop());
    }
}

/// RFC 7396.
fn merge(value: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        value.clone_from(patch);
        return;
    };
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    let Value::Object(table) = value else { return };
    for (key, patch) in patch {
        if patch.is_null() {
            table.remove(key);
        } else {
            merge(table.entry(key).or_insert(Value::Null), patch);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stopped_workload_is_known_as_what_it_was() {
        let workloads = [
            ("Deployment", json!({"metadata": {"annotations": {"a": "b"}}, "spec": {"replicas": 3}})),
            ("CronJob", json!({"metadata": {"annotations": {"a": "b"}}, "spec": {"suspend": false}})),
            (
                "DaemonSet",
                json!({"metadata": {"annotations": {"a": "b"}}, "spec": {"template": {"spec": {"nodeSelector": {"x": "y"}}}}}),
            ),
        ];
        for (kind, object) in workloads {
            let mut changed = object.clone();
            stop(kind, &mut changed);
            assert_ne!(changed, object);
            assert_eq!(before(&changed), Before::of(kind, &object));
            undo(&mut changed);
            assert_eq!(changed, object);
        }
    }

    #[test]
    fn what_does_not_run_is_not_stopped() {
        let mut object = json!({"spec": {"replicas": 0}});
        stop("Deployment", &mut object);
        assert_eq!(object, json!({"spec": {"replicas": 0}}));
        assert_eq!(Before::of("Pod", &json!({"spec": {}})), None);
    }

    #[test]
    fn a_mark_can_be_taken_away_without_starting() {
        assert_eq!(Before::Replicas(3).forget(), json!({"metadata": {"annotations": {MARK: null}}}));
        let nodes = Before::Nodes.forget();
        assert_eq!(nodes["spec"]["template"]["spec"]["nodeSelector"][MARK], Value::Null);
    }
}

//! How a person brings the objects back with kubectl.

use backup_core::words::{Artifact, ComponentRecord};

/// The lines for `RESTORE.txt`; those that begin with `$ ` are commands.
pub(super) fn lines(record: &ComponentRecord) -> Vec<String> {
    let file = |suffix: &str| {
        let named = |artifact: &&Artifact| artifact.suffix.as_deref() == Some(suffix);
        record.artifacts.iter().find(named).map(|artifact| format!("{}/{}", record.name, artifact.name))
    };
    let mut lines = Vec::new();
    if let Some(crds) = file("crds") {
        lines.push("The definitions of the custom kinds come first, and are waited for:".to_owned());
        lines.push(format!("$ kubectl apply --server-side -f {crds}"));
        lines.push(format!("$ kubectl wait --for=condition=Established --timeout=60s -f {crds}"));
    }
    if let Some(config) = file("config") {
        lines.push(
            "The objects, in the order in which they need each other. What controllers make themselves (pods of deployments, \
             endpoints, tokens) is not among them:"
                .to_owned(),
        );
        lines.push(format!("$ kubectl apply --server-side -f {config}"));
    }
    if let Some(objects) = file("objects") {
        lines.push(format!(
            "{objects} holds every object as it was, one a line, for whatever the other files leave out."
        ));
    }
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn definitions_come_first_and_only_files_that_are_there_are_named() {
        let artifact = |suffix: &str, extension: &str| {
            json!({"name": format!("shop_backup_20260101_000000_{suffix}.{extension}"), "suffix": suffix, "media_type": "x",
                "plain": {"size": 1, "sha256": "00"}, "codec": "gzip", "volumes": [], "evidence": []})
        };
        let record = |artifacts: Vec<serde_json::Value>| -> ComponentRecord {
            serde_json::from_value(
                json!({"name": "shop", "kind": {"name": "kubernetes", "format": 1}, "status": "SUCCESS",
                "duration_seconds": 1.0, "artifacts": artifacts}),
            )
            .unwrap()
        };
        let all = lines(&record(vec![
            artifact("objects", "jsonl"),
            artifact("crds", "yaml"),
            artifact("config", "yaml"),
        ]));
        let commands: Vec<_> = all.iter().filter(|line| line.starts_with("$ ")).collect();
        assert_eq!(commands.len(), 3);
        assert_eq!(
            commands[2],
            "$ kubectl apply --server-side -f shop/shop_backup_20260101_000000_config.yaml"
        );
        let few = lines(&record(vec![artifact("objects", "jsonl"), artifact("config", "yaml")]));
        assert_eq!(few.iter().filter(|line| line.starts_with("$ ")).count(), 1);
    }
}

//! How a person brings files back with tar and kubectl.

use backup_core::words::ComponentRecord;

use super::facts::{self, From, PodFacts, StateFacts, StorageFacts};

/// The lines for `RESTORE.txt`; those that begin with `$ ` are commands.
pub(crate) fn by_hand(record: &ComponentRecord) -> Vec<String> {
    let extract = |suffix: &str| {
        let artifact = record.artifacts.iter().find(|artifact| artifact.suffix.as_deref() == Some(suffix))?;
        let (name, file) = (&record.name, &artifact.name);
        Some(format!(
            "$ mkdir -p restored/{name} && tar --xattrs --xattrs-include='*' --numeric-owner -xpf {name}/{file} -C restored/{name}"
        ))
    };
    let mut lines = Vec::new();
    if let (Some(extract), Ok(Some(state))) =
        (extract(facts::STATE), facts::read::<StateFacts>(&record.facts, facts::STATE))
    {
        lines.push(
            "The files of running pods, each below its pod's name (as root they keep their owners):"
                .to_owned(),
        );
        lines.push(extract);
        lines.push(
            "Bring each pod's back when it runs again; it must read them anew. Where a pod has another name now, put that one:"
                .to_owned(),
        );
        lines
            .extend(state.pods.iter().filter(|pod| pod.counts.files > 0).map(|pod| bring(&record.name, pod)));
    }
    if let (Some(extract), Ok(Some(storage))) =
        (extract(facts::STORAGE), facts::read::<StorageFacts>(&record.facts, facts::STORAGE))
    {
        let (path, namespace) = (&storage.path, &storage.namespace);
        let place = match &storage.from {
            From::Pod { pod, .. } => format!("{path} of pod {namespace}/{pod}"),
            From::Claim { claim } => format!("{path} of volume claim {namespace}/{claim}"),
            From::Node { node } => format!("{path} on node {node}"),
        };
        lines.push(format!(
            "What was in {place} is the folder {}; its extended attributes belong to it:",
            storage.folder
        ));
        lines.push(extract);
    }
    lines
}

fn bring(component: &str, pod: &PodFacts) -> String {
    let PodFacts { folder, namespace, container, .. } = pod;
    format!(
        "$ tar --xattrs -C restored/{component}/{folder} -cf - . | kubectl exec -i -n {namespace} {} -c {container} -- \
         sh -c 'tar -C / -xpf - && echo whole'",
        pod.pod
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_pod_has_its_command() {
        let record: ComponentRecord = serde_json::from_value(json!({
            "name": "fastapi", "kind": {"name": "kubernetes", "format": 1}, "status": "SUCCESS", "duration_seconds": 1.0,
            "artifacts": [{"name": "f_state.tar", "suffix": "state", "media_type": "x", "plain": {"size": 1, "sha256": "00"},
                "codec": "gzip", "volumes": [], "evidence": []}],
            "facts": {"state": {"path": "/app", "include": [], "exclude": [], "pods": [{
                "namespace": "n", "pod": "web-0", "folder": "web-0", "container": "c", "method": "tar",
                "files": 1, "links": 0, "folders": 0, "bytes": 1, "roots": []}]}},
        }))
        .unwrap();
        let lines = by_hand(&record);
        let commands: Vec<&String> = lines.iter().filter(|line| line.starts_with("$ ")).collect();
        assert_eq!(commands.len(), 2);
        assert!(commands[0].ends_with("-xpf fastapi/f_state.tar -C restored/fastapi"));
        assert!(
            commands[1].contains("-C restored/fastapi/web-0 ") && commands[1].contains("-n n web-0 -c c ")
        );
    }
}

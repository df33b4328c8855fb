//! An ephemeral container beside one that has no programs of its own: it sees the other's files through `/proc/1/root`.

use std::time::Duration;

use backup_core::{
    traits::Context,
    words::{Error, ErrorKind, Result, Retry},
};
use http::Method;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    keeper::{self, HOPELESS, Keeper, PROGRAM},
    pods::{PodInfo, pods_kind},
};
use crate::cluster::{Cluster, Exec, refusal, to_json};

/// What their names begin with.
const PREFIX: &str = "ha-backup-";
/// Where the other container's files are.
pub(super) const ROOT: &str = "/proc/1/root";
/// How long its image may take to come.
const START: Duration = Duration::from_secs(300);

/// A running ephemeral container. It can't be removed from its pod, but ends when it is let go.
#[derive(Debug)]
pub(super) struct Ephemeral {
    pub(super) exec: Exec,
    pub(super) keeper: Keeper,
}

/// Puts one beside `container`.
pub(super) async fn start(
    cx: &Context,
    cluster: &Cluster,
    pod: &PodInfo,
    container: &str,
    image: &str,
) -> Result<Ephemeral> {
    if pod.shares_processes {
        return Err(Error::new(ErrorKind::Unsupported, "see the files of", pod.subject())
            .detail("its containers share their processes: which one is the container's is not known")
            .hint("use an image that has `sh`, `find`, `tar` and `sha256sum`"));
    }
    let name = keeper::name(PREFIX)?;
    // Another user's files are seen only with SYS_PTRACE; a namespace may forbid it, and the container may be of the same user.
    let rights = json!({"runAsUser": 0, "runAsNonRoot": false, "capabilities": {"add": ["SYS_PTRACE"]}});
    match add(cluster, pod, container, image, &name, &rights).await {
        Err(e) if refusal(&e).is_some_and(|refusal| matches!(refusal.code, 403 | 422)) => {
            tracing::debug!(pod = pod.subject(), error = e.chain(), "again with fewer rights");
            add(cluster, pod, container, image, &name, &Value::Null).await.map_err(|_| e)?;
        }
        other => other?,
    }
    cx.or_cancelled("wait for an ephemeral container", wait(cluster, pod, &name)).await?;
    let exec = Exec {
        cluster: cluster.clone(),
        namespace: pod.namespace.clone(),
        pod: pod.name.clone(),
        container: Some(name),
    };
    Ok(Ephemeral { keeper: Keeper::new(exec.clone()), exec })
}

async fn add(
    cluster: &Cluster,
    pod: &PodInfo,
    container: &str,
    image: &str,
    name: &str,
    rights: &Value,
) -> Result<()> {
    let ephemeral = json!({
        "name": name,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-c", PROGRAM],
        "targetContainerName": container,
        "securityContext": rights,
    });
    let patch = json!({"spec": {"ephemeralContainers": [ephemeral]}});
    let path = format!("{}/ephemeralcontainers", pods_kind().object(Some(&pod.namespace), &pod.name));
    let body = ("application/strategic-merge-patch+json", to_json(&patch)?);
    cluster.ask::<Value>(Method::PATCH, &path, None, Some(body)).await.map(drop)
}

async fn wait(cluster: &Cluster, pod: &PodInfo, name: &str) -> Result<()> {
    let path = pods_kind().object(Some(&pod.namespace), &pod.name);
    let until = Instant::now() + START;
    let subject = format!("ephemeral container {name} of {}", pod.subject());
    loop {
        let found: Value = cluster.get(&path).await?;
        let statuses = found["status"]["ephemeralContainerStatuses"].as_array();
        let state = statuses.into_iter().flatten().find(|status| status["name"] == name).map(|s| &s["state"]);
        let state = state.unwrap_or(&Value::Null);
        if state["running"].is_object() {
            return Ok(());
        }
        let waiting = &state["waiting"];
        let reason = waiting["reason"].as_str().unwrap_or("not started");
        let said = format!("{reason} {}", waiting["message"].as_str().unwrap_or_default());
        if state["terminated"].is_object() || HOPELESS.contains(&reason) {
            return Err(Error::new(ErrorKind::Unsupported, "start", subject)
                .detail(format!("{} {}", said.trim(), state["terminated"]["message"].as_str().unwrap_or_default()))
                .hint("`helper_image` needs `sh`, `find`, `sha256sum` and GNU tar, and the node must be able to pull it"));
        }
        if Instant::now() >= until {
            return Err(Error::new(ErrorKind::TimedOut, "start", subject)
                .detail(said.trim().to_owned())
                .retry(Retry::Never));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

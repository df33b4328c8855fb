//! Short-lived pods of ours that mount a volume claim or a folder of a node.
//!
//! They are labelled, bear the name of who made them, end by themselves when nobody talks to them any more, and are removed when
//! they are no longer needed; what a dead run left is removed by the next one.

use std::time::Duration;

use backup_core::{
    traits::Context,
    words::{Error, ErrorKind, Result, Retry},
};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    keeper::{self, HOPELESS, Keeper, PROGRAM},
    pods::{self, pods_kind},
    script::{self, Method},
    site::{self, Site, Tools},
};
use crate::cluster::{Cluster, Exec, refusal};

/// What their names begin with.
pub(super) const PREFIX: &str = "ha-backup-helper-";
/// The label of all of them, and the annotation that says whose each is.
const LABEL: &str = "ha-backup/helper";
const OWNER: &str = "ha-backup/owner";
/// Where the volume is in them.
const MOUNT: &str = "/ha-backup-volume";
/// How long the image may take to come and the volume to be attached.
const START: Duration = Duration::from_secs(300);
/// How often its events are looked at meanwhile.
const EVENTS: Duration = Duration::from_secs(4);
/// Whatever happens, the cluster ends one after this time.
const LONGEST_SECONDS: u64 = 8 * 3600;

/// What a helper mounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Volume {
    /// A volume claim.
    Claim(String),
    /// A folder of a node.
    Host { node: String, folder: String },
}

impl Volume {
    /// "volume claim a/b" or "/x on node y".
    pub(super) fn subject(&self, namespace: &str) -> String {
        match self {
            Self::Claim(claim) => format!("volume claim {namespace}/{claim}"),
            Self::Host { node, folder } => format!("{folder} on node {node}"),
        }
    }
}

/// A running helper pod. Dropped without [`remove`](Self::remove), it is removed in the background.
#[derive(Debug)]
pub(super) struct Helper {
    pub(super) site: Site,
    keeper: Option<Keeper>,
    removal: Removal,
}

/// What to ask for.
#[derive(Debug)]
pub(super) struct Ask<'a> {
    pub(super) namespace: &'a str,
    pub(super) volume: &'a Volume,
    pub(super) read_only: bool,
    pub(super) image: &'a str,
}

#[derive(Clone, Debug)]
struct Removal {
    cluster: Cluster,
    path: String,
    done: bool,
}

/// Starts a helper and waits until it runs.
pub(super) async fn start(cx: &Context, cluster: &Cluster, ask: &Ask<'_>) -> Result<Helper> {
    sweep(cluster, ask.namespace).await;
    let node = node(cluster, ask).await?;
    let name = keeper::name(PREFIX)?;
    let path = pods_kind().object(Some(ask.namespace), &name);
    let mut removal = Removal { cluster: cluster.clone(), path, done: false };
    let pod = manifest(ask, &name, node.as_deref(), &keeper::owner()?);
    let created = cluster.create(&pods_kind().collection(Some(ask.namespace)), &pod).await;
    let subject = ask.volume.subject(ask.namespace);
    let created = match created {
        Ok(created) => created,
        Err(e) => {
            // It may have been made though we were not told.
            removal.run().await;
            return Err(Error::new(e.kind(), "make a helper pod for", subject).because(e));
        }
    };
    let ready = async {
        let uid = created["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
        wait(cluster, &removal.path, &subject).await?;
        let exec = Exec {
            cluster: cluster.clone(),
            namespace: ask.namespace.to_owned(),
            pod: name,
            container: Some("helper".to_owned()),
        };
        let probe = site::probe(&exec, MOUNT, &[]).await?;
        let fits = |tools: &Tools| tools.method == Method::GnuTar && tools.can_write;
        let tools = probe.tools.filter(fits).ok_or_else(|| {
            Error::new(ErrorKind::Unsupported, "use the image", ask.image)
                .detail("it lacks one of GNU tar, find, sha256sum, stat, readlink, mv, mkdir, rm")
                .hint("`helper_image` names another one")
        })?;
        Ok(Site { exec, uid, base: MOUNT.to_owned(), tools })
    };
    match cx.or_cancelled("wait for a helper pod", ready).await {
        Ok(site) => Ok(Helper { keeper: Some(Keeper::new(site.exec.clone())), site, removal }),
        Err(e) => {
            removal.run().await;
            Err(e)
        }
    }
}

impl Helper {
    /// Ends and removes it.
    pub(super) async fn remove(mut self) {
        self.keeper = None;
        self.removal.run().await;
    }

    /// Refuses a folder that leads over a symbolic link: in a volume it could lead anywhere in the helper.
    pub(super) async fn check_folder(&self, cx: &Context, folder: &str) -> Result<bool> {
        check_folder(cx, &self.site, folder).await
    }
}

/// False when the folder is not there. A symbolic link on the way to it is refused.
pub(super) async fn check_folder(cx: &Context, site: &Site, folder: &str) -> Result<bool> {
    let mut lines = script::begin(&site.base);
    let mut path = String::from(".");
    for part in folder.split('/').filter(|part| !part.is_empty()) {
        path = format!("{path}/{part}");
        let quoted = script::quote(&path);
        lines += &format!(
            "[ -L {quoted} ] && {{ echo link; exit 0; }}\n[ -d {quoted} ] || {{ echo none; exit 0; }}\n"
        );
    }
    let answer = site.run(cx, lines + "echo folder\n", site::SHORT).await?;
    match answer.trim() {
        "folder" => Ok(true),
        "none" => Ok(false),
        _ => {
            Err(Error::new(ErrorKind::Refused, "use the folder", format!("/{folder} of {}", site.subject()))
                .detail("a symbolic link stands on the way to it, and it could lead anywhere")
                .hint("name the folder itself"))
        }
    }
}

impl Removal {
    async fn run(&mut self) {
        self.done = true;
        for pause in [0, 1, 3, 8, 20] {
            tokio::time::sleep(Duration::from_secs(pause)).await;
            match self.cluster.delete(&format!("{}?gracePeriodSeconds=1", self.path)).await {
                Ok(()) => return,
                Err(e) if refusal(&e).is_some_and(|refusal| refusal.code == 404) => return,
                Err(e) => {
                    tracing::warn!(pod = self.path, error = e.chain(), "a helper pod could not be removed")
                }
            }
        }
    }
}

impl Drop for Removal {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let mut removal = self.clone();
            removal.done = true;
            runtime.spawn(async move { removal.run().await });
        }
    }
}

/// Removes helpers that have ended or whose maker has. What can't be removed now is left to the next run.
pub(super) async fn sweep(cluster: &Cluster, namespace: &str) {
    let path = format!("{}?labelSelector={LABEL}", pods_kind().collection(Some(namespace)));
    let found: Value = match cluster.get(&path).await {
        Ok(found) => found,
        Err(e) => {
            tracing::debug!(namespace, error = e.chain(), "did not look for helper pods of dead runs");
            return;
        }
    };
    for pod in found["items"].as_array().into_iter().flatten() {
        let ended = matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
        let owner = pod["metadata"]["annotations"][OWNER].as_str().unwrap_or_default();
        let Some(name) = pod["metadata"]["name"].as_str().filter(|_| ended || keeper::is_orphan(owner))
        else {
            continue;
        };
        tracing::info!(namespace, pod = name, "removed the helper pod of a dead run");
        let path = pods_kind().object(Some(namespace), name);
        Removal { cluster: cluster.clone(), path, done: true }.run().await;
    }
}

/// The node that it must run on: the host's, or where a pod has the claim attached already.
async fn node(cluster: &Cluster, ask: &Ask<'_>) -> Result<Option<String>> {
    let claim = match ask.volume {
        Volume::Host { node, .. } => return Ok(Some(node.clone())),
        Volume::Claim(claim) => claim,
    };
    let pods = pods::list(cluster, ask.namespace, None).await?;
    let holds = |pod: &&pods::PodInfo| {
        pod.claims.contains(claim) && !matches!(pod.phase.as_str(), "Succeeded" | "Failed")
    };
    Ok(pods.iter().filter(holds).find_map(|pod| pod.node.clone()))
}

fn manifest(ask: &Ask<'_>, name: &str, node: Option<&str>, owner: &str) -> Value {
    let volume = match ask.volume {
        Volume::Claim(claim) => {
            json!({"name": "volume", "persistentVolumeClaim": {"claimName": claim, "readOnly": false}})
        }
        Volume::Host { folder, .. } => {
            json!({"name": "volume", "hostPath": {"path": folder, "type": "Directory"}})
        }
    };
    // Through the scheduler, which knows where the volume can be attached.
    let affinity = node.map(|node| {
        let on = json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]});
        json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [on]}}})
    });
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "labels": {"app.kubernetes.io/managed-by": "ha-backup", LABEL: "files"},
            "annotations": {OWNER: owner},
        },
        "spec": {
            "restartPolicy": "Never",
            "activeDeadlineSeconds": LONGEST_SECONDS,
            "terminationGracePeriodSeconds": 1,
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "affinity": affinity,
            "tolerations": [{"operator": "Exists"}],
            "containers": [{
                "name": "helper",
                "image": ask.image,
                "imagePullPolicy": "IfNotPresent",
                "command": ["sh", "-c", PROGRAM],
                "securityContext": {"runAsUser": 0, "runAsGroup": 0, "allowPrivilegeEscalation": false},
                "volumeMounts": [{"name": "volume", "mountPath": MOUNT, "readOnly": ask.read_only}],
                "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
            }],
            "volumes": [volume],
        },
    })
}

async fn wait(cluster: &Cluster, path: &str, subject: &str) -> Result<()> {
    let begun = Instant::now();
    let (until, mut look, mut mount) = (begun + START, begun + EVENTS, None);
    loop {
        let pod: Value = match cluster.get(path).await {
            Ok(pod) => pod,
            // The API server may be away for a moment.
            Err(e) if refusal(&e).is_none() && Instant::now() < until => {
                tokio::time::sleep(Duration::from_millis(500)).await;
                continue;
            }
            Err(e) => return Err(e),
        };
        let status = &pod["status"];
        let container = &status["containerStatuses"][0]["state"];
        if container["running"].is_object() {
            return Ok(());
        }
        let phase = status["phase"].as_str().unwrap_or_default();
        let reason = container["waiting"]["reason"].as_str().unwrap_or_default();
        if Instant::now() >= look {
            look += EVENTS;
            mount = mount_trouble(cluster, &pod).await;
        }
        let no_folder = mount.as_ref().is_some_and(|said| said.contains("hostPath type check failed"));
        let hopeless = matches!(phase, "Succeeded" | "Failed") || HOPELESS.contains(&reason) || no_folder;
        if hopeless || Instant::now() >= until {
            let kind = if no_folder {
                ErrorKind::NotFound
            } else if hopeless {
                ErrorKind::Unsupported
            } else {
                ErrorKind::TimedOut
            };
            let said = [why(status)].into_iter().chain(mount).collect::<Vec<_>>().join("; ");
            return Err(Error::new(kind, "start a helper pod for", subject)
                .detail(said)
                .hint("is the volume there, is `helper_image` for the node, and may the namespace have such a pod?")
                // It was waited for long enough.
                .retry(Retry::Never));
        }
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
}

/// Why a pod's volumes can't be mounted: only its events say it.
async fn mount_trouble(cluster: &Cluster, pod: &Value) -> Option<String> {
    let (namespace, name) = (pod["metadata"]["namespace"].as_str()?, pod["metadata"]["name"].as_str()?);
    let path =
        format!("/api/v1/namespaces/{namespace}/events?limit=20&fieldSelector=involvedObject.name={name}");
    let events: Value = cluster.get(&path).await.ok()?;
    let trouble = events["items"]
        .as_array()?
        .iter()
        .rev()
        .find(|event| matches!(event["reason"].as_str(), Some("FailedMount" | "FailedAttachVolume")))?;
    Some(trouble["message"].as_str()?.replace('\n', "; "))
}

/// What a pod that does not run says.
fn why(status: &Value) -> String {
    let container = &status["containerStatuses"][0]["state"];
    let conditions = status["conditions"].as_array();
    let unmet = conditions.into_iter().flatten().filter(|condition| condition["status"] == "False");
    let said = [&container["waiting"], &container["terminated"], status].into_iter().chain(unmet);
    let said: Vec<String> = said
        .filter_map(|from| {
            let word = |name: &str| from[name].as_str().unwrap_or_default();
            let line = format!("{} {}", word("reason"), word("message")).trim().replace('\n', "; ");
            (!line.is_empty()).then_some(line)
        })
        .collect();
    if said.is_empty() { "it does not start, and says nothing".to_owned() } else { said.join("; ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_helper_is_labelled_bounded_and_where_the_volume_is() {
        let volume = Volume::Claim("data".into());
        let ask = Ask { namespace: "n", volume: &volume, read_only: true, image: "i" };
        let pod = manifest(&ask, "h", Some("node-1"), "me");
        assert_eq!(pod["metadata"]["labels"]["ha-backup/helper"], "files");
        assert_eq!(pod["metadata"]["annotations"]["ha-backup/owner"], "me");
        assert!(pod["spec"]["activeDeadlineSeconds"].is_u64());
        assert_eq!(pod["spec"]["containers"][0]["volumeMounts"][0]["readOnly"], true);
        let terms =
            &pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
        assert_eq!(terms["nodeSelectorTerms"][0]["matchFields"][0]["values"][0], "node-1");
    }

    #[test]
    fn why_a_pod_does_not_run_is_said() {
        let status = json!({
            "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no node"}],
            "containerStatuses": [{"state": {"waiting": {"reason": "ErrImagePull", "message": "not\nfound"}}}],
        });
        assert_eq!(why(&status), "ErrImagePull not; found; Unschedulable no node");
        assert_eq!(why(&json!({})), "it does not start, and says nothing");
    }
}

//! The component's section of a configuration.

use std::{path::PathBuf, time::Duration};

use backup_core::words::{Error, ErrorKind, Result};
use serde::Deserialize;

/// How the cluster is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Access {
    /// A kubeconfig. Without it: `KUBECONFIG`, `~/.kube/config`, then the service account of the pod that we run in.
    #[serde(default)]
    pub kubeconfig: Option<PathBuf>,
    /// One of its contexts; without it the current one.
    #[serde(default)]
    pub context: Option<String>,
    /// Seconds in which the API server must answer a request (default 30).
    #[serde(default)]
    pub request_timeout: Option<u64>,
}

impl Access {
    /// In which time the API server must begin to answer.
    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_secs(self.request_timeout.unwrap_or(30).max(1))
    }
}

/// Applications on Kubernetes.
#[derive(Clone, Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KubernetesConfig {
    /// The namespace, when it is one.
    #[serde(default)]
    pub namespace: Option<String>,
    /// The namespaces, when they are several.
    #[serde(default)]
    pub namespaces: Vec<String>,
    /// A kubeconfig. Without it: `KUBECONFIG`, `~/.kube/config`, then the service account of the pod that we run in.
    #[serde(default)]
    pub kubeconfig: Option<PathBuf>,
    /// One of its contexts; without it the current one.
    #[serde(default)]
    pub context: Option<String>,
    /// Seconds in which the API server must answer a request (default 30).
    #[serde(default)]
    pub request_timeout: Option<u64>,
    /// Only objects of the namespaces that match, with what they need of the cluster at large; without it all. All that it
    /// says must hold.
    #[serde(default)]
    pub include: Filter,
    /// No objects that match, whatever `include` says. All that it says must hold.
    #[serde(default)]
    pub exclude: Filter,
    /// Files that the applications keep in their running containers: out of every matching pod, each apart.
    #[serde(default)]
    pub state: Option<StateConfig>,
    /// A folder of a pod, a volume claim or a host, whole.
    #[serde(default)]
    pub storage: Option<StorageConfig>,
    /// The image of short-lived helper pods and ephemeral containers: it needs `sh`, `find`, `sha256sum` and GNU tar.
    #[serde(default = "default_helper_image")]
    pub helper_image: String,
    /// What a drill may use beside this host.
    #[serde(default)]
    pub drill: DrillConfig,
    /// Where the key is that encrypts secrets inside the database (Supabase Vault, pgsodium): without it restored secrets cannot
    /// be read.
    #[serde(default)]
    pub root_key: Option<RootKey>,
}

/// The cluster that is lent to a drill. Without any key none is, and the objects are only read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DrillConfig {
    /// The component's own cluster may be used.
    #[serde(default)]
    pub own_cluster: bool,
    /// The kubeconfig of another cluster that is lent.
    #[serde(default)]
    pub kubeconfig: Option<PathBuf>,
    /// One of its contexts, or of the component's own kubeconfig where none is named here.
    #[serde(default)]
    pub context: Option<String>,
    /// Nothing is created there, no namespace either: the API server is only asked whether it would take the objects.
    #[serde(default)]
    pub dry_run: bool,
}

impl DrillConfig {
    /// Refuses what contradicts itself.
    pub(crate) fn check(&self) -> Result<()> {
        let other = self.kubeconfig.is_some() || self.context.is_some();
        let detail = match (self.own_cluster, other) {
            (true, true) => "own_cluster and another cluster are both named",
            (false, false) if self.dry_run => "dry_run is set, and no cluster is lent",
            _ => return Ok(()),
        };
        Err(Error::new(ErrorKind::Config, "read the configuration of", "drill").detail(detail).hint(
            "own_cluster = true lends the component's own cluster; kubeconfig and context name another one",
        ))
    }

    /// How the cluster that is lent is reached.
    pub(crate) fn access(&self, of: &KubernetesConfig) -> Option<Access> {
        if self.own_cluster {
            return Some(of.access());
        }
        if self.kubeconfig.is_none() && self.context.is_none() {
            return None;
        }
        Some(Access {
            kubeconfig: self.kubeconfig.clone().or_else(|| of.kubeconfig.clone()),
            context: self.context.clone(),
            request_timeout: of.request_timeout,
        })
    }
}

/// The root key of Supabase's Vault (pgsodium): in a Secret, or a file of a pod. With neither it is looked for among the
/// namespace's Secrets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RootKey {
    /// `NAME/KEY` of a Secret in the namespace: it is in the export.
    #[serde(default)]
    pub secret: Option<String>,
    /// A file in a running container (`/etc/postgresql-custom/pgsodium_root.key`): it is taken with the state files.
    #[serde(default)]
    pub path: Option<String>,
    /// Which pods have it, by labels.
    #[serde(default)]
    pub selector: Option<String>,
    /// Which container; without it the pod's default one.
    #[serde(default)]
    pub container: Option<String>,
}

/// Which objects.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// Kinds: `Secret`, `deployments`, `widgets.example.com`, `Widget.example.com`, `*.example.com`.
    #[serde(default)]
    pub kinds: Vec<String>,
    /// Names, with `*` and `?`.
    #[serde(default)]
    pub names: Vec<String>,
    /// A label selector as kubectl takes it: `app=web,tier!=test`, `tier in (a,b)`, `app`, `!app`.
    #[serde(default)]
    pub labels: Option<String>,
}

/// Files of running containers.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StateConfig {
    /// The folder in the container.
    #[serde(default = "default_state_path")]
    pub path: String,
    /// Names of files, with `*` and `?`.
    #[serde(default = "default_state_include")]
    pub include: Vec<String>,
    /// Names of files and folders to leave out, with `*` and `?`.
    #[serde(default = "default_state_exclude")]
    pub exclude: Vec<String>,
    /// Which pods, by labels; without it all running pods of the namespaces.
    #[serde(default)]
    pub selector: Option<String>,
    /// Which container; without it the pod's default one.
    #[serde(default)]
    pub container: Option<String>,
}

impl Default for StateConfig {
    fn default() -> Self {
        Self {
            path: default_state_path(),
            include: default_state_include(),
            exclude: default_state_exclude(),
            selector: None,
            container: None,
        }
    }
}

/// A folder, whole. It is read from the volume claim `claim`, from the folder `path` of the host `node`, or from a pod.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StorageConfig {
    /// The folder: in the container, in the volume (`claim`; default its root), or on the host (`node`).
    #[serde(default)]
    pub path: Option<String>,
    /// Names of files and folders to leave out, with `*` and `?`.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// The volume claim that holds it; read by a helper pod.
    #[serde(default)]
    pub claim: Option<String>,
    /// The node whose folder it is; read by a helper pod.
    #[serde(default)]
    pub node: Option<String>,
    /// Which pod, by labels, when neither `claim` nor `node` is given; the first running one is read. Without it: the one that
    /// mounts a volume there.
    #[serde(default)]
    pub selector: Option<String>,
    /// Which container; without it the pod's default one.
    #[serde(default)]
    pub container: Option<String>,
}

fn default_state_path() -> String {
    "/app".to_owned()
}

fn default_state_include() -> Vec<String> {
    ["*.pkl", "*.json", "*.state"].map(str::to_owned).to_vec()
}

fn default_state_exclude() -> Vec<String> {
    ["site-packages", "node_modules"].map(str::to_owned).to_vec()
}

/// An image that has what helper pods need.
pub fn default_helper_image() -> String {
    "docker.io/library/debian:12-slim".to_owned()
}

impl KubernetesConfig {
    /// How the cluster is reached.
    pub(crate) fn access(&self) -> Access {
        Access {
            kubeconfig: self.kubeconfig.clone(),
            context: self.context.clone(),
            request_timeout: self.request_timeout,
        }
    }
}

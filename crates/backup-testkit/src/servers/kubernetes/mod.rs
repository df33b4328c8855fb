//! A real Kubernetes on loopback.

mod control;
mod images;
mod kubectl;
mod life;
mod node;
mod samples;
mod tools;
mod users;

use super::error::{Error, Result};
use super::etcd::{EtcdCluster, EtcdOptions};
use super::ports::Port;
use super::scratch::Scratch;
use super::toolbox::{Etcd, Toolbox};
use super::user::is_root;
use control::Control;
use node::Node;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tools::NodeTools;

pub use images::Image;
pub use samples::{FastApi, PatroniPods, SupabaseLike};
pub use tools::KubernetesTools;
pub(super) use tools::PROGRAMS;

/// It takes 10 seconds on two idle cores, and has taken a minute on busy ones.
const LIMIT: Duration = Duration::from_secs(180);

/// How a cluster differs from a plain one.
#[derive(Debug, Clone, Default)]
pub struct KubernetesOptions {
    /// Further flags of the API server, such as `--event-ttl=10s`.
    pub api_server_args: Vec<String>,
    /// Images for the nodes besides pause, busybox and Debian.
    pub images: Vec<Image>,
}

/// A cluster; see [the module](super) for an example. Dropping it kills all of it, pods too, and removes its
/// files.
#[derive(Debug)]
pub struct KubernetesCluster {
    toolbox: Toolbox,
    tools: KubernetesTools,
    images: Vec<Image>,
    // Killed in this order.
    nodes: Vec<Node>,
    control: Control,
    etcd: EtcdCluster,
    scratch: Scratch,
    ports: Vec<Port>,
}

impl KubernetesCluster {
    /// Starts an API server and the controllers on an etcd of their own and, where there are nodes, the
    /// scheduler and `nodes` nodes; waits until all of it is ready. Nodes, and so pods, need root.
    ///
    /// # Errors
    /// When something is not installed, when there are nodes and we aren't root, or when something doesn't
    /// become ready (with its log).
    pub fn start(nodes: usize, options: KubernetesOptions) -> Result<Self> {
        let toolbox = Toolbox::open()?;
        let tools = toolbox.kubernetes()?;
        let node_tools = (nodes > 0).then(|| node_tools(&toolbox)).transpose()?;
        let no_sync = vec!["--unsafe-no-fsync".to_owned()];
        let etcd = EtcdCluster::start(1, Etcd::V36, EtcdOptions { args: no_sync, ..EtcdOptions::default() })?;
        let scratch = Scratch::new()?;
        let control = Control::prepare(&toolbox, &tools, scratch.path(), &etcd, &options.api_server_args)?;
        let images = [Image::ALWAYS.to_vec(), options.images].concat();
        let (nodes_made, ports) = (Vec::new(), Vec::new());
        let mut cluster = Self { toolbox, tools, images, nodes: nodes_made, control, etcd, scratch, ports };
        for i in 0..nodes {
            let node = cluster.new_node(i, node_tools.as_ref().expect("there are nodes"))?;
            cluster.nodes.push(node);
        }
        cluster.start_all()?;
        Ok(cluster)
    }

    fn new_node(&self, i: usize, tools: &NodeTools) -> Result<Node> {
        // A node's name is its address. Pods of the host's network listen there: clusters that run at once
        // have different ones, as the port is reserved.
        let [high, low] = self.control.api_port.number().to_be_bytes();
        let name = Ipv4Addr::new(127, high, low, u8::try_from(i + 1).expect("so many nodes")).to_string();
        let user = format!("system:node:{name}");
        let kubeconfig = self.control.users.with_token(&format!("node-{}", i + 1), &user, "system:nodes")?;
        // The guard of the scratch folder removes control groups that begin with its name.
        let scratch = self.scratch.path();
        let cgroup = format!("{}-{}", scratch.file_name().unwrap_or_default().display(), i + 1);
        Node::new(name, scratch.join(format!("n{}", i + 1)), &cgroup, &kubeconfig, (&self.tools, tools))
    }

    /// The URL of the API server.
    pub fn api_server_url(&self) -> String {
        format!("https://127.0.0.1:{}", self.api_server_port())
    }

    /// The port of the API server, on 127.0.0.1.
    pub fn api_server_port(&self) -> u16 {
        self.control.api_port.number()
    }

    /// The certificate authority of the API server.
    pub fn api_server_ca(&self) -> &Path {
        &self.control.ca
    }

    /// The kubeconfig of an administrator, who logs in with a token.
    pub fn kubeconfig(&self) -> &Path {
        &self.control.kubeconfig
    }

    /// The kubeconfig of a user with a client certificate, who may do what RBAC gives to the name or to the
    /// groups.
    ///
    /// # Errors
    /// When openssl fails, or the name isn't plain.
    pub fn user_kubeconfig(&self, name: &str, groups: &[&str]) -> Result<PathBuf> {
        self.control.users.with_certificate(name, groups)
    }

    /// The kubeconfig of a service account, which logs in with a token of an hour.
    ///
    /// # Errors
    /// When there is no such account.
    pub fn account_kubeconfig(&self, namespace: &str, name: &str) -> Result<PathBuf> {
        let token = self.kubectl(&["create", "token", name, "-n", namespace])?;
        self.control.users.with_given_token(&format!("account-{namespace}-{name}"), token.trim(), namespace)
    }

    /// The API server's etcd.
    pub fn etcd(&self) -> &EtcdCluster {
        &self.etcd
    }

    /// The programs it runs.
    pub fn tools(&self) -> &KubernetesTools {
        &self.tools
    }

    /// The number of nodes.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether it has no nodes, and so no pods.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The names of the nodes, which are their addresses: pods of the host's network listen there.
    pub fn node_names(&self) -> Vec<String> {
        self.nodes.iter().map(|n| n.name().to_owned()).collect()
    }

    /// A port for pods of the host's network, reserved for as long as the cluster lives.
    ///
    /// # Errors
    /// When no port is free.
    pub fn reserve_port(&mut self) -> Result<u16> {
        let port = Port::reserve()?;
        let number = port.number();
        self.ports.push(port);
        Ok(number)
    }

    /// A folder of the test's own that goes with the cluster, also for volumes of the kind `hostPath`.
    pub fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// The last lines of the API server's log.
    pub fn api_server_log_tail(&self) -> String {
        self.control.api.log_tail()
    }
}

fn node_tools(toolbox: &Toolbox) -> Result<NodeTools> {
    if !is_root() {
        return Err(Error::new(
            "a node of Kubernetes, and so every pod, needs root; without it only 0 nodes",
        ));
    }
    toolbox.node_programs()
}

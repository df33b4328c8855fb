//! A real Kubernetes on loopback.

mod control;
mod images;
mod kubectl;
mod node;
mod samples;
mod tools;
mod users;

use super::error::{Error, Result};
use super::etcd::{EtcdCluster, EtcdOptions};
use super::ports::Port;
use super::process::{Process, Spec};
use super::scratch::Scratch;
use super::toolbox::{Etcd, Toolbox};
use super::user::is_root;
use super::wait::poll;
use node::Node;
use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tools::NodeTools;
use users::Users;

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
    users: Users,
    kubeconfig: PathBuf,
    // Killed in this order.
    nodes: Vec<Node>,
    scheduler: Option<Process>,
    controllers: Process,
    api: Process,
    ports: Vec<Port>,
    etcd: EtcdCluster,
    scratch: Scratch,
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
        let ports = (0..3).map(|_| Port::reserve()).collect::<Result<Vec<_>>>()?;
        let process = |name: &str, args: Vec<String>| {
            let (program, cwd) = (tools.program(name), scratch.path().join(name));
            fs::create_dir(&cwd)?;
            Ok::<_, Error>(Process::new(Spec {
                name: name.to_owned(),
                program,
                args,
                env: vec![],
                cwd,
                user: None,
            }))
        };
        let [api_port, controllers_port, scheduler_port] = [0, 1, 2].map(|i: usize| ports[i].number());
        let certificates = scratch.path().join("certificates");
        // The server's own certificate with its issuer's.
        let ca = certificates.join("apiserver.crt");
        let api_url = format!("https://127.0.0.1:{api_port}");
        let users = Users::create(&toolbox, &scratch.path().join("users"), &api_url, &ca)?;
        let kubeconfig = users.with_token("admin", "admin", "system:masters")?;
        let mut args = control::api_server(api_port, &etcd.endpoints(), &certificates, &users);
        args.extend(options.api_server_args);
        let api = process("kube-apiserver", args)?;
        let as_controllers = users.with_token("controllers", "controllers", "system:masters")?;
        let folder = scratch.path().join("controllers");
        let args = control::controllers(controllers_port, &folder, &as_controllers, &ca, &users);
        let controllers = process("kube-controller-manager", args)?;
        let scheduler = node_tools.as_ref().map(|_| {
            let user = users.with_token("scheduler", "system:kube-scheduler", "")?;
            process(
                "kube-scheduler",
                control::scheduler(scheduler_port, &scratch.path().join("scheduler"), &user),
            )
        });
        let scheduler = scheduler.transpose()?;
        let images = [Image::ALWAYS.to_vec(), options.images].concat();
        let mut cluster = Self {
            toolbox,
            tools,
            images,
            users,
            kubeconfig,
            nodes: Vec::new(),
            scheduler,
            controllers,
            api,
            ports,
            etcd,
            scratch,
        };
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
        let [high, low] = self.ports[0].number().to_be_bytes();
        let name = Ipv4Addr::new(127, high, low, u8::try_from(i + 1).expect("so many nodes")).to_string();
        let user = format!("system:node:{name}");
        let kubeconfig = self.users.with_token(&format!("node-{}", i + 1), &user, "system:nodes")?;
        // The guard of the scratch folder removes control groups that begin with its name.
        let scratch = self.scratch.path();
        let cgroup = format!("{}-{}", scratch.file_name().unwrap_or_default().display(), i + 1);
        Node::new(name, scratch.join(format!("n{}", i + 1)), &cgroup, &kubeconfig, (&self.tools, tools))
    }

    fn start_all(&mut self) -> Result<()> {
        self.start_api_server()?;
        self.controllers.start()?;
        if let Some(scheduler) = &mut self.scheduler {
            scheduler.start()?;
        }
        for node in &mut self.nodes {
            node.start(&self.toolbox, &self.images)?;
        }
        self.wait_account("default")?;
        (0..self.nodes.len()).try_for_each(|i| self.wait_node(i))
    }

    /// Starts the API server, at first or again after [`KubernetesCluster::kill_api_server`], and waits until
    /// it is ready.
    ///
    /// # Errors
    /// When it runs, or doesn't become ready (with its log).
    pub fn start_api_server(&mut self) -> Result<()> {
        self.api.start()?;
        let port = self.api_server_port();
        let mut ready = self.kubectl_command();
        ready.args(["get", "--raw", "/readyz", "--request-timeout=5s"]);
        self.api.wait_until("to be ready", LIMIT, || {
            // Much cheaper than kubectl.
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).map_err(|e| e.to_string())?;
            super::process::run(&mut ready, "/readyz").map(drop).map_err(|e| e.to_string())
        })
    }

    /// SIGKILL to the API server; returns when it is gone. Pods and nodes go on.
    pub fn kill_api_server(&mut self) {
        self.api.kill();
    }

    /// SIGSTOP to the API server: its connections stay open, and nothing answers.
    ///
    /// # Errors
    /// When it isn't running.
    pub fn pause_api_server(&self) -> Result<()> {
        self.api.pause()
    }

    /// SIGCONT to the API server.
    ///
    /// # Errors
    /// When it isn't running.
    pub fn resume_api_server(&self) -> Result<()> {
        self.api.resume()
    }

    /// SIGKILL to node `i`, that is to its kubelet, its containerd and all its pods.
    pub fn kill_node(&mut self, i: usize) {
        self.nodes[i].process().kill();
    }

    /// Starts node `i` again after [`KubernetesCluster::kill_node`], as after a reboot, and waits until it is
    /// ready.
    ///
    /// # Errors
    /// When it runs, or doesn't become ready (with its logs).
    pub fn start_node(&mut self, i: usize) -> Result<()> {
        self.nodes[i].start(&self.toolbox, &self.images)?;
        self.wait_node(i)
    }

    fn wait_node(&mut self, i: usize) -> Result<()> {
        let name = format!("node/{}", self.nodes[i].name());
        let ready = poll(format!("{name} to be ready"), LIMIT, || {
            if !self.nodes[i].process().is_running() {
                return Ok(Err(Error::new(format!("{name} has ended"))));
            }
            self.kubectl(&["wait", "--for=condition=Ready", "--timeout=2s", &name]).map(|_| Ok(()))
        });
        ready.and_then(|r| r).map_err(|e| self.nodes[i].explain(&e))
    }

    /// Imports an image into every node that runs.
    ///
    /// # Errors
    /// When it isn't made, or a node doesn't take it.
    pub fn import_image(&mut self, image: Image) -> Result<()> {
        let file = image.file(&self.toolbox)?;
        for node in &mut self.nodes {
            if node.process().is_running() {
                node.import(&file)?;
            }
        }
        if !self.images.contains(&image) {
            self.images.push(image);
        }
        Ok(())
    }

    /// The URL of the API server.
    pub fn api_server_url(&self) -> String {
        format!("https://127.0.0.1:{}", self.api_server_port())
    }

    /// The port of the API server, on 127.0.0.1.
    pub fn api_server_port(&self) -> u16 {
        self.ports[0].number()
    }

    /// The certificate authority of the API server.
    pub fn api_server_ca(&self) -> PathBuf {
        self.scratch.path().join("certificates/apiserver.crt")
    }

    /// The kubeconfig of an administrator, who logs in with a token.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// The kubeconfig of a user with a client certificate, who may do what RBAC gives to the name or to the
    /// groups.
    ///
    /// # Errors
    /// When openssl fails, or the name isn't plain.
    pub fn user_kubeconfig(&self, name: &str, groups: &[&str]) -> Result<PathBuf> {
        self.users.with_certificate(name, groups)
    }

    /// The kubeconfig of a service account, which logs in with a token of an hour.
    ///
    /// # Errors
    /// When there is no such account.
    pub fn account_kubeconfig(&self, namespace: &str, name: &str) -> Result<PathBuf> {
        let token = self.kubectl(&["create", "token", name, "-n", namespace])?;
        self.users.with_given_token(&format!("account-{namespace}-{name}"), token.trim(), namespace)
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
        self.api.log_tail()
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

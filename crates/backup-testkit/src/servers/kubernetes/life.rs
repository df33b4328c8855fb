//! What happens to a cluster: its parts are started, killed, paused.

use super::super::error::{Error, Result};
use super::super::process::run;
use super::super::wait::poll;
use super::{Image, KubernetesCluster, LIMIT};
use std::net::{Ipv4Addr, TcpStream};

impl KubernetesCluster {
    pub(super) fn start_all(&mut self) -> Result<()> {
        self.start_api_server()?;
        self.control.controllers.start()?;
        if !self.nodes.is_empty() {
            self.control.scheduler.start()?;
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
        self.control.api.start()?;
        let port = self.api_server_port();
        let mut ready = self.kubectl_command();
        ready.args(["get", "--raw", "/readyz", "--request-timeout=5s"]);
        self.control.api.wait_until("to be ready", LIMIT, || {
            // Much cheaper than kubectl.
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).map_err(|e| e.to_string())?;
            run(&mut ready, "/readyz").map(drop).map_err(|e| e.to_string())
        })
    }

    /// SIGKILL to the API server; returns when it is gone. Pods and nodes go on.
    pub fn kill_api_server(&mut self) {
        self.control.api.kill();
    }

    /// SIGSTOP to the API server: its connections stay open, and nothing answers.
    ///
    /// # Errors
    /// When it isn't running.
    pub fn pause_api_server(&self) -> Result<()> {
        self.control.api.pause()
    }

    /// SIGCONT to the API server.
    ///
    /// # Errors
    /// When it isn't running.
    pub fn resume_api_server(&self) -> Result<()> {
        self.control.api.resume()
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
}

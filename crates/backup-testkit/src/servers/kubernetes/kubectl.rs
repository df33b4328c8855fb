//! What a test says to the cluster: kubectl, and waits made of it.

use super::super::error::{Error, Result};
use super::super::process::{clean_command, run, run_with_input};
use super::super::wait::poll;
use super::{KubernetesCluster, LIMIT};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

impl KubernetesCluster {
    /// Runs kubectl as administrator, for at most 180 seconds; returns its standard output.
    ///
    /// # Errors
    /// When it fails (with its output).
    pub fn kubectl(&self, args: &[&str]) -> Result<String> {
        run(self.kubectl_command().args(args), &format!("kubectl {}", args.join(" ")))
    }

    /// [`KubernetesCluster::kubectl`] with `input` on standard input.
    ///
    /// # Errors
    /// When it fails (with its output).
    pub fn kubectl_with_input(&self, args: &[&str], input: &str) -> Result<String> {
        run_with_input(self.kubectl_command().args(args), input, &format!("kubectl {}", args.join(" ")))
    }

    /// [`KubernetesCluster::kubectl`] with the answer as JSON.
    ///
    /// # Errors
    /// When it fails, or what it prints is no JSON.
    pub fn json(&self, args: &[&str]) -> Result<Value> {
        let text = self.kubectl(&[args, &["-o", "json"]].concat())?;
        serde_json::from_str(&text).map_err(|e| Error::new(format!("kubectl {}: {e}", args.join(" "))))
    }

    /// kubectl's command line up to the subcommand. It is killed after 180 seconds.
    pub fn kubectl_command(&self) -> Command {
        self.kubectl_as(&self.control.kubeconfig)
    }

    /// The same for another user.
    pub fn kubectl_as(&self, kubeconfig: &Path) -> Command {
        let mut command = clean_command(Path::new("timeout"), &[]);
        command.args(["--kill-after=5", &LIMIT.as_secs().to_string()]).arg(self.tools.program("kubectl"));
        // What it keeps about the API goes with the cluster.
        command.env("KUBECONFIG", kubeconfig).env("HOME", self.scratch()).current_dir(self.scratch());
        command
    }

    /// `kubectl apply`, as most people do it, on the client's side.
    ///
    /// # Errors
    /// When an object is refused.
    pub fn apply(&self, manifest: &str) -> Result<String> {
        self.kubectl_with_input(&["apply", "-f", "-"], manifest)
    }

    /// Makes a namespace and waits until pods can be made in it.
    ///
    /// # Errors
    /// When it is there already.
    pub fn create_namespace(&self, name: &str) -> Result<()> {
        self.kubectl(&["create", "namespace", name])?;
        self.wait_account(name)
    }

    /// Waits for a namespace's default service account: before it is there, pods are refused.
    pub(super) fn wait_account(&self, namespace: &str) -> Result<()> {
        let what = format!("the default service account in {namespace}");
        poll(what, LIMIT, || self.kubectl(&["get", "serviceaccount", "default", "-n", namespace]).map(drop))
    }

    /// Waits until exactly `count` pods that match a label selector are there and ready; returns their names,
    /// sorted.
    ///
    /// # Errors
    /// When it takes more than 180 seconds; the error has the pods' state and the namespace's events.
    pub fn wait_pods(&self, namespace: &str, selector: &str, count: usize) -> Result<Vec<String>> {
        let which = ["-n", namespace, "-l", selector];
        let ready = poll(format!("{count} pods ready in {namespace} ({selector})"), LIMIT, || {
            // Returns when they are, so that the poll is no busy one.
            let wait = ["wait", "pod", "--for=condition=Ready", "--timeout=3s"];
            let _ = self.kubectl(&[&wait[..], &which[..]].concat());
            let pods = self.json(&[&["get", "pods"], &which[..]].concat()).map_err(|e| e.to_string())?;
            let pods = pods["items"].as_array().map(Vec::as_slice).unwrap_or_default();
            match pods.len() == count && pods.iter().all(is_ready) {
                true => Ok(names(pods)),
                false => Err(format!("there are {}: {}", pods.len(), names(pods).join(" "))),
            }
        });
        ready.map_err(|e| {
            let pods = self.kubectl(&["describe", "pods", "-n", namespace]).unwrap_or_else(|e| e.to_string());
            let events = ["events", "-n", namespace, "--types=Warning"];
            let events = self.kubectl(&events).unwrap_or_else(|e| e.to_string());
            Error::new(format!("{e}\n--- pods ---\n{pods}\n--- events ---\n{events}"))
        })
    }

    /// Waits until no pod that matches a label selector is there.
    ///
    /// # Errors
    /// When it takes more than 180 seconds.
    pub fn wait_no_pods(&self, namespace: &str, selector: &str) -> Result<()> {
        poll(format!("no pods in {namespace} ({selector})"), LIMIT, || {
            let left = self.kubectl(&["get", "pods", "-n", namespace, "-l", selector, "-o", "name"])?;
            if left.is_empty() { Ok(()) } else { Err(Error::new(left)) }
        })
    }

    /// Runs a program in a pod's first container; returns its standard output.
    ///
    /// # Errors
    /// When it fails (with its output).
    pub fn exec(&self, namespace: &str, pod: &str, program: &[&str]) -> Result<String> {
        self.kubectl(&[&["exec", "-n", namespace, pod, "--"], program].concat())
    }
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let ready = conditions.iter().any(|c| c["type"] == "Ready" && c["status"] == "True");
    // A pod that is on its way out is ready for some seconds more.
    ready && pod["metadata"]["deletionTimestamp"].is_null()
}

fn names(pods: &[Value]) -> Vec<String> {
    let mut names: Vec<_> =
        pods.iter().filter_map(|p| Some(p["metadata"]["name"].as_str()?.to_owned())).collect();
    names.sort_unstable();
    names
}

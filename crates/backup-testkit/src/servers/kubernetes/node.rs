//! One node: containerd and kubelet in namespaces of their own.

use super::super::error::{Error, Result};
use super::super::ports::Port;
use super::super::process::{Process, Spec, clean_command, run, with_log};
use super::super::toolbox::Toolbox;
use super::images::Image;
use super::tools::{KubernetesTools, NodeTools};
use serde_json::json;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// A node, running or not.
#[derive(Debug)]
pub(super) struct Node {
    name: String,
    folder: PathBuf,
    ctr: PathBuf,
    process: Process,
    _ports: [Port; 2],
}

impl Node {
    /// Writes the node's files. `name` is a loopback address, and by that the node's own; `cgroup` is a name
    /// that the scratch folder's guard knows.
    pub(super) fn new(
        name: String,
        folder: PathBuf,
        cgroup: &str,
        kubeconfig: &Path,
        (kubernetes, tools): (&KubernetesTools, &NodeTools),
    ) -> Result<Self> {
        let ports = [Port::reserve()?, Port::reserve()?];
        for part in ["cni", "cni-bin", "kubelet", "logs"] {
            fs::create_dir_all(folder.join(part))?;
        }
        let file = |name: &str, text: &str| fs::write(folder.join(name), text);
        let place = folder.display().to_string();
        file("containerd.toml", &include_str!("containerd.toml").replace("NODE_DIR", &place))?;
        file("kubelet.yaml", &kubelet(&name, &folder, cgroup, &ports))?;
        file("node.sh", include_str!("node.sh"))?;
        file("images", "")?;
        file("cni-bin/test", include_str!("cni.sh"))?;
        fs::set_permissions(folder.join("cni-bin/test"), Permissions::from_mode(0o755))?;
        symlink(&tools.loopback, folder.join("cni-bin/loopback"))?;
        file("cni/10-test.conflist", r#"{"cniVersion":"0.4.0","name":"test","plugins":[{"type":"test"}]}"#)?;
        let variable = |name: &str, value: &Path| (name.to_owned(), value.display().to_string());
        let mut env = vec![
            variable("NODE_DIR", &folder),
            variable("NODE_CONTAINERD", &tools.containerd),
            variable("NODE_CTR", &tools.ctr),
            variable("NODE_KUBELET", &kubernetes.program("kubelet")),
            variable("NODE_KUBECONFIG", kubeconfig),
        ];
        env.extend(
            [("NODE_NAME", name.as_str()), ("NODE_CGROUP", cgroup)]
                .map(|(k, v)| (k.to_owned(), v.to_owned())),
        );
        let path = std::env::var("PATH").unwrap_or_default();
        env.push(("PATH".to_owned(), format!("{path}:/usr/sbin:/usr/bin:/sbin:/bin")));
        let args = ["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "node.sh"];
        let process = Process::new(Spec {
            name: "node".to_owned(),
            program: tools.unshare.clone(),
            args: args.map(str::to_owned).to_vec(),
            env,
            cwd: folder.clone(),
            user: None,
        });
        Ok(Self { name, folder, ctr: tools.ctr.clone(), process, _ports: ports })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Starts it; these images are there before its first pod.
    pub(super) fn start(&mut self, toolbox: &Toolbox, images: &[Image]) -> Result<()> {
        let files = images.iter().map(|i| Ok(format!("{}\n", i.file(toolbox)?.display())));
        fs::write(self.folder.join("images"), files.collect::<Result<String>>()?)?;
        self.process.start()
    }

    /// Imports an image into a running node.
    pub(super) fn import(&self, file: &Path) -> Result<()> {
        let mut ctr = clean_command(&self.ctr, &[]);
        ctr.arg("-a").arg(self.folder.join("containerd.sock")).args(["-n", "k8s.io", "images", "import"]);
        run(ctr.arg(file), &format!("ctr images import on {}", self.name)).map(drop)
    }

    /// `error` with the tails of the node's logs.
    pub(super) fn explain(&self, error: &Error) -> Error {
        ["node", "containerd", "kubelet"].iter().fold(error.clone(), |e, log| {
            with_log(&e, &format!("{log} on {}", self.name), &self.folder.join(format!("{log}.log")))
        })
    }
}

fn kubelet(name: &str, folder: &Path, cgroup: &str, ports: &[Port; 2]) -> String {
    // JSON is YAML.
    let config = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": name,
        "port": ports[0].number(),
        "healthzBindAddress": name,
        "healthzPort": ports[1].number(),
        "readOnlyPort": 0,
        // Only this machine reaches it; so the API server needs no certificate for it.
        "authentication": {"anonymous": {"enabled": true}, "webhook": {"enabled": false}},
        "authorization": {"mode": "AlwaysAllow"},
        "containerRuntimeEndpoint": format!("unix://{}/containerd.sock", folder.display()),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{cgroup}"),
        "failCgroupV1": false,
        "failSwapOn": false,
        "makeIPTablesUtilChains": false,
        "localStorageCapacityIsolation": false,
        // A full disk of the developer's is no reason to stop a test's pods.
        "evictionHard": {
            "memory.available": "0%",
            "nodefs.available": "0%",
            "nodefs.inodesFree": "0%",
            "imagefs.available": "0%",
            "imagefs.inodesFree": "0%",
        },
        "imageGCHighThresholdPercent": 100,
        "resolvConf": "",
        "podLogsDir": folder.join("logs"),
        "volumePluginDir": folder.join("plugins"),
        "nodeStatusUpdateFrequency": "5s",
    });
    config.to_string()
}

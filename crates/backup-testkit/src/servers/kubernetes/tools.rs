//! The programs of Kubernetes and of its nodes.

use super::super::error::{Error, Result};
use super::super::toolbox::{Tool, Toolbox, on_path};
use super::images::Image;
use std::path::{Path, PathBuf};

/// The programs that [`Tool::Kubernetes`] consists of; one binary behind these names.
pub(in super::super) const PROGRAMS: [&str; 5] =
    ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kubectl"];

/// Where Debian's packages and others put CNI plugins.
const CNI: [&str; 2] = ["/usr/lib/cni", "/opt/cni/bin"];

/// The programs of Kubernetes.
#[derive(Debug, Clone)]
pub struct KubernetesTools {
    bin: PathBuf,
}

impl KubernetesTools {
    /// One of them.
    pub fn program(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }
}

/// What a node is made of besides the kubelet.
#[derive(Debug, Clone)]
pub(in super::super) struct NodeTools {
    pub(super) containerd: PathBuf,
    pub(super) ctr: PathBuf,
    pub(super) unshare: PathBuf,
    /// The CNI plugin `loopback`.
    pub(super) loopback: PathBuf,
}

impl Toolbox {
    /// The programs of Kubernetes.
    ///
    /// # Errors
    /// When they are not installed.
    pub fn kubernetes(&self) -> Result<KubernetesTools> {
        let tools = KubernetesTools { bin: self.place(Tool::Kubernetes).join("bin") };
        match PROGRAMS.iter().all(|p| tools.program(p).is_file()) {
            true => Ok(tools),
            false => Err(Error::missing(Tool::Kubernetes)),
        }
    }

    /// What runs pods here, with all images.
    pub(in super::super) fn nodes(&self) -> Result<NodeTools> {
        let tools = self.node_programs()?;
        Image::ALL.iter().try_for_each(|image| image.file(self).map(drop))?;
        Ok(tools)
    }

    /// The same without a look at the images.
    pub(in super::super) fn node_programs(&self) -> Result<NodeTools> {
        let program = |name| on_path(name).or_else(|| in_sbin(name));
        let loopback = CNI.iter().map(|d| Path::new(d).join("loopback")).find(|p| p.is_file());
        let found = || {
            // containerd looks for it by itself.
            program("runc")?;
            Some(NodeTools {
                containerd: program("containerd")?,
                ctr: program("ctr")?,
                unshare: program("unshare")?,
                loopback: loopback?,
            })
        };
        found().ok_or_else(|| Error::missing(Tool::Nodes))
    }
}

/// Programs for root are not on everybody's `PATH`.
fn in_sbin(name: &str) -> Option<PathBuf> {
    Some(Path::new("/usr/sbin").join(name)).filter(|p| p.is_file())
}

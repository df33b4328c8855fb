//! An application like Supabase: one of every kind of object that such a namespace has, and files with
//! extended attributes on a volume.

use super::super::super::error::{Error, Result};
use super::super::KubernetesCluster;
use super::{contents, write_files};
use std::path::PathBuf;

/// Where the application is. It has pods only in a cluster with nodes.
#[derive(Debug, Clone)]
pub struct SupabaseLike {
    /// The namespace; the names of cluster-scoped objects begin with it.
    pub namespace: String,
}

impl Default for SupabaseLike {
    fn default() -> Self {
        Self { namespace: "supabase".to_owned() }
    }
}

impl SupabaseLike {
    /// The pod with the files.
    pub const POD: &str = "storage-0";
    /// The folder with the files, in the pod: a volume.
    pub const FOLDER: &str = "/var/lib/storage";
    /// The Secret with the root key of Vault and pgsodium.
    pub const ROOT_KEY: &str = "pgsodium-root-key";
    /// The definitions of its custom resources.
    pub const CRDS: [&str; 2] = ["buckets.storage.supabase.example", "tenants.supabase.example"];

    /// Makes all of it; in a cluster with nodes also waits for the pods and writes the files.
    ///
    /// # Errors
    /// When an object is refused, or the pods don't become ready (with their state).
    pub fn deploy(&self, cluster: &KubernetesCluster) -> Result<()> {
        cluster.apply(include_str!("supabase_crds.yaml"))?;
        let crds = Self::CRDS.map(|name| format!("crd/{name}"));
        let established = ["wait", "--for=condition=Established", "--timeout=60s", &crds[0], &crds[1]];
        cluster.kubectl(&established)?;
        cluster.apply(&self.manifest(cluster)?)?;
        if cluster.is_empty() {
            return Ok(());
        }
        self.wait_ready(cluster)?;
        write_files(cluster, &self.namespace, Self::POD, include_str!("supabase_files.sh"))
    }

    /// All of its objects but the definitions of custom resources.
    fn manifest(&self, cluster: &KubernetesCluster) -> Result<String> {
        let volume = self.volume(cluster);
        std::fs::create_dir_all(&volume)?;
        let text = include_str!("supabase.yaml").replace("NAMESPACE", &self.namespace);
        Ok(text.replace("VOLUME", &volume.display().to_string()))
    }

    /// The folder with the files, on the host.
    pub fn volume(&self, cluster: &KubernetesCluster) -> PathBuf {
        cluster.scratch().join("volumes").join(format!("{}-storage", self.namespace))
    }

    /// Waits for its pods.
    ///
    /// # Errors
    /// When they don't become ready (with their state).
    pub fn wait_ready(&self, cluster: &KubernetesCluster) -> Result<()> {
        cluster.wait_pods(&self.namespace, "app=rest", 2)?;
        cluster.wait_pods(&self.namespace, "app=storage", 1).map(drop)
    }

    /// What is in the folder, in an order of its own: names, modes, owners, times, links, digests, extended
    /// attributes.
    ///
    /// # Errors
    /// When the pod doesn't run.
    pub fn contents(&self, cluster: &KubernetesCluster) -> Result<String> {
        contents(cluster, &self.namespace, Self::POD, Self::FOLDER)
    }

    /// The root key, as the Secret has it now.
    ///
    /// # Errors
    /// When it isn't there.
    pub fn root_key(&self, cluster: &KubernetesCluster) -> Result<String> {
        let secret = cluster.json(&["get", "secret", Self::ROOT_KEY, "-n", &self.namespace])?;
        let key = secret["data"]["pgsodium_root.key"].as_str();
        key.map(str::to_owned).ok_or_else(|| Error::new(format!("no key in {}", Self::ROOT_KEY)))
    }
}

//! A FastAPI application in several replicas, each with files of its own.

use super::super::super::error::{Error, Result};
use super::super::{Image, KubernetesCluster};
use super::contents;
use serde_json::{Value, json};
use std::fs;

/// Where the application is: pods `app-0`, `app-1` and so on, with the label `app=fastapi`. Each keeps
/// `models/model.pkl`, `settings.json` and `data/session.state` below `/app`, with different content.
#[derive(Debug, Clone)]
pub struct FastApi {
    /// The namespace.
    pub namespace: String,
    /// The number of replicas.
    pub replicas: usize,
    /// Whether `/app/data` of each replica is a volume; else all files are in the containers' own layer, and
    /// gone with the container.
    pub volumes: bool,
}

impl Default for FastApi {
    fn default() -> Self {
        Self { namespace: "fastapi".to_owned(), replicas: 3, volumes: false }
    }
}

impl FastApi {
    /// The label of its pods.
    pub const SELECTOR: &str = "app=fastapi";

    /// Makes all of it, waits for the pods and counts in each: replica `i` to `10 + i`.
    ///
    /// # Errors
    /// When the image isn't made, or the pods don't become ready (with their state).
    pub fn deploy(&self, cluster: &mut KubernetesCluster) -> Result<()> {
        cluster.import_image(Image::FastApi)?;
        cluster.apply(&self.manifest(cluster)?)?;
        self.wait_ready(cluster)?;
        (0..self.replicas).try_for_each(|i| self.count(cluster, i, 10 + i).map(drop))
    }

    fn manifest(&self, cluster: &KubernetesCluster) -> Result<String> {
        let mut text = include_str!("fastapi.yaml").replace("REPLICAS", &self.replicas.to_string());
        if self.volumes {
            text.push_str(include_str!("fastapi_volumes.yaml"));
        }
        let mut text = text.replace("NAMESPACE", &self.namespace);
        for i in (0..self.replicas).filter(|_| self.volumes) {
            text.push_str(&format!("---\n{}\n", self.volume(cluster, i)?));
        }
        Ok(text)
    }

    fn volume(&self, cluster: &KubernetesCluster, i: usize) -> Result<Value> {
        let name = format!("{}-data-{i}", self.namespace);
        let folder = cluster.scratch().join("volumes").join(&name);
        fs::create_dir_all(&folder)?;
        Ok(json!({
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": name},
            "spec": {
                "capacity": {"storage": "100Mi"},
                "accessModes": ["ReadWriteOnce"],
                "persistentVolumeReclaimPolicy": "Retain",
                "storageClassName": format!("{}-static", self.namespace),
                // Replica `i` gets volume `i`.
                "claimRef": {"namespace": self.namespace, "name": format!("data-app-{i}")},
                "hostPath": {"path": folder, "type": "DirectoryOrCreate"},
            },
        }))
    }

    /// Waits for its pods.
    ///
    /// # Errors
    /// When they don't become ready (with their state).
    pub fn wait_ready(&self, cluster: &KubernetesCluster) -> Result<()> {
        cluster.wait_pods(&self.namespace, Self::SELECTOR, self.replicas).map(drop)
    }

    /// What replica `i` has in memory.
    ///
    /// # Errors
    /// When it doesn't answer.
    pub fn state(&self, cluster: &KubernetesCluster, i: usize) -> Result<Value> {
        self.request(cluster, i, "GET", "/state")
    }

    /// Changes the count of replica `i`, in memory and in its files; returns its state.
    ///
    /// # Errors
    /// When it doesn't answer.
    pub fn count(&self, cluster: &KubernetesCluster, i: usize, count: usize) -> Result<Value> {
        self.request(cluster, i, "POST", &format!("/count/{count}"))
    }

    /// Makes replica `i` read its files again; returns its state.
    ///
    /// # Errors
    /// When it doesn't answer, or can't read them.
    pub fn reload(&self, cluster: &KubernetesCluster, i: usize) -> Result<Value> {
        self.request(cluster, i, "POST", "/reload")
    }

    /// What replica `i` has below `/app`, in an order of its own: names, modes, owners, times, digests.
    ///
    /// # Errors
    /// When the pod doesn't run.
    pub fn contents(&self, cluster: &KubernetesCluster, i: usize) -> Result<String> {
        contents(cluster, &self.namespace, &format!("app-{i}"), "/app")
    }

    /// Asked from inside: the pods have networks of their own.
    fn request(&self, cluster: &KubernetesCluster, i: usize, method: &str, path: &str) -> Result<Value> {
        const ASK: &str = "import sys, urllib.request as r; \
            print(r.urlopen(r.Request(sys.argv[2], method=sys.argv[1]), timeout=20).read().decode())";
        let url = format!("http://127.0.0.1:8000{path}");
        let answer =
            cluster.exec(&self.namespace, &format!("app-{i}"), &["python3", "-c", ASK, method, &url])?;
        serde_json::from_str(&answer).map_err(|e| Error::new(format!("app-{i} {path}: {e} in {answer}")))
    }
}

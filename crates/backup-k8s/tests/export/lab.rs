//! One installation with one component, on a store in memory.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use backup_core::{
    engine::{BackupOutcome, BackupRequest, Engine, Level},
    stores::MemoryStore,
    traits::{Component, ComponentFactory, Context, Deps, Finding, LocalPlace, Node},
    words::{ComponentRecord, Coverage, Result},
};
use backup_k8s::KubernetesFactory;
use backup_testkit::servers::{KubernetesCluster, KubernetesOptions};
use serde_json::{Value, json};

/// A cluster that nobody else uses.
pub(crate) fn start() -> KubernetesCluster {
    KubernetesCluster::start(0, KubernetesOptions::default()).unwrap()
}

/// A cluster that tests which run at once share: each has namespaces of its own.
pub(crate) fn shared() -> Arc<KubernetesCluster> {
    static SHARED: Mutex<Weak<KubernetesCluster>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    shared.upgrade().unwrap_or_else(|| {
        let cluster = Arc::new(start());
        *shared = Arc::downgrade(&cluster);
        cluster
    })
}

/// The section of a configuration that exports `namespace`.
pub(crate) fn section(cluster: &KubernetesCluster, namespace: &str) -> Value {
    json!({ "kubeconfig": cluster.kubeconfig(), "namespace": namespace })
}

pub(crate) struct Lab {
    pub(crate) cx: Context,
    pub(crate) engine: Engine,
    pub(crate) component: Arc<dyn Component>,
}

/// What came of a backup.
pub(crate) struct Exported {
    pub(crate) record: ComponentRecord,
    /// The objects, in order.
    pub(crate) objects: Vec<Value>,
    pub(crate) crds: String,
    pub(crate) config: String,
}

impl Lab {
    pub(crate) async fn new(section: Value) -> Self {
        Self::with(section, Context::new()).await
    }

    pub(crate) async fn with(section: Value, cx: Context) -> Self {
        let deps = Deps::new(Arc::new(LocalPlace));
        let component = KubernetesFactory.build("app", &Node::new(section), &deps).await.unwrap();
        let engine = Engine::builder("test")
            .store("memory", Arc::new(MemoryStore::new()))
            .component("app", component.clone())
            .build()
            .unwrap();
        engine.init(&cx).await.unwrap();
        Self { cx, engine, component }
    }

    pub(crate) async fn backup(&self) -> Result<BackupOutcome> {
        self.engine.backup(&self.cx, &BackupRequest::new("full")).await
    }

    /// What the manifest of the latest session says.
    pub(crate) async fn record(&self) -> ComponentRecord {
        let entry = self.engine.session(&self.cx, "latest").await.unwrap();
        entry.committed().unwrap().component("app").unwrap().clone()
    }

    /// Backs up, verifies the content, and takes the files out.
    pub(crate) async fn export(&self) -> Exported {
        self.backup().await.unwrap();
        let record = self.record().await;
        assert!(record.is_good(), "{:?}", record.errors);
        let verified = self.engine.verify(&self.cx, "latest", Level::Content).await.unwrap();
        assert!(verified.passed, "{verified:?}");
        let folder = tempfile::tempdir().unwrap();
        self.engine.extract(&self.cx, "latest", None, folder.path()).await.unwrap();
        let read = |suffix: &str| {
            let artifact =
                record.artifacts.iter().find(|artifact| artifact.suffix.as_deref() == Some(suffix));
            artifact.map_or_else(String::new, |artifact| find(folder.path(), &artifact.name))
        };
        let objects = read("objects").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        Exported { objects, crds: read("crds"), config: read("config"), record }
    }

    pub(crate) async fn check(&self) -> Vec<Finding> {
        self.component.check(&self.cx).await.unwrap()
    }
}

/// The text of the file of that name somewhere below `folder`.
fn find(folder: &Path, name: &str) -> String {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.file_name().is_some_and(|file| file == name) {
                return std::fs::read_to_string(path).unwrap();
            }
        }
    }
    panic!("{name} is not there");
}

impl Exported {
    /// "Secret key", for each object.
    pub(crate) fn names(&self) -> Vec<String> {
        self.objects.iter().map(name).collect()
    }

    /// The object of that kind and name.
    pub(crate) fn object(&self, wanted: &str) -> &Value {
        let found = self.objects.iter().find(|object| name(object) == wanted);
        found.unwrap_or_else(|| panic!("{wanted} is not among {:?}", self.names()))
    }

    /// How many there are of a kind, as the manifest says.
    pub(crate) fn fact(&self, kind: &str) -> u64 {
        let kinds = self.record.facts["kinds"].as_array().unwrap();
        let fact = kinds.iter().find(|fact| fact["kind"] == kind);
        fact.map_or(0, |fact| fact["objects"].as_u64().unwrap())
    }

    /// What should be there and is not.
    pub(crate) fn missing(&self) -> Vec<&Coverage> {
        self.record.coverage.iter().filter(|line| line.missing).collect()
    }

    /// The documents of `config`, without its heading.
    pub(crate) fn documents(&self) -> Vec<&str> {
        self.config.split("---\n").skip(1).collect()
    }
}

pub(crate) fn name(object: &Value) -> String {
    format!("{} {}", object["kind"].as_str().unwrap(), object["metadata"]["name"].as_str().unwrap())
}

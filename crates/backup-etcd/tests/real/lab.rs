//! One installation with one etcd, on a local store in a temporary folder.

use std::{path::Path, sync::Arc};

use backup_core::{
    engine::{BackupOutcome, BackupRequest, Engine, RestoreOutcome, RestorePlan, RestoreRequest},
    stores::LocalStore,
    traits::{ComponentFactory, Context, Deps, LocalPlace, Node},
    words::{ComponentRecord, Result},
};
use backup_etcd::EtcdFactory;
use backup_testkit::servers::EtcdCluster;
use serde_json::{Value, json};

pub(crate) struct Lab {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) cx: Context,
    pub(crate) engine: Engine,
}

/// The section of a configuration that reaches `cluster`.
pub(crate) fn section(cluster: &EtcdCluster) -> Value {
    let mut section = json!({ "endpoints": cluster.endpoints() });
    if let Some(files) = cluster.certificates() {
        section["tls"] = json!({ "ca": files.ca, "cert": files.client_cert, "key": files.client_key });
    }
    if let Some(password) = cluster.password() {
        section["user"] = json!("root");
        section["password"] = json!(password);
    }
    section
}

impl Lab {
    pub(crate) async fn new(cluster: &EtcdCluster) -> Self {
        Self::with(section(cluster), Context::new()).await
    }

    pub(crate) async fn with(section: Value, cx: Context) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let engine = engine(&folder.path().join("store"), section).await.unwrap();
        engine.init(&cx).await.unwrap();
        Self { folder, cx, engine }
    }

    /// The same store with another configuration of the component.
    pub(crate) async fn reconfigure(&mut self, section: Value) {
        self.engine = engine(&self.folder.path().join("store"), section).await.unwrap();
    }

    pub(crate) async fn backup(&self) -> BackupOutcome {
        self.engine.backup(&self.cx, &BackupRequest::new("full")).await.unwrap()
    }

    /// What the manifest of the latest session says of etcd.
    pub(crate) async fn record(&self) -> ComponentRecord {
        let entry = self.engine.session(&self.cx, "latest").await.unwrap();
        entry.committed().unwrap().component("etcd").unwrap().clone()
    }

    pub(crate) async fn plan(&self, options: Value) -> Result<RestorePlan> {
        let mut request = RestoreRequest::new("latest");
        request.options.insert("etcd".to_owned(), options);
        self.engine.plan_restore(&self.cx, &request).await
    }

    /// Restores into `copy`, which does not run yet: data directories, then its members are started as the restore asks for,
    /// then the same restore goes on.
    pub(crate) async fn restore_into(
        &mut self,
        copy: &mut EtcdCluster,
        mut options: Value,
    ) -> RestoreOutcome {
        let dirs = self.folder.path().join(format!("restored-{}", copy.token()));
        let install = ["sh", "-c", "cp -a \"$1\" \"$2/$3/data\"", "sh", "{dir}", "SCRATCH", "{name}"];
        let scratch = copy.scratch().to_str().unwrap();
        let mut section = section(copy);
        section["restore"] = json!({ "install": install.map(|word| word.replace("SCRATCH", scratch)) });
        self.reconfigure(section).await;
        options["dir"] = json!(dirs);
        options["members"] = json!(copy.initial_cluster());
        options["token"] = json!(copy.token());
        let plan = self.plan(options).await.unwrap();
        let waiting = self.engine.restore(&self.cx, &plan).await.unwrap();
        assert!(!waiting.is_done(), "nobody has started it yet");
        assert!(waiting.waiting_for.iter().any(|line| line.contains("--data-dir")), "{waiting:?}");
        copy.start_all().unwrap();
        let unfinished = self.engine.unfinished_restore(&self.cx, "latest").await.unwrap().unwrap();
        let done = self.engine.resume_restore(&self.cx, &unfinished).await.unwrap();
        assert!(done.is_done(), "{:?}", done.waiting_for);
        done
    }
}

async fn engine(store: &Path, section: Value) -> Result<Engine> {
    let deps = Deps::new(Arc::new(LocalPlace));
    let component = EtcdFactory.build("etcd", &Node::new(section), &deps).await?;
    Engine::builder("test")
        .store("local", Arc::new(LocalStore::new(store)))
        .component("etcd", component)
        .build()
}

/// All members hash the same; returns the hash.
pub(crate) fn one_hash(cluster: &EtcdCluster, revision: u64) -> u64 {
    let hashes = cluster.hash_kv(revision).unwrap();
    assert!(hashes.iter().all(|hash| *hash == hashes[0]), "{hashes:?}");
    hashes[0]
}

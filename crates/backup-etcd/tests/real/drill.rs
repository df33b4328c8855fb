//! Snapshots of every version are drilled on a real etcd, and what is not as the manifest says fails on its rung.

use std::{path::PathBuf, sync::Arc};

use async_trait::async_trait;
use backup_core::{
    engine::{BackupRequest, DrillSettings, Engine},
    policy::{ComponentDrill, DrillReport, DrillVerdict, Rung, RungOutcome},
    stores::MemoryStore,
    traits::{
        ArtifactSpec, Capture, CaptureAsk, Captured, Component, ComponentFactory, Context, Deps, Drill,
        EndEvidence, LocalPlace, Node, Sink,
    },
    words::{Kind, Point, Result, Span},
};
use backup_etcd::EtcdFactory;
use backup_testkit::servers::{Etcd, EtcdCluster, EtcdOptions, Toolbox};
use serde_json::{Map, Value, json};

use crate::lab::{Lab, section};

/// A snapshot of the test's own, and what its manifest says of it.
#[derive(Clone, Debug)]
struct Snapshot {
    bytes: Vec<u8>,
    facts: Map<String, Value>,
    drilled_by: Arc<dyn Component>,
}

#[async_trait]
impl Component for Snapshot {
    fn kind(&self) -> Kind {
        Kind { name: "etcd".to_owned(), format: 1 }
    }

    async fn open(&self, _: &Context, _: &CaptureAsk) -> Result<Box<dyn Capture>> {
        Ok(Box::new(self.clone()))
    }

    fn drill(&self) -> Option<&dyn Drill> {
        self.drilled_by.drill()
    }
}

#[async_trait]
impl Capture for Snapshot {
    async fn run(self: Box<Self>, cx: &Context, sink: &dyn Sink) -> Result<Captured> {
        let mut writer = sink.create(ArtifactSpec::new("db", "application/octet-stream")).await?;
        writer.write(self.bytes.into()).await?;
        let receipt = writer.finish(EndEvidence::new("a test's own snapshot")).await?;
        let mut captured = Captured::new(Point::pinned(Span { from: cx.now(), to: cx.now() }), vec![receipt]);
        captured.facts = self.facts.into_iter().collect();
        Ok(captured)
    }
}

impl Snapshot {
    async fn of(cluster: &EtcdCluster, etcd: Option<PathBuf>) -> Self {
        let lab = Lab::new(cluster).await;
        lab.backup().await;
        let facts = lab.record().await.facts.into_iter().collect();
        let target = lab.folder.path().join("plain");
        let files = lab.engine.extract(&lab.cx, "latest", None, &target).await.unwrap();
        let mut section = section(cluster);
        section["drill"] = json!({ "etcd": etcd.unwrap_or_else(|| cluster.tools().etcd.clone()) });
        let deps = Deps::new(Arc::new(LocalPlace));
        let drilled_by = EtcdFactory.build("etcd", &Node::new(section), &deps).await.unwrap();
        Self { bytes: std::fs::read(&files[0].path).unwrap(), facts, drilled_by }
    }

    async fn drill(&self) -> DrillReport {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = DrillSettings::new(folder.path().join("drills"));
        settings.keep_free = 0;
        let engine = Engine::builder("test")
            .store("memory", Arc::new(MemoryStore::new()))
            .component("etcd", Arc::new(self.clone()))
            .drill(settings)
            .build()
            .unwrap();
        let cx = Context::new();
        engine.init(&cx).await.unwrap();
        engine.backup(&cx, &BackupRequest::new("full")).await.unwrap();
        let report = engine.drill(&cx, "latest", &[]).await.unwrap();
        assert_eq!(std::fs::read_dir(folder.path().join("drills")).unwrap().count(), 0);
        report
    }

    async fn only(&self) -> ComponentDrill {
        self.drill().await.components.remove(0)
    }

    fn with_fact(&self, name: &str, value: Value) -> Self {
        let mut other = self.clone();
        other.facts.insert(name.to_owned(), value);
        other
    }
}

fn history(version: Etcd) -> EtcdCluster {
    let mut cluster = EtcdCluster::start(1, version, EtcdOptions::default()).unwrap();
    cluster.put_many((0..2000).map(|i| (format!("/app/{i:05}"), format!("value {i}")))).unwrap();
    for i in 0..20 {
        cluster.put(format!("/app/{i:05}"), "changed").unwrap();
        cluster.delete(format!("/app/{:05}", 100 + i)).unwrap();
    }
    let granted = cluster.etcdctl(&["lease", "grant", "7200"]).unwrap();
    let lease = format!("--lease={}", granted.split_whitespace().nth(1).unwrap());
    cluster.etcdctl(&["put", &lease, "/service/crm/leader", "pg1"]).unwrap();
    let revision = cluster.revision().unwrap();
    cluster.etcdctl(&["compact", "--physical", &(revision - 10).to_string()]).unwrap();
    cluster.enable_auth("s3cret").unwrap();
    cluster
}

#[track_caller]
fn failed(drill: &ComponentDrill) -> (Rung, String) {
    let failed: Vec<_> = drill.rungs.iter().filter(|r| r.outcome == RungOutcome::Failed).collect();
    assert_eq!(failed.len(), 1, "{drill:#?}");
    (failed[0].rung, format!("{}: {:?}", failed[0].said, failed[0].wrong))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compacted_history_with_users_and_leases_passes_on_its_own_version_within_five_seconds() {
    for version in [Etcd::V35, Etcd::V36] {
        let snapshot = Snapshot::of(&history(version), None).await;
        let report = snapshot.drill().await;
        let drill = &report.components[0];
        assert!(drill.rungs.iter().all(|rung| rung.outcome == RungOutcome::Passed), "{drill:#?}");
        assert!(report.passed && report.seconds < 5.0, "{} s", report.seconds);
        assert!(drill.tools["etcd"].starts_with(version.minor()), "{:?}", drill.tools);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_of_another_revision_or_with_other_keys_fails_on_its_rung() {
    let snapshot = Snapshot::of(&history(Etcd::V35), None).await;
    let revision = snapshot.facts["revision"].as_u64().unwrap();
    let (rung, said) = failed(&snapshot.with_fact("revision", (revision + 7).into()).only().await);
    assert_eq!(rung, Rung::Volume);
    assert!(said.contains(&format!("{revision} found, the manifest says {}", revision + 7)), "{said}");
    let (rung, said) = failed(&snapshot.with_fact("leases", 9.into()).only().await);
    assert!(rung == Rung::Volume && said.contains("leases"), "{said}");
    let (rung, said) = failed(&snapshot.with_fact("prefixes", json!({ "/app/": 3 })).only().await);
    assert!(rung == Rung::Content && said.contains("keys under /app/"), "{said}");
    let mut cut = snapshot.clone();
    cut.bytes[9000] ^= 1;
    assert_eq!(failed(&cut.only().await).0, Rung::Structure);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_etcd_that_fits_nothing_is_run_and_nothing_passes() {
    let cluster = history(Etcd::V35);
    let missing = Snapshot::of(&cluster, Some(PathBuf::from("/no/such/etcd"))).await.only().await;
    assert_eq!(missing.verdict, DrillVerdict::NotRun);
    assert!(missing.rungs[2].said.contains("there is no /no/such/etcd here"), "{missing:#?}");
    let older = Toolbox::open().unwrap().etcd(Etcd::V34).unwrap().etcd;
    let older = Snapshot::of(&cluster, Some(older)).await.only().await;
    assert_eq!(older.verdict, DrillVerdict::NotRun);
    assert!(older.rungs[2].said.contains("the snapshot is of 3.5"), "{older:#?}");
}

//! A real Patroni cluster of three: the leader is found, lost in mid-dump and found again, and restored into.

mod support;

use std::sync::Arc;

use backup_core::{
    engine::{Level, Report},
    repository::Status,
    traits::Severity,
    words::{ComponentStatus, ErrorKind},
};
use backup_testkit::{
    servers::{Etcd, EtcdCluster, EtcdOptions, PatroniCluster, PatroniOptions, PostgresServer, SampleData},
    suites::GatedStore,
};
use serde_json::{Value, json};
use support::{Bench, direct};

struct Cluster {
    patroni: PatroniCluster,
    _etcd: EtcdCluster,
}

impl Cluster {
    /// Three members with sample data, and a table that is too long for all buffers between pg_dump and a store.
    fn start() -> Self {
        let etcd = EtcdCluster::start(1, Etcd::V35, EtcdOptions::default()).unwrap();
        let mut patroni = PatroniCluster::start(3, &etcd, PatroniOptions::default()).unwrap();
        let leader = patroni.leader_sql().unwrap();
        SampleData::default().load(&leader).unwrap();
        let long = "create table crm.long as select i, md5(i::text) || md5((i + 1)::text) as text
             from generate_series(1, 800000) i";
        leader.run("crm", long).unwrap();
        patroni.wait_ready().unwrap();
        Self { patroni, _etcd: etcd }
    }

    /// All members, and one that never answers.
    fn config(&self) -> Value {
        let mut urls = vec!["http://127.0.0.1:1".to_owned()];
        urls.extend(self.patroni.rest_urls());
        let sql = self.patroni.sql(0);
        json!({
            "patroni": urls,
            "user": sql.user,
            "password": sql.password,
            "bin_folders": [sql.tools.bin],
        })
    }
}

/// Begins a backup, calls `fault` when bytes have begun to flow, and lets it go on.
async fn backup_through(
    cluster: &mut Cluster,
    fault: impl FnOnce(&mut PatroniCluster),
) -> (Report, Bench, Arc<GatedStore>) {
    let store = Arc::new(GatedStore::new());
    let bench = Bench::over(store.clone(), cluster.config()).await;
    let engine = bench.engine.clone();
    let cx = bench.cx.clone();
    let running =
        tokio::spawn(
            async move { engine.backup(&cx, &backup_core::engine::BackupRequest::new("full")).await },
        );
    store.reached().await;
    fault(&mut cluster.patroni);
    store.open();
    let report = running.await.unwrap().unwrap().report;
    (report, bench, store)
}

async fn assert_whole_from(bench: &Bench, report: &Report, store: &GatedStore, cluster: &Cluster) {
    let record = bench.record().await;
    assert_eq!(record.status, ComponentStatus::Success, "{report:?}");
    assert!(record.warnings.iter().any(|warning| warning.contains("attempt 1 failed")), "{record:?}");
    let leader = cluster.patroni.wait_leader().unwrap();
    assert_eq!(record.facts["leader"], format!("127.0.0.1:{}", cluster.patroni.port(leader)));
    assert_eq!(record.facts["timeline"], 2);
    assert_eq!(record.facts["databases"]["crm"]["tables"]["crm.long"], 800_000);
    // The first attempt left nothing.
    assert_eq!(store.artifacts("postgres").len(), 1, "{:?}", store.artifacts("postgres"));
    assert!(store.artifacts("postgres")[0].contains("_r2"), "{:?}", store.artifacts("postgres"));
    let verified = bench.engine.verify(&bench.cx, "latest", Level::Content).await.unwrap();
    assert!(verified.passed, "{verified:?}");
}

/// kill -9 of the leader in mid-dump: the backup is that of the new leader, whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_leader_killed_in_mid_dump_is_followed_by_a_whole_dump_of_the_new_one() {
    let mut cluster = Cluster::start();
    let (report, bench, store) = backup_through(&mut cluster, |patroni| {
        patroni.kill_leader().unwrap();
    })
    .await;
    assert_whole_from(&bench, &report, &store, &cluster).await;
}

/// A switchover in mid-dump: the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_switchover_in_mid_dump_is_followed_by_a_whole_dump_of_the_new_leader() {
    let mut cluster = Cluster::start();
    let (report, bench, store) = backup_through(&mut cluster, |patroni| {
        patroni.switchover().unwrap();
    })
    .await;
    assert_whole_from(&bench, &report, &store, &cluster).await;
}

/// All databases, `postgres` included, are replaced under a live Patroni, which goes on leading; then `check` is well.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_restore_under_a_live_patroni_replaces_all_databases() {
    let mut cluster = Cluster::start();
    let bench = Bench::new(cluster.config()).await;
    let leader = cluster.patroni.wait_leader().unwrap();
    let sql = cluster.patroni.sql(leader);
    sql.run("postgres", "create table here (a int); insert into here values (1)").unwrap();
    bench.backup().await.unwrap();
    let before = sql.row_counts("crm").unwrap();
    sql.run("postgres", "drop table here").unwrap();
    sql.run("crm", "drop table crm.long; truncate crm.companies cascade").unwrap();
    bench.restore(json!({})).await.unwrap();
    assert_eq!(cluster.patroni.wait_ready().unwrap(), leader, "the leader stayed");
    assert_eq!(sql.row_counts("crm").unwrap(), before);
    assert_eq!(sql.run("postgres", "select a from here").unwrap(), "1");
    let checked = bench.engine.check(&bench.cx).await;
    let bad: Vec<String> = checked
        .checked
        .iter()
        .flat_map(|checked| &checked.findings)
        .filter(|finding| finding.severity != Severity::Ok)
        .map(|finding| finding.subject.clone())
        .collect();
    assert_eq!(bad, ["Patroni http://127.0.0.1:1"]);
}

/// Patroni that has lost its etcd names nobody: a backup takes the one server that takes writes, and says so; of two it takes
/// none; a restore waits for Patroni's word.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn without_patronis_word_the_only_primary_is_read_and_never_written_to() {
    let (one, other) = (PostgresServer::start(15).unwrap(), PostgresServer::start(15).unwrap());
    let silent = |servers: &[&PostgresServer]| {
        let mut config = direct(one.sql());
        let fields = config.as_object_mut().unwrap();
        fields.retain(|name, _| name != "host" && name != "port");
        let hosts: Vec<String> = servers.iter().map(|s| format!("127.0.0.1:{}", s.port())).collect();
        fields.extend([
            ("patroni".to_owned(), json!(["http://127.0.0.1:1"])),
            ("hosts".to_owned(), json!(hosts)),
            ("leader_wait_seconds".to_owned(), json!(1)),
        ]);
        config
    };
    let bench = Bench::new(silent(&[&one])).await;
    let report = bench.backup().await.unwrap();
    assert!(report.warnings[0].contains("the only server that takes writes"), "{report:?}");
    let error = bench.plan(json!({})).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{}", error.chain());

    let report = Bench::new(silent(&[&one, &other])).await.backup().await.unwrap();
    assert_eq!(report.status, Status::Failed);
    assert!(report.errors[0].contains("take writes"), "{report:?}");
}

//! Snapshots of 3.4, 3.5 and 3.6 are restored and started on 3.5 and 3.6.

use backup_core::{engine::Level, words::ErrorKind};
use backup_testkit::servers::{Etcd, EtcdCluster, EtcdOptions};
use serde_json::json;

use crate::lab::{Lab, one_hash};

const BUMP: u64 = 1_000_000_000;

/// A cluster with a history: values of several sizes, changes, deletions, a lease, Patroni's keys, authentication.
fn source(version: Etcd) -> EtcdCluster {
    let mut source = EtcdCluster::start(3, version, EtcdOptions::default()).unwrap();
    source.put_many((0..2000).map(|i| (format!("/app/{i:05}"), format!("value <{i}> & more")))).unwrap();
    source.put("/big/value", vec![b'x'; 1 << 20]).unwrap();
    for i in 0..20 {
        source.put(format!("/app/{i:05}"), "changed").unwrap();
        source.delete(format!("/app/{:05}", 100 + i)).unwrap();
    }
    let granted = source.etcdctl(&["lease", "grant", "7200"]).unwrap();
    let lease = format!("--lease={}", granted.split_whitespace().nth(1).unwrap());
    source.etcdctl(&["put", &lease, "/app/leased", "x"]).unwrap();
    for key in ["config", "initialize", "history"] {
        source.put(format!("/service/crm/{key}"), key).unwrap();
    }
    let granted = source.etcdctl(&["lease", "grant", "7200"]).unwrap();
    let lease = format!("--lease={}", granted.split_whitespace().nth(1).unwrap());
    for key in ["leader", "members/pg1"] {
        source.etcdctl(&["put", &lease, &format!("/service/crm/{key}"), key]).unwrap();
    }
    source.put("/last", "1").unwrap();
    source.enable_auth("s3cret").unwrap();
    source
}

async fn backed_up(source: &EtcdCluster) -> Lab {
    let lab = Lab::new(source).await;
    let outcome = lab.backup().await;
    assert_eq!(outcome.report.errors, Vec::<String>::new());
    let record = lab.record().await;
    assert_eq!(record.facts["revision"], source.revision().unwrap());
    assert_eq!(record.facts["keys"], source.count("").unwrap());
    assert_eq!(record.facts["leases"], 2);
    assert_eq!(record.facts["auth_enabled"], true);
    assert_eq!(record.facts["version"], source.version().minor());
    assert_eq!(record.facts["leader"], false, "a follower is preferred");
    assert_eq!(record.facts["prefixes"]["/service/crm/"], 5);
    assert_eq!(record.facts["prefixes"]["/app/"], source.count("/app/").unwrap());
    let verified = lab.engine.verify(&lab.cx, "latest", Level::Content).await.unwrap();
    assert!(verified.passed, "{verified:?}");
    lab
}

/// A new cluster that was not started yet, with the password that it will have.
fn copy(version: Etcd, token: &str) -> EtcdCluster {
    let options = EtcdOptions { token: Some(token.to_owned()), ..EtcdOptions::default() };
    let mut copy = EtcdCluster::prepare(3, version, options).unwrap();
    copy.set_password("s3cret");
    copy
}

fn same_values(source: &EtcdCluster, copy: &EtcdCluster) {
    assert_eq!(copy.count("/app/").unwrap(), source.count("/app/").unwrap());
    for key in ["/app/00000", "/app/01999", "/app/00105", "/big/value", "/service/crm/config", "/last"] {
        assert_eq!(copy.get(key).unwrap(), source.get(key).unwrap(), "{key}");
    }
}

/// Everything kept and no bump: the copy's hash is the source's own at the same revision.
async fn restores_exactly(source: &EtcdCluster, lab: &mut Lab, version: Etcd, force: bool) {
    let mut copy = copy(version, &format!("exact-{}", version.minor()));
    let options = json!({ "bump": 0, "keys": "all", "target": version.minor(), "force": force });
    let revision = lab.record().await.facts["revision"].as_u64().unwrap();
    lab.restore_into(&mut copy, options).await;
    assert_eq!(one_hash(&copy, revision), one_hash(source, revision), "the same history");
    same_values(source, &copy);
    assert_eq!(copy.count("/service/").unwrap(), 5);
    assert_eq!(copy.put("/new", "1").unwrap(), revision + 1);
}

/// With the defaults: the revision has gone up, old ones are compacted, keys of running PostgreSQL nodes are gone.
async fn restores_usefully(source: &EtcdCluster, lab: &mut Lab, version: Etcd, force: bool) {
    let mut copy = copy(version, &format!("useful-{}", version.minor()));
    let options = json!({ "target": version.minor(), "force": force });
    let revision = lab.record().await.facts["revision"].as_u64().unwrap();
    lab.restore_into(&mut copy, options).await;
    same_values(source, &copy);
    assert_eq!(copy.count("/service/").unwrap(), 3);
    assert_eq!(copy.get("/service/crm/leader").unwrap(), None);
    let leases = copy.etcdctl(&["lease", "list"]).unwrap();
    assert!(leases.contains("found 1 leases"), "the lease of the dropped keys is gone: {leases}");
    let compacted = copy.etcdctl(&["get", "/last", &format!("--rev={revision}")]).unwrap_err();
    assert!(compacted.to_string().contains("compacted"), "{compacted}");
    let next = copy.put("/new", "1").unwrap();
    assert_eq!(next, revision + BUMP + 1);
    one_hash(&copy, next);
    copy.kill(0);
    copy.restart(0).unwrap();
    one_hash(&copy, next);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_3_4_on_3_5_and_3_6() {
    let source = source(Etcd::V34);
    let mut lab = backed_up(&source).await;
    restores_exactly(&source, &mut lab, Etcd::V35, false).await;
    restores_usefully(&source, &mut lab, Etcd::V36, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_3_5_on_3_5_and_3_6() {
    let source = source(Etcd::V35);
    let mut lab = backed_up(&source).await;
    restores_exactly(&source, &mut lab, Etcd::V36, false).await;
    restores_usefully(&source, &mut lab, Etcd::V35, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_3_6_on_3_6_and_forced_on_3_5() {
    let source = source(Etcd::V36);
    let mut lab = backed_up(&source).await;
    restores_exactly(&source, &mut lab, Etcd::V36, false).await;
    let refused = lab.plan(json!({ "dir": lab.folder.path().join("x"), "target": "3.5" })).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Refused);
    restores_usefully(&source, &mut lab, Etcd::V35, true).await;
}

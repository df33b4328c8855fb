//! Users, certificates, and what is said when they are wrong.

use backup_core::{
    engine::BackupOutcome,
    traits::{Context, Severity},
};
use backup_testkit::servers::{Etcd, EtcdCluster, EtcdOptions};
use serde_json::json;

use crate::lab::{Lab, section};

fn only_error(outcome: &BackupOutcome) -> &str {
    assert_eq!(outcome.report.errors.len(), 1, "{:?}", outcome.report);
    &outcome.report.errors[0]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_or_none_is_said_and_not_shown() {
    let mut cluster = EtcdCluster::start(1, Etcd::V35, EtcdOptions::default()).unwrap();
    cluster.put("/a", "1").unwrap();
    cluster.enable_auth("right").unwrap();
    let mut wrong = section(&cluster);
    wrong["password"] = json!("hunter2");
    let outcome = Lab::with(wrong, Context::new()).await.backup().await;
    let error = only_error(&outcome);
    assert!(error.contains("authentication failed"), "{error}");
    assert!(!format!("{:?}", outcome.report).contains("hunter2"));
    let outcome = Lab::with(json!({ "endpoints": cluster.endpoints() }), Context::new()).await.backup().await;
    let error = only_error(&outcome);
    assert!(error.contains("user name is empty"), "{error}");
    let lab = Lab::new(&cluster).await;
    assert_eq!(lab.backup().await.report.errors, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_is_no_hindrance_where_authentication_is_off() {
    let cluster = EtcdCluster::start(1, Etcd::V36, EtcdOptions::default()).unwrap();
    let mut with_user = section(&cluster);
    with_user["user"] = json!("root");
    with_user["password"] = json!("x");
    let lab = Lab::with(with_user, Context::new()).await;
    assert_eq!(lab.backup().await.report.errors, Vec::<String>::new());
}

/// etcd 3.6 gives snapshots to administrators only: `check` finds that out before the night does.
#[tokio::test(flavor = "multi_thread")]
async fn a_user_without_the_role_root_is_told_so_by_check() {
    let mut cluster = EtcdCluster::start(1, Etcd::V36, EtcdOptions::default()).unwrap();
    cluster.etcdctl(&["user", "add", "reader:pw"]).unwrap();
    cluster.enable_auth("right").unwrap();
    let mut reader = section(&cluster);
    reader["user"] = json!("reader");
    reader["password"] = json!("pw");
    let lab = Lab::with(reader, Context::new()).await;
    let report = lab.engine.check(&lab.cx).await;
    assert_eq!(report.worst(), Severity::Error);
    let text = format!("{report:?}");
    assert!(text.contains("permission denied") && text.contains("role root"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_used_and_their_lack_is_said() {
    let tls = EtcdOptions { tls: true, ..EtcdOptions::default() };
    let cluster = EtcdCluster::start(3, Etcd::V35, tls).unwrap();
    cluster.put("/a", "1").unwrap();
    let lab = Lab::new(&cluster).await;
    assert_eq!(lab.backup().await.report.errors, Vec::<String>::new());
    assert_eq!(lab.record().await.facts["keys"], 1);
    let report = lab.engine.check(&lab.cx).await;
    assert_eq!(report.worst(), Severity::Ok, "{report:?}");
    let files = cluster.certificates().unwrap();
    let no_client = json!({ "endpoints": cluster.endpoints(), "tls": { "ca": files.ca } });
    let outcome = Lab::with(no_client, Context::new()).await.backup().await;
    let error = only_error(&outcome);
    assert!(error.to_lowercase().contains("certificate"), "{error}");
    let no_authority = json!({ "endpoints": cluster.endpoints() });
    let outcome = Lab::with(no_authority, Context::new()).await.backup().await;
    let error = only_error(&outcome);
    assert!(error.to_lowercase().contains("certificate"), "{error}");
}

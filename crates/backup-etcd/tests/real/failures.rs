//! Members that die, hang or are in the way.

use std::{
    process::Command,
    sync::{Arc, Mutex},
};

use backup_core::{
    engine::Level,
    traits::{Context, Event, Observer},
    words::ErrorKind,
};
use backup_testkit::servers::{Etcd, EtcdCluster, EtcdOptions};
use serde_json::json;

use crate::lab::{Lab, section};

/// Kills a process with -9 when the first bytes have been stored.
#[derive(Debug)]
struct Assassin(Mutex<Option<u32>>);

impl Observer for Assassin {
    fn event(&self, event: Event) {
        if matches!(event, Event::Progress { bytes, .. } if bytes > 0)
            && let Some(pid) = self.0.lock().unwrap().take()
        {
            assert!(Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
        }
    }
}

fn with_much_data(members: usize) -> EtcdCluster {
    let cluster = EtcdCluster::start(members, Etcd::V35, EtcdOptions::default()).unwrap();
    let mut noise = 1_u64;
    let value = |_| {
        noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (noise >> 33) as u8
    };
    let blob: Vec<u8> = (0..900_000).map(value).collect();
    for i in 0..100 {
        cluster.put(format!("/blob/{i}"), &blob).unwrap();
    }
    cluster
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_killed_in_mid_snapshot_is_replaced_by_another() {
    let cluster = with_much_data(3);
    let leader = cluster.leader().unwrap();
    let victim = (leader + 1) % 3;
    let heir = (leader + 2) % 3;
    // Among equals the order of the configuration counts.
    let endpoints = [victim, heir, leader].map(|i| cluster.endpoints()[i].clone());
    let assassin = Assassin(Mutex::new(cluster.pid(victim)));
    let cx = Context::new().with_observer(Arc::new(assassin));
    let lab = Lab::with(json!({ "endpoints": endpoints }), cx).await;
    let outcome = lab.backup().await;
    assert_eq!(outcome.report.errors, Vec::<String>::new());
    assert_eq!(outcome.report.warnings.len(), 1, "{:?}", outcome.report.warnings);
    assert!(outcome.report.warnings[0].contains(&endpoints[0]), "{:?}", outcome.report.warnings);
    let record = lab.record().await;
    assert_eq!(record.facts["endpoint"], endpoints[1]);
    assert_eq!(record.facts["keys"], 100);
    assert!(record.artifacts[0].volumes[0].key.to_string().contains("_r2."), "{:?}", record.artifacts);
    assert!(lab.engine.verify(&lab.cx, "latest", Level::Content).await.unwrap().passed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_hangs_is_passed_over() {
    let mut cluster = EtcdCluster::start(3, Etcd::V36, EtcdOptions::default()).unwrap();
    cluster.put("/a", "1").unwrap();
    let hung = (cluster.leader().unwrap() + 1) % 3;
    cluster.pause(hung).unwrap();
    let mut section = section(&cluster);
    section["connect_timeout"] = json!(2);
    let lab = Lab::with(section, Context::new()).await;
    let outcome = lab.backup().await;
    assert_eq!(outcome.report.errors, Vec::<String>::new());
    assert_ne!(lab.record().await.facts["endpoint"], cluster.endpoints()[hung]);
    cluster.resume(hung).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_member_without_a_quorum_still_gives_what_it_has() {
    let mut cluster = EtcdCluster::start(3, Etcd::V35, EtcdOptions::default()).unwrap();
    cluster.put("/a", "1").unwrap();
    cluster.kill(0);
    cluster.kill(1);
    let lab = Lab::new(&cluster).await;
    let outcome = lab.backup().await;
    assert_eq!(outcome.report.errors, Vec::<String>::new());
    assert_eq!(lab.record().await.facts["keys"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_members_gone_is_one_clear_error() {
    let mut cluster = EtcdCluster::start(3, Etcd::V35, EtcdOptions::default()).unwrap();
    let lab = Lab::new(&cluster).await;
    (0..3).for_each(|i| cluster.kill(i));
    let outcome = lab.backup().await;
    let errors = &outcome.report.errors;
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].contains("none of its 3 members"), "{errors:?}");
    assert!(errors[0].contains("refused"), "{errors:?}");
    assert_eq!(lab.engine.session(&lab.cx, "latest").await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_an_etcd_runs_on_is_never_replaced() {
    let cluster = EtcdCluster::start(1, Etcd::V35, EtcdOptions::default()).unwrap();
    cluster.put("/a", "1").unwrap();
    let lab = Lab::new(&cluster).await;
    lab.backup().await;
    let plan = lab.plan(json!({ "dir": cluster.data_dir(0), "member": cluster.names()[0] })).await.unwrap();
    let notes = format!("{:?}", plan.components[0].plan.notes);
    assert!(notes.contains("an etcd is running on"), "{notes}");
    let refused = lab.engine.restore(&lab.cx, &plan).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Refused);
    cluster.put("/a", "2").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_cluster_is_backed_up_with_its_alarm_and_takes_writes_again_when_restored() {
    let options =
        EtcdOptions { args: vec!["--quota-backend-bytes=16777216".to_owned()], ..EtcdOptions::default() };
    let cluster = EtcdCluster::start(1, Etcd::V35, options).unwrap();
    let blob = vec![b'x'; 1 << 20];
    let full = (0..40).find_map(|i| cluster.put(format!("/blob/{i}"), &blob).err()).unwrap();
    assert!(full.to_string().contains("space"), "{full}");
    let mut lab = Lab::new(&cluster).await;
    let outcome = lab.backup().await;
    assert_eq!(outcome.report.errors, Vec::<String>::new());
    assert!(outcome.report.warnings.iter().any(|warning| warning.contains("NOSPACE")), "{outcome:?}");
    assert_eq!(lab.record().await.facts["alarms"], json!(["NOSPACE"]));
    let options = EtcdOptions { token: Some("roomy".to_owned()), ..EtcdOptions::default() };
    let mut copy = EtcdCluster::prepare(1, Etcd::V35, options).unwrap();
    lab.restore_into(&mut copy, json!({})).await;
    copy.put("/new", "1").unwrap();
}

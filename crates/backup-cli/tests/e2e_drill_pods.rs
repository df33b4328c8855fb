//! Drills of all four kinds in one run, with pods that run; and what kill -9 leaves in the cluster is gone after the next one.
//! Needs root.

mod e2e;
mod support;

use std::{fs::Permissions, os::unix::fs::PermissionsExt, time::Duration};

use backup_testkit::servers::{
    Etcd, EtcdCluster, EtcdOptions, FastApi, KubernetesCluster, KubernetesOptions, PostgresServer,
    SampleData, etcd_keys, poll,
};
use e2e::{config, running::Running};
use serde_json::Value;
use support::{Bench, next_second};

fn section(cluster: &KubernetesCluster, drill: &str) -> String {
    format!(
        "[[component]]\nkind = \"fastapi\"\nname = \"api\"\nnamespace = \"fastapi\"\nkubeconfig = {:?}\ndrill = {{ {drill} }}\n",
        cluster.kubeconfig()
    )
}

/// Names of the throwaway namespaces that there are.
fn left(cluster: &KubernetesCluster) -> String {
    cluster.kubectl(&["get", "namespaces", "-l", "ha-backup/drill", "-o", "name"]).unwrap()
}

/// Every pod.
fn pods(cluster: &KubernetesCluster) -> String {
    let columns = "custom-columns=NS:.metadata.namespace,NAME:.metadata.name,UID:.metadata.uid";
    cluster.kubectl(&["get", "pods", "-A", "--no-headers", "-o", columns]).unwrap()
}

#[test]
fn all_four_kinds_pass_in_one_drill_and_a_killed_one_leaves_no_namespace_after_the_next() {
    let mut cluster = KubernetesCluster::start(1, KubernetesOptions::default()).unwrap();
    let fastapi = FastApi { namespace: "fastapi".to_owned(), replicas: 2, volumes: false };
    fastapi.deploy(&mut cluster).unwrap();
    let etcd = EtcdCluster::start(1, Etcd::V35, EtcdOptions::default()).unwrap();
    etcd.put_many(etcd_keys(500)).unwrap();
    let postgres = PostgresServer::start(15).unwrap();
    SampleData::default().load(postgres.sql()).unwrap();
    let mut bench = Bench::empty();
    std::fs::create_dir(bench.path("data")).unwrap();
    bench.write("data/state.json", "[1]");
    let drills = tempfile::Builder::new().prefix("d").tempdir_in("/var/tmp").unwrap();
    std::fs::set_permissions(drills.path(), Permissions::from_mode(0o711)).unwrap();
    let sections = [
        format!("{}drill = {{ etcd = {:?} }}\n", config::etcd(&etcd), etcd.tools().etcd),
        format!(
            "{}drill = {{ queries = [{{ database = \"crm\", sql = \"select count(*) from crm.contacts\", expect = {{ min = 1 }} }}] }}\n",
            config::server(postgres.sql())
        ),
        section(&cluster, "own_cluster = true"),
        config::files(&bench),
        format!("[drill]\nfolder = {:?}\nkeep_free = \"1MB\"\n", drills.path().join("p")),
    ];
    config::write(&mut bench, &sections);
    bench.first_session();

    let before = pods(&cluster);
    let report = bench.run(&["drill", "--json"]).exits(0).message("drilled");
    let components = report["components"].as_array().unwrap();
    assert_eq!(components.len(), 4, "{report:#}");
    for component in components {
        let passed = |rung: &Value| rung["outcome"] == "passed";
        assert!(component["rungs"].as_array().unwrap().iter().all(passed), "{component:#}");
    }
    assert_eq!((left(&cluster), pods(&cluster)), (String::new(), before.clone()));

    let begun = Running::start(&bench, &["drill", "latest", "api", "--json"]);
    poll("a namespace of the drill", Duration::from_secs(60), || {
        if left(&cluster).is_empty() { Err("not yet") } else { Ok(()) }
    })
    .unwrap();
    begun.signal("KILL");
    assert_eq!(begun.finish().code, -1);
    assert!(!left(&cluster).is_empty(), "nothing was killed");
    next_second();
    let ran = bench.run(&["drill", "latest", "api"]).exits(0);
    assert!(ran.stderr.contains("what a drill that was killed had left: namespace drill-"), "{}", ran.stderr);
    assert_eq!((left(&cluster), pods(&cluster)), (String::new(), before));
    assert_eq!(std::fs::read_dir(drills.path().join("p")).unwrap().count(), 0);
}

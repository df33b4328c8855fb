//! Whole applications with pods that run: deleted and brought back, stopped for their files and started again. Needs root.

mod restore_support;

use std::{sync::Arc, time::Duration};

use backup_core::{
    stores::MemoryStore,
    traits::{Context, Observer},
};
use backup_testkit::servers::{KubernetesCluster, KubernetesOptions, SupabaseLike};
use restore_support::{Bench, Tell, lines, step, text};
use serde_json::{Value, json};

const IMAGE: &str = "localhost/debian:1";

fn start() -> KubernetesCluster {
    KubernetesCluster::start(1, KubernetesOptions::default()).unwrap()
}

fn claim() -> Value {
    json!({"namespace": "supabase", "helper_image": IMAGE, "storage": {"claim": "data-storage-0"}})
}

fn get(cluster: &KubernetesCluster, kind: &str, name: &str) -> Value {
    cluster.json(&["get", kind, name, "-n", "supabase"]).unwrap()
}

/// The claim's pod runs while the files are gone: it is stopped for them and runs again afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn a_workload_is_stopped_while_its_volume_is_written() {
    let cluster = start();
    let app = SupabaseLike::default();
    app.deploy(&cluster).unwrap();
    let bench = Bench::with(&cluster, claim()).await;
    bench.backup().await;
    let before = app.contents(&cluster).unwrap();
    cluster.exec("supabase", SupabaseLike::POD, &["sh", "-c", "rm -rf /var/lib/storage/*"]).unwrap();
    assert_ne!(before, app.contents(&cluster).unwrap());
    let uid = || get(&cluster, "pod", SupabaseLike::POD)["metadata"]["uid"].clone();
    let old = uid();

    let plan = bench.plan(json!({})).await.unwrap();
    assert_eq!(lines(&plan, "stop"), "- stop StatefulSet supabase/storage: 1 -> 0 pods", "{}", text(&plan));
    assert!(step(&plan, "stop").phase < step(&plan, "started").phase);
    let outcome = bench.engine.restore(&bench.cx, &plan).await.unwrap();
    assert!(outcome.is_done());
    assert_ne!(uid(), old, "it was stopped");
    let set = get(&cluster, "statefulset", "storage");
    assert_eq!((&set["spec"]["replicas"], &set["status"]["readyReplicas"]), (&json!(1), &json!(1)));
    assert_eq!(set["metadata"]["annotations"].get("ha-backup/stopped"), None);
    assert_eq!(before, app.contents(&cluster).unwrap());
    let deployment = get(&cluster, "deployment", "rest");
    assert_eq!(deployment["metadata"]["generation"], 1, "what does not use the volume runs on");
}

/// Killed when pods are stopped, when files are half there, and when pods start: how many there were is never lost.
#[tokio::test(flavor = "multi_thread")]
async fn replica_counts_outlive_a_kill_at_every_step() {
    let cluster = start();
    let app = SupabaseLike::default();
    app.deploy(&cluster).unwrap();
    let store = Arc::new(MemoryStore::new());
    let bench = Bench::build(&cluster, claim(), Arc::clone(&store), Context::new()).await;
    bench.backup().await;
    let before = app.contents(&cluster).unwrap();
    cluster.exec("supabase", SupabaseLike::POD, &["sh", "-c", "rm -rf /var/lib/storage/*"]).unwrap();
    let plan = bench.plan(json!({})).await.unwrap();
    let all: Vec<&str> = plan.steps.iter().map(|planned| planned.step.id.as_str()).collect();
    let steps = all.iter().filter(|id| ["stop", "started"].contains(id) || id.starts_with("files "));
    let mut begun = false;
    for (step, delay) in steps.flat_map(|step| [(step, 20), (step, 1500)]) {
        let tell = Arc::new(Tell::at(step));
        let cx = Context::new().with_observer(Arc::clone(&tell) as Arc<dyn Observer>);
        let killed = Bench::build(&cluster, claim(), Arc::clone(&store), cx).await;
        let restore = async {
            if begun { killed.resume().await } else { killed.engine.restore(&killed.cx, &plan).await }
        };
        let at = async {
            tell.begun.notified().await;
            tokio::time::sleep(Duration::from_millis(delay)).await;
        };
        tokio::select! {
            ended = restore => {
                assert!(ended.unwrap().is_done());
                break;
            }
            () = at => {}
        }
        begun = true;
    }
    if bench.engine.unfinished_restore(&bench.cx, "latest").await.unwrap().is_some() {
        assert!(bench.resume().await.unwrap().is_done());
    }
    let set = get(&cluster, "statefulset", "storage");
    assert_eq!((&set["spec"]["replicas"], &set["status"]["readyReplicas"]), (&json!(1), &json!(1)));
    assert_eq!(before, app.contents(&cluster).unwrap());
}

/// Everything of an application is gone, definitions and volumes too.
#[tokio::test(flavor = "multi_thread")]
async fn a_whole_application_comes_back() {
    let cluster = start();
    let app = SupabaseLike::default();
    app.deploy(&cluster).unwrap();
    let storage = json!({"path": SupabaseLike::FOLDER, "selector": "app=storage"});
    let config = json!({"namespace": "supabase", "helper_image": IMAGE, "storage": storage});
    let bench = Bench::with(&cluster, config).await;
    bench.backup().await;
    let (before, key) = (app.contents(&cluster).unwrap(), app.root_key(&cluster).unwrap());
    bench.delete_namespace("supabase");
    let gone = [
        "pv/supabase-storage",
        "storageclass/supabase-static",
        "priorityclass/supabase-important",
        "ingressclass/supabase-nginx",
        "clusterrole/supabase-volumes",
        "clusterrolebinding/supabase-volumes",
        "validatingwebhookconfiguration/supabase-buckets",
        "crd/buckets.storage.supabase.example",
    ];
    cluster.kubectl(&[&["delete", "--timeout=60s"], &gone[..]].concat()).unwrap();
    std::fs::remove_dir_all(app.volume(&cluster)).unwrap();

    let outcome = bench.restore(json!({})).await.unwrap();
    assert!(outcome.is_done());
    app.wait_ready(&cluster).unwrap();
    assert_eq!(key, app.root_key(&cluster).unwrap());
    assert_eq!(before, app.contents(&cluster).unwrap());
    for name in gone {
        cluster.kubectl(&["get", name]).unwrap();
    }
    let buckets = cluster.json(&["get", "buckets", "-n", "supabase"]).unwrap();
    assert_eq!(buckets["items"].as_array().map(Vec::len), Some(2));
}

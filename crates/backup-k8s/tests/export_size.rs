//! Memory does not grow with what is exported. Alone in its process: it is the process that is measured.

use std::{fs, sync::Arc, time::Duration};

use backup_core::{
    engine::{BackupRequest, Engine},
    stores::LocalStore,
    traits::{ComponentFactory, Context, Deps, LocalPlace, Node},
};
use backup_k8s::KubernetesFactory;
use backup_testkit::servers::{KubernetesCluster, KubernetesOptions, poll};
use serde_json::{Value, json};

/// What an export may take above what it takes for almost nothing.
const MOST: u64 = 64 << 20;

/// Objects where the API server keeps them, in the order of their numbers.
fn put(
    cluster: &KubernetesCluster,
    namespace: &str,
    plural: &str,
    numbers: std::ops::Range<usize>,
    object: impl Fn(usize) -> Value,
) {
    let whole = |number: usize| {
        let name = format!("o{number:05}");
        let mut object = object(number);
        object["apiVersion"] = json!("v1");
        object["metadata"] = json!({
            "name": name, "namespace": namespace, "labels": {"app": "many"},
            "uid": format!("00000000-0000-4000-8000-{number:012}"), "creationTimestamp": "2026-01-01T00:00:00Z"});
        (format!("/registry/{plural}/{namespace}/{name}"), object.to_string())
    };
    cluster.etcd().put_many(numbers.map(whole)).unwrap();
}

async fn engine(cluster: &KubernetesCluster, store: &std::path::Path, namespace: &str) -> Engine {
    let config = json!({ "kubeconfig": cluster.kubeconfig(), "namespace": namespace });
    let component =
        KubernetesFactory.build("app", &Node::new(config), &Deps::new(Arc::new(LocalPlace))).await.unwrap();
    let engine = Engine::builder("test")
        .store("local", Arc::new(LocalStore::new(store)))
        .component("app", component)
        .build();
    engine.unwrap()
}

/// A line of `/proc/self/status`, in bytes.
fn memory(line: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let value = status.lines().find_map(|own| own.strip_prefix(line)).unwrap();
    value.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_thousand_objects_and_a_list_of_fifty_megabytes_take_no_more_memory() {
    let cluster = KubernetesCluster::start(0, KubernetesOptions::default()).unwrap();
    for namespace in ["small", "many"] {
        cluster.create_namespace(namespace).unwrap();
    }
    put(&cluster, "small", "secrets", 0..50, secret);
    put(&cluster, "many", "secrets", 0..50_000, secret);
    // A page of 500 of these has 50 MB.
    let big = |number: usize| json!({"kind": "ConfigMap", "data": {"text": format!("{number} {}", "y".repeat(1_000_000))}});
    put(&cluster, "many", "configmaps", 0..50, big);
    poll("the API server to see them", Duration::from_secs(120), || {
        let raw = "/api/v1/namespaces/many/configmaps?limit=1";
        let list: Value =
            serde_json::from_str(&cluster.kubectl(&["get", "--raw", raw]).map_err(|e| e.to_string())?)
                .unwrap();
        if list["metadata"]["remainingItemCount"] == 50 { Ok(()) } else { Err(list["metadata"].to_string()) }
    })
    .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let cx = Context::new();
    let small = engine(&cluster, folder.path(), "small").await;
    small.init(&cx).await.unwrap();
    small.backup(&cx, &BackupRequest::new("full")).await.unwrap();
    fs::write("/proc/self/clear_refs", "5").unwrap();
    let base = memory("VmRSS");
    let many = engine(&cluster, folder.path(), "many").await;
    let begun = std::time::Instant::now();
    many.backup(&cx, &BackupRequest::new("full")).await.unwrap();
    let (took, peak) = (begun.elapsed(), memory("VmHWM"));
    let entry = many.session(&cx, "latest").await.unwrap();
    let record = entry.committed().unwrap().component("app").unwrap();
    assert!(record.coverage.iter().all(|line| !line.missing), "{:?}", record.coverage);
    assert!(record.facts["objects"].as_u64().unwrap() > 50_050, "{}", record.facts["objects"]);
    let plain: u64 = record.artifacts.iter().map(|artifact| artifact.plain.size).sum();
    assert!(plain > 150_000_000, "{plain}");
    eprintln!(
        "{plain} bytes in {took:?}: {} KiB above {} KiB",
        (peak.saturating_sub(base)) >> 10,
        base >> 10
    );
    assert!(peak < base + MOST, "{} KiB above {} KiB", (peak - base) >> 10, base >> 10);
}

fn secret(number: usize) -> Value {
    json!({"kind": "Secret", "type": "Opaque", "data": {
        "password": "cGFzc3dvcmQ=", "certificate": format!("{number:08}").repeat(64)}})
}

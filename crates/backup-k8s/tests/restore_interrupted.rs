//! Restores that are cut short: by a kill at each step, by an API server that goes away.

mod restore_support;

use std::{sync::Arc, time::Duration};

use backup_core::{
    stores::MemoryStore,
    traits::{Context, Observer},
};
use restore_support::{Bench, Tell, deploy, objects, shared, start};
use serde_json::{Value, json};

const KINDS: &str = "secret,role,rolebinding,networkpolicy,pvc";

fn secrets(cluster: &backup_testkit::servers::KubernetesCluster, namespace: &str, count: usize) {
    let secret = |number| {
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": format!("s{number:04}"), "namespace": namespace},
            "stringData": {"value": format!("v{number}")}})
    };
    let items: Vec<Value> = (0..count).map(secret).collect();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string();
    cluster.kubectl_with_input(&["create", "-f", "-"], &list).unwrap();
}

/// The future of the restore is dropped in each step, as a kill would end it, and the same restore then goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_is_killed_at_every_step_goes_on() {
    let cluster = shared();
    deploy(&cluster, "killed");
    secrets(&cluster, "killed", 300);
    let store = Arc::new(MemoryStore::new());
    let bench = Bench::over(&cluster, &["killed"], Arc::clone(&store), Context::new()).await;
    bench.backup().await;
    let before = objects(&cluster, "killed", KINDS);
    for delay in [0, 60] {
        bench.delete_namespace("killed");
        let plan = bench.plan(json!({"wait": 0})).await.unwrap();
        let steps: Vec<String> = plan.steps.iter().map(|planned| planned.step.id.clone()).collect();
        for step in
            ["namespaces", "claims", "rights", "secrets", "config", "services", "workloads", "started"]
        {
            assert!(steps.iter().any(|known| known == step), "{steps:?}");
        }
        let mut begun = false;
        for step in steps {
            let tell = Arc::new(Tell::at(&step));
            let cx = Context::new().with_observer(Arc::clone(&tell) as Arc<dyn Observer>);
            let killed = Bench::over(&cluster, &["killed"], Arc::clone(&store), cx).await;
            let restore = async {
                if begun { killed.resume().await } else { killed.engine.restore(&killed.cx, &plan).await }
            };
            let at = async {
                tell.begun.notified().await;
                tokio::time::sleep(Duration::from_millis(delay)).await;
            };
            tokio::select! {
                ended = restore => assert!(ended.unwrap().is_done()),
                () = at => {}
            }
            begun = true;
        }
        // The last step may have ended before it could be killed.
        if bench.engine.unfinished_restore(&bench.cx, "latest").await.unwrap().is_some() {
            assert!(bench.resume().await.unwrap().is_done());
        }
        assert_eq!(before, objects(&cluster, "killed", KINDS), "killed after {delay} ms");
    }
}

/// Objects that are replaced are gone for a moment: a restore that is killed then creates them when it goes on.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_deleted_when_the_restore_was_killed_is_created() {
    let cluster = shared();
    cluster.create_namespace("replaced").unwrap();
    secrets(&cluster, "replaced", 120);
    let store = Arc::new(MemoryStore::new());
    let bench = Bench::over(&cluster, &["replaced"], Arc::clone(&store), Context::new()).await;
    bench.backup().await;
    let before = objects(&cluster, "replaced", "secret");
    for delay in [150, 250, 350, 450] {
        let label = ["label", "secret", "--all", "-n", "replaced", "--overwrite", &format!("x=d{delay}")];
        cluster.kubectl(&label).unwrap();
        let plan = bench.plan(json!({"existing": "replace"})).await.unwrap();
        let killed =
            tokio::time::timeout(Duration::from_millis(delay), bench.engine.restore(&bench.cx, &plan)).await;
        match killed {
            Ok(done) => drop(done.unwrap()),
            Err(_) => drop(bench.resume().await.unwrap()),
        }
        assert_eq!(before, objects(&cluster, "replaced", "secret"), "{delay} ms");
    }
}

/// The API server is killed while objects are written, and comes back: nothing fails, and all is there.
#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_that_restarts_is_waited_for() {
    let mut cluster = start();
    cluster.create_namespace("restarts").unwrap();
    secrets(&cluster, "restarts", 2000);
    let (bench, before) = {
        let bench = Bench::new(&cluster, &["restarts"]).await;
        bench.backup().await;
        let before = objects(&cluster, "restarts", "secret");
        bench.delete_namespace("restarts");
        (bench.detach(), before)
    };
    let mut request = backup_core::engine::RestoreRequest::new("latest");
    request.options.insert("app".to_owned(), json!({"wait": 0}));
    let (engine, cx) = bench;
    let plan = engine.plan_restore(&cx, &request).await.unwrap();
    let restoring =
        tokio::spawn(async move { engine.restore(&cx, &plan).await.map(|outcome| outcome.is_done()) });
    // In mid-flight: some are there, not all.
    restore_support::eventually("some secrets", || {
        match cluster.etcd().count("/registry/secrets/restarts/") {
            Ok(count) if count > 100 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    cluster.kill_api_server();
    let written = cluster.etcd().count("/registry/secrets/restarts/").unwrap();
    assert!(written < 2000, "it was too late: {written}");
    assert!(!restoring.is_finished());
    cluster.start_api_server().unwrap();
    assert!(restoring.await.unwrap().unwrap());
    assert_eq!(before, objects(&cluster, "restarts", "secret"));
}

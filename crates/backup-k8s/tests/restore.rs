//! Restores of objects on a real API server.

mod restore_support;

use backup_core::words::ErrorKind;
use restore_support::{Bench, KINDS, deploy, lines, objects, shared, step, versions};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_namespace_comes_back_as_it_was() {
    let cluster = shared();
    deploy(&cluster, "gone");
    let before = objects(&cluster, "gone", KINDS);
    let bench = Bench::new(&cluster, &["gone"]).await;
    bench.backup().await;
    bench.delete_namespace("gone");

    let outcome = bench.restore(json!({})).await.unwrap();
    assert!(outcome.is_done());
    let mut after = objects(&cluster, "gone", KINDS);
    // Addresses and ports of the node are given out anew; the root certificate comes a moment later.
    let mut before = before;
    for list in [&mut before, &mut after] {
        let list = list.as_array_mut().unwrap();
        list.retain(|object| object["metadata"]["name"] != "kube-root-ca.crt");
        for spec in list.iter_mut().filter(|object| object["kind"] == "Service").map(|o| &mut o["spec"]) {
            spec["clusterIP"].take();
            spec["clusterIPs"].take();
            spec["ports"][0]["nodePort"].take();
        }
    }
    pretty_eq(&before, &after);
    let namespace = cluster.json(&["get", "namespace", "gone"]).unwrap();
    assert_eq!(namespace["metadata"]["labels"]["team"], "crm");
    let account = cluster.json(&["get", "serviceaccount", "default", "-n", "gone"]).unwrap();
    assert_eq!(account["imagePullSecrets"], json!([{"name": "registry"}]));
    let fields = cluster.json(&["get", "secret", "db", "-n", "gone", "--show-managed-fields"]).unwrap();
    let managers = fields["metadata"]["managedFields"].as_array().unwrap();
    assert_eq!((&managers[0]["manager"], &managers[0]["operation"]), (&json!("ha-backup"), &json!("Apply")));
}

fn pretty_eq(a: &serde_json::Value, b: &serde_json::Value) {
    let text = |value| serde_json::to_string_pretty(value).unwrap();
    let (a, b) = (text(a), text(b));
    if a != b {
        let differing = a.lines().zip(b.lines()).enumerate().find(|(_, (a, b))| a != b);
        panic!("first difference: {differing:?}\n{a}\n----\n{b}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_writes_nothing_and_shows_what_differs_without_secrets() {
    let cluster = shared();
    deploy(&cluster, "plans");
    let bench = Bench::new(&cluster, &["plans"]).await;
    bench.backup().await;
    let patch = |kind: &str, name: &str, patch: &str| {
        cluster.kubectl(&["patch", kind, name, "-n", "plans", "--type=merge", "-p", patch]).unwrap();
    };
    patch("secret", "db", r#"{"stringData": {"password": "hunter-2"}}"#);
    patch("configmap", "settings", r#"{"data": {"LOG_LEVEL": "debug", "EXTRA": "x"}}"#);
    cluster.kubectl(&["delete", "secret", "seal", "-n", "plans"]).unwrap();
    let all = "secret,configmap,serviceaccount,role,rolebinding,service,networkpolicy,pvc,clusterrolebinding";
    let before = versions(&cluster, all).into_iter().filter(|line| line.contains("plans")).collect::<Vec<_>>();

    for existing in ["skip", "update", "replace"] {
        let plan = bench.plan(json!({"existing": existing})).await.unwrap();
        let secrets = lines(&plan, "secrets");
        assert!(secrets.contains("+ create Secret plans/seal"), "{secrets}");
        assert!(secrets.contains("data.password: differs (value not shown)"), "{secrets}");
        let config = lines(&plan, "config");
        assert!(config.contains("data.LOG_LEVEL: \"debug\" -> \"info\""), "{config}");
        assert!(config.contains("data.EXTRA is only in the cluster, and stays"), "{config}");
        let whole = serde_json::to_string(&plan).unwrap();
        for secret in ["hunter", "aHVudGVy"] {
            assert!(!whole.contains(secret), "{whole}");
        }
        let word = match existing {
            "skip" => "  skip Secret plans/db: it exists, and differs",
            "update" => "~ update Secret plans/db",
            _ => "- replace Secret plans/db",
        };
        assert!(secrets.contains(word), "{secrets}");
        assert!(step(&plan, "rights").subject.contains("the same"), "{:?}", step(&plan, "rights"));
    }
    let after = versions(&cluster, all).into_iter().filter(|line| line.contains("plans")).collect::<Vec<_>>();
    assert_eq!(before, after);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_in_another_namespace_refers_to_itself() {
    let cluster = shared();
    deploy(&cluster, "original");
    let bench = Bench::new(&cluster, &["original"]).await;
    bench.backup().await;
    let before: Vec<String> = versions(&cluster, KINDS).into_iter().filter(|l| l.contains("original")).collect();
    let plan = bench.plan(json!({"namespace": "original:copy"})).await.unwrap();
    let notes = plan.components[0].plan.notes.join("\n");
    assert!(notes.contains("a copy is made: original as copy"), "{notes}");
    assert!(notes.contains("name a Service of the original in a text"), "{notes}");
    let outcome = bench.restore(json!({"namespace": "original:copy", "wait": 0})).await.unwrap();
    assert!(outcome.is_done());
    let binding = cluster.json(&["get", "rolebinding", "web", "-n", "copy"]).unwrap();
    assert_eq!(binding["subjects"][0]["namespace"], "copy");
    let binding = cluster.json(&["get", "clusterrolebinding", "original-view-copy"]).unwrap();
    assert_eq!(binding["subjects"][0]["namespace"], "copy");
    let policy = cluster.json(&["get", "networkpolicy", "web", "-n", "copy"]).unwrap();
    let from = &policy["spec"]["ingress"][0]["from"][0]["namespaceSelector"]["matchLabels"];
    assert_eq!(from, &json!({"kubernetes.io/metadata.name": "copy"}));
    assert_eq!(
        cluster.json(&["get", "secret", "db", "-n", "copy"]).unwrap()["data"],
        cluster.json(&["get", "secret", "db", "-n", "original"]).unwrap()["data"]
    );
    let after: Vec<String> = versions(&cluster, KINDS).into_iter().filter(|l| l.contains("original")).collect();
    assert_eq!(before, after, "the original is as it was");
    let error = bench.plan(json!({"namespace": "elsewhere:copy"})).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
}

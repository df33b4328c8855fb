//! Restores of objects on a real API server.

mod restore_support;

use backup_core::words::ErrorKind;
use backup_testkit::suites::{component_conformance, restore_conformance};
use restore_support::{Bench, KINDS, component, deploy, lines, objects, shared, step, versions};
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

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_passes_the_suites_for_components() {
    let cluster = shared();
    deploy(&cluster, "suite");
    let component = component(&cluster, json!({"namespaces": ["suite"]})).await;
    component_conformance(component.clone()).await;
    restore_conformance(component, json!({"namespace": "suite:suite-copy"})).await;
    assert!(cluster.json(&["get", "secret", "db", "-n", "suite-copy"]).is_ok());
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
    let before =
        versions(&cluster, all).into_iter().filter(|line| line.contains("plans")).collect::<Vec<_>>();

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
    let before: Vec<String> =
        versions(&cluster, KINDS).into_iter().filter(|l| l.contains("original")).collect();
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
    let after: Vec<String> =
        versions(&cluster, KINDS).into_iter().filter(|l| l.contains("original")).collect();
    assert_eq!(before, after, "the original is as it was");
    let error = bench.plan(json!({"namespace": "elsewhere:copy"})).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
}

#[tokio::test(flavor = "multi_thread")]
async fn existing_objects_are_skipped_updated_or_replaced() {
    let cluster = shared();
    deploy(&cluster, "exists");
    let bench = Bench::new(&cluster, &["exists"]).await;
    bench.backup().await;
    let get = |kind: &str, name: &str| cluster.json(&["get", kind, name, "-n", "exists"]).unwrap();
    let change = || {
        let changes = [
            ("configmap", "settings", r#"{"data": {"LOG_LEVEL": "debug", "EXTRA": "x"}}"#),
            (
                "deployment",
                "web",
                r#"{"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 7}}}}"#,
            ),
            (
                "rolebinding",
                "web",
                r#"{"subjects": [{"kind": "ServiceAccount", "name": "other", "namespace": "exists"}]}"#,
            ),
        ];
        for (kind, name, patch) in changes {
            cluster.kubectl(&["patch", kind, name, "-n", "exists", "--type=merge", "-p", patch]).unwrap();
        }
    };
    change();
    let (config, uid) =
        (get("configmap", "settings"), get("configmap", "settings")["metadata"]["uid"].clone());

    bench.restore(json!({"wait": 0})).await.unwrap();
    assert_eq!(get("configmap", "settings"), config, "skipped");

    let plan = bench.plan(json!({"existing": "update", "wait": 0})).await.unwrap();
    eprintln!("{}", restore_support::text(&plan));
    bench.engine.restore(&bench.cx, &plan).await.unwrap();
    let updated = get("configmap", "settings");
    assert_eq!((&updated["data"]["LOG_LEVEL"], &updated["data"]["EXTRA"]), (&json!("info"), &json!("x")));
    assert_eq!(updated["metadata"]["uid"], uid);
    assert_eq!(get("deployment", "web")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"], 30);
    assert_eq!(get("rolebinding", "web")["subjects"][0]["name"], "web");

    change();
    let claim = get("pvc", "data")["metadata"]["uid"].clone();
    let plan = bench.plan(json!({"existing": "replace", "wait": 0})).await.unwrap();
    eprintln!("{}", restore_support::text(&plan));
    bench.engine.restore(&bench.cx, &plan).await.unwrap();
    let replaced = get("configmap", "settings");
    assert_eq!((&replaced["data"]["LOG_LEVEL"], replaced["data"].get("EXTRA")), (&json!("info"), None));
    assert_ne!(replaced["metadata"]["uid"], uid);
    assert_eq!(get("pvc", "data")["metadata"]["uid"], claim, "data hang on it");
    assert_eq!(get("deployment", "web")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"], 30);
    let plan = bench.plan(json!({"existing": "replace", "wait": 0})).await.unwrap();
    assert!(
        plan.steps.iter().all(|planned| planned.step.action != "restore"),
        "{}",
        restore_support::text(&plan)
    );
}

/// Definitions and their objects, into a cluster that knows neither.
#[tokio::test(flavor = "multi_thread")]
async fn custom_resources_come_with_their_definitions() {
    let cluster = shared();
    deploy(&cluster, "custom");
    let definition = |group: &str, version: &str| {
        json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("widgets.{group}")},
            "spec": {
                "group": group, "scope": "Namespaced", "names": {"plural": "widgets", "singular": "widget", "kind": "Widget"},
                "versions": [{"name": version, "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                    "type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]
            }
        })
        .to_string()
    };
    cluster.apply(&definition("custom.example", "v1")).unwrap();
    cluster
        .kubectl(&["wait", "--for=condition=Established", "--timeout=60s", "crd/widgets.custom.example"])
        .unwrap();
    for number in 0..40 {
        let widget = json!({"apiVersion": "custom.example/v1", "kind": "Widget",
            "metadata": {"name": format!("w{number}"), "namespace": "custom"}, "spec": {"size": number, "none": {}}});
        cluster.kubectl_with_input(&["create", "-f", "-"], &widget.to_string()).unwrap();
    }
    let bench = Bench::new(&cluster, &["custom"]).await;
    bench.backup().await;
    let before = objects(&cluster, "custom", "widgets.custom.example");
    bench.delete_namespace("custom");
    cluster.kubectl(&["delete", "crd", "widgets.custom.example", "--timeout=120s"]).unwrap();

    let options = json!({"wait": 0, "exclude": ["crd/nothing"]});
    assert_eq!(bench.plan(options).await.unwrap_err().kind(), ErrorKind::Config, "no such kind");
    let excluded = bench.plan(json!({"exclude": ["CustomResourceDefinition"]})).await.unwrap();
    let custom = lines(&excluded, "custom");
    assert!(
        custom
            .contains("! conflict Widget custom/w0: the cluster does not serve widgets.custom.example in v1"),
        "{custom}"
    );
    let error = bench.engine.restore(&bench.cx, &excluded).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(cluster.kubectl(&["get", "namespace", "custom"]).is_err(), "nothing was touched");

    bench.restore(json!({"wait": 0})).await.unwrap();
    pretty_eq(&before, &objects(&cluster, "custom", "widgets.custom.example"));

    // The kind is there in another version only.
    cluster.kubectl(&["delete", "crd", "widgets.custom.example", "--timeout=120s"]).unwrap();
    cluster.apply(&definition("custom.example", "v2")).unwrap();
    cluster
        .kubectl(&["wait", "--for=condition=Established", "--timeout=60s", "crd/widgets.custom.example"])
        .unwrap();
    let plan = bench.plan(json!({"wait": 0, "conflict": "skip"})).await.unwrap();
    assert!(
        lines(&plan, "custom").contains("of that group it serves v2"),
        "{}",
        restore_support::text(&plan)
    );
    bench.engine.restore(&bench.cx, &plan).await.unwrap();
    assert_eq!(objects(&cluster, "custom", "widgets.custom.example"), json!([]));
    cluster.kubectl(&["delete", "crd", "widgets.custom.example", "--timeout=120s"]).unwrap();
}

/// kubectl's annotation could not hold it.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_secret_and_one_with_an_element_named_twice_come_back() {
    let cluster = shared();
    cluster.create_namespace("large").unwrap();
    let data = "x".repeat(900_000);
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "large", "namespace": "large"},
        "stringData": {"a": data}});
    cluster.kubectl_with_input(&["create", "-f", "-"], &secret.to_string()).unwrap();
    let env = json!([{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]);
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i", "env": env}]}});
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "twice", "namespace": "large"},
        "spec": {"replicas": 0, "selector": {"matchLabels": {"a": "b"}}, "template": template}});
    cluster.kubectl_with_input(&["create", "-f", "-"], &deployment.to_string()).unwrap();
    let bench = Bench::new(&cluster, &["large"]).await;
    bench.backup().await;
    let before = objects(&cluster, "large", "secret,deployment");
    bench.delete_namespace("large");
    bench.restore(json!({"wait": 0})).await.unwrap();
    pretty_eq(&before, &objects(&cluster, "large", "secret,deployment"));
    // Nor is it a problem when it is updated.
    cluster.kubectl(&["scale", "deployment", "twice", "-n", "large", "--replicas=1"]).unwrap();
    bench.restore(json!({"wait": 0, "existing": "update"})).await.unwrap();
    pretty_eq(&before, &objects(&cluster, "large", "secret,deployment"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_changed_since_the_plan_is_left_alone() {
    let cluster = shared();
    deploy(&cluster, "changes");
    let bench = Bench::new(&cluster, &["changes"]).await;
    bench.backup().await;
    let change = |value: &str| {
        let patch = json!({"data": {"LOG_LEVEL": value}}).to_string();
        cluster
            .kubectl(&["patch", "configmap", "settings", "-n", "changes", "--type=merge", "-p", &patch])
            .unwrap();
    };
    change("debug");
    let plan = bench.plan(json!({"existing": "update", "wait": 0})).await.unwrap();
    change("trace");
    let error = bench.engine.restore(&bench.cx, &plan).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}");
    assert!(error.advice().unwrap().contains("--no-resume"));
    let config = cluster.json(&["get", "configmap", "settings", "-n", "changes"]).unwrap();
    assert_eq!(config["data"]["LOG_LEVEL"], "trace");
    // What is skipped may change, what was to be created may not be there.
    cluster.kubectl(&["delete", "secret", "seal", "-n", "changes"]).unwrap();
    let plan = bench.plan(json!({"wait": 0})).await.unwrap();
    change("warn");
    bench.engine.restore(&bench.cx, &plan).await.unwrap();
    cluster.kubectl(&["delete", "secret", "seal", "-n", "changes"]).unwrap();
    let plan = bench.plan(json!({"wait": 0})).await.unwrap();
    cluster
        .kubectl(&["create", "secret", "generic", "seal", "-n", "changes", "--from-literal=a=theirs"])
        .unwrap();
    let error = bench.engine.restore(&bench.cx, &plan).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}");
    let secret = cluster.json(&["get", "secret", "seal", "-n", "changes"]).unwrap();
    assert!(secret["data"].get("bytes").is_none(), "it is theirs");
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_that_never_change_are_conflicts_with_a_reason() {
    let cluster = shared();
    deploy(&cluster, "immutable");
    let bench = Bench::new(&cluster, &["immutable"]).await;
    bench.backup().await;
    cluster
        .kubectl(&["delete", "deployment,pvc,rolebinding", "--all", "-n", "immutable", "--timeout=60s"])
        .unwrap();
    let other = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "immutable"},
        "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "other"}}, "template": {
            "metadata": {"labels": {"app": "other"}},
            "spec": {"containers": [{"name": "c", "image": "i", "env": [{"name": "DB_PASSWORD", "value": "hunter-3"}]}]}}}});
    cluster.kubectl_with_input(&["create", "-f", "-"], &other.to_string()).unwrap();
    let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data", "namespace": "immutable"},
        "spec": {"accessModes": ["ReadWriteMany"], "storageClassName": "x", "resources": {"requests": {"storage": "1Gi"}}}});
    cluster.kubectl_with_input(&["create", "-f", "-"], &claim.to_string()).unwrap();
    let plan = bench.plan(json!({"existing": "update", "wait": 0})).await.unwrap();
    let (claims, workloads) = (lines(&plan, "claims"), lines(&plan, "workloads"));
    assert!(claims.contains("! conflict PersistentVolumeClaim immutable/data"), "{claims}");
    assert!(claims.contains("immutable after creation"), "{claims}");
    assert!(
        workloads.contains("! conflict Deployment immutable/web") && workloads.contains("immutable"),
        "{workloads}"
    );
    assert!(!format!("{plan:?}").contains("hunter"));
    assert_eq!(bench.engine.restore(&bench.cx, &plan).await.unwrap_err().kind(), ErrorKind::Refused);
    // Left out, the rest is restored.
    bench.restore(json!({"existing": "update", "conflict": "skip", "wait": 0})).await.unwrap();
    cluster.json(&["get", "rolebinding", "web", "-n", "immutable"]).unwrap();
    let deployment = || cluster.json(&["get", "deployment", "web", "-n", "immutable"]).unwrap();
    assert_eq!(deployment()["spec"]["selector"]["matchLabels"]["app"], "other");
    // Replaced, what holds no data is as it was.
    let plan = bench.plan(json!({"existing": "replace", "conflict": "skip", "wait": 0})).await.unwrap();
    bench.engine.restore(&bench.cx, &plan).await.unwrap();
    assert_eq!(deployment()["spec"]["selector"]["matchLabels"]["app"], "web");
}

/// A volume that outlives its claim is bound again, one that goes with its claim is not waited for.
#[tokio::test(flavor = "multi_thread")]
async fn a_claim_gets_its_volume_again() {
    let cluster = shared();
    cluster.create_namespace("volumes").unwrap();
    let volume = json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "volumes-data"}, "spec": {
        "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "persistentVolumeReclaimPolicy": "Retain",
        "storageClassName": "volumes-static", "hostPath": {"path": "/tmp/none"}}});
    let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data", "namespace": "volumes"},
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "volumes-static", "resources": {"requests": {"storage": "1Gi"}}}});
    cluster.apply(&volume.to_string()).unwrap();
    cluster.apply(&claim.to_string()).unwrap();
    let phase = |wanted: &str| {
        restore_support::eventually("the claim's phase", || {
            let claim = cluster.json(&["get", "pvc", "data", "-n", "volumes"]).map_err(|e| e.to_string())?;
            match claim["status"]["phase"] == wanted {
                true => Ok(claim["spec"]["volumeName"].clone()),
                false => Err(claim["status"].to_string()),
            }
        })
    };
    phase("Bound");
    let bench = Bench::new(&cluster, &["volumes"]).await;
    bench.backup().await;

    // The volume stays behind, released.
    bench.delete_namespace("volumes");
    let plan = bench.plan(json!({"wait": 0})).await.unwrap();
    assert!(
        lines(&plan, "storage").contains("~ bind again PersistentVolume volumes-data"),
        "{}",
        restore_support::text(&plan)
    );
    bench.engine.restore(&bench.cx, &plan).await.unwrap();
    assert_eq!(phase("Bound"), "volumes-data");

    // The volume is gone too.
    bench.delete_namespace("volumes");
    cluster.kubectl(&["delete", "pv", "volumes-data", "--timeout=60s"]).unwrap();
    bench.restore(json!({"wait": 0})).await.unwrap();
    assert_eq!(phase("Bound"), "volumes-data");

    // It belongs to somebody else now: the claim asks for another one.
    bench.delete_namespace("volumes");
    cluster.kubectl(&["delete", "pv", "volumes-data", "--timeout=60s"]).unwrap();
    let mut theirs = volume;
    theirs["spec"]["claimRef"] = json!({"namespace": "theirs", "name": "data"});
    cluster.apply(&theirs.to_string()).unwrap();
    bench.restore(json!({"wait": 0})).await.unwrap();
    assert_eq!(phase("Pending"), json!(null));

    // A copy never takes the original's.
    let plan = bench.plan(json!({"namespace": "volumes:volumes-copy", "wait": 0})).await.unwrap();
    assert!(restore_support::text(&plan).contains("the copy's claim gets a volume of its own"));
    bench.engine.restore(&bench.cx, &plan).await.unwrap();
    let copy = cluster.json(&["get", "pvc", "data", "-n", "volumes-copy"]).unwrap();
    assert_eq!(copy["spec"].get("volumeName"), None);
}

/// Without nodes: pods stay pending, but replica counts are what they are with nodes.
#[tokio::test(flavor = "multi_thread")]
async fn workloads_are_stopped_and_run_again_as_before() {
    let cluster = shared();
    deploy(&cluster, "stops");
    let job = |kind: &str, name: &str, spec: serde_json::Value| json!({"apiVersion": "batch/v1", "kind": kind, "metadata": {"name": name, "namespace": "stops"}, "spec": spec});
    let template = json!({"metadata": {"labels": {"app": "x"}}, "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}});
    let cron = job(
        "CronJob",
        "tidy",
        json!({"schedule": "0 4 * * 0", "jobTemplate": {"spec": {"template": template}}}),
    );
    cluster.apply(&cron.to_string()).unwrap();
    let mut daemon =
        job("DaemonSet", "agent", json!({"selector": {"matchLabels": {"app": "x"}}, "template": template}));
    daemon["apiVersion"] = json!("apps/v1");
    daemon["spec"]["template"]["spec"]["restartPolicy"] = json!("Always");
    cluster.apply(&daemon.to_string()).unwrap();
    let scale = |count: u32| {
        cluster
            .kubectl(&["scale", "deployment", "web", "-n", "stops", &format!("--replicas={count}")])
            .unwrap();
    };
    let spec = |kind: &str, name: &str| cluster.json(&["get", kind, name, "-n", "stops"]).unwrap();
    scale(3);
    let bench = Bench::new(&cluster, &["stops"]).await;
    bench.backup().await;
    scale(2);
    let before = objects(&cluster, "stops", "deployment,cronjob,daemonset");

    // Left stopped, with the command that starts them.
    let plan = bench.plan(json!({"stop": "all", "start": "no"})).await.unwrap();
    assert!(
        lines(&plan, "stop").contains("- stop Deployment stops/web: 2 -> 0 pods"),
        "{}",
        lines(&plan, "stop")
    );
    let outcome = bench.engine.restore(&bench.cx, &plan).await.unwrap();
    let stopped = spec("deployment", "web");
    assert_eq!(stopped["spec"]["replicas"], 0);
    assert_eq!(stopped["metadata"]["annotations"]["ha-backup/stopped"], "replicas=2");
    assert_eq!(spec("cronjob", "tidy")["spec"]["suspend"], true);
    assert!(
        spec("daemonset", "agent")["spec"]["template"]["spec"]["nodeSelector"]["ha-backup/stopped"]
            .is_string()
    );
    let started = outcome.steps.iter().find(|step| step.step == "started").unwrap();
    assert!(
        started.notes.iter().any(|note| note.contains("kubectl -n stops patch deployments.apps web")),
        "{started:?}"
    );

    // A new restore finds what the one before left stopped; the backup's own count is not asked for.
    bench.restore(json!({"stop": "all", "wait": 0})).await.unwrap();
    pretty_eq(&before, &objects(&cluster, "stops", "deployment,cronjob,daemonset"));

    // Updated, they run as in the backup, though they were stopped meanwhile.
    bench.restore(json!({"stop": "all", "existing": "update", "wait": 0})).await.unwrap();
    let web = spec("deployment", "web");
    assert_eq!(
        (&web["spec"]["replicas"], web["metadata"]["annotations"].get("ha-backup/stopped")),
        (&json!(3), None)
    );

    // What is created stopped says how it ran.
    bench.delete_namespace("stops");
    bench.restore(json!({"start": "no"})).await.unwrap();
    let web = spec("deployment", "web");
    assert_eq!(
        (&web["spec"]["replicas"], &web["metadata"]["annotations"]["ha-backup/stopped"]),
        (&json!(0), &json!("replicas=3"))
    );
    bench.restore(json!({"wait": 0, "stop": "all"})).await.unwrap();
    assert_eq!(spec("deployment", "web")["spec"]["replicas"], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_that_does_not_end_says_why() {
    let cluster = shared();
    deploy(&cluster, "pending");
    cluster.kubectl(&["scale", "deployment", "web", "-n", "pending", "--replicas=2"]).unwrap();
    let bench = Bench::new(&cluster, &["pending"]).await;
    bench.backup().await;
    bench.delete_namespace("pending");
    let error = bench.restore(json!({"wait": 2})).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    let chain = error.chain();
    assert!(chain.contains("Deployment pending/web: 0 of 2 pods ready (pod web-"), "{chain}");
    // Mended, the same restore goes on.
    cluster.kubectl(&["scale", "deployment", "web", "-n", "pending", "--replicas=0"]).unwrap();
    assert!(bench.resume().await.unwrap().is_done());
}

/// One object that is refused keeps no other one from being restored; mended, the same restore goes on.
#[tokio::test(flavor = "multi_thread")]
async fn one_object_that_fails_does_not_hide_among_the_others() {
    let cluster = shared();
    deploy(&cluster, "refused");
    let service = |namespace: &str, name: &str, port: u16| {
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace},
            "spec": {"type": "NodePort", "selector": {"app": "web"}, "ports": [{"port": 80, "nodePort": port}]}})
        .to_string()
    };
    for (name, port) in [("first", 30_021), ("second", 30_022)] {
        cluster.apply(&service("refused", name, port)).unwrap();
    }
    let bench = Bench::new(&cluster, &["refused"]).await;
    bench.backup().await;
    bench.delete_namespace("refused");
    cluster.create_namespace("squatter").unwrap();
    cluster.apply(&service("squatter", "first", 30_021)).unwrap();
    let error = bench.restore(json!({"wait": 0})).await.unwrap_err();
    let said = error.chain();
    assert!(said.contains("1 of 4 objects failed: Service refused/first"), "{said}");
    assert!(said.contains("provided port is already allocated"), "{said}");
    assert!(error.advice().unwrap().contains("the same command goes on"), "{error:?}");
    for name in ["second", "web"] {
        cluster.kubectl(&["get", "service", name, "-n", "refused"]).unwrap();
    }
    assert!(cluster.kubectl(&["get", "deployment", "web", "-n", "refused"]).is_err(), "later steps wait");
    cluster.kubectl(&["delete", "namespace", "squatter", "--timeout=60s"]).unwrap();
    assert!(bench.resume().await.unwrap().is_done());
    let restored = cluster.json(&["get", "service", "first", "-n", "refused"]).unwrap();
    assert_eq!(restored["spec"]["ports"][0]["nodePort"], 30_021);
    cluster.kubectl(&["get", "deployment", "web", "-n", "refused"]).unwrap();
}

/// A definition that does not know a field drops it without a word: that is no success.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_api_server_makes_something_else_of_is_said() {
    let cluster = shared();
    cluster.create_namespace("pruned").unwrap();
    let definition = |properties: serde_json::Value| {
        json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "gadgets.pruned.example"},
            "spec": {
                "group": "pruned.example", "scope": "Namespaced", "names": {"plural": "gadgets", "singular": "gadget", "kind": "Gadget"},
                "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                    "type": "object", "properties": {"spec": {"type": "object", "properties": properties}}}}}]
            }
        })
        .to_string()
    };
    let number = json!({"type": "integer"});
    let establish = |properties| {
        cluster.apply(&definition(properties)).unwrap();
        cluster
            .kubectl(&["wait", "--for=condition=Established", "--timeout=60s", "crd/gadgets.pruned.example"])
            .unwrap();
    };
    establish(json!({"size": number, "weight": number}));
    let gadget = json!({"apiVersion": "pruned.example/v1", "kind": "Gadget", "metadata": {"name": "g", "namespace": "pruned"},
        "spec": {"size": 1, "weight": 2}});
    restore_support::eventually("the gadget to be taken", || {
        cluster.apply(&gadget.to_string()).map_err(|e| e.to_string())
    });
    let bench = Bench::new(&cluster, &["pruned"]).await;
    bench.backup().await;
    bench.delete_namespace("pruned");
    cluster.kubectl(&["delete", "crd", "gadgets.pruned.example", "--timeout=60s"]).unwrap();
    establish(json!({"size": number}));
    let said = bench.restore(json!({"wait": 0})).await.unwrap_err().chain();
    assert!(said.contains("weight"), "{said}");
    bench.delete_namespace("pruned");
    let outcome = bench.restore(json!({"wait": 0, "verify": "warn"})).await.unwrap();
    let notes = &outcome.steps.iter().find(|step| step.step == "custom").unwrap().notes;
    assert!(
        notes.iter().any(|note| note.contains("Gadget pruned/g") && note.contains("spec.weight")),
        "{notes:?}"
    );
    cluster.kubectl(&["delete", "crd", "gadgets.pruned.example", "--timeout=60s"]).unwrap();
}

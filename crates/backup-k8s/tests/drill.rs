//! Drills of objects on a real API server: in throwaway namespaces, and by dry runs.

mod restore_support;

use std::path::{Path, PathBuf};

use backup_core::{
    policy::{ComponentDrill, DrillVerdict, Rung, RungOutcome},
    words::ErrorKind,
};
use backup_testkit::servers::KubernetesCluster;
use restore_support::{Bench, component, deploy, eventually, shared, versions};
use serde_json::{Value, json};

/// [`deploy`], and more that could act or reach out.
fn deploy_busy(cluster: &KubernetesCluster, namespace: &str) {
    deploy(cluster, namespace);
    cluster.apply(&include_str!("restore_support/busy.yaml").replace("NAMESPACE", namespace)).unwrap();
    define(cluster, namespace, json!({"type": "integer"}));
    let widget = json!({"apiVersion": format!("{namespace}.example/v1"), "kind": "Widget",
        "metadata": {"name": "small", "namespace": namespace}, "spec": {"size": 3}});
    eventually("the kind to be served", || {
        cluster.apply(&widget.to_string()).map_err(|error| error.to_string())
    });
}

/// Widgets of a group of the namespace's own, with a size of this schema.
fn define(cluster: &KubernetesCluster, namespace: &str, size: Value) {
    let group = format!("{namespace}.example");
    let schema =
        json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {"size": size}}}});
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("widgets.{group}")},
        "spec": {
            "group": group, "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}],
        },
    });
    cluster.apply(&definition.to_string()).unwrap();
    let name = format!("crd/widgets.{group}");
    cluster.kubectl(&["wait", "--for=condition=Established", "--timeout=60s", &name]).unwrap();
}

async fn bench<'c>(cluster: &'c KubernetesCluster, namespace: &str, drill: Value) -> Bench<'c> {
    let bench = Bench::with(cluster, json!({"namespaces": [namespace], "drill": drill})).await;
    bench.backup().await;
    bench
}

async fn drill(bench: &Bench<'_>) -> ComponentDrill {
    let report = bench.engine.drill(&bench.cx, "latest", &[]).await.unwrap();
    assert_eq!(report.contradictions(), Vec::<String>::new());
    report.components.into_iter().next().unwrap()
}

fn rung(drill: &ComponentDrill, rung: Rung) -> (RungOutcome, String) {
    let report = drill.rungs.iter().find(|report| report.rung == rung).unwrap();
    (report.outcome, format!("{} {:?}", report.said, report.wrong))
}

/// The events of a kind since then, as "ADDED namespace/name", of the throwaway namespaces of a drill of `namespace` and in them.
fn since(cluster: &KubernetesCluster, namespace: &str, plural: &str, version: &str) -> Vec<String> {
    let events = |plural| watched(cluster, plural, version);
    let text = |event: &Value, pointer: &str| {
        event.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let of = |event: &Value| text(event, "/object/metadata/labels/ha-backup~1drill-of") == namespace;
    let name = |event: &Value| text(event, "/object/metadata/name");
    let drills: Vec<String> = events("namespaces").iter().filter(|e| of(e)).map(name).collect();
    let is_drills = |event: &&Value| {
        let place =
            if plural == "namespaces" { name(event) } else { text(event, "/object/metadata/namespace") };
        drills.contains(&place)
    };
    let line = |event: &Value| format!("{} {}", text(event, "/type"), name(event));
    events(plural).iter().filter(is_drills).map(line).collect()
}

fn watched(cluster: &KubernetesCluster, plural: &str, version: &str) -> Vec<Value> {
    let path = format!("/api/v1/{plural}?watch=1&resourceVersion={version}&timeoutSeconds=2");
    let text = cluster.kubectl(&["get", "--raw", &path]).unwrap();
    serde_json::Deserializer::from_str(&text).into_iter::<Value>().map(Result::unwrap).collect()
}

fn now(cluster: &KubernetesCluster) -> String {
    let list = cluster.kubectl(&["get", "--raw", "/api/v1/pods?limit=1"]).unwrap();
    let list: Value = serde_json::from_str(&list).unwrap();
    list["metadata"]["resourceVersion"].as_str().unwrap().to_owned()
}

/// What the source is made of, besides what its own controllers change all the time.
fn source(cluster: &KubernetesCluster, namespace: &str) -> Vec<String> {
    let kinds = "secret,configmap,serviceaccount,role,rolebinding,service,networkpolicy,pvc,ingress,resourcequota,crd,validatingwebhookconfiguration,clusterrolebinding";
    versions(cluster, kinds).into_iter().filter(|line| line.contains(namespace)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_session_passes_in_a_namespace_where_nothing_acts() {
    let cluster = shared();
    deploy_busy(&cluster, "busy");
    let bench = bench(&cluster, "busy", json!({"own_cluster": true})).await;
    let (before, began) = (source(&cluster, "busy"), now(&cluster));
    let drill = drill(&bench).await;
    assert_eq!(drill.verdict, DrillVerdict::Passed, "{drill:#?}");
    for at in [Rung::Structure, Rung::Volume, Rung::Content] {
        assert_eq!(rung(&drill, at).0, RungOutcome::Passed, "{drill:#?}");
    }
    assert_eq!(rung(&drill, Rung::Smoke).0, RungOutcome::NotRun, "{drill:#?}");
    assert!(drill.tools["kubernetes"].starts_with('v'), "{drill:#?}");
    let kept_in = drill.neutralised.join("\n");
    for (kind, how) in [
        ("cronjobs.batch", "created stopped"),
        ("statefulsets.apps", "created stopped"),
        ("3 services", "without a selector"),
        ("ingresses.networking.k8s.io", "not created"),
        ("horizontalpodautoscalers.autoscaling", "not created"),
        ("1 pods", "not created"),
        ("persistentvolumeclaims", "not created"),
        ("widgets.busy.example", "operators would act"),
        ("validatingwebhookconfigurations.admissionregistration.k8s.io", "whole cluster's"),
        ("labels, annotations, finalizers", "only asked about"),
    ] {
        let line = drill.neutralised.iter().find(|line| line.contains(kind));
        assert!(line.is_some_and(|line| line.contains(how)), "{kind}: {kept_in}");
    }

    let namespaces = since(&cluster, "busy", "namespaces", &began);
    assert_eq!(namespaces.iter().filter(|line| line.starts_with("ADDED")).count(), 1, "{namespaces:?}");
    assert!(namespaces.last().unwrap().starts_with("DELETED"), "it is gone: {namespaces:?}");
    assert!(
        since(&cluster, "busy", "configmaps", &began).iter().any(|line| line == "ADDED held"),
        "objects were created"
    );
    assert_eq!(since(&cluster, "busy", "pods", &began), Vec::<String>::new(), "no pod was made");
    assert_eq!(since(&cluster, "busy", "persistentvolumeclaims", &began), Vec::<String>::new());
    assert_eq!(before, source(&cluster, "busy"), "the source is as it was");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_validation_refuses_fails_the_structure_by_name() {
    let cluster = shared();
    deploy_busy(&cluster, "refused");
    let bench = bench(&cluster, "refused", json!({"own_cluster": true})).await;
    // The definition has changed since: what was good is no longer.
    define(&cluster, "refused", json!({"type": "integer", "maximum": 2}));
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": "refused-no-seals"},
        "spec": {
            "matchConstraints": {"resourceRules": [
                {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["secrets"]},
            ]},
            "matchConditions": [{"name": "drills", "expression": "object.metadata.name == 'seal' && request.namespace.startsWith('drill-')"}],
            "validations": [{"expression": "false", "message": "no seals here"}],
        },
    });
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": "refused-no-seals"},
        "spec": {"policyName": "refused-no-seals", "validationActions": ["Deny"],
            "matchResources": {"objectSelector": {"matchLabels": {"only": "refused"}}}},
    });
    cluster.kubectl(&["label", "secret", "seal", "-n", "refused", "only=refused"]).unwrap();
    bench.backup().await;
    cluster.apply(&policy.to_string()).unwrap();
    cluster.apply(&binding.to_string()).unwrap();
    let found = eventually_drill(&bench, "no seals here").await;
    let (outcome, said) = rung(&found, Rung::Structure);
    assert_eq!((outcome, found.verdict), (RungOutcome::Failed, DrillVerdict::Failed), "{said}");
    assert!(said.contains("Widget refused/small") && said.contains("spec.size"), "{said}");
    assert!(said.contains("Secret refused/seal"), "{said}");
    assert_eq!(rung(&found, Rung::Content).0, RungOutcome::Passed, "what was accepted is whole");
    cluster
        .kubectl(&[
            "delete",
            "validatingadmissionpolicybinding,validatingadmissionpolicy",
            "refused-no-seals",
        ])
        .unwrap();
}

/// A policy takes a moment until it is in force.
async fn eventually_drill(bench: &Bench<'_>, said: &str) -> ComponentDrill {
    for _ in 0..20 {
        let found = drill(bench).await;
        if rung(&found, Rung::Structure).1.contains(said) {
            return found;
        }
    }
    drill(bench).await
}

/// The kubeconfig of a user who may do what `rules` say.
fn user(cluster: &KubernetesCluster, name: &str, rules: &Value) -> PathBuf {
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": name}, "rules": rules});
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": name}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name}]});
    cluster.apply(&role.to_string()).unwrap();
    cluster.apply(&binding.to_string()).unwrap();
    cluster.user_kubeconfig(name, &[]).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_rights_nothing_passes_and_each_right_is_named() {
    let cluster = shared();
    deploy(&cluster, "rights");
    let namespaces =
        json!({"apiGroups": [""], "resources": ["namespaces"], "verbs": ["create", "get", "list", "delete"]});
    let reader = user(
        &cluster,
        "rights-reader",
        &json!([{"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get", "list"]}]),
    );
    let bench_of =
        async |kubeconfig: &PathBuf| bench(&cluster, "rights", json!({"kubeconfig": kubeconfig})).await;

    let bench = bench_of(&reader).await;
    let began = now(&cluster);
    let found = drill(&bench).await;
    assert_eq!(found.verdict, DrillVerdict::NotRun, "{found:#?}");
    let said = rung(&found, Rung::Structure).1;
    assert!(said.contains("create namespaces, delete namespaces"), "{said}");
    assert!(said.contains(r#"resources: ["namespaces"], verbs: ["delete"]"#), "{said}");
    assert_eq!(since(&cluster, "rights", "namespaces", &began), Vec::<String>::new());
    let checked =
        component(&cluster, json!({"namespaces": ["rights"], "drill": {"kubeconfig": reader}})).await;
    let findings = checked.check(&bench.cx).await.unwrap();
    let lines: Vec<&str> =
        findings.iter().filter(|f| f.subject == "drills").map(|f| f.message.as_str()).collect();
    assert_eq!(lines.len(), 2, "{findings:?}");
    assert!(lines[0].starts_with("may not create namespaces: "), "{lines:?}");

    // Namespaces can be made, Secrets not.
    let most = json!({"apiGroups": [""], "resources": ["configmaps", "serviceaccounts", "services"], "verbs": ["create", "list"]});
    let some = user(&cluster, "rights-some", &json!([namespaces, most]));
    let bench = bench_of(&some).await;
    let found = drill(&bench).await;
    let (outcome, said) = rung(&found, Rung::Structure);
    assert_eq!(outcome, RungOutcome::NotRun, "{said}");
    assert!(said.contains(r#"resources: ["secrets"], verbs: ["create"]"#), "{said}");
    assert!(!since(&cluster, "rights", "namespaces", &began).is_empty(), "it was made");
    eventually("it is gone", || {
        let left = cluster.kubectl(&["get", "ns", "-l", "ha-backup/drill-of=rights", "-o", "name"]).unwrap();
        if left.is_empty() { Ok(()) } else { Err(left) }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_creates_nothing_and_says_so() {
    let cluster = shared();
    deploy_busy(&cluster, "dry");
    let began = now(&cluster);
    let bench = bench(&cluster, "dry", json!({"own_cluster": true, "dry_run": true})).await;
    let found = drill(&bench).await;
    let (outcome, said) = rung(&found, Rung::Structure);
    assert!(outcome == RungOutcome::Passed && said.contains("nothing was created"), "{found:#?}");
    let (outcome, said) = rung(&found, Rung::Volume);
    assert!(outcome == RungOutcome::NotRun && said.contains("a dry run creates nothing"), "{said}");
    assert_eq!(since(&cluster, "dry", "namespaces", &began), Vec::<String>::new());

    // Their namespace is not there: they are asked about in another one.
    bench.delete_namespace_with_finalizers("dry");
    let found = drill(&bench).await;
    assert_eq!(rung(&found, Rung::Structure).0, RungOutcome::Passed, "{found:#?}");
    assert_eq!(rung(&found, Rung::Content).0, RungOutcome::Passed, "{found:#?}");
    assert!(cluster.kubectl(&["get", "namespace", "dry"]).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_cluster_nothing_passes_and_what_is_wrong_still_fails() {
    let cluster = shared();
    deploy(&cluster, "alone");
    for (drilled, reason) in [
        (json!({}), "no cluster is lent"),
        (json!({"kubeconfig": nowhere(&cluster)}), "cannot be used"),
        (json!({"kubeconfig": "/nowhere/kubeconfig"}), "cannot be used"),
    ] {
        let bench = bench(&cluster, "alone", drilled).await;
        let found = drill(&bench).await;
        assert_eq!(found.verdict, DrillVerdict::NotRun, "{found:#?}");
        for at in [Rung::Structure, Rung::Volume, Rung::Content] {
            let (outcome, said) = rung(&found, at);
            assert!(outcome == RungOutcome::NotRun && said.contains(reason), "{said}");
        }
    }
}

/// A kubeconfig that leads to a port where nobody listens.
fn nowhere(cluster: &KubernetesCluster) -> PathBuf {
    let text = std::fs::read_to_string(cluster.kubeconfig()).unwrap();
    let path = cluster.scratch().join("nowhere.yaml");
    std::fs::write(&path, text.replace(&format!(":{}", cluster.api_server_port()), ":1")).unwrap();
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drill_that_is_cancelled_leaves_no_namespace() {
    let cluster = shared();
    deploy(&cluster, "late");
    let bench = bench(&cluster, "late", json!({"own_cluster": true})).await;
    let began = now(&cluster);
    let cancel = async {
        loop {
            let names =
                cluster.kubectl(&["get", "ns", "-l", "ha-backup/drill-of=late", "-o", "name"]).unwrap();
            if !names.is_empty() {
                return bench.cx.cancel.cancel();
            }
            tokio::task::yield_now().await;
        }
    };
    let (outcome, ()) = tokio::join!(bench.engine.drill(&bench.cx, "latest", &[]), cancel);
    // It was there, so the drill was at it: removing it is a part of the drill, and takes seconds.
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Cancelled);
    let events = since(&cluster, "late", "namespaces", &began);
    assert!(events.first().is_some_and(|line| line.starts_with("ADDED")), "{events:?}");
    assert!(events.last().is_some_and(|line| line.starts_with("DELETED")), "{events:?}");
}

fn shipped(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/kubernetes").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_account_that_is_shipped_can_drill_and_write_nowhere_else() {
    let cluster = shared();
    deploy_busy(&cluster, "shipped");
    cluster.create_namespace("ha-backup").unwrap();
    cluster.apply(&shipped("drill-rbac.yaml")).unwrap();
    for file in ["drill-cronjob.yaml", "daemon.yaml"] {
        let applied = cluster.kubectl_with_input(
            &["apply", "--dry-run=server", "--validate=strict", "-f", "-"],
            &shipped(file),
        );
        applied.unwrap_or_else(|error| panic!("{file}: {error}"));
    }
    let account = cluster.account_kubeconfig("ha-backup", "ha-backup-drill").unwrap();
    let acts = |arguments: &[&str]| {
        let kubeconfig = account.to_str().unwrap();
        cluster
            .kubectl(&[&["--kubeconfig", kubeconfig], arguments].concat())
            .map_err(|error| error.to_string())
    };
    eventually("the policy to be in force", || {
        let made = acts(&["create", "configmap", "stray", "-n", "shipped", "--save-config=false"]);
        match made {
            Err(error) if error.contains("writes in the namespaces of drills only") => Ok(()),
            other => {
                let _ = cluster.kubectl(&["delete", "configmap", "stray", "-n", "shipped"]);
                Err(format!("{other:?}"))
            }
        }
    });
    for name in ["shipped", "drill-by-hand"] {
        if name != "shipped" {
            cluster.kubectl(&["create", "namespace", name]).unwrap();
        }
        let error = acts(&["delete", "namespace", name]).unwrap_err();
        assert!(error.contains("the namespaces of drills only"), "{error}");
    }

    let bench = bench(&cluster, "shipped", json!({"kubeconfig": account})).await;
    let found = drill(&bench).await;
    let (outcome, said) = rung(&found, Rung::Structure);
    // Custom kinds are the one thing that no list which is shipped can name.
    let widgets = r#"{apiGroups: ["shipped.example"], resources: ["widgets"], verbs: ["create"]}"#;
    assert!(outcome == RungOutcome::NotRun && said.contains(widgets), "{said}");
    assert_eq!(said.matches("a right is missing").count(), 1, "{said}");
    assert_eq!(rung(&found, Rung::Volume).0, RungOutcome::Passed, "{found:#?}");
    assert_eq!(rung(&found, Rung::Content).0, RungOutcome::Passed, "{found:#?}");
    let left = cluster.kubectl(&["get", "ns", "-l", "ha-backup/drill-of=shipped", "-o", "name"]).unwrap();
    assert_eq!(left, "", "it was removed with the account's rights");
}

//! What we may not read, what does not answer, and what was not asked for.

use std::{collections::BTreeSet, path::Path, time::Duration};

use backup_core::{traits::Severity, words::ComponentStatus};
use backup_testkit::servers::{KubernetesCluster, SupabaseLike, poll};
use serde_json::json;

use crate::lab::{Lab, section, shared, start};

/// A user who may list everything in `namespace` but what `refused` says, and of the cluster at large what is looked through.
fn least(cluster: &KubernetesCluster, user: &str, namespace: &str, refused: &[&str]) -> std::path::PathBuf {
    let resources =
        cluster.kubectl(&["api-resources", "--namespaced", "--verbs=list,create", "-o", "name"]).unwrap();
    let mut rules: Vec<_> = resources
        .lines()
        .filter(|name| !refused.contains(name))
        .map(|name| {
            let (plural, group) = name.split_once('.').unwrap_or((name, ""));
            json!({"apiGroups": [group], "resources": [plural], "verbs": ["get", "list"]})
        })
        .collect();
    // Other tests of the cluster may define these meanwhile.
    let groups = ["supabase.example", "storage.supabase.example"];
    rules.push(json!({"apiGroups": groups, "resources": ["*"], "verbs": ["get", "list"]}));
    let rbac = "rbac.authorization.k8s.io/v1";
    let subjects = json!([{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": user}]);
    let role_ref = |kind: &str| json!({"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": user});
    let wide = json!([
        {"apiGroups": [""], "resources": ["namespaces"], "resourceNames": [namespace], "verbs": ["get", "list"]},
        {"apiGroups": [""], "resources": ["persistentvolumes"], "verbs": ["list"]},
        {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["clusterrolebindings", "clusterroles"], "verbs": ["list"]},
        {"apiGroups": ["admissionregistration.k8s.io", "apiregistration.k8s.io", "apiextensions.k8s.io"],
            "resources": ["*"], "verbs": ["list"]},
        {"apiGroups": ["storage.k8s.io", "scheduling.k8s.io", "node.k8s.io", "resource.k8s.io", "supabase.example"],
            "resources": ["*"], "verbs": ["list"]},
        {"apiGroups": ["networking.k8s.io"], "resources": ["ingressclasses"], "verbs": ["list"]},
    ]);
    let objects = json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": rbac, "kind": "Role", "metadata": {"name": user, "namespace": namespace}, "rules": rules},
        {"apiVersion": rbac, "kind": "RoleBinding", "metadata": {"name": user, "namespace": namespace},
            "roleRef": role_ref("Role"), "subjects": subjects},
        {"apiVersion": rbac, "kind": "ClusterRole", "metadata": {"name": user}, "rules": wide},
        {"apiVersion": rbac, "kind": "ClusterRoleBinding", "metadata": {"name": user}, "roleRef": role_ref("ClusterRole"),
            "subjects": subjects},
    ]});
    cluster.apply(&objects.to_string()).unwrap();
    let kubeconfig = cluster.user_kubeconfig(user, &[]).unwrap();
    // The server learns of a role a moment after it is given.
    poll("the roles", Duration::from_secs(30), || {
        let may =
            |args: &[&str]| cluster.kubectl_as(&kubeconfig).args(args).output().unwrap().status.success();
        let given = may(&["get", "configmaps", "-n", namespace]) && may(&["get", "persistentvolumes"]);
        if given { Ok(()) } else { Err("not yet") }
    })
    .unwrap();
    kubeconfig
}

fn section_as(kubeconfig: &Path, namespace: &str) -> serde_json::Value {
    json!({ "kubeconfig": kubeconfig, "namespace": namespace })
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_that_may_not_be_read_make_it_partial_and_are_named() {
    let cluster = shared();
    cluster.create_namespace("forbidden").unwrap();
    cluster.kubectl(&["create", "configmap", "settings", "--from-literal=a=b", "-n", "forbidden"]).unwrap();
    cluster.kubectl(&["create", "secret", "generic", "key", "-n", "forbidden"]).unwrap();
    let kubeconfig = least(&cluster, "nosecrets", "forbidden", &["secrets"]);
    let lab = Lab::new(section_as(&kubeconfig, "forbidden")).await;
    let exported = lab.export().await;
    assert_eq!(exported.record.status, ComponentStatus::Partial);
    let missing = exported.missing();
    assert_eq!(missing.len(), 1, "{missing:?}");
    assert_eq!(missing[0].what, "secrets in forbidden");
    assert!(
        missing[0].why.contains("403 Forbidden") && missing[0].why.contains("nosecrets"),
        "{}",
        missing[0].why
    );
    assert!(exported.names().contains(&"ConfigMap settings".to_owned()));
    assert!(!exported.names().contains(&"Secret key".to_owned()));
    let findings = lab.check().await;
    let errors: Vec<_> = findings.iter().filter(|finding| finding.severity != Severity::Ok).collect();
    assert_eq!(errors.len(), 1, "{errors:#?}");
    assert!(errors[0].message.starts_with("may not list secrets in namespace forbidden"), "{errors:?}");
    let rule = r#"{apiGroups: [""], resources: ["secrets"], verbs: ["get", "list"]}"#;
    assert!(errors[0].hint.as_ref().unwrap().contains(rule), "{errors:?}");
    // Left out on purpose, nothing is missing.
    let mut section = section_as(&kubeconfig, "forbidden");
    section["exclude"] = json!({"kinds": ["Secret"]});
    let lab = Lab::new(section).await;
    assert_eq!(lab.export().await.record.status, ComponentStatus::Success);
    assert!(lab.check().await.iter().all(|finding| finding.severity == Severity::Ok));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rights_that_are_shipped_are_enough() {
    let cluster = shared();
    for namespace in ["ha-backup", "fastapi"] {
        cluster.create_namespace(namespace).unwrap();
    }
    SupabaseLike::default().deploy(&cluster).unwrap();
    cluster.apply(include_str!("../../../../deploy/kubernetes/backup-rbac.yaml")).unwrap();
    cluster.apply(include_str!("../../../../deploy/kubernetes/files-rbac.yaml")).unwrap();
    let kubeconfig = cluster.account_kubeconfig("ha-backup", "ha-backup").unwrap();
    poll("the roles", Duration::from_secs(30), || {
        let list = ["get", "secrets", "-n", "supabase"];
        let given = cluster.kubectl_as(&kubeconfig).args(list).output().unwrap().status.success();
        if given { Ok(()) } else { Err("not yet") }
    })
    .unwrap();
    let mut section = section_as(&kubeconfig, "supabase");
    let exported = Lab::new(section.clone()).await.export().await;
    assert_eq!(exported.record.status, ComponentStatus::Success, "{:?}", exported.missing());
    assert!(exported.names().contains(&"ClusterRoleBinding supabase-volumes".to_owned()));
    let unknown =
        exported.record.coverage.iter().find(|line| line.what == "tenants.supabase.example").unwrap();
    assert!(!unknown.missing && unknown.why.contains("may not be listed"), "{unknown:?}");
    section["state"] = json!({});
    let findings = Lab::new(section).await.check().await;
    let problems: Vec<_> = findings.iter().filter(|finding| finding.severity != Severity::Ok).collect();
    // Other tests' custom kinds of the cluster at large may be there, too.
    let custom = |message: &str| message.starts_with("may not list ") && message.contains(".example");
    assert!(
        problems.iter().all(|finding| finding.severity == Severity::Warning && custom(&finding.message)),
        "{problems:#?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_who_may_read_nothing_gets_an_error_and_so_does_a_namespace_that_is_not_there() {
    let cluster = shared();
    let kubeconfig = cluster.user_kubeconfig("nobody", &[]).unwrap();
    let lab = Lab::new(section_as(&kubeconfig, "default")).await;
    let report = lab.backup().await.unwrap().report;
    assert_eq!(report.details[0].status, ComponentStatus::Failed);
    assert!(report.errors[0].contains("default"), "{:?}", report.errors);
    assert!(lab.check().await.iter().any(|finding| finding.message.contains("may not list")));
    let lab = Lab::new(section(&cluster, "nowhere")).await;
    let report = lab.backup().await.unwrap().report;
    assert_eq!(report.details[0].status, ComponentStatus::Failed);
    assert!(report.errors[0].contains("nowhere"), "{:?}", report.errors);
    assert!(
        lab.check()
            .await
            .iter()
            .any(|finding| finding.severity == Severity::Error && finding.subject == "namespace nowhere")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_whose_server_is_down_makes_it_partial_and_is_named() {
    let cluster = start();
    cluster.create_namespace("shop").unwrap();
    cluster
        .apply(
            "apiVersion: v1\nkind: Service\nmetadata: {name: api, namespace: shop}\nspec: {ports: [{port: 443}]}\n---\n\
             apiVersion: apiregistration.k8s.io/v1\nkind: APIService\nmetadata: {name: v1.down.example.com}\n\
             spec: {group: down.example.com, version: v1, groupPriorityMinimum: 100, versionPriority: 100, \
             insecureSkipTLSVerify: true, service: {name: api, namespace: shop}}\n",
        )
        .unwrap();
    poll("the group to be known", Duration::from_secs(60), || {
        let groups = cluster.kubectl(&["get", "--raw", "/apis"]).map_err(|e| e.to_string())?;
        if groups.contains("down.example.com") { Ok(()) } else { Err(groups) }
    })
    .unwrap();
    let lab = Lab::new(section(&cluster, "shop")).await;
    let exported = lab.export().await;
    assert_eq!(exported.record.status, ComponentStatus::Partial);
    let missing = exported.missing();
    assert_eq!(missing.len(), 1, "{missing:?}");
    assert_eq!(missing[0].what, "group down.example.com/v1");
    assert!(missing[0].why.contains("503"), "{}", missing[0].why);
    assert!(
        exported.names().contains(&"APIService v1.down.example.com".to_owned()),
        "its service is in the namespace"
    );
    assert!(exported.names().contains(&"Service api".to_owned()));
    let found = lab.check().await;
    let finding = found.iter().find(|finding| finding.severity == Severity::Warning).unwrap();
    assert_eq!(finding.subject, "group down.example.com/v1");
    let mut section = section(&cluster, "shop");
    section["exclude"] = json!({"kinds": ["*.down.example.com"]});
    assert_eq!(Lab::new(section).await.export().await.record.status, ComponentStatus::Success);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_chosen_is_exported_with_what_it_needs() {
    let cluster = shared();
    cluster.create_namespace("choice").unwrap();
    let config_map = |name: &str, app: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "choice", "labels": {"app": app}}});
    let binding = |account: &str| {
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": format!("choice-{account}")},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
            "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": "choice"}]})
    };
    let account = |name: &str, app: &str| json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": "choice", "labels": {"app": app}}});
    let items = [
        config_map("a", "web"),
        config_map("b", "web"),
        config_map("c", "db"),
        account("web", "web"),
        account("db", "db"),
        binding("web"),
        binding("db"),
    ];
    cluster.apply(&json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()).unwrap();
    let names = async |include: serde_json::Value, exclude: serde_json::Value| -> BTreeSet<String> {
        let mut section = section(&cluster, "choice");
        section["include"] = include;
        section["exclude"] = exclude;
        let exported = Lab::new(section).await.export().await;
        assert_eq!(exported.record.status, ComponentStatus::Success, "{:?}", exported.missing());
        exported.names().into_iter().collect()
    };
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    let web = names(json!({"labels": "app=web"}), json!({"names": ["b"]})).await;
    let expected = [
        "Namespace choice",
        "ConfigMap a",
        "ServiceAccount web",
        "ClusterRoleBinding choice-web",
        "ClusterRole view",
        "ClusterRole system:aggregate-to-view",
    ];
    assert_eq!(web, set(&expected));
    let by_kind = names(json!({"kinds": ["configmaps"]}), json!({"labels": "app=db"})).await;
    assert_eq!(
        by_kind,
        set(&["Namespace choice", "ConfigMap a", "ConfigMap b", "ConfigMap kube-root-ca.crt"])
    );
    let without = names(json!({}), json!({"kinds": ["ClusterRoleBinding", "Namespace", "ConfigMap"]})).await;
    assert_eq!(without, set(&["ServiceAccount web", "ServiceAccount db", "ServiceAccount default"]));
}

/// A kubeconfig of several contexts, the one that is wanted with a plug-in that prints a token: as cloud providers make them.
#[tokio::test(flavor = "multi_thread")]
async fn a_plug_in_says_who_we_are_in_the_context_that_is_named() {
    let cluster = shared();
    cluster.create_namespace("plugged").unwrap();
    let mut config = cluster.json(&["config", "view", "--raw"]).unwrap();
    let token = config["users"][0]["user"]["token"].as_str().unwrap().to_owned();
    let known = config["clusters"][0]["name"].clone();
    let credential =
        r#"{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"%s"}}"#;
    let plug_in = json!({
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": "sh",
        "args": ["-c", format!("printf '{credential}' \"$TOKEN\"")],
        "env": [{"name": "TOKEN", "value": token}],
        "interactiveMode": "Never",
    });
    config["users"] = json!([
        {"name": "plugged", "user": {"exec": plug_in}},
        {"name": "stranger", "user": {"token": "nobody"}},
    ]);
    config["contexts"] = json!([
        {"name": "cloud", "context": {"cluster": known, "user": "plugged"}},
        {"name": "other", "context": {"cluster": known, "user": "stranger"}},
    ]);
    config["current-context"] = json!("other");
    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = folder.path().join("config");
    std::fs::write(&kubeconfig, config.to_string()).unwrap();
    let mut section = section_as(&kubeconfig, "plugged");
    let refused = Lab::new(section.clone()).await.check().await;
    assert!(refused.iter().any(|finding| finding.severity == Severity::Error), "{refused:?}");
    section["context"] = json!("cloud");
    let lab = Lab::new(section.clone()).await;
    assert!(lab.check().await.iter().all(|finding| finding.severity != Severity::Error));
    assert!(lab.export().await.names().contains(&"Namespace plugged".to_owned()));
    section["context"] = json!("gone");
    let lab = Lab::new(section).await;
    let unknown = lab.component.check(&lab.cx).await.unwrap_err();
    assert!(unknown.chain().contains("context: gone"), "{unknown:?}");
}

//! The harness's Kubernetes without nodes: an API server and its controllers, which need no root.

use backup_testkit::servers::{KubernetesCluster, KubernetesOptions, Result, SupabaseLike, poll};
use serde_json::json;
use std::process::Command;
use std::time::Duration;

fn start() -> Result<KubernetesCluster> {
    KubernetesCluster::start(0, KubernetesOptions::default())
}

#[test]
fn the_api_server_comes_back_with_what_it_knew() -> Result<()> {
    let mut cluster = start()?;
    cluster.create_namespace("crm")?;
    let metadata = json!({"name": "key", "namespace": "crm"});
    let secret =
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"a": "b"}});
    cluster.apply(&secret.to_string())?;
    cluster.kill_api_server();
    assert!(cluster.kubectl(&["get", "secrets", "-n", "crm"]).is_err(), "it is gone");
    cluster.start_api_server()?;
    assert_eq!(cluster.json(&["get", "secret", "key", "-n", "crm"])?["data"]["a"], "Yg==");
    cluster.pause_api_server()?;
    assert!(cluster.kubectl(&["get", "secrets", "-n", "crm", "--request-timeout=1s"]).is_err(), "it hangs");
    cluster.resume_api_server()?;
    cluster.kubectl(&["get", "secrets", "-n", "crm"])?;
    assert!(cluster.etcd().count("/registry/secrets/crm/")? == 1, "its etcd is ours to look into");
    Ok(())
}

/// The controllers work: a deployment gets its replica set and pods, which wait for a node for ever.
#[test]
fn without_nodes_pods_stay_pending() -> Result<()> {
    let cluster = start()?;
    cluster.kubectl(&["create", "deployment", "web", "--image=localhost/busybox:1", "--replicas=2"])?;
    poll("two pods", Duration::from_secs(60), || {
        let pods = cluster.json(&["get", "pods", "-l", "app=web"]).map_err(|e| e.to_string())?;
        let phases: Vec<_> =
            pods["items"].as_array().into_iter().flatten().map(|p| &p["status"]["phase"]).collect();
        if phases == ["Pending", "Pending"] { Ok(()) } else { Err(format!("{phases:?}")) }
    })
}

#[test]
fn users_and_accounts_may_do_what_rbac_gives_them() -> Result<()> {
    let cluster = start()?;
    let user = cluster.user_kubeconfig("carla", &["auditors"])?;
    let account = cluster.account_kubeconfig("default", "default")?;
    let says = |mut kubectl: Command, args: &[&str]| kubectl.args(args).output().map(|o| o.status.success());
    let list = ["get", "configmaps", "-n", "kube-system"];
    for kubeconfig in [&user, &account] {
        assert!(!says(cluster.kubectl_as(kubeconfig), &list)?, "nobody gave them anything");
    }
    let view = ["create", "clusterrolebinding", "see", "--clusterrole=view"];
    cluster.kubectl(&[&view[..], &["--group=auditors", "--serviceaccount=default:default"]].concat())?;
    for kubeconfig in [&user, &account] {
        // The server learns of a role a moment after it is given.
        poll("the role", Duration::from_secs(30), || match says(cluster.kubectl_as(kubeconfig), &list) {
            Ok(true) => Ok(()),
            other => Err(format!("{}: {other:?}", kubeconfig.display())),
        })?;
        assert!(!says(cluster.kubectl_as(kubeconfig), &["get", "secrets"])?, "`view` shows no secrets");
    }
    Ok(())
}

#[test]
fn an_application_like_supabase_needs_no_pods_for_its_objects() -> Result<()> {
    let cluster = start()?;
    let supabase = SupabaseLike::default();
    supabase.deploy(&cluster)?;
    assert!(!supabase.root_key(&cluster)?.is_empty());
    assert_eq!(
        cluster.json(&["get", "buckets", "-n", "supabase"])?["items"].as_array().map(Vec::len),
        Some(2)
    );
    poll("the claim to get its volume", Duration::from_secs(30), || {
        let claim =
            cluster.json(&["get", "pvc", "data-storage-0", "-n", "supabase"]).map_err(|e| e.to_string())?;
        let phase = &claim["status"]["phase"];
        if phase == "Bound" { Ok(()) } else { Err(phase.to_string()) }
    })
}

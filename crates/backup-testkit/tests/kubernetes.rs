//! The harness's Kubernetes without nodes: an API server and its controllers, which need no root.

use backup_testkit::servers::{KubernetesCluster, KubernetesOptions, Result};

#[test]
fn the_api_server_comes_back_with_what_it_knew() -> Result<()> {
    let api_server_args = vec!["--event-ttl=10s".to_owned()];
    let mut cluster =
        KubernetesCluster::start(0, KubernetesOptions { api_server_args, ..Default::default() })?;
    cluster.create_namespace("crm")?;
    cluster.apply(r#"{"apiVersion":"v1","kind":"Secret","metadata":{"name":"key","namespace":"crm"},"stringData":{"a":"b"}}"#)?;
    cluster.kill_api_server();
    assert!(cluster.kubectl(&["get", "secrets", "-n", "crm"]).is_err(), "it is gone");
    cluster.start_api_server()?;
    assert_eq!(cluster.json(&["get", "secret", "key", "-n", "crm"])?["data"]["a"], "Yg==");
    Ok(())
}

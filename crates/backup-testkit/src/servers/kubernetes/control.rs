//! The command lines of the control plane. Every flag beyond the obvious has its reason beside it.

use super::users::Users;
use std::path::Path;

/// The API server.
pub(super) fn api_server(port: u16, etcd: &[String], certificates: &Path, users: &Users) -> Vec<String> {
    let account_key = users.account_key();
    vec![
        format!("--etcd-servers={}", etcd.join(",")),
        "--bind-address=127.0.0.1".to_owned(),
        "--advertise-address=127.0.0.1".to_owned(),
        format!("--secure-port={port}"),
        // It makes its own certificate here, and keeps it over a restart.
        format!("--cert-dir={}", certificates.display()),
        // An endpoint may not be a loopback address.
        "--endpoint-reconciler-type=none".to_owned(),
        "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
        format!("--token-auth-file={}", users.token_file().display()),
        format!("--client-ca-file={}", users.client_ca().display()),
        "--authorization-mode=Node,RBAC".to_owned(),
        "--enable-admission-plugins=NodeRestriction".to_owned(),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        format!("--service-account-key-file={}", account_key.display()),
        format!("--service-account-signing-key-file={}", account_key.display()),
        "--kubelet-preferred-address-types=InternalIP".to_owned(),
        "--allow-privileged=true".to_owned(),
    ]
}

/// The controllers.
pub(super) fn controllers(
    port: u16,
    folder: &Path,
    kubeconfig: &Path,
    ca: &Path,
    users: &Users,
) -> Vec<String> {
    vec![
        format!("--kubeconfig={}", kubeconfig.display()),
        "--bind-address=127.0.0.1".to_owned(),
        format!("--secure-port={port}"),
        format!("--cert-dir={}", folder.display()),
        // Else it makes one under /usr/libexec.
        format!("--flex-volume-plugin-dir={}", folder.join("flex").display()),
        format!("--service-account-private-key-file={}", users.account_key().display()),
        format!("--root-ca-file={}", ca.display()),
        "--leader-elect=false".to_owned(),
        "--kube-api-qps=200".to_owned(),
        "--kube-api-burst=400".to_owned(),
        "--controllers=*,-nodeipam,-node-route-controller,-cloud-node-lifecycle-controller".to_owned(),
    ]
}

/// The scheduler.
pub(super) fn scheduler(port: u16, folder: &Path, kubeconfig: &Path) -> Vec<String> {
    vec![
        format!("--kubeconfig={}", kubeconfig.display()),
        "--bind-address=127.0.0.1".to_owned(),
        format!("--secure-port={port}"),
        format!("--cert-dir={}", folder.display()),
        "--leader-elect=false".to_owned(),
        "--kube-api-qps=200".to_owned(),
        "--kube-api-burst=400".to_owned(),
    ]
}

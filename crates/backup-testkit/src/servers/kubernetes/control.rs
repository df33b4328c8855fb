//! The control plane: API server, controllers, scheduler. Every flag beyond the obvious has its reason beside
//! it.

use super::super::error::{Error, Result};
use super::super::etcd::EtcdCluster;
use super::super::ports::Port;
use super::super::process::{Process, Spec};
use super::super::toolbox::Toolbox;
use super::tools::KubernetesTools;
use super::users::Users;
use std::fs;
use std::path::{Path, PathBuf};

/// The programs of the control plane, running or not. Dropped before etcd is.
#[derive(Debug)]
pub(super) struct Control {
    pub(super) users: Users,
    pub(super) kubeconfig: PathBuf,
    /// The API server's own certificate with its issuer's.
    pub(super) ca: PathBuf,
    pub(super) scheduler: Process,
    pub(super) controllers: Process,
    pub(super) api: Process,
    pub(super) api_port: Port,
    _ports: [Port; 2],
}

impl Control {
    /// Fixes ports, users and folders without starting anything.
    pub(super) fn prepare(
        toolbox: &Toolbox,
        tools: &KubernetesTools,
        folder: &Path,
        etcd: &EtcdCluster,
        api_server_args: &[String],
    ) -> Result<Self> {
        let (api_port, ports) = (Port::reserve()?, [Port::reserve()?, Port::reserve()?]);
        let certificates = folder.join("certificates");
        let ca = certificates.join("apiserver.crt");
        let api_url = format!("https://127.0.0.1:{}", api_port.number());
        let users = Users::create(toolbox, &folder.join("users"), &api_url, &ca)?;
        let kubeconfig = users.with_token("admin", "admin", "system:masters")?;
        let process = |name: &str, args: Vec<String>| {
            let (program, cwd) = (tools.program(name), folder.join(name));
            fs::create_dir(&cwd)?;
            Ok::<_, Error>(Process::new(Spec {
                name: name.to_owned(),
                program,
                args,
                env: Vec::new(),
                cwd,
                user: None,
            }))
        };
        let mut args = api_server(api_port.number(), &etcd.endpoints(), &certificates, &users);
        args.extend_from_slice(api_server_args);
        let api = process("kube-apiserver", args)?;
        let login = users.with_token("controllers", "controllers", "system:masters")?;
        let args = controllers(ports[0].number(), &folder.join("controllers"), &login, &ca, &users);
        let controllers = process("kube-controller-manager", args)?;
        let login = users.with_token("scheduler", "system:kube-scheduler", "")?;
        let args = scheduler(ports[1].number(), &folder.join("scheduler"), &login);
        let scheduler = process("kube-scheduler", args)?;
        Ok(Self { users, kubeconfig, ca, scheduler, controllers, api, api_port, _ports: ports })
    }
}

/// The API server.
fn api_server(port: u16, etcd: &[String], certificates: &Path, users: &Users) -> Vec<String> {
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
fn controllers(port: u16, folder: &Path, kubeconfig: &Path, ca: &Path, users: &Users) -> Vec<String> {
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
fn scheduler(port: u16, folder: &Path, kubeconfig: &Path) -> Vec<String> {
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

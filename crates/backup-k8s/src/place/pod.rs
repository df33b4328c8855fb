//! One pod: programs by exec, connections by port-forward.

use async_trait::async_trait;
use backup_core::{
    traits::{Command, Connection, Place, Process},
    words::{Error, ErrorKind, Result, Retry},
};

use super::{pods::Pod, process::PodProcess};
use crate::cluster::{Cluster, Exec};

/// A pod that runs.
#[derive(Debug)]
pub(super) struct PodPlace {
    cluster: Cluster,
    namespace: String,
    pod: Pod,
}

impl PodPlace {
    pub(super) fn new(cluster: Cluster, namespace: String, pod: Pod) -> Self {
        Self { cluster, namespace, pod }
    }

    /// Which one it is.
    pub(super) fn pod(&self) -> &Pod {
        &self.pod
    }
}

/// Whoever held something open in the pod begins anew: what the API server could not do now it may do then.
fn lost(error: Error) -> Error {
    match error.kind() {
        ErrorKind::Unreachable | ErrorKind::TimedOut | ErrorKind::Throttled => error.retry(Retry::Reopen),
        _ => error,
    }
}

#[async_trait]
impl Place for PodPlace {
    async fn run(&self, command: &Command) -> Result<Box<dyn Process>> {
        let exec = Exec {
            cluster: self.cluster.clone(),
            namespace: self.namespace.clone(),
            pod: self.pod.name.clone(),
            container: Some(self.pod.container.clone()),
        };
        Ok(Box::new(PodProcess::start(&exec, command).await.map_err(lost)?))
    }

    /// To the pod's own `localhost`, whatever the pod is called by. A socket's folder is out of reach.
    async fn connect(&self, host: &str, port: u16) -> Result<Box<dyn Connection>> {
        if host.starts_with('/') {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "connect to",
                format!("{host} in {}", self.name()),
            )
            .detail("a Unix socket inside a pod cannot be reached")
            .hint("leave `host` out: the server is found among the pods"));
        }
        if host != "localhost" && !self.pod.is_called(host) {
            return Err(Error::new(ErrorKind::Unreachable, "connect to", format!("{host}:{port}"))
                .detail(format!("it is not {}", self.name())));
        }
        let forwarded = self.cluster.forward(&self.namespace, &self.pod.name, port).await;
        Ok(Box::new(forwarded.map_err(lost)?))
    }

    fn name(&self) -> String {
        format!("pod {}/{}", self.namespace, self.pod.name)
    }
}

//! Pods as the place where programs run and connections are opened.

mod pod;
mod pods;
mod process;
mod signs;

use std::{path::PathBuf, sync::Arc};

use async_trait::async_trait;
use backup_core::{
    traits::{Command, Connection, Hosts, Node, Place, Process},
    words::{Error, ErrorKind, Result},
};
use serde::Deserialize;
use tokio::sync::OnceCell;

use crate::{cluster::Cluster, config::Access, filter::Selector};

use pod::PodPlace;

/// The pods in which a component's programs run and to which its connections go.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Via {
    /// Their namespace.
    pub namespace: String,
    /// Which pods, by labels as kubectl takes them: `app=postgres,tier!=test`.
    pub selector: String,
    /// Which container; without it the pod's default one.
    #[serde(default)]
    pub container: Option<String>,
    /// A kubeconfig. Without it: `KUBECONFIG`, `~/.kube/config`, then the service account of the pod that we run in.
    #[serde(default)]
    pub kubeconfig: Option<PathBuf>,
    /// One of its contexts; without it the current one.
    #[serde(default)]
    pub context: Option<String>,
    /// Seconds in which the API server must answer a request (default 30).
    #[serde(default)]
    pub request_timeout: Option<u64>,
}

impl Via {
    /// Reads the value of `via` in a component's section.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] with file, line and column.
    pub fn read(node: &Node) -> Result<Self> {
        let via: Self = node.parse()?;
        let label = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if via.namespace.is_empty() || !via.namespace.chars().all(label) {
            return Err(node
                .error("namespace", format!("`{}` does not do as the name of a namespace", via.namespace))
                .hint("letters a-z, digits and dashes"));
        }
        if via.selector.trim().is_empty() {
            return Err(node
                .error("selector", "without labels it would be every pod of the namespace")
                .hint("selector = \"app=postgres\""));
        }
        Selector::parse(&via.selector)
            .map_err(|e| node.error("selector", "it is no label selector").because(e))?;
        Ok(via)
    }

    /// The place that these pods are. Reaches nothing yet.
    pub fn place(self) -> Arc<dyn Place> {
        Arc::new(Pods { via: self, cluster: OnceCell::new() })
    }
}

/// The pods of a selector.
#[derive(Debug)]
struct Pods {
    via: Via,
    cluster: OnceCell<Cluster>,
}

impl Pods {
    async fn cluster(&self) -> Result<&Cluster> {
        let Via { kubeconfig, context, request_timeout, .. } = self.via.clone();
        let access = Access { kubeconfig, context, request_timeout };
        self.cluster.get_or_try_init(|| Cluster::connect(&access)).await
    }

    /// The pods that run, the one that is said to lead first.
    async fn running(&self) -> Result<Vec<PodPlace>> {
        let Via { namespace, selector, container, .. } = &self.via;
        let cluster = self.cluster().await?;
        let pods = pods::running(cluster, namespace, selector, container.as_deref()).await?;
        if pods.is_empty() {
            return Err(Error::new(ErrorKind::Unreachable, "find a running pod among", self.name())
                .hint("see `kubectl get pods`; are `namespace` and `selector` of `via` right?"));
        }
        let place = |pod| PodPlace::new(cluster.clone(), namespace.clone(), pod);
        Ok(pods.into_iter().map(place).collect())
    }
}

#[async_trait]
impl Place for Pods {
    async fn run(&self, command: &Command) -> Result<Box<dyn Process>> {
        match self.running().await?.as_slice() {
            [one] => one.run(command).await,
            several => Err(Error::new(ErrorKind::Config, "run", command.program.clone())
                .detail(format!("{} are {} pods, and it is not said in which", self.name(), several.len()))
                .hint("choose one pod with `selector`")),
        }
    }

    async fn connect(&self, host: &str, port: u16) -> Result<Box<dyn Connection>> {
        self.on(host).await?.connect(host, port).await
    }

    fn name(&self) -> String {
        format!("the pods {} in {}", self.via.selector, self.via.namespace)
    }

    fn hosts(&self) -> Option<&dyn Hosts> {
        Some(self)
    }
}

#[async_trait]
impl Hosts for Pods {
    async fn list(&self) -> Result<Vec<String>> {
        Ok(self.running().await?.iter().map(|pod| pod.pod().name.clone()).collect())
    }

    async fn on(&self, host: &str) -> Result<Arc<dyn Place>> {
        let pods = self.running().await?;
        let names: Vec<String> = pods.iter().map(|pod| pod.pod().name.clone()).collect();
        match pods.into_iter().find(|pod| pod.pod().is_called(host)) {
            Some(pod) => Ok(Arc::new(pod)),
            None => Err(Error::new(ErrorKind::Unreachable, "find the pod of", host)
                .detail(format!("none of {} that run is called so or has that address", self.name()))
                .hint(format!("there are: {}", names.join(", ")))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::*;

    fn read(value: serde_json::Value) -> Result<Via> {
        let positions = [("selector".to_owned(), (7, 3)), ("namespace".to_owned(), (6, 3))].into();
        Via::read(&Node::from_file(Path::new("c.toml"), value, positions))
    }

    #[test]
    fn a_selector_that_chooses_nothing_and_a_bad_namespace_are_refused_with_their_place() {
        let error = read(json!({"namespace": "db", "selector": " "})).unwrap_err();
        assert!(error.to_string().contains("c.toml:7:3: selector: without labels"), "{error}");
        let error = read(json!({"namespace": "../db", "selector": "a=b"})).unwrap_err();
        assert!(error.to_string().contains("c.toml:6:3: namespace: `../db`"), "{error}");
        let error = read(json!({"namespace": "db", "selektor": "a=b"})).unwrap_err();
        assert_eq!(error.advice(), Some("did you mean `selector`?"));
    }
}

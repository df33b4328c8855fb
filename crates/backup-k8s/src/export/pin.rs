//! The state that all kinds are read at.

use backup_core::{
    traits::Context,
    words::{Error, ErrorKind, Point, Position, Result, Span},
};
use serde::Deserialize;
use serde_json::Value;

use crate::cluster::{Cluster, refusal};

/// Kinds of which one list tells the resource version, where namespaces may not be listed.
const CHEAP: [&str; 5] = ["configmaps", "serviceaccounts", "services", "secrets", "pods"];

/// A pinned resource version.
#[derive(Clone, Debug)]
pub(crate) struct Pinned {
    /// The resource version.
    pub(crate) version: String,
    /// The API server's version; empty when it does not tell.
    pub(crate) server_version: String,
    point: Point,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Cheap {
    metadata: CheapHead,
    items: Vec<Value>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct CheapHead {
    resource_version: String,
}

impl Pinned {
    /// Pins the present state, and makes sure that the namespaces are there.
    pub(crate) async fn now(cx: &Context, cluster: &Cluster, namespaces: &[String]) -> Result<Self> {
        let (lineage, server_version) = futures::try_join!(lineage(cluster), server_version(cluster))?;
        let mut pin = None;
        for namespace in namespaces {
            let from = cx.now();
            let version = cluster.patiently(|| version_of(cluster, namespace)).await?;
            pin = Some((version, Span { from, to: cx.now() }));
        }
        let Some((version, span)) = pin else {
            return Err(Error::new(ErrorKind::Config, "pin a state of", "no namespace"));
        };
        let mut point = Point::pinned(span);
        // The API says that it is opaque; it is a number everywhere.
        if let Ok(at) = version.parse() {
            point = point.at(Position { lineage, at, label: None });
        }
        Ok(Self { version, server_version, point })
    }

    /// The point, for the manifest.
    pub(crate) fn point(&self) -> Point {
        self.point.clone()
    }
}

/// The present version, from a list of the namespace alone; where that is not allowed, from a list in it.
async fn version_of(cluster: &Cluster, namespace: &str) -> Result<String> {
    let namespaces = format!("/api/v1/namespaces?limit=1&fieldSelector=metadata.name%3D{namespace}");
    match cluster.get::<Cheap>(&namespaces).await {
        Ok(list) if list.items.is_empty() => {
            return Err(Error::new(ErrorKind::NotFound, "find the namespace", namespace)
                .detail(format!("{} has none of that name", cluster.server()))
                .hint("correct `namespace`, or choose another cluster (`kubeconfig`, `context`)"));
        }
        Ok(list) => return Ok(list.metadata.resource_version),
        Err(error) if is_forbidden(&error) => {}
        Err(error) => return Err(error),
    }
    let mut refused = None;
    for plural in CHEAP {
        let path = format!("/api/v1/namespaces/{namespace}/{plural}?limit=1");
        match cluster.get::<Cheap>(&path).await {
            Ok(list) => return Ok(list.metadata.resource_version),
            Err(error) if is_forbidden(&error) => refused = Some(error),
            Err(error) => return Err(error),
        }
    }
    let error = Error::new(ErrorKind::Denied, "read", format!("the namespace {namespace}"))
        .detail("neither the namespace nor anything in it may be listed")
        .hint("`ha-backup check` lists the rights that are missing");
    Err(match refused {
        Some(refused) => error.because(refused),
        None => error,
    })
}

/// True when rights are missing.
pub(crate) fn is_forbidden(error: &Error) -> bool {
    refusal(error).is_some_and(|refusal| refusal.code == 403)
}

/// What tells this cluster from others: the uid of the namespace `kube-system`, or its address.
async fn lineage(cluster: &Cluster) -> Result<String> {
    match cluster.patiently(|| cluster.get::<Value>("/api/v1/namespaces/kube-system")).await {
        Ok(namespace) => {
            let uid = namespace.pointer("/metadata/uid").and_then(Value::as_str);
            Ok(uid.unwrap_or_else(|| cluster.server()).to_owned())
        }
        Err(error) if refusal(&error).is_some_and(|refusal| matches!(refusal.code, 403 | 404)) => {
            Ok(cluster.server().to_owned())
        }
        Err(error) => Err(error),
    }
}

/// "v1.34.4"; empty where the server does not tell.
pub(crate) async fn server_version(cluster: &Cluster) -> Result<String> {
    match cluster.patiently(|| cluster.get::<Value>("/version")).await {
        Ok(version) => Ok(version["gitVersion"].as_str().unwrap_or_default().to_owned()),
        Err(error) if refusal(&error).is_some_and(|refusal| matches!(refusal.code, 403 | 404)) => {
            Ok(String::new())
        }
        Err(error) => Err(error),
    }
}

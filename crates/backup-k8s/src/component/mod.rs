//! Kubernetes applications as a component of a recovery point.

mod by_hand;
mod capture;
mod check;
mod rights;
mod verify;

use std::{collections::BTreeSet, sync::Arc};

use async_trait::async_trait;
use backup_core::{
    traits::{
        Capture, CaptureAsk, Component, ComponentFactory, Context, Deps, Detected, Drill, Finding, Journal,
        Node, Plan, Restored, Source, Step, Target,
    },
    words::{ComponentRecord, Error, ErrorKind, Kind, Result},
};

pub(crate) use capture::Piece;
pub(crate) use rights::Right;
pub(crate) use verify::documents;

use crate::{
    KubernetesConfig,
    cluster::Cluster,
    detect,
    export::{Export, Pinned},
    files,
    filter::Choice,
    restore, root_key,
};

/// The kind's name in configurations and manifests.
pub const KIND: &str = "kubernetes";
/// The number of the format: `objects` as JSON lines with a part for each kind, `crds` and `config` as YAML, `state` and
/// `storage` as tar.
const FORMAT: u32 = 1;

/// Namespaces of a Kubernetes cluster.
#[derive(Debug)]
pub struct KubernetesComponent {
    pub(crate) config: KubernetesConfig,
    namespaces: BTreeSet<String>,
    choice: Choice,
}

impl KubernetesComponent {
    /// The namespaces that `config` names.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when it names none, or a filter is wrong.
    pub fn new(mut config: KubernetesConfig) -> Result<Self> {
        let namespaces: BTreeSet<String> =
            config.namespace.iter().chain(&config.namespaces).cloned().collect();
        let wrong = |detail: String| {
            Error::new(ErrorKind::Config, "read the configuration of", KIND)
                .detail(detail)
                .hint("name one, namespace = \"shop\", or several, namespaces = [\"shop\", \"shop-jobs\"]")
        };
        if namespaces.is_empty() {
            return Err(wrong("it names no namespace".to_owned()));
        }
        let is_name = |name: &str| {
            let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
            (1..=63).contains(&name.len()) && name.bytes().all(plain)
        };
        if let Some(name) = namespaces.iter().find(|name| !is_name(name)) {
            return Err(wrong(format!("`{name}` is no name of a namespace")));
        }
        root_key::check_config(&config)?;
        if let Some(state) = config.root_key.as_ref().and_then(root_key::state) {
            config.state = Some(state);
        }
        files::check_config(&config)?;
        config.drill.check()?;
        let choice = Choice::new(&config.include, &config.exclude)?;
        Ok(Self { config, namespaces, choice })
    }

    async fn cluster(&self) -> Result<Cluster> {
        Cluster::connect(&self.config.access()).await
    }
}

#[async_trait]
impl Component for KubernetesComponent {
    fn kind(&self) -> Kind {
        Kind { name: KIND.to_owned(), format: FORMAT }
    }

    async fn check(&self, cx: &Context) -> Result<Vec<Finding>> {
        cx.or_cancelled("check Kubernetes", check::check(self)).await
    }

    async fn open(&self, cx: &Context, _: &CaptureAsk) -> Result<Box<dyn Capture>> {
        let cluster = self.cluster().await?;
        let names: Vec<String> = self.namespaces.iter().cloned().collect();
        let pinned = cx.or_cancelled("open Kubernetes", Pinned::now(cx, &cluster, &names)).await?;
        let (namespaces, choice) = (self.namespaces.clone(), self.choice.clone());
        let config = self.config.clone();
        let files = capture::Files { cluster: cluster.clone(), config, namespaces: names };
        let export = Export { cluster, namespaces, choice, pinned };
        Ok(Box::new(capture::KubernetesCapture { export, files }))
    }

    async fn verify(&self, cx: &Context, from: &dyn Source) -> Result<Vec<Finding>> {
        cx.or_cancelled("verify Kubernetes", verify::verify(cx, from)).await
    }

    fn by_hand(&self, record: &ComponentRecord) -> Vec<String> {
        by_hand::lines(record)
    }

    fn drill(&self) -> Option<&dyn Drill> {
        Some(self)
    }

    async fn plan(&self, cx: &Context, target: &Target, from: &dyn Source) -> Result<Plan> {
        let cluster = self.cluster().await?;
        cx.or_cancelled(
            "plan the restore of Kubernetes",
            restore::plan(cx, &cluster, &self.config, target, from),
        )
        .await
    }

    async fn apply(
        &self,
        cx: &Context,
        plan: &Plan,
        step: &Step,
        from: &dyn Source,
        journal: &dyn Journal,
    ) -> Result<Restored> {
        restore::apply(cx, &self.cluster().await?, plan, step, from, journal).await
    }
}

/// Makes components of kind `kubernetes`.
#[derive(Clone, Copy, Debug, Default)]
pub struct KubernetesFactory;

#[async_trait]
impl ComponentFactory for KubernetesFactory {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn schema(&self) -> serde_json::Value {
        schemars::schema_for!(KubernetesConfig).to_value()
    }

    fn restore_schema(&self) -> serde_json::Value {
        schemars::schema_for!(restore::Options).to_value()
    }

    fn example(&self) -> &'static str {
        include_str!("example.toml")
    }

    async fn detect(&self, _: &[String], _: &Deps) -> Vec<Detected> {
        detect::detect().await
    }

    async fn build(&self, _: &str, config: &Node, _: &Deps) -> Result<Arc<dyn Component>> {
        Ok(Arc::new(KubernetesComponent::new(config.parse()?)?))
    }
}

//! What the tests of restores share.
#![allow(dead_code, reason = "each test file uses its own part of it")]

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use backup_core::{
    engine::{BackupRequest, Engine, RestoreOutcome, RestorePlan, RestoreRequest},
    stores::MemoryStore,
    traits::{Component, ComponentFactory, Context, Deps, Event, LocalPlace, Node, Observer, Step},
    words::Result,
};
use backup_k8s::KubernetesFactory;
use backup_testkit::servers::{KubernetesCluster, KubernetesOptions, poll};
use serde_json::{Value, json};
use tokio::sync::Notify;

/// A cluster without nodes that the tests which run at the same time share; each has namespaces of its own.
pub(crate) fn shared() -> Arc<KubernetesCluster> {
    static SHARED: Mutex<Weak<KubernetesCluster>> = Mutex::new(Weak::new());
    let mut shared = lock(&SHARED);
    if let Some(cluster) = shared.upgrade() {
        return cluster;
    }
    let cluster = Arc::new(start());
    *shared = Arc::downgrade(&cluster);
    cluster
}

/// A cluster without nodes.
pub(crate) fn start() -> KubernetesCluster {
    KubernetesCluster::start(0, KubernetesOptions::default()).unwrap()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The component that `config` describes, besides how the cluster is reached.
pub(crate) async fn component(cluster: &KubernetesCluster, mut config: Value) -> Arc<dyn Component> {
    config["kubeconfig"] = json!(cluster.kubeconfig());
    let deps = Deps::new(Arc::new(LocalPlace));
    KubernetesFactory.build("app", &Node::new(config), &deps).await.unwrap()
}

/// An engine over a store in memory, with one component called `app` that backs up and restores namespaces.
pub(crate) struct Bench<'c> {
    pub(crate) cluster: &'c KubernetesCluster,
    pub(crate) engine: Engine,
    pub(crate) cx: Context,
}

impl<'c> Bench<'c> {
    /// Of these namespaces of a cluster.
    pub(crate) async fn new(cluster: &'c KubernetesCluster, namespaces: &[&str]) -> Self {
        Self::over(cluster, namespaces, Arc::new(MemoryStore::new()), Context::new()).await
    }

    /// Of what `config` says, besides how the cluster is reached.
    pub(crate) async fn with(cluster: &'c KubernetesCluster, config: Value) -> Self {
        Self::build(cluster, config, Arc::new(MemoryStore::new()), Context::new()).await
    }

    /// Over a store that another bench may have filled.
    pub(crate) async fn over(
        cluster: &'c KubernetesCluster,
        namespaces: &[&str],
        store: Arc<MemoryStore>,
        cx: Context,
    ) -> Self {
        Self::build(cluster, json!({"namespaces": namespaces}), store, cx).await
    }

    /// Over such a store, of what `config` says.
    pub(crate) async fn build(
        cluster: &'c KubernetesCluster,
        config: Value,
        store: Arc<MemoryStore>,
        cx: Context,
    ) -> Self {
        let component = component(cluster, config).await;
        let engine =
            Engine::builder("crm").store("memory", store).component("app", component).build().unwrap();
        engine.init(&cx).await.unwrap();
        Self { cluster, engine, cx }
    }

    pub(crate) async fn backup(&self) {
        self.engine.backup(&self.cx, &BackupRequest::new("full")).await.unwrap();
    }

    pub(crate) async fn plan(&self, options: Value) -> Result<RestorePlan> {
        let mut request = RestoreRequest::new("latest");
        request.options.insert("app".to_owned(), options);
        self.engine.plan_restore(&self.cx, &request).await
    }

    pub(crate) async fn restore(&self, options: Value) -> Result<RestoreOutcome> {
        let plan = self.plan(options).await?;
        self.engine.restore(&self.cx, &plan).await
    }

    pub(crate) async fn resume(&self) -> Result<RestoreOutcome> {
        let unfinished =
            self.engine.unfinished_restore(&self.cx, "latest").await?.expect("a restore is unfinished");
        self.engine.resume_restore(&self.cx, &unfinished).await
    }

    /// Deletes a namespace and waits until it is gone.
    pub(crate) fn delete_namespace(&self, name: &str) {
        self.cluster.kubectl(&["delete", "namespace", name, "--timeout=120s"]).unwrap();
    }
}

impl Bench<'_> {
    /// The same for one whose ConfigMap `held` has a finalizer that nobody takes away.
    pub(crate) fn delete_namespace_with_finalizers(&self, name: &str) {
        let forget = r#"{"metadata": {"finalizers": null}}"#;
        self.cluster.kubectl(&["patch", "cm", "held", "-n", name, "--type=merge", "-p", forget]).unwrap();
        self.delete_namespace(name);
    }
}

/// Tells when a step begins.
#[derive(Debug)]
pub(crate) struct Tell {
    step: String,
    pub(crate) begun: Notify,
}

impl Tell {
    pub(crate) fn at(step: &str) -> Self {
        Self { step: step.to_owned(), begun: Notify::new() }
    }
}

impl Observer for Tell {
    fn event(&self, event: Event) {
        if let Event::StepBegun { step, .. } = event
            && step == self.step
        {
            self.begun.notify_one();
        }
    }
}

/// What the plan's step says.
pub(crate) fn step<'p>(plan: &'p RestorePlan, id: &str) -> &'p Step {
    let found = plan.steps.iter().find(|planned| planned.step.id == id);
    &found.unwrap_or_else(|| panic!("there is no step {id}: {:#?}", plan.steps)).step
}

/// The lines of a step.
pub(crate) fn lines(plan: &RestorePlan, id: &str) -> String {
    step(plan, id).diff.clone().unwrap_or_default()
}

/// All objects of a namespace but events, with what a restore is to bring back: without status and what the server gives.
pub(crate) fn objects(cluster: &KubernetesCluster, namespace: &str, kinds: &str) -> Value {
    let mut list = cluster.json(&["get", kinds, "-n", namespace]).unwrap();
    let items = list["items"].as_array_mut().unwrap();
    for item in items.iter_mut() {
        let table = item.as_object_mut().unwrap();
        table.remove("status");
        let metadata = table["metadata"].as_object_mut().unwrap();
        for given in
            ["uid", "resourceVersion", "creationTimestamp", "generation", "ownerReferences", "managedFields"]
        {
            metadata.remove(given);
        }
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.remove("deployment.kubernetes.io/revision");
            annotations.remove("deprecated.daemonset.template.generation");
        }
    }
    Value::Array(items.clone())
}

/// The resource versions of all objects of these kinds, everywhere.
pub(crate) fn versions(cluster: &KubernetesCluster, kinds: &str) -> Vec<String> {
    let template = "{range .items[*]}{.kind}/{.metadata.namespace}/{.metadata.name} {.metadata.resourceVersion}{\"\\n\"}{end}";
    let output = format!("jsonpath={template}");
    let text = cluster.kubectl(&["get", kinds, "-A", "-o", &output]).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// Polls with a deadline that no test should need.
pub(crate) fn eventually<T>(what: &str, check: impl FnMut() -> std::result::Result<T, String>) -> T {
    poll(what.to_owned(), Duration::from_secs(60), check).unwrap()
}

/// A small application without pods: one object of each kind that matters here.
pub(crate) fn deploy(cluster: &KubernetesCluster, namespace: &str) {
    // With its account, which would else be made while ours is.
    cluster.create_namespace(namespace).unwrap();
    cluster.apply(&include_str!("app.yaml").replace("NAMESPACE", namespace)).unwrap();
    // Its controllers have done what they do: plans that are made now stay true.
    eventually("the deployment to be seen", || {
        let deployment =
            cluster.json(&["get", "deployment", "web", "-n", namespace]).map_err(|e| e.to_string())?;
        match deployment["status"]["observedGeneration"] == deployment["metadata"]["generation"] {
            true => Ok(()),
            false => Err(deployment["status"].to_string()),
        }
    });
}

/// The kinds of [`deploy`].
pub(crate) const KINDS: &str =
    "secret,configmap,serviceaccount,role,rolebinding,service,deployment,networkpolicy,pvc";

/// The plan as people see it, for a failing test.
pub(crate) fn text(plan: &RestorePlan) -> String {
    let mut out = String::new();
    for planned in &plan.steps {
        let step = &planned.step;
        out.push_str(&format!("{:?} {} {}\n", step.phase, step.action, step.subject));
        step.diff
            .iter()
            .flat_map(|diff| diff.lines())
            .for_each(|line| out.push_str(&format!("      {line}\n")));
    }
    for component in &plan.components {
        component.plan.loses.iter().for_each(|line| out.push_str(&format!("  ! {line}\n")));
        component.plan.notes.iter().for_each(|line| out.push_str(&format!("  - {line}\n")));
    }
    out
}

impl Bench<'_> {
    /// Engine and context without the cluster, which the test may then change.
    pub(crate) fn detach(self) -> (Engine, Context) {
        (self.engine, self.cx)
    }
}

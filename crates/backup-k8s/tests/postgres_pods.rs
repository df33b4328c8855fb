//! PostgreSQL under Patroni in pods, through bad days: what was backed up is whole, and from a leader. Needs root.

use std::{fmt, sync::Arc, time::Duration};

use backup_core::{
    engine::{BackupRequest, Engine, Level, Report, RestoreRequest},
    traits::{Context, Event, Node, Observer, Store},
    words::{ComponentRecord, ComponentStatus},
};
use backup_k8s::Via;
use backup_postgres::PostgresComponent;
use backup_testkit::{
    servers::{KubernetesCluster, KubernetesOptions, PatroniPods, SampleData, poll},
    suites::GatedStore,
};
use serde_json::json;

const ROWS: u64 = 1_500_000;
/// Longer than a restore takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(180);

/// Three pods with sample data, and a table that is too long for all buffers between pg_dump and a store.
struct Stack {
    cluster: KubernetesCluster,
    pods: PatroniPods,
}

impl Stack {
    fn start() -> Self {
        let mut cluster = KubernetesCluster::start(3, KubernetesOptions::default()).unwrap();
        let pods = PatroniPods::start(&mut cluster, "db", "crm").unwrap();
        let stack = Self { cluster, pods };
        let leader = stack.pods.wait_ready(&stack.cluster).unwrap();
        stack.psql(&leader, "postgres", &SampleData::default().script());
        let long = format!(
            "create table crm.long as select i, md5(i::text) || md5((i + 1)::text) as text from generate_series(1, {ROWS}) i"
        );
        stack.psql(&leader, "crm", &long);
        stack.wait_copied();
        stack
    }

    fn psql(&self, pod: &str, database: &str, sql: &str) -> String {
        self.pods.psql(&self.cluster, pod, database, sql).unwrap()
    }

    /// Waits until both replicas have everything, so that either may lead.
    fn wait_copied(&self) -> String {
        let leader = self.pods.wait_ready(&self.cluster).unwrap();
        let copied = "select count(*) from pg_stat_replication where state = 'streaming' \
                      and replay_lsn >= pg_current_wal_insert_lsn()";
        poll("replicas that have everything", LIMIT, || {
            match self.psql(&leader, "postgres", copied).as_str() {
                "2" => Ok(()),
                other => Err(format!("there are {other}")),
            }
        })
        .unwrap();
        leader
    }

    async fn engine(&self, store: Arc<dyn Store>) -> Engine {
        let via = json!({
            "namespace": self.pods.namespace,
            "selector": self.pods.selector(),
            "kubeconfig": self.cluster.kubeconfig(),
        });
        let place = Via::read(&Node::new(via)).unwrap().place();
        let config = json!({
            "password": self.pods.password(),
            "port": self.pods.postgres,
            "patroni_port": self.pods.rest,
            "leader_wait_seconds": LIMIT.as_secs(),
        });
        let component = PostgresComponent::new("postgres", &Node::new(config), place).unwrap();
        let builder = Engine::builder("crm").store("memory", store);
        let engine = builder.component("postgres", Arc::new(component)).build().unwrap();
        engine.init(&Context::new()).await.unwrap();
        engine
    }

    /// Begins a backup, calls `fault` when bytes have begun to flow, and lets it go on.
    async fn backup_through(&mut self, fault: impl FnOnce(&mut Self)) -> (Report, Engine, Arc<GatedStore>) {
        let store = Arc::new(GatedStore::new());
        let engine = self.engine(store.clone()).await;
        let running = tokio::spawn({
            let engine = engine.clone();
            async move { engine.backup(&Context::new(), &BackupRequest::new("full")).await }
        });
        store.reached().await;
        fault(self);
        store.open();
        let report = running.await.unwrap().unwrap().report;
        (report, engine, store)
    }
}

async fn record(engine: &Engine) -> ComponentRecord {
    let entry = engine.session(&Context::new(), "latest").await.unwrap();
    entry.committed().unwrap().component("postgres").unwrap().clone()
}

async fn assert_whole(report: &Report, engine: &Engine, store: &GatedStore, leader: &str) {
    let record = record(engine).await;
    assert_eq!(record.status, ComponentStatus::Success, "{report:?}");
    assert!(record.warnings.iter().any(|warning| warning.contains("attempt 1 failed")), "{record:?}");
    assert_eq!(record.facts["leader"], format!("pod db/{leader}"));
    assert_eq!(record.facts["databases"]["crm"]["tables"]["crm.long"], ROWS);
    // Attempts that failed left nothing.
    assert_eq!(store.artifacts("postgres").len(), 1, "{:?}", store.artifacts("postgres"));
    assert!(!store.artifacts("postgres")[0].contains(".sql.gz_"), "{:?}", store.artifacts("postgres"));
    let verified = engine.verify(&Context::new(), "latest", Level::Content).await.unwrap();
    assert!(verified.passed, "{verified:?}");
}

/// Calls back when a restore's step begins.
struct AtStep<F>(F);

impl<F> fmt::Debug for AtStep<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AtStep")
    }
}

impl<F: Fn(&str) + Send + Sync> Observer for AtStep<F> {
    fn event(&self, event: Event) {
        if let Event::StepBegun { step, .. } = event {
            (self.0)(&step);
        }
    }
}

/// The API server is killed in mid-dump and in mid-load, then the leader's pod in mid-dump.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whatever_dies_in_its_middle_a_backup_is_whole_and_a_restore_goes_on() {
    let mut stack = Stack::start();
    let leader = stack.pods.wait_leader(&stack.cluster).unwrap();
    let (report, engine, store) = stack
        .backup_through(|stack| {
            stack.cluster.kill_api_server();
            stack.cluster.start_api_server().unwrap();
        })
        .await;
    let leader_now = stack.wait_copied();
    assert_whole(&report, &engine, &store, &leader_now).await;
    let dumping = "select count(*) from pg_stat_activity where application_name = 'ha-backup'";
    poll("nothing of ours in the pod", LIMIT, || match stack.psql(&leader, "postgres", dumping).as_str() {
        "0" => Ok(()),
        other => Err(format!("{other} sessions")),
    })
    .unwrap();

    a_restore_goes_on(&mut stack, &engine).await;

    let leader = stack.wait_copied();
    let (report, engine, store) =
        stack.backup_through(|stack| stack.pods.kill(&stack.cluster, &leader).unwrap()).await;
    let next = stack.pods.wait_leader(&stack.cluster).unwrap();
    assert_ne!(next, leader);
    assert_whole(&report, &engine, &store, &next).await;
}

async fn a_restore_goes_on(stack: &mut Stack, engine: &Engine) {
    let leader = stack.pods.wait_leader(&stack.cluster).unwrap();
    let before = stack.psql(&leader, "crm", "select count(*), sum(i) from crm.long");
    stack.psql(&leader, "crm", "truncate crm.long");
    let mut request = RestoreRequest::new("latest");
    request.options.insert("postgres".to_owned(), json!({"database": "crm"}));
    let plan = engine.plan_restore(&Context::new(), &request).await.unwrap();
    let subjects: Vec<&str> = plan.steps.iter().map(|planned| planned.step.subject.as_str()).collect();
    assert!(subjects.iter().all(|subject| subject.ends_with(&format!("on pod db/{leader}"))), "{subjects:?}");

    let (loading, begun) = tokio::sync::oneshot::channel();
    let loading = std::sync::Mutex::new(Some(loading));
    let observer = AtStep(move |step: &str| {
        if step.starts_with("load:")
            && let Some(loading) = loading.lock().unwrap().take()
        {
            let _ = loading.send(());
        }
    });
    let running = tokio::spawn({
        let (engine, plan) = (engine.clone(), plan.clone());
        let cx = Context::new().with_observer(Arc::new(observer));
        async move { engine.restore(&cx, &plan).await }
    });
    begun.await.unwrap();
    let copies =
        "select count(*) from pg_stat_activity where query like 'COPY crm.long%' and state = 'active'";
    poll("rows to be loaded", LIMIT, || match stack.psql(&leader, "postgres", copies).as_str() {
        "1" => Ok(()),
        other => Err(format!("{other} at it")),
    })
    .unwrap();
    stack.cluster.kill_api_server();
    let error = running.await.unwrap().unwrap_err();
    stack.cluster.start_api_server().unwrap();
    assert!(error.chain().contains("before the API server said how the program did"), "{}", error.chain());
    assert!(error.advice().unwrap().contains("begins it anew"), "{error:?}");

    let leader = stack.wait_copied();
    assert_eq!(stack.psql(&leader, "crm", "select count(*) from crm.long"), "0", "nothing was switched");
    let plan = engine.plan_restore(&Context::new(), &request).await.unwrap();
    engine.restore(&Context::new(), &plan).await.unwrap();
    assert_eq!(stack.psql(&leader, "crm", "select count(*), sum(i) from crm.long"), before);
}

//! What the tests on real servers share.
#![allow(dead_code, reason = "each test file uses its own part of it")]

use std::{path::PathBuf, sync::Arc};

use backup_core::{
    engine::{BackupRequest, Engine, Report, RestoreOutcome, RestorePlan, RestoreRequest},
    stores::MemoryStore,
    traits::{Component, Context, Event, LocalPlace, Node, Observer, Store},
    words::{ComponentRecord, Result},
};
use backup_postgres::PostgresComponent;
use backup_testkit::servers::Sql;
use serde_json::{Value, json};

/// An engine over a store in memory, with one component called `postgres`.
pub(crate) struct Bench {
    pub(crate) engine: Engine,
    pub(crate) cx: Context,
    pub(crate) folder: tempfile::TempDir,
}

impl Bench {
    /// Backs up what `config` says.
    pub(crate) async fn new(config: Value) -> Self {
        Self::over(Arc::new(MemoryStore::new()), config).await
    }

    /// The same over a store that another bench may have filled.
    pub(crate) async fn over(store: Arc<dyn Store>, config: Value) -> Self {
        let component = PostgresComponent::new("postgres", &Node::new(config), Arc::new(LocalPlace)).unwrap();
        Self::with(store, Arc::new(component)).await
    }

    /// The same with a component of the test's own.
    pub(crate) async fn with(store: Arc<dyn Store>, component: Arc<dyn Component>) -> Self {
        let engine =
            Engine::builder("crm").store("memory", store).component("postgres", component).build().unwrap();
        let cx = Context::new();
        engine.init(&cx).await.unwrap();
        Self { engine, cx, folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) async fn backup(&self) -> Result<Report> {
        Ok(self.engine.backup(&self.cx, &BackupRequest::new("full")).await?.report)
    }

    /// What the newest session's manifest says of the component.
    pub(crate) async fn record(&self) -> ComponentRecord {
        let entry = self.engine.session(&self.cx, "latest").await.unwrap();
        entry.committed().unwrap().component("postgres").unwrap().clone()
    }

    /// The newest session's SQL file.
    pub(crate) async fn extract(&self) -> PathBuf {
        let target = self.folder.path().join("extracted");
        let files = self.engine.extract(&self.cx, "latest", None, &target).await.unwrap();
        assert_eq!(files.len(), 1);
        files[0].path.clone()
    }

    pub(crate) async fn plan(&self, options: Value) -> Result<RestorePlan> {
        let mut request = RestoreRequest::new("latest");
        request.options.insert("postgres".to_owned(), options);
        self.engine.plan_restore(&self.cx, &request).await
    }

    pub(crate) async fn restore(&self, options: Value) -> Result<RestoreOutcome> {
        let plan = self.plan(options).await?;
        self.engine.restore(&self.cx, &plan).await
    }
}

/// The config of a server without Patroni.
pub(crate) fn direct(sql: &Sql) -> Value {
    json!({
        "host": "127.0.0.1",
        "port": sql.port,
        "user": sql.user,
        "password": sql.password,
        "bin_folders": [sql.tools.bin],
        "leader_wait_seconds": 5,
    })
}

/// A whole cluster as pg_dumpall writes it, without what differs each time.
pub(crate) fn dumpall(sql: &Sql) -> String {
    let output = sql.client("pg_dumpall", "postgres").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let lines =
        text.lines().filter(|line| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict"));
    lines.collect::<Vec<_>>().join("\n")
}

/// What a database is to the outside: owner, grants, settings, comment.
pub(crate) fn outside(sql: &Sql, database: &str) -> String {
    let query = "select d.datdba::regrole, d.datacl, d.datconnlimit, d.datallowconn, d.oid,
        shobj_description(d.oid, 'pg_database'), (select array_agg(s.setconfig::text || s.setrole order by 1)
        from pg_db_role_setting s where s.setdatabase = d.oid) from pg_database d where d.datname = ";
    sql.run("postgres", &format!("{query} $q${database}$q$")).unwrap()
}

/// Compares long texts line by line, so that a failure shows the line.
pub(crate) fn assert_same_lines(left: &str, right: &str) {
    for (number, (left, right)) in left.lines().zip(right.lines()).enumerate() {
        assert_eq!(left, right, "line {}", number + 1);
    }
    assert_eq!(left.lines().count(), right.lines().count());
}

/// Calls back when a restore's step has begun or ended.
pub(crate) struct AtStep<F>(pub(crate) F);

impl<F> std::fmt::Debug for AtStep<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AtStep")
    }
}

impl<F: Fn(&str, bool) + Send + Sync> Observer for AtStep<F> {
    fn event(&self, event: Event) {
        match event {
            Event::StepBegun { step, .. } => (self.0)(&step, true),
            Event::StepEnded { step, .. } => (self.0)(&step, false),
            _ => {}
        }
    }
}

/// Polls until `probe` is true; it is asked on this thread.
pub(crate) fn wait_until(what: &str, probe: impl Fn() -> bool) {
    let probe = || if probe() { Ok(()) } else { Err("not yet") };
    backup_testkit::servers::poll(what, std::time::Duration::from_secs(60), probe).unwrap();
}

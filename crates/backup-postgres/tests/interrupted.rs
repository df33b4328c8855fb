//! Backups and restores that are stopped, fail, or meet a server that is not there yet.

mod support;

use std::sync::Arc;

use async_trait::async_trait;
use backup_core::{
    engine::{BackupRequest, Engine, RestoreRequest},
    repository::Status,
    stores::MemoryStore,
    traits::{
        ArtifactSpec, Capture, CaptureAsk, Captured, Command, Component, Connection, Context, EndEvidence,
        LocalPlace, Node, Place, Plan, Process, Sink, Source, Target,
    },
    words::{Error, ErrorKind, Kind, Point, Result, Span},
};
use backup_postgres::PostgresComponent;
use backup_testkit::{
    servers::{PostgresServer, SampleData, Sql},
    suites::GatedStore,
};
use bytes::Bytes;
use serde_json::json;
use support::{AtStep, Bench, direct, dumpall, wait_until};
use tokio_util::sync::CancellationToken;

fn sample() -> PostgresServer {
    let server = PostgresServer::start(15).unwrap();
    SampleData::default().load(server.sql()).unwrap();
    server
}

fn our_sessions(sql: &Sql) -> String {
    sql.run("postgres", "select count(*) from pg_stat_activity where application_name = 'ha-backup'").unwrap()
}

/// Cancelled in mid-dump, pg_dump and our sessions end at once, and nothing is left in the store.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cancelled_backup_ends_its_programs_and_leaves_nothing() {
    let server = sample();
    let sql = server.sql();
    sql.run("crm", "create table long as select md5(i::text) from generate_series(1, 800000) i").unwrap();
    let store = Arc::new(GatedStore::new());
    let bench = Bench::over(store.clone(), direct(sql)).await;
    let cancel = CancellationToken::new();
    let (engine, cx) = (bench.engine.clone(), bench.cx.clone().with_cancel(cancel.clone()));
    let running = tokio::spawn(async move { engine.backup(&cx, &BackupRequest::new("full")).await });
    store.reached().await;
    assert_ne!(our_sessions(sql), "0");
    cancel.cancel();
    store.open();
    let error = running.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled, "{error:?}");
    wait_until("our sessions to end", || our_sessions(sql) == "0");
    assert_eq!(store.artifacts("postgres"), Vec::<String>::new());
}

/// A restore that is stopped while it loads has changed nothing, and goes on to its end when it is asked again.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_restore_stopped_while_loading_goes_on_later() {
    let server = sample();
    let sql = server.sql();
    let bench = Bench::new(direct(sql)).await;
    bench.backup().await.unwrap();
    let before = sql.row_counts("crm").unwrap();
    let plan = bench.plan(json!({"database": "crm"})).await.unwrap();
    let cancel = CancellationToken::new();
    let token = cancel.clone();
    let stop = move |step: &str, begun: bool| {
        if begun && step == "load:crm" {
            token.cancel();
        }
    };
    let cx = Context::new().with_cancel(cancel).with_observer(Arc::new(AtStep(stop)));
    let error = bench.engine.restore(&cx, &plan).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled, "{error:?}");
    assert_eq!(sql.row_counts("crm").unwrap(), before);
    let unfinished = bench.engine.unfinished_restore(&bench.cx, "latest").await.unwrap().unwrap();
    let outcome = bench.engine.resume_restore(&bench.cx, &unfinished).await.unwrap();
    assert!(outcome.is_done());
    assert_eq!(sql.row_counts("crm").unwrap(), before);
    assert!(sql.databases().unwrap().iter().any(|name| name.starts_with("crm_before_")));
}

/// An error of SQL while loading: the half-loaded database is dropped, the live one is untouched, the error says which.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_sql_error_while_loading_drops_the_copy_and_touches_nothing_else() {
    let server = sample();
    let sql = server.sql().clone();
    let bench = Bench::new(direct(&sql)).await;
    bench.backup().await.unwrap();
    let before = dumpall(&sql);
    let plan = bench.plan(json!({"database": "crm", "into": "copy"})).await.unwrap();
    let other = sql.clone();
    let spoil = move |step: &str, begun: bool| {
        if !begun && step == "create:crm" {
            other.run("copy", "create schema crm").unwrap();
        }
    };
    let cx = Context::new().with_observer(Arc::new(AtStep(spoil)));
    let error = bench.engine.restore(&cx, &plan).await.unwrap_err();
    assert!(error.chain().contains("schema \"crm\" already exists"), "{}", error.chain());
    assert!(error.advice().unwrap().contains("copy was dropped again"), "{error:?}");
    assert_eq!(dumpall(&sql), before);
    // The same restore begins that database anew, and the cause is gone.
    let unfinished = bench.engine.unfinished_restore(&bench.cx, "latest").await.unwrap().unwrap();
    bench.engine.resume_restore(&bench.cx, &unfinished).await.unwrap();
    assert_eq!(sql.row_counts("copy").unwrap(), sql.row_counts("crm").unwrap());
}

/// Rows that are not those of the manifest: nothing is switched.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_copy_with_other_rows_than_the_manifest_is_never_switched() {
    let server = sample();
    let sql = server.sql().clone();
    let bench = Bench::new(direct(&sql)).await;
    bench.backup().await.unwrap();
    let plan = bench.plan(json!({"database": "crm"})).await.unwrap();
    let other = sql.clone();
    let spoil = move |step: &str, begun: bool| {
        if !begun && step == "load:crm" {
            let names = other.databases().unwrap();
            let copy = names.iter().find(|name| name.starts_with("crm_restored_")).unwrap();
            other.run(copy, "delete from crm.cache where key = 'k1'").unwrap();
        }
    };
    let cx = Context::new().with_observer(Arc::new(AtStep(spoil)));
    let error = bench.engine.restore(&cx, &plan).await.unwrap_err();
    assert!(error.chain().contains("crm.cache has 9 rows and not 10"), "{}", error.chain());
    assert!(!sql.databases().unwrap().iter().any(|name| name.contains("_before_")));
}

/// Restored together with etcd, the leader may be away at the plan; the steps wait for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn behind_etcd_the_leader_may_be_away_at_the_plan() {
    let mut server = sample();
    let sql = server.sql().clone();
    let postgres =
        PostgresComponent::new("postgres", &Node::new(direct(&sql)), Arc::new(LocalPlace)).unwrap();
    let engine = Engine::builder("crm")
        .store("memory", Arc::new(MemoryStore::new()))
        .component("etcd", Arc::new(FakeEtcd))
        .component("postgres", Arc::new(postgres))
        .build()
        .unwrap();
    let cx = Context::new();
    engine.init(&cx).await.unwrap();
    engine.backup(&cx, &BackupRequest::new("full")).await.unwrap();
    let before = sql.row_counts("crm").unwrap();
    sql.run("crm", "truncate crm.companies cascade").unwrap();
    server.kill();
    let mut alone = RestoreRequest::new("latest");
    alone.components.push("postgres".to_owned());
    let error = engine.plan_restore(&cx, &alone).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{error:?}");
    let plan = engine.plan_restore(&cx, &RestoreRequest::new("latest")).await.unwrap();
    let notes = &plan.components.iter().find(|plan| plan.kind == "postgres").unwrap().plan.notes;
    assert!(notes.iter().any(|note| note.contains("when its turn comes")), "{notes:?}");
    let running = tokio::spawn({
        let (engine, cx, plan) = (engine.clone(), cx.clone(), plan.clone());
        async move { engine.restore(&cx, &plan).await }
    });
    server.restart().unwrap();
    running.await.unwrap().unwrap();
    assert_eq!(sql.row_counts("crm").unwrap(), before);
}

/// A pg_dump that is too old is an error that names the package.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_pg_dump_older_than_the_server_is_an_error_that_names_the_package() {
    let server = PostgresServer::start(15).unwrap();
    let component =
        PostgresComponent::new("postgres", &Node::new(direct(server.sql())), Arc::new(OldPrograms)).unwrap();
    let error =
        component.open(&Context::new(), &CaptureAsk::new("backup_20250108_120000".parse().unwrap())).await;
    let error = error.map(drop).unwrap_err();
    assert!(error.to_string().contains("pg_dump 15 or newer"), "{error}");
    assert!(error.to_string().contains("is 14.9"), "{error}");
    assert!(error.advice().unwrap().contains("postgresql-client-15"), "{error:?}");
}

/// A table that is truncated between the snapshot and the dump's locks would be dumped empty: the backup starts again.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_table_truncated_behind_the_snapshot_is_noticed() {
    let server = sample();
    let sql = server.sql();
    let inner = PostgresComponent::new("postgres", &Node::new(direct(sql)), Arc::new(LocalPlace)).unwrap();
    let component = TruncateAfterOpen { inner, sql: sql.clone() };
    let bench = Bench::with(Arc::new(MemoryStore::new()), Arc::new(component)).await;
    bench.backup().await.unwrap();
    let record = bench.record().await;
    assert!(
        record.warnings[0].contains("crm.cache") && record.warnings[0].contains("truncated"),
        "{record:?}"
    );
    let tables = &record.facts["databases"]["crm"]["tables"];
    assert_eq!((&tables["crm.cache"], &tables["crm.companies"]), (&json!(0), &json!(100)));
}

/// Truncates a table behind the first snapshot.
#[derive(Debug)]
struct TruncateAfterOpen {
    inner: PostgresComponent,
    sql: Sql,
}

#[async_trait]
impl Component for TruncateAfterOpen {
    fn kind(&self) -> Kind {
        self.inner.kind()
    }

    async fn open(&self, cx: &Context, ask: &CaptureAsk) -> Result<Box<dyn Capture>> {
        let capture = self.inner.open(cx, ask).await?;
        if ask.attempt == 1 {
            self.sql.run("crm", "truncate crm.cache").unwrap();
        }
        Ok(capture)
    }
}

/// pg_dump's word is not enough: without its end marker the dump is cut, though the program exited 0.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_dump_without_its_end_marker_is_a_failure_though_the_program_exits_0() {
    let server = sample();
    let component =
        PostgresComponent::new("postgres", &Node::new(direct(server.sql())), Arc::new(CutsDumps)).unwrap();
    let store = Arc::new(MemoryStore::new());
    let bench = Bench::with(store.clone(), Arc::new(component)).await;
    let report = bench.backup().await.unwrap();
    assert_eq!(report.status, Status::Failed);
    assert!(report.errors[0].contains("its end marker is not the last it wrote"), "{report:?}");
    assert!(!store.keys().iter().any(|key| key.contains("/postgres/")), "{:?}", store.keys());
}

/// This host, where pg_dump's output ends early and with exit code 0.
#[derive(Debug)]
struct CutsDumps;

#[async_trait]
impl Place for CutsDumps {
    async fn run(&self, command: &Command) -> Result<Box<dyn Process>> {
        let mut cut = command.clone();
        if command.arguments.iter().any(|argument| argument.starts_with("--snapshot=")) {
            let script = r#""$0" "$@" | head -c 900"#;
            cut.program = "sh".to_owned();
            cut.arguments = ["-c", script, command.program.as_str()].map(str::to_owned).to_vec();
            cut.arguments.extend(command.arguments.clone());
        }
        LocalPlace.run(&cut).await
    }

    async fn connect(&self, host: &str, port: u16) -> Result<Box<dyn Connection>> {
        LocalPlace.connect(host, port).await
    }
}

/// psql's word is not enough either: it says so when it has read all, or nothing is switched.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_load_of_which_psql_read_only_a_part_is_a_failure_though_it_exits_0() {
    let server = sample();
    let sql = server.sql();
    let before = sql.row_counts("crm").unwrap();
    let store = Arc::new(MemoryStore::new());
    Bench::over(store.clone(), direct(sql)).await.backup().await.unwrap();
    let component = PostgresComponent::new("postgres", &Node::new(direct(sql)), Arc::new(CutsLoads)).unwrap();
    let bench = Bench::with(store, Arc::new(component)).await;
    let error = bench.restore(json!({"database": "crm"})).await.unwrap_err();
    assert!(error.chain().contains("does not say that it read all"), "{}", error.chain());
    assert!(error.advice().unwrap().contains("was dropped again"), "{error:?}");
    assert_eq!(sql.databases().unwrap(), ["Lager \"Süd\"", "crm", "postgres"]);
    assert_eq!(sql.row_counts("crm").unwrap(), before);
}

/// This host, where psql's input ends early, and nobody is told.
#[derive(Debug)]
struct CutsLoads;

#[async_trait]
impl Place for CutsLoads {
    async fn run(&self, command: &Command) -> Result<Box<dyn Process>> {
        let mut cut = command.clone();
        if command.input {
            let script = r#"{ head -n 30; cat >/dev/null; } | "$0" "$@""#;
            cut.program = "sh".to_owned();
            cut.arguments = ["-c", script, command.program.as_str()].map(str::to_owned).to_vec();
            cut.arguments.extend(command.arguments.clone());
        }
        LocalPlace.run(&cut).await
    }

    async fn connect(&self, host: &str, port: u16) -> Result<Box<dyn Connection>> {
        LocalPlace.connect(host, port).await
    }
}

/// This host, with programs of PostgreSQL 14 only.
#[derive(Debug)]
struct OldPrograms;

#[async_trait]
impl Place for OldPrograms {
    async fn run(&self, command: &Command) -> Result<Box<dyn Process>> {
        if command.program != "pg_dump" {
            return Err(Error::new(ErrorKind::NotFound, "start", command.program.clone()));
        }
        LocalPlace.run(&Command::new("echo").arg("pg_dump (PostgreSQL) 14.9")).await
    }

    async fn connect(&self, host: &str, port: u16) -> Result<Box<dyn Connection>> {
        LocalPlace.connect(host, port).await
    }
}

/// A component of kind `etcd` whose restore does nothing.
#[derive(Debug)]
struct FakeEtcd;

#[derive(Debug)]
struct FakeCapture;

#[async_trait]
impl Component for FakeEtcd {
    fn kind(&self) -> Kind {
        Kind { name: "etcd".to_owned(), format: 1 }
    }

    async fn open(&self, _: &Context, _: &CaptureAsk) -> Result<Box<dyn Capture>> {
        Ok(Box::new(FakeCapture))
    }

    async fn plan(&self, _: &Context, _: &Target, _: &dyn Source) -> Result<Plan> {
        Ok(Plan::default())
    }
}

#[async_trait]
impl Capture for FakeCapture {
    async fn run(self: Box<Self>, cx: &Context, sink: &dyn Sink) -> Result<Captured> {
        let mut writer = sink.create(ArtifactSpec::new("db", "application/octet-stream")).await?;
        writer.write(Bytes::from_static(b"snapshot")).await?;
        let receipt = writer.finish(EndEvidence::new("written")).await?;
        Ok(Captured::new(Point::pinned(Span { from: cx.now(), to: cx.now() }), vec![receipt]))
    }
}

//! One real server without Patroni: backup, verification and every kind of restore.

mod support;

use backup_core::{
    engine::Level,
    traits::Severity,
    words::{ComponentStatus, ErrorKind},
};
use backup_testkit::servers::{PostgresServer, SampleData};
use serde_json::json;
use support::{Bench, assert_same_lines, direct, dumpall, outside};

fn sample() -> PostgresServer {
    let server = PostgresServer::start(15).unwrap();
    SampleData::default().load(server.sql()).unwrap();
    server
}

/// The file alone is the whole cluster: globals, grants, settings, large objects, names with quotes, extensions.
#[tokio::test(flavor = "multi_thread")]
async fn psql_loads_the_whole_file_into_a_fresh_cluster_without_an_error_and_all_is_equal() {
    let (source, fresh) = (sample(), PostgresServer::start(15).unwrap());
    let bench = Bench::new(direct(source.sql())).await;
    bench.backup().await.unwrap();
    let file = bench.extract().await;
    let output = fresh.sql().psql("postgres").args(["-X", "-q", "-f"]).arg(&file).output().unwrap();
    assert!(output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        !said.contains("ERROR") && !said.contains("FATAL") && !said.contains("invalid command"),
        "{said}"
    );
    assert_same_lines(&dumpall(source.sql()), &dumpall(fresh.sql()));
}

/// The manifest has the exact rows of each table, and the content is verified against it.
#[tokio::test(flavor = "multi_thread")]
async fn the_manifest_has_the_rows_and_verification_finds_them() {
    let source = sample();
    let bench = Bench::new(direct(source.sql())).await;
    let report = bench.backup().await.unwrap();
    let record = bench.record().await;
    assert_eq!(record.status, ComponentStatus::Success, "{:?}", report);
    assert_eq!(record.warnings, Vec::<String>::new());
    let tables = &record.facts["databases"]["crm"]["tables"];
    assert_eq!(tables["crm.contacts"], 2000);
    assert_eq!(tables["crm.no_columns"], 1);
    assert_eq!(tables["crm.empty_table"], 0);
    assert_eq!(tables["\"Büro & Co\".\"Tabelle \"\"Ä\"\" \\.\""], 50);
    for (table, rows) in source.sql().row_counts("crm").unwrap() {
        // Materialized views are made anew by their queries.
        if table != "crm.totals" {
            assert_eq!(tables[&table], rows, "{table}");
        }
    }
    assert_eq!(record.facts["databases"]["crm"]["large_objects"], 2);
    assert_eq!(record.facts["roles"], 5);
    let parts: Vec<&str> = record.artifacts[0].parts.iter().map(|part| part.name.as_str()).collect();
    assert_eq!(
        parts,
        [
            "globals",
            "create Lager \"Süd\"",
            "database Lager \"Süd\"",
            "create crm",
            "database crm",
            "create postgres",
            "database postgres",
            "create template1",
            "database template1",
        ]
    );
    let verified = bench.engine.verify(&bench.cx, "latest", Level::Content).await.unwrap();
    assert!(verified.passed, "{verified:?}");
    assert!(verified.findings.iter().any(|(_, finding)| finding.subject == "database crm"), "{verified:?}");
}

/// A restored copy has the grants and settings, and the live database keeps its own, changed meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_under_another_name_leaves_the_live_database_alone() {
    let server = sample();
    let sql = server.sql();
    let bench = Bench::new(direct(sql)).await;
    bench.backup().await.unwrap();
    let then = outside(sql, "crm");
    sql.run(
        "postgres",
        "grant create on database crm to crm_readers; alter database crm set work_mem = '7MB';
         comment on database crm is 'changed'; alter role crm_app password 'changed'",
    )
    .unwrap();
    let live = outside(sql, "crm");
    let hash = "select rolpassword from pg_authid where rolname = 'crm_app'";
    let password = sql.run("postgres", hash).unwrap();
    let outcome = bench.restore(json!({"database": "crm", "into": "crm copy"})).await.unwrap();
    assert!(outcome.is_done());
    assert_eq!(outside(sql, "crm"), live, "the live database was changed");
    assert_eq!(sql.run("postgres", hash).unwrap(), password, "an existing role was changed");
    let without_oid = |line: &str| {
        line.split('|').enumerate().filter(|(i, _)| *i != 4).map(|(_, c)| c.to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(without_oid(&outside(sql, "crm copy")), without_oid(&then));
    assert_eq!(sql.row_counts("crm copy").unwrap(), sql.row_counts("crm").unwrap());
}

/// The live database is replaced while clients are connected; what was there is kept aside.
#[tokio::test(flavor = "multi_thread")]
async fn the_switch_replaces_databases_under_connected_clients_and_keeps_the_old_ones() {
    let server = sample();
    let sql = server.sql();
    let bench = Bench::new(direct(sql)).await;
    bench.backup().await.unwrap();
    let before = sql.row_counts("crm").unwrap();
    sql.run("crm", "delete from crm.contacts where id > 10; create table crm.later (a int)").unwrap();
    let damaged = sql.row_counts("crm").unwrap();
    let mut sleeper = sql.psql("crm").args(["-X", "-c", "select pg_sleep(600)"]).spawn().unwrap();
    let asleep =
        "select count(*) from pg_stat_activity where query like '%pg_sleep(600)%' and datname = 'crm'";
    backup_testkit::servers::poll("the client to sleep", std::time::Duration::from_secs(20), || {
        match sql.run("postgres", asleep) {
            Ok(count) if count == "1" => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .unwrap();
    let outcome = bench.restore(json!({})).await.unwrap();
    assert!(!sleeper.wait().unwrap().success(), "the client's session was ended");
    assert_eq!(sql.row_counts("crm").unwrap(), before);
    let names = sql.databases().unwrap();
    let aside = names.iter().find(|name| name.starts_with("crm_before_")).unwrap();
    assert_eq!(sql.row_counts(aside).unwrap(), damaged);
    assert!(names.iter().any(|name| name.starts_with("postgres_before_")), "{names:?}");
    assert!(!names.iter().any(|name| name.contains("_restored_")), "{names:?}");
    let notes: Vec<String> = outcome.steps.iter().flat_map(|step| step.notes.clone()).collect();
    assert!(notes.iter().any(|note| note.contains(aside.as_str())), "{notes:?}");
}

/// `switch=first` puts the old database aside before anything is loaded, so that the new one has its name from the start.
#[tokio::test(flavor = "multi_thread")]
async fn switch_first_loads_under_the_own_name() {
    let server = sample();
    let sql = server.sql();
    let bench = Bench::new(direct(sql)).await;
    bench.backup().await.unwrap();
    let before = sql.row_counts("crm").unwrap();
    sql.run("crm", "truncate crm.companies cascade").unwrap();
    let plan = bench.plan(json!({"database": "crm", "switch": "first"})).await.unwrap();
    let steps: Vec<&str> = plan.steps.iter().map(|step| step.step.id.as_str()).collect();
    assert_eq!(steps, ["globals", "aside:crm", "create:crm", "load:crm", "check:crm"]);
    bench.engine.restore(&bench.cx, &plan).await.unwrap();
    assert_eq!(sql.row_counts("crm").unwrap(), before);
    assert!(sql.databases().unwrap().iter().any(|name| name.starts_with("crm_before_")));
}

/// An empty server gets roles and databases; nothing is kept aside where nothing was.
#[tokio::test(flavor = "multi_thread")]
async fn a_restore_into_an_empty_server_creates_roles_and_databases() {
    let (source, fresh) = (sample(), PostgresServer::start(15).unwrap());
    let store = std::sync::Arc::new(backup_core::stores::MemoryStore::new());
    let bench = Bench::over(store.clone(), direct(source.sql())).await;
    bench.backup().await.unwrap();
    let other = Bench::over(store, direct(fresh.sql())).await;
    other.restore(json!({"database": "crm,Lager \"Süd\""})).await.unwrap();
    assert_same_lines(&dumpall_of(&source), &dumpall_of(&fresh));
    assert!(!fresh.sql().databases().unwrap().iter().any(|name| name.contains("_before_")));
}

/// Without the superuser's own hash, which a restore leaves alone.
fn dumpall_of(server: &PostgresServer) -> String {
    let text = dumpall(server.sql());
    text.lines().filter(|line| !line.starts_with("ALTER ROLE postgres")).collect::<Vec<_>>().join("\n")
}

/// A name that is taken is refused at the plan, and nothing is touched.
#[tokio::test(flavor = "multi_thread")]
async fn an_existing_target_is_refused_and_untouched() {
    let server = sample();
    let sql = server.sql();
    let bench = Bench::new(direct(sql)).await;
    bench.backup().await.unwrap();
    sql.run("postgres", "create database taken").unwrap();
    sql.run("taken", "create table mine (a int)").unwrap();
    let before = dumpall(sql);
    let error = bench.plan(json!({"database": "crm", "into": "taken"})).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(error.advice().unwrap().contains("into="), "{error:?}");
    // Taken between the plan and its application.
    let plan = bench.plan(json!({"database": "crm", "into": "later"})).await.unwrap();
    sql.run("postgres", "alter database taken rename to later").unwrap();
    let error = bench.engine.restore(&bench.cx, &plan).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused, "{error:?}");
    sql.run("postgres", "alter database later rename to taken").unwrap();
    assert_same_lines(&dumpall(sql), &before);
}

/// A plan is not applied to a database that was replaced since.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_replaced_since_the_plan_is_refused() {
    let server = sample();
    let sql = server.sql();
    let bench = Bench::new(direct(sql)).await;
    bench.backup().await.unwrap();
    let plan = bench.plan(json!({"database": "crm"})).await.unwrap();
    sql.run("postgres", "drop database crm").unwrap();
    sql.run("postgres", "create database crm").unwrap();
    let error = bench.engine.restore(&bench.cx, &plan).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused, "{error:?}");
    assert!(!sql.databases().unwrap().iter().any(|name| name.contains("_restored_")));
}

/// A wrong password is said as such, with what to mend, and shown nowhere.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_denied_and_not_shown() {
    let server = PostgresServer::start(15).unwrap();
    let mut config = direct(server.sql());
    config["password"] = "wrong-hunter2".into();
    let bench = Bench::new(config).await;
    let report = bench.backup().await.unwrap();
    assert_eq!(report.status, backup_core::repository::Status::Failed);
    assert!(report.errors[0].contains("password authentication failed"), "{report:?}");
    assert!(!format!("{report:?}").contains("hunter2"));
    let checked = bench.engine.check(&bench.cx).await;
    let text = format!("{checked:?}");
    assert!(text.contains("password authentication failed") && text.contains("pg_hba.conf"), "{text}");
    assert!(!text.contains("hunter2"));
}

/// A sound server has no finding that is worse than well.
#[tokio::test(flavor = "multi_thread")]
async fn check_finds_a_sound_server_well() {
    let server = sample();
    let bench = Bench::new(direct(server.sql())).await;
    let checked = bench.engine.check(&bench.cx).await;
    assert_eq!(checked.worst(), Severity::Ok, "{checked:?}");
}

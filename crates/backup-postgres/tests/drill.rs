//! Drills on a real private cluster: what a good dump passes, and on which rung a damaged one fails.

mod support;

use std::{path::Path, sync::Arc};

use async_trait::async_trait;
use backup_core::{
    engine::{BackupRequest, DrillSettings, Engine},
    policy::{ComponentDrill, DrillVerdict, Rung, RungOutcome, RungReport},
    repository::ProcessIdentity,
    stores::MemoryStore,
    traits::{
        ArtifactSpec, Capture, CaptureAsk, Captured, Component, Context, Drill, EndEvidence, LocalPlace,
        Node, Sink,
    },
    words::{ComponentRecord, Kind, Point, Result, Span},
};
use backup_postgres::PostgresComponent;
use backup_testkit::servers::{PostgresServer, SampleData, Sql};
use serde_json::{Value, json};
use support::{Bench, direct};

/// A session of the test's own: SQL in parts, and what its manifest says of it.
#[derive(Clone, Debug)]
struct Dump {
    parts: Vec<(String, String)>,
    record: ComponentRecord,
    drilled_by: Arc<PostgresComponent>,
}

#[async_trait]
impl Component for Dump {
    fn kind(&self) -> Kind {
        Kind { name: "postgres".to_owned(), format: 1 }
    }

    async fn open(&self, _: &Context, _: &CaptureAsk) -> Result<Box<dyn Capture>> {
        Ok(Box::new(self.clone()))
    }

    fn drill(&self) -> Option<&dyn Drill> {
        Some(&*self.drilled_by)
    }
}

#[async_trait]
impl Capture for Dump {
    async fn run(self: Box<Self>, cx: &Context, sink: &dyn Sink) -> Result<Captured> {
        let mut writer = sink.create(ArtifactSpec::new("sql", "application/sql")).await?;
        for (name, text) in &self.parts {
            writer.part(name).await?;
            writer.write(text.clone().into()).await?;
        }
        let receipt = writer.finish(EndEvidence::new("a test's own dump")).await?;
        let mut captured = Captured::new(Point::pinned(Span { from: cx.now(), to: cx.now() }), vec![receipt]);
        captured.facts = self.record.facts.clone();
        Ok(captured)
    }
}

impl Dump {
    /// A real backup of sample data, with the section that drills it.
    async fn real(major: u32, section: Value) -> Self {
        let source = PostgresServer::start(major).unwrap();
        SampleData { rows: 300 }.load(source.sql()).unwrap();
        source
            .sql()
            .run("postgres", "create role idle_role; create table t (id serial primary key)")
            .unwrap();
        source.sql().run("postgres", "insert into t select from generate_series(1, 9)").unwrap();
        Self::of(source.sql(), section).await
    }

    /// A real backup of that server.
    async fn of(source: &Sql, section: Value) -> Self {
        let bench = Bench::new(direct(source)).await;
        bench.backup().await.unwrap();
        let record = bench.record().await;
        let text = std::fs::read_to_string(bench.extract().await).unwrap();
        let part = |part: &backup_core::words::Part| {
            let start = usize::try_from(part.start).unwrap();
            (part.name.clone(), text[start..start + usize::try_from(part.plain.size).unwrap()].to_owned())
        };
        let parts = record.artifacts[0].parts.iter().map(part).collect();
        let mut config = direct(source);
        config["drill"] = section;
        let drilled_by =
            PostgresComponent::new("postgres", &Node::new(config), Arc::new(LocalPlace)).unwrap();
        Self { parts, record, drilled_by: Arc::new(drilled_by) }
    }

    fn edit(&self, part: &str, edit: impl Fn(&str) -> String) -> Self {
        let mut edited = self.clone();
        let (_, text) = edited.parts.iter_mut().find(|(name, _)| name == part).unwrap();
        let changed = edit(text);
        assert_ne!(*text, changed, "the damage found nothing to damage");
        *text = changed;
        edited
    }

    /// SQL at the end of a database, as if it had been dumped.
    fn append(&self, part: &str, sql: &str) -> Self {
        self.edit(part, |text| format!("{text}\n{sql}\n"))
    }

    async fn drill(&self) -> ComponentDrill {
        let folder = tempfile::Builder::new().prefix("d").tempdir_in("/var/tmp").unwrap();
        open(folder.path());
        let mut settings = DrillSettings::new(folder.path().join("p"));
        settings.keep_free = 0;
        let engine = Engine::builder("crm")
            .store("memory", Arc::new(MemoryStore::new()))
            .component("postgres", Arc::new(self.clone()))
            .drill(settings)
            .build()
            .unwrap();
        let cx = Context::new();
        engine.init(&cx).await.unwrap();
        engine.backup(&cx, &BackupRequest::new("full")).await.unwrap();
        let report = engine.drill(&cx, "latest", &[]).await.unwrap();
        assert_nothing_is_left(folder.path());
        report.components.into_iter().next().unwrap()
    }
}

/// The user that PostgreSQL runs as has to come through.
fn open(folder: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o711)).unwrap();
}

fn assert_nothing_is_left(folder: &Path) {
    let left: Vec<_> =
        std::fs::read_dir(folder.join("p")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(left, Vec::<std::path::PathBuf>::new());
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    for pid in processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()) {
        let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let ours = String::from_utf8_lossy(&words).contains(folder.to_str().unwrap());
        assert!(!ours || ProcessIdentity::of(pid).is_none(), "{}", String::from_utf8_lossy(&words));
    }
}

fn rung(drill: &ComponentDrill, rung: Rung) -> &RungReport {
    drill.rungs.iter().find(|report| report.rung == rung).unwrap()
}

/// The only rung that failed, and what it says.
#[track_caller]
fn failed(drill: &ComponentDrill) -> (Rung, String) {
    let failed: Vec<_> = drill.rungs.iter().filter(|r| r.outcome == RungOutcome::Failed).collect();
    assert_eq!((failed.len(), drill.verdict), (1, DrillVerdict::Failed), "{drill:#?}");
    (failed[0].rung, format!("{}: {:?}", failed[0].said, failed[0].wrong))
}

#[track_caller]
fn fails_at(drill: &ComponentDrill, at: Rung, named: &[&str]) {
    let (rung, said) = failed(drill);
    assert_eq!(rung, at, "{said}");
    assert!(named.iter().all(|part| said.contains(part)), "{said}");
}

fn questions() -> Value {
    json!({ "queries": [
        { "database": "postgres", "sql": "select count(*) from t", "expect": { "min": 5, "max": 9 } },
        { "database": "crm", "sql": "select count(*) from crm.contacts", "expect": { "min": 1 } },
        { "database": "postgres", "sql": "select current_setting('transaction_read_only')", "expect": "on" },
    ] })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_dump_passes_every_rung_and_each_damage_fails_on_its_own() {
    let dump = Dump::real(15, questions()).await;
    let good = dump.drill().await;
    assert_eq!(good.verdict, DrillVerdict::Passed, "{good:#?}");
    assert!(good.rungs.iter().all(|rung| rung.outcome == RungOutcome::Passed), "{good:#?}");
    assert!(good.tools["postgres"].starts_with("15."), "{:?}", good.tools);
    assert!(rung(&good, Rung::Integrity).said.contains("checked by amcheck"), "{good:#?}");
    assert!(good.neutralised.iter().any(|line| line.starts_with("archive_command")), "{good:#?}");

    let fewer = dump.edit("database postgres", |text| text.replacen("\n9\n", "\n", 1));
    fails_at(&fewer.drill().await, Rung::Volume, &["database postgres", "public.t has 8 rows and not 9"]);

    let behind = dump.edit("database postgres", |text| {
        text.replace("'public.t_id_seq', 9, true", "'public.t_id_seq', 5, true")
    });
    fails_at(
        &behind.drill().await,
        Rung::Content,
        &["sequence public.t_id_seq", "stands at 5, behind 9 in public.t.id"],
    );

    let without_role = |text: &str| -> String {
        text.lines().filter(|line| !line.contains("idle_role")).map(|line| format!("{line}\n")).collect()
    };
    let lost = dump.edit("globals", without_role);
    fails_at(&lost.drill().await, Rung::Volume, &["roles", "the manifest says"]);

    let broken = dump.append("database postgres", "SELECT no_such_function();");
    fails_at(&broken.drill().await, Rung::Structure, &["no_such_function"]);

    // The order of an index changes behind its back, as a new version of a collation does it.
    let reordered = dump.append(
        "database postgres",
        "CREATE FUNCTION public.asc_cmp(int4, int4) RETURNS int LANGUAGE sql AS 'SELECT CASE WHEN $1 = $2 THEN 0 WHEN $1 > $2 THEN 1 ELSE -1 END';
         CREATE FUNCTION public.desc_cmp(int4, int4) RETURNS int LANGUAGE sql AS 'SELECT CASE WHEN $1 = $2 THEN 0 WHEN $1 < $2 THEN 1 ELSE -1 END';
         CREATE OPERATOR CLASS public.fickle FOR TYPE int4 USING btree AS OPERATOR 1 <(int4, int4), OPERATOR 2 <=(int4, int4),
             OPERATOR 3 =(int4, int4), OPERATOR 4 >=(int4, int4), OPERATOR 5 >(int4, int4), FUNCTION 1 public.asc_cmp(int4, int4);
         CREATE INDEX fickle_idx ON public.t USING btree (id public.fickle);
         UPDATE pg_catalog.pg_amproc SET amproc = 'public.desc_cmp'::regproc WHERE amproc = 'public.asc_cmp'::regproc;",
    );
    fails_at(&reordered.drill().await, Rung::Integrity, &["index public.fickle_idx", "order"]);

    let invalid = dump.append(
        "database postgres",
        "UPDATE pg_catalog.pg_index SET indisvalid = false WHERE indexrelid = 'public.t_pkey'::regclass;",
    );
    fails_at(&invalid.drill().await, Rung::Integrity, &["index public.t_pkey", "it is invalid"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_answer_fails_and_a_version_that_is_not_here_is_not_run() {
    let wrong = json!({ "queries": [{ "database": "postgres", "sql": "select 7", "expect": 8 }] });
    let dump = Dump::real(15, wrong).await;
    fails_at(&dump.drill().await, Rung::Smoke, &["postgres: select 7", "7 and not 8"]);

    let mut other = dump.clone();
    other.record.facts.insert("server_version".to_owned(), "31.4".into());
    let drill = other.drill().await;
    assert_eq!(drill.verdict, DrillVerdict::NotRun);
    let structure = rung(&drill, Rung::Structure);
    assert_eq!(structure.outcome, RungOutcome::NotRun);
    assert!(structure.said.contains("no PostgreSQL 31 server is installed"), "{}", structure.said);
    assert_eq!(rung(&drill, Rung::Decrypted).outcome, RungOutcome::Passed);

    let mut strange = dump.clone();
    let databases = strange.record.facts.get_mut("databases").unwrap();
    databases["postgres"]["extensions"]["no_such_extension"] = "1.0".into();
    let drill = strange.drill().await;
    assert_eq!(drill.verdict, DrillVerdict::NotRun);
    assert!(rung(&drill, Rung::Structure).said.contains("no_such_extension"), "{drill:#?}");
}

/// The drilled copy asks whether it can be heard outside: the source listens on loopback and takes its password.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_restored_cannot_reach_the_source() {
    let source = PostgresServer::start(15).unwrap();
    let sql = source.sql();
    sql.run("postgres", "create extension dblink; create table heard (a int)").unwrap();
    sql.run("postgres", "create publication p for table heard").unwrap();
    let dump = Dump::of(sql, json!({})).await;
    // psql shows no details: the function shows its own.
    let reaching = dump.append(
        "database postgres",
        &format!(
            "DO $do$ DECLARE why text; BEGIN
                 PERFORM public.dblink_connect('host=127.0.0.1 port={} user=x password=y connect_timeout=5');
             EXCEPTION WHEN OTHERS THEN
                 GET STACKED DIAGNOSTICS why = PG_EXCEPTION_DETAIL;
                 RAISE EXCEPTION '%', why;
             END $do$;",
            sql.port
        ),
    );
    let (rung, said) = failed(&reaching.drill().await);
    assert_eq!(rung, Rung::Structure);
    assert!(said.contains("Network is unreachable"), "{said}");
    let quiet = dump.drill().await;
    assert_eq!(quiet.verdict, DrillVerdict::Passed, "{quiet:#?}");
    let listed = quiet.neutralised.join("\n");
    assert!(
        listed.contains("without any device") && listed.contains("publication p of postgres"),
        "{listed}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_of_17_is_drilled_on_17() {
    let drill = Dump::real(17, questions()).await.drill().await;
    assert_eq!(drill.verdict, DrillVerdict::Passed, "{drill:#?}");
    assert!(drill.tools["postgres"].starts_with("17."), "{:?}", drill.tools);
}

//! The component `command` in a whole engine, with programs that work, lie, hang and fail.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use backup_core::{
    components::command::{CommandConfig, Commands},
    engine::{BackupOutcome, BackupRequest, Engine, Level, RestoreRequest},
    repository::Status,
    stores::MemoryStore,
    traits::{Component, Context, SecretSource, Severity},
    words::{ComponentRecord, ComponentStatus, ErrorKind, Secret},
};
use backup_testkit::servers::Toolbox;
use serde_json::json;

struct Rig {
    engine: Engine,
    cx: Context,
}

fn sh(script: &str) -> Vec<String> {
    ["sh", "-c", script].map(str::to_owned).to_vec()
}

fn section(script: &str) -> CommandConfig {
    CommandConfig::new(sh(script))
}

impl Rig {
    async fn new(config: CommandConfig) -> Self {
        let component = Arc::new(Commands::new("own", config).unwrap());
        let store = Arc::new(MemoryStore::new());
        let engine =
            Engine::builder("test").store("memory", store).component("own", component).build().unwrap();
        let cx = Context::new();
        engine.init(&cx).await.unwrap();
        Self { engine, cx }
    }

    async fn backup(&self) -> BackupOutcome {
        self.engine.backup(&self.cx, &BackupRequest::new("full")).await.unwrap()
    }

    async fn record(&self) -> ComponentRecord {
        let entry = self.engine.session(&self.cx, "latest").await.unwrap();
        entry.committed().unwrap().component("own").unwrap().clone()
    }

    /// What the component's failure said.
    async fn failure(&self) -> String {
        let outcome = self.backup().await;
        assert_eq!(outcome.report.status, Status::Failed, "{:?}", outcome.report);
        outcome.report.errors.join("\n")
    }
}

/// What is written is what comes back, and what the program told of it stands in the manifest.
#[tokio::test]
async fn what_a_program_wrote_and_told_is_kept_and_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let restored = folder.path().join("restored");
    let mut config = section(
        r#"test "$PASSWORD" = s3cr3t && test "$HA_BACKUP_OPERATION" = backup || exit 1
        head -c 3000000 /dev/zero | tr '\0' x; echo; echo '-- end'
        printf '{"facts": {"rows": 12}, "bytes": 3000008, "warnings": ["slow"],
            "position": {"lineage": "server", "at": 7, "label": "log:7"},
            "coverage": [{"what": "logs", "why": "too large", "missing": false}]}' >&3"#,
    );
    config.restore = Some(sh(&format!("cat >{} && echo all is back", restored.display())));
    config.verify = Some(sh("tail -c 7 | grep -q end && echo whole"));
    config.check = Some(sh("echo version 8"));
    config.end_marker = Some("-- end".to_owned());
    config.extension = "sql".to_owned();
    config.secrets.insert("PASSWORD".to_owned(), SecretSource::Plain(Secret::new("s3cr3t")));
    let by_hand = Commands::new("own", config.clone()).unwrap();
    let checked = by_hand.check(&Context::new()).await.unwrap();
    assert_eq!((checked[0].severity, checked[0].message.as_str()), (Severity::Ok, "version 8"));

    let rig = Rig::new(config).await;
    assert_eq!(rig.backup().await.report.status, Status::Success);
    let record = rig.record().await;
    assert!(record.artifacts[0].name.ends_with(".sql"), "{}", record.artifacts[0].name);
    assert_eq!(record.artifacts[0].plain.size, 3_000_008);
    assert_eq!((record.facts["rows"].clone(), &record.warnings[..]), (json!(12), &["slow".to_owned()][..]));
    assert_eq!(record.coverage[0].what, "logs");
    assert_eq!(record.point.as_ref().unwrap().position.as_ref().unwrap().label.as_deref(), Some("log:7"));
    let verified = rig.engine.verify(&rig.cx, "latest", Level::Content).await.unwrap();
    assert!(verified.passed && format!("{verified:?}").contains("whole"), "{verified:?}");
    let lines = by_hand.by_hand(&record);
    assert_eq!(lines[0], "It wants these variables in its environment: PASSWORD.");
    assert!(lines[1].starts_with("$ sh -c 'cat >") && lines[1].ends_with(".sql"), "{lines:?}");

    let plan = rig.engine.plan_restore(&rig.cx, &RestoreRequest::new("latest")).await.unwrap();
    let outcome = rig.engine.restore(&rig.cx, &plan).await.unwrap();
    assert!(outcome.steps[0].summary.contains("all is back"), "{outcome:?}");
    assert_eq!(std::fs::metadata(&restored).unwrap().len(), 3_000_008);
}

/// Each of these exits with 0, or nearly so, and is no backup.
#[tokio::test]
async fn what_is_not_proved_is_a_failure_that_says_why() {
    type Change = fn(&mut CommandConfig);
    let none: Change = |_| {};
    let cases: [(&str, Change, &str); 8] = [
        ("true", none, "it exited with 0 and wrote nothing"),
        ("echo half; echo no room >&2; exit 3", none, "exit code 3: no room"),
        ("echo cut", |config| config.end_marker = Some("-- end".to_owned()), "\"-- end\" is not in the last"),
        (r#"echo short; echo '{"bytes": 600}' >&3"#, none, "600"),
        (r#"echo x; echo '{"sha256": "00"}' >&3"#, none, "sha256"),
        (r#"echo x; echo '{"row": 1}' >&3"#, none, "understand the facts of: sh"),
        ("echo x; exec sleep 1000", |config| config.timeout = Some(1), "it had not ended after 1 s"),
        ("kill -9 $$", none, "signal 9"),
    ];
    for (script, change, said) in cases {
        let mut config = section(script);
        change(&mut config);
        let failure = Rig::new(config).await.failure().await;
        assert!(failure.to_lowercase().contains(&said.to_lowercase()), "{script}: {failure}");
    }
    let missing = Rig::new(CommandConfig::new(["no-such-program"])).await.failure().await;
    assert!(missing.contains("no-such-program") && missing.contains("127"), "{missing}");
}

#[tokio::test]
async fn what_is_told_to_be_missing_makes_it_partial_and_nothing_may_be_right() {
    let told = r#"echo x; echo '{"coverage": [{"what": "t", "why": "locked", "missing": true}]}' >&3"#;
    let rig = Rig::new(section(told)).await;
    assert_eq!(rig.backup().await.report.status, Status::Partial);
    assert_eq!(rig.record().await.status, ComponentStatus::Partial);
    let mut empty = section("true");
    empty.may_be_empty = true;
    assert_eq!(Rig::new(empty).await.backup().await.report.status, Status::Success);
}

/// `EX_TEMPFAIL`: once more, and the second try counts.
#[tokio::test]
async fn a_program_may_ask_to_be_run_again() {
    let folder = tempfile::tempdir().unwrap();
    let mark = folder.path().join("tried");
    let rig = Rig::new(section(&format!(
        "echo $HA_BACKUP_ATTEMPT; test -e {0} || {{ touch {0}; exit 75; }}",
        mark.display()
    )))
    .await;
    assert_eq!(rig.backup().await.report.status, Status::Success);
    assert_eq!(rig.record().await.artifacts[0].plain.size, 2, "the second try's output alone");
}

async fn restored(script: &str, section: CommandConfig) -> backup_core::words::Error {
    let config = CommandConfig { restore: Some(sh(script)), ..section };
    let rig = Rig::new(config).await;
    rig.backup().await;
    let plan = rig.engine.plan_restore(&rig.cx, &RestoreRequest::new("latest")).await.unwrap();
    rig.engine.restore(&rig.cx, &plan).await.unwrap_err()
}

#[tokio::test]
async fn a_restore_that_did_not_read_everything_is_a_failure() {
    let large = || section("head -c 9000000 /dev/zero");
    let unread = restored("true", large()).await.chain();
    assert!(unread.contains("before it had read the whole backup"), "{unread}");
    let failed = restored("head -c 10 >/dev/null; echo refused >&2; exit 4", large()).await.chain();
    assert!(failed.contains("exit code 4: refused"), "{failed}");
    let rig = Rig::new(section("echo x")).await;
    rig.backup().await;
    let none = rig.engine.plan_restore(&rig.cx, &RestoreRequest::new("latest")).await.unwrap_err();
    assert_eq!(none.kind(), ErrorKind::Unsupported);
}

/// Secrets go by the environment, and what a program prints of them on a failure is its own doing.
#[tokio::test]
async fn wrong_sections_are_refused() {
    let refused = |change: &dyn Fn(&mut CommandConfig)| {
        let mut config = section("true");
        change(&mut config);
        Commands::new("own", config).unwrap_err().to_string()
    };
    assert!(refused(&|config| config.backup.clear()).contains("backup"));
    assert!(refused(&|config| config.restore = Some(vec![String::new()])).contains("restore"));
    assert!(refused(&|config| config.extension = "../x".to_owned()).contains("extension"));
    assert!(refused(&|config| config.end_marker = Some(String::new())).contains("end_marker"));
    let variables: BTreeMap<_, _> = [("KEY".to_owned(), SecretSource::Plain(Secret::new("hunter2")))].into();
    let shown = format!("{:?}", CommandConfig { secrets: variables, ..section("true") });
    assert!(!shown.contains("hunter2"), "{shown}");
}

/// An embedded database, with its own program.
#[tokio::test]
async fn a_sqlite_database_is_dumped_and_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let (before, after) = (folder.path().join("before.db"), folder.path().join("after.db"));
    let sqlite = Toolbox::open().unwrap().sqlite().unwrap();
    let sql = |database: &Path, statement: &str| {
        let ran = std::process::Command::new(&sqlite).arg(database).arg(statement).output().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8(ran.stdout).unwrap()
    };
    sql(&before, "create table t (n integer, word text); insert into t values (1, 'né'), (2, 'x');");
    let program = |database: &Path, more: &[&str]| {
        let (sqlite, database) = (sqlite.display().to_string(), database.display().to_string());
        [&sqlite, "-bail", &database]
            .into_iter()
            .chain(more.iter().copied())
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let mut config = CommandConfig::new(program(&before, &[".dump"]));
    config.restore = Some(program(&after, &[]));
    config.end_marker = Some("COMMIT;".to_owned());
    let rig = Rig::new(config).await;
    assert_eq!(rig.backup().await.report.status, Status::Success);
    let plan = rig.engine.plan_restore(&rig.cx, &RestoreRequest::new("latest")).await.unwrap();
    rig.engine.restore(&rig.cx, &plan).await.unwrap();
    assert_eq!(sql(&after, "select * from t order by n"), sql(&before, "select * from t order by n"));
}

//! The metrics of real engines, and what Prometheus' own checker says of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
};

use backup_core::{
    engine::{BackupRequest, Engine, JobSettings, Level, StoreSettings},
    stores::LocalStore,
    traits::Context,
};
use backup_monitor::prometheus::{Around, NextRun, gather};
use backup_testkit::{
    servers::Toolbox,
    suites::{Act, HandClock, ScriptedComponent},
};
use bytes::Bytes;
use chrono::TimeDelta;

fn engine(folder: &Path, b: Act) -> Engine {
    let store = |name: &str| StoreSettings::new(name, Arc::new(LocalStore::new(folder.join(name))));
    Engine::builder("crm")
        .store_with(store("home"))
        .store_with(store("mirror").optional())
        .component("a", Arc::new(ScriptedComponent::new(Act::Plain(Bytes::from_static(b"aaaa")))))
        .component("b", Arc::new(ScriptedComponent::new(b)))
        .job(JobSettings::new("full"))
        .build()
        .unwrap()
}

/// The samples by name and labels.
fn samples(text: &str) -> BTreeMap<&str, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let mut found = BTreeMap::new();
    for (sample, value) in lines.map(|line| line.rsplit_once(' ').unwrap()) {
        assert!(found.insert(sample, value.parse().unwrap()).is_none(), "{sample} twice");
    }
    found
}

fn checked(text: &str) {
    let promtool = Toolbox::open().unwrap().promtool().unwrap_or_else(|e| panic!("{e}"));
    let mut run = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    run.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let ran = run.wait_with_output().unwrap();
    let said = [ran.stdout, ran.stderr].concat();
    assert!(ran.status.success() && said.is_empty(), "{}\n{text}", String::from_utf8_lossy(&said));
}

#[tokio::test]
async fn figures_are_those_of_the_stores_that_answer_and_a_store_that_does_not_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(HandClock::new("2026-05-01T12:00:00Z".parse().unwrap()));
    let cx = Context::new().with_clock(clock.clone());
    let good = engine(folder.path(), Act::Plain(Bytes::from_static(b"b")));
    good.init(&cx).await.unwrap();
    let first = good.backup(&cx, &BackupRequest::new("full")).await.unwrap().report;
    good.verify(&cx, "latest", Level::Checksum).await.unwrap();
    clock.jump(TimeDelta::hours(5));
    let bad = engine(folder.path(), Act::FailOpen);
    let second = bad.backup(&cx, &BackupRequest::new("full")).await.unwrap().report;
    let next_runs = vec![NextRun { job: "full".into(), run: "backup".into(), at: cx.now() }];
    let around = Around { next_runs, notifiers: vec![("ops \"mail\"".into(), None)] };
    let look = async || gather(&bad, &cx, around.clone()).await.unwrap().exposition();

    let text = look().await;
    checked(&text);
    let found = samples(&text);
    let is = |sample: &str, value: f64| {
        assert_eq!(found.get(sample).copied(), Some(value), "{sample} in\n{text}");
    };
    let begun = |id: backup_core::words::SessionId| id.time().timestamp() as f64;
    is(
        "ha_backup_job_last_good_timestamp_seconds{installation=\"crm\",backup_job=\"full\"}",
        begun(second.session_id),
    );
    is("ha_backup_job_last_session_status{installation=\"crm\",backup_job=\"full\",status=\"partial\"}", 1.0);
    is("ha_backup_job_last_session_status{installation=\"crm\",backup_job=\"full\",status=\"success\"}", 0.0);
    is(
        "ha_backup_component_last_good_timestamp_seconds{installation=\"crm\",component=\"a\"}",
        begun(second.session_id),
    );
    is(
        "ha_backup_component_last_good_timestamp_seconds{installation=\"crm\",component=\"b\"}",
        begun(first.session_id),
    );
    is("ha_backup_component_last_verification_passed{installation=\"crm\",component=\"b\"}", 1.0);
    for store in ["home", "mirror"] {
        let of = |status: &str| {
            format!("ha_backup_store_sessions{{installation=\"crm\",store=\"{store}\",status=\"{status}\"}}")
        };
        is(&of("success"), 1.0);
        is(&of("partial"), 1.0);
        is(&of("failed"), 0.0);
        is(&format!("ha_backup_store_missing_copies{{installation=\"crm\",store=\"{store}\"}}"), 0.0);
    }
    is("ha_backup_notifier_failing{installation=\"crm\",notifier=\"ops \\\"mail\\\"\"}", 0.0);

    // One store away: the other one's figures stand, and none of the first.
    std::fs::rename(folder.path().join("mirror"), folder.path().join("away")).unwrap();
    let text = look().await;
    checked(&text);
    let found = samples(&text);
    assert_eq!(found["ha_backup_store_up{installation=\"crm\",store=\"mirror\"}"], 0.0);
    assert_eq!(found["ha_backup_store_up{installation=\"crm\",store=\"home\"}"], 1.0);
    let of_mirror: Vec<_> = found.keys().filter(|name| name.contains("store=\"mirror\"")).collect();
    assert_eq!(of_mirror.len(), 2, "{of_mirror:?}: up and required only");

    // None left: nothing that was known before is said of any session.
    std::fs::rename(folder.path().join("home"), folder.path().join("gone")).unwrap();
    let text = look().await;
    checked(&text);
    let found = samples(&text);
    assert_eq!(found["ha_backup_store_up{installation=\"crm\",store=\"home\"}"], 0.0);
    assert_eq!(found["ha_backup_health_state{installation=\"crm\"}"], 2.0);
    assert!(!text.contains("last_good") && !text.contains("last_session"), "{text}");
}

#[tokio::test]
async fn before_the_first_session_there_is_no_session_and_no_figure_of_one() {
    let folder = tempfile::tempdir().unwrap();
    let cx = Context::new();
    let engine = engine(folder.path(), Act::Plain(Bytes::from_static(b"b")));
    engine.init(&cx).await.unwrap();
    let text = gather(&engine, &cx, Around::default()).await.unwrap().exposition();
    checked(&text);
    let found = samples(&text);
    assert_eq!(found["ha_backup_job_max_age_seconds{installation=\"crm\",backup_job=\"full\"}"], 90_000.0);
    assert!(!text.contains("timestamp_seconds{installation=\"crm\",backup_job"), "{text}");
}

fn deployed(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy").join(file)
}

fn promtool(args: &[&str]) {
    let promtool = Toolbox::open().unwrap().promtool().unwrap_or_else(|e| panic!("{e}"));
    let ran = Command::new(promtool).args(args).current_dir(deployed("prometheus")).output().unwrap();
    let said = [ran.stdout, ran.stderr].concat();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&said));
}

#[test]
fn prometheus_takes_the_alert_rules_and_they_fire_when_they_should_and_not_before() {
    promtool(&["check", "rules", "ha-backup.rules.yml"]);
    promtool(&["test", "rules", "ha-backup.minutes.test.yml", "ha-backup.days.test.yml"]);
}

#[test]
fn every_alert_has_a_test_in_which_it_fires() {
    let read = |file: &str| std::fs::read_to_string(deployed(file)).unwrap();
    let rules = read("prometheus/ha-backup.rules.yml");
    let tests =
        ["minutes", "days"].map(|scale| read(&format!("prometheus/ha-backup.{scale}.test.yml"))).concat();
    for alert in rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        let fires = format!("alertname: {alert}\n        exp_alerts:");
        assert!(tests.contains(&fires), "{alert} never fires in a test");
    }
}

/// Names that begin as ours do, in what asks for them.
fn asked(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with("ha_backup_")).collect()
}

#[test]
fn rules_and_board_ask_for_figures_that_there_are() {
    let source = include_str!("../src/prometheus/write.rs");
    let board = std::fs::read_to_string(deployed("grafana/ha-backup.json")).unwrap();
    serde_json::from_str::<serde_json::Value>(&board).unwrap();
    let rules = std::fs::read_to_string(deployed("prometheus/ha-backup.rules.yml")).unwrap();
    for name in asked(&board).into_iter().chain(asked(&rules)) {
        let own = name.strip_prefix("ha_backup_").unwrap();
        assert!(source.contains(&format!("\"{own}\"")), "{name} is no figure of ours");
    }
}

use serde_json::json;

use super::*;

fn shell(script: &str) -> Vec<String> {
    ["sh", "-c", script].map(str::to_owned).to_vec()
}

fn hooks(moment: Moment, commands: Vec<Vec<String>>) -> Hooks {
    let mut hooks = Hooks { timeout: Duration::from_secs(20), ..Hooks::default() };
    match moment {
        Moment::Before => hooks.before = commands,
        Moment::After => hooks.after = commands,
        Moment::OnFailure => hooks.on_failure = commands,
        Moment::Finally => hooks.finally = commands,
    }
    hooks
}

#[tokio::test]
async fn a_command_gets_the_outcome_and_its_variables() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("out").display().to_string();
    let script = format!("(cat; echo \" $HA_BACKUP_HOOK $HA_BACKUP_JOB $HA_BACKUP_STATUS\") > {file}");
    let outcome = json!({ "job": "full", "status": "SUCCESS", "report": { "x": "y".repeat(200_000) } });
    let failed =
        hooks(Moment::After, vec![shell(&script)]).run(&Context::new(), Moment::After, &outcome).await;
    assert!(failed.is_empty(), "{failed:?}");
    let written = std::fs::read_to_string(file).unwrap();
    let (document, words) = written.rsplit_once("} ").unwrap();
    assert_eq!(serde_json::from_str::<Value>(&format!("{document}}}")).unwrap(), outcome);
    assert_eq!(words.trim(), "after full SUCCESS");
}

#[tokio::test]
async fn the_first_that_fails_before_a_run_is_the_last_and_after_it_all_are_run() {
    let folder = tempfile::tempdir().unwrap();
    let mark = |name: &str| shell(&format!("touch {}", folder.path().join(name).display()));
    let bad = shell("echo no >&2; exit 3");
    let before = hooks(Moment::Before, vec![mark("a"), bad.clone(), mark("b")]);
    let failed = before.run(&Context::new(), Moment::Before, &json!({})).await;
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0].to_string(), "run: the hook sh (before): exit code 3: no");
    assert!(folder.path().join("a").exists() && !folder.path().join("b").exists());
    let after = hooks(Moment::Finally, vec![bad.clone(), mark("c"), bad]);
    assert_eq!(after.run(&Context::new(), Moment::Finally, &json!({})).await.len(), 2);
    assert!(folder.path().join("c").exists());
}

#[tokio::test]
async fn a_command_that_does_not_end_is_ended() {
    let mut hooks = hooks(Moment::After, vec![shell("sleep 600")]);
    hooks.timeout = Duration::from_millis(200);
    let failed = hooks.run(&Context::new(), Moment::After, &json!({})).await;
    assert_eq!(failed[0].kind(), ErrorKind::TimedOut);
}

#[tokio::test]
async fn a_command_that_reads_nothing_is_no_failure_and_a_missing_one_is() {
    let outcome = json!({ "report": "y".repeat(1 << 20) });
    let good = hooks(Moment::After, vec![shell("exit 0")]);
    assert!(good.run(&Context::new(), Moment::After, &outcome).await.is_empty());
    let missing = hooks(Moment::After, vec![vec!["/no/such/program".to_owned()]]);
    assert_eq!(missing.run(&Context::new(), Moment::After, &outcome).await[0].kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn an_interruption_ends_what_is_run_before_and_not_what_is_run_after() {
    let cx = Context::new();
    cx.cancel.cancel();
    let before = hooks(Moment::Before, vec![shell("sleep 600")]);
    assert_eq!(before.run(&cx, Moment::Before, &json!({})).await[0].kind(), ErrorKind::Cancelled);
    let last = hooks(Moment::Finally, vec![shell("exit 0")]);
    assert!(last.run(&cx, Moment::Finally, &json!({})).await.is_empty());
}

//! Two runs at once, and a run that is interrupted.

mod support;

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use serde_json::Value;
use support::{Bench, tree, write_much};

/// Reads messages until one of that type came.
fn read_until(lines: &mut impl Iterator<Item = std::io::Result<String>>, message_type: &str) {
    let found = lines.any(|line| {
        let message: Value = serde_json::from_str(&line.unwrap()).unwrap();
        message["message_type"] == message_type
    });
    assert!(found, "the run ended without {message_type}");
}

fn signal(child: &Child, name: &str) {
    let status = Command::new("kill").args([format!("-{name}"), child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

#[test]
fn a_second_run_of_the_job_leaves_and_an_interrupted_one_leaves_nothing_behind() {
    let bench = Bench::with_files();
    write_much(&bench);
    bench.run(&["init"]).exits(0);
    let mut run =
        bench.command(&["backup", "--json"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(run.stdout.take().unwrap()).lines();
    read_until(&mut lines, "progress");

    let second = bench.run(&["backup", "--json"]).exits(11);
    assert_eq!(second.message("error")["kind"], "Locked");
    let running = bench.run(&["status", "--json"]).exits(0).json();
    assert_eq!(running["running"][0]["job"], "full");

    signal(&run, "INT");
    read_until(&mut lines, "error");
    let ended = run.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(130), "{}", String::from_utf8_lossy(&ended.stderr));
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(said.contains("interrupted: ending cleanly"), "{said}");
    assert!(bench.run(&["list"]).exits(0).stdout.starts_with("No sessions yet"));
    let left: Vec<String> = tree(&bench.path("store"))
        .into_iter()
        .filter(|file| file.contains("/web/") || file.contains("manifest"))
        .collect();
    assert_eq!(left, Vec::<String>::new());

    std::fs::remove_file(bench.path("data/much")).unwrap();
    bench.run(&["backup"]).exits(0);
}

#[test]
fn a_restore_that_was_killed_goes_on_with_the_same_command() {
    let bench = Bench::with_files();
    write_much(&bench);
    bench.first_session();
    let to = format!("to={}", bench.path("back").display());
    let command = ["restore", "latest", "web", "--yes", "--set", &to];
    let mut run =
        bench.command(&command).arg("--json").stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(run.stdout.take().unwrap()).lines();
    read_until(&mut lines, "step_begun");
    signal(&run, "KILL");
    run.wait().unwrap();
    assert!(!bench.path("back").exists());

    let other = bench.run(&["restore", "latest", "web", "--yes", "--set", "to=/elsewhere"]).exits(2);
    assert!(other.stderr.contains("begin anew with --no-resume"), "{}", other.stderr);
    let ran = bench.run(&command).exits(0);
    assert!(ran.stderr.starts_with("Unfinished restore from backup_"), "{}", ran.stderr);
    assert_eq!(tree(&bench.path("back")), ["hello.txt", "much", "sub/numbers.txt"]);

    // What has ended is not gone on with.
    let plan = bench.run(&["restore", "latest", "web", "--plan", "--set", &to]).exits(0);
    assert!(plan.stdout.starts_with("Restore from backup_"), "{}", plan.stdout);
}

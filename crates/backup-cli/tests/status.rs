//! `status`: what it shows, and that `--watch` ends cleanly.

mod support;

use std::{
    io::{BufRead, BufReader, Read},
    process::Stdio,
};

use support::Bench;

#[test]
fn recent_sessions_are_drawn_and_problems_and_next_runs_are_told() {
    let mut bench = Bench::with_files();
    bench.env("LC_ALL", "C.UTF-8");
    bench.first_session();
    support::next_second();
    bench.run(&["backup"]).exits(0);
    std::fs::rename(bench.path("data"), bench.path("away")).unwrap();
    support::next_second();
    bench.run(&["backup"]).exits(1);
    let text = bench.run(&["status"]).exits(0).stdout;
    assert!(text.contains("  size         \u{2588}\u{2588} "), "{text}");
    assert!(
        text.contains("recent problems\n  backup_") && text.contains("FAILED, just now: web: "),
        "{text}"
    );
    assert!(text.contains("next runs\n") && text.contains("full (backup), in "), "{text}");
    assert!(text.contains("] ") && text.contains(" % used"), "{text}");
    assert!(!text.contains('\x1b'), "{text}");

    let status = bench.run(&["status", "--json"]).exits(0).json();
    assert_eq!(status["jobs"][0]["recent"]["stored_bytes"].as_array().unwrap().len(), 2);
    assert_eq!(status["problems"][0]["status"], "FAILED");
    assert_eq!(status["types"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum::<u64>(), 3);
    let web = &status["components"][0];
    assert_eq!((&web["component"], &web["too_old"]), (&"web".into(), &false.into()));
    // As before.
    for key in ["name", "store", "stores", "away", "sessions", "stored_bytes", "running", "drills"] {
        assert!(!status[key].is_null(), "{key} in {status}");
    }
    bench.env("LC_ALL", "C");
    let text = bench.run(&["status"]).exits(0).stdout;
    assert!(text.contains("  size         ## ") && text.is_ascii(), "{text}");
}

#[test]
fn watching_goes_on_without_a_terminal_and_ends_well_when_it_is_asked_to() {
    let bench = Bench::with_files();
    bench.first_session();
    let mut child = bench
        .command(&["status", "--watch", "1"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let (mut seen, mut pages) = (String::new(), 0);
    while pages < 2 {
        let mut line = String::new();
        assert!(out.read_line(&mut line).unwrap() > 0, "it ended: {seen}");
        pages += usize::from(line.starts_with("crm: 1 session"));
        seen.push_str(&line);
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    out.read_to_string(&mut seen).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(!seen.contains('\x1b'), "{seen}");
    bench.run(&["status", "--watch", "0"]).exits(2);
    bench.run(&["status", "--watch", "--json"]).exits(2);
}

#[test]
fn watching_ends_when_nobody_reads_any_more() {
    let bench = Bench::with_files();
    bench.first_session();
    let mut child = bench.command(&["status", "--watch", "1"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    out.read_line(&mut String::new()).unwrap();
    drop(out);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

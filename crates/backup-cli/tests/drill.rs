//! `drill` of files: its evidence, exit codes, the job, and what health and status say of it.

mod support;

use std::path::PathBuf;

use serde_json::Value;
use support::{Bench, next_second};

/// A bench with a session, and drills in a folder of its own.
fn bench(more: &str) -> (Bench, String) {
    let bench = Bench::with_files();
    bench.write("data/state.json", "{\"a\": [1, 2, 3]}");
    configure(&bench, more);
    let session = bench.first_session();
    (bench, session)
}

fn configure(bench: &Bench, more: &str) {
    let folder = bench.path("drills");
    bench.config(&format!("{more}\n[drill]\nfolder = {folder:?}\nkeep_free = \"1MB\"\n"));
}

/// The only drill's report in the store.
fn evidence(bench: &Bench, session: &str) -> PathBuf {
    let mut files: Vec<PathBuf> = std::fs::read_dir(bench.path("store/sessions").join(session))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_str().unwrap().contains("/drill-") && path.extension().unwrap() == "json")
        .collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files.remove(0)
}

fn rung<'r>(report: &'r Value, name: &str) -> &'r Value {
    let rungs = report["components"][0]["rungs"].as_array().unwrap();
    rungs.iter().find(|rung| rung["rung"] == name).unwrap()
}

#[test]
fn a_drill_passes_leaves_evidence_and_nothing_else_and_is_told_of_everywhere() {
    let (bench, session) = bench("");
    let text = bench.run(&["drill", "--junit", "drill.xml"]).exits(0).stdout;
    for part in [
        "drill passed",
        "web  passed; restored in",
        "ok    structure",
        "ok    smoke      JSON files that parse: 1",
    ] {
        assert!(text.contains(part), "{text}");
    }
    let junit = std::fs::read_to_string(bench.path("drill.xml")).unwrap();
    assert!(
        junit.contains("name=\"drill of web\" tests=\"7\" failures=\"0\" errors=\"0\" skipped=\"0\""),
        "{junit}"
    );
    assert_eq!(std::fs::read_dir(bench.path("drills")).unwrap().count(), 0);

    let file = evidence(&bench, &session);
    let report: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!((&report["passed"], &report["session"]), (&true.into(), &session.as_str().into()));
    assert!(report["components"][0]["rto_seconds"].as_f64().unwrap() > 0.0, "{report:#}");
    assert!(report["components"][0]["rpo_seconds"].as_i64().unwrap() >= 0, "{report:#}");

    assert!(bench.run(&["status"]).exits(0).stdout.contains("drills\n  web          passed"));
    assert!(bench.run(&["show", &session]).exits(0).stdout.contains("drilled     web: passed"));
    let health = bench.run(&["health", "--json"]).json();
    let drilled =
        health["checks"].as_array().unwrap().iter().find(|check| check["check"] == "drilled").unwrap();
    assert_eq!(drilled["state"], "ok", "{drilled}");
}

#[test]
fn a_report_is_checked_by_its_shape_and_by_the_manifest_that_it_names() {
    let (bench, session) = bench("");
    bench.run(&["drill"]).exits(0);
    let file = evidence(&bench, &session);
    let good = std::fs::read_to_string(&file).unwrap();
    let check = |text: &str, code: i32| {
        bench.write("shown.json", text);
        bench.run(&["drill", "--check", "shown.json"]).exits(code).stdout
    };
    assert!(check(&good, 0).contains("it is the one that was drilled"));
    let sha = serde_json::from_str::<Value>(&good).unwrap()["manifest_sha256"].as_str().unwrap().to_owned();
    assert!(check(&good.replace(&sha, &"0".repeat(64)), 3).contains("is not the one that was drilled"));
    let bluff = good.replacen("\"outcome\": \"passed\"", "\"outcome\": \"failed\"", 1);
    assert!(check(&bluff, 3).contains("its verdict does not follow from its rungs"));
    assert!(check("{}", 3).contains("it is no report of a drill"));
}

#[test]
fn damage_fails_on_the_rung_where_it_is_and_is_remembered() {
    let (bench, _) = bench("");
    let stored = bench.stored("web");
    let mut bytes = std::fs::read(&stored).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&stored, bytes).unwrap();
    let ran = bench.run(&["drill", "--json"]).exits(3);
    let report = ran.message("drilled");
    assert_eq!(rung(&report, "fetched")["outcome"], "failed", "{report:#}");
    assert!(rung(&report, "fetched")["said"].as_str().unwrap().contains("/web/web_backup_"), "{report:#}");
    for name in ["decrypted", "structure", "smoke"] {
        assert_eq!(rung(&report, name)["outcome"], "not_run", "{report:#}");
    }
    let health = bench.run(&["health"]).exits(3).stdout;
    assert!(health.contains("drilled") && health.contains("fetched:"), "{health}");
}

#[test]
fn without_room_nothing_is_touched_and_the_figures_are_said() {
    let (bench, _) = bench("");
    let folder = bench.path("drills");
    bench.config(&format!("[drill]\nfolder = {folder:?}\nkeep_free = \"900000TB\"\n"));
    let report = bench.run(&["drill", "--json"]).exits(3).message("drilled");
    assert_eq!(report["components"][0]["verdict"], "not_run");
    assert_eq!(rung(&report, "decrypted")["outcome"], "passed");
    let said = rung(&report, "structure")["said"].as_str().unwrap();
    assert!(said.starts_with("no space: it takes"), "{said}");
    assert!(!folder.exists());
}

#[test]
fn a_program_of_the_users_is_a_drill_only_where_it_looks() {
    let (bench, _) =
        bench("[[component]]\nkind = \"command\"\nname = \"own\"\nbackup = [\"echo\", \"hello\"]\n");
    let report = bench.run(&["drill", "latest", "own", "--json"]).exits(3).message("drilled");
    assert_eq!(report["components"][0]["verdict"], "not_run");
    configure(
        &bench,
        "[[component]]\nkind = \"command\"\nname = \"own\"\nbackup = [\"echo\", \"hello\"]\nverify = [\"grep\", \"hello\"]\n",
    );
    next_second();
    let report = bench.run(&["drill", "latest", "own", "--json"]).exits(0).message("drilled");
    assert_eq!(
        (&rung(&report, "structure")["outcome"], &rung(&report, "volume")["outcome"]),
        (&"passed".into(), &"not_run".into())
    );
    bench.run(&["drill", "latest", "nobody"]).exits(10);
}

#[test]
fn a_job_drills_the_newest_session_and_one_older() {
    let job =
        "[[job]]\nname = \"full\"\n[[job]]\nname = \"proof\"\nrun = \"drill\"\nschedule = \"0 4 1 * *\"\n";
    let (bench, first) = bench(job);
    next_second();
    bench.run(&["backup"]).exits(0);
    assert!(bench.run(&["schedule", "show"]).exits(0).stdout.contains("proof"));
    let messages = bench.run(&["run", "proof", "--json"]).exits(0).messages();
    let drilled: Vec<&str> = messages
        .iter()
        .filter(|m| m["message_type"] == "drilled")
        .map(|m| m["session"].as_str().unwrap())
        .collect();
    assert_eq!(drilled.len(), 2, "{drilled:?}");
    assert_eq!(drilled[0], first);
    assert_eq!(bench.run(&["-q", "run", "proof"]).exits(0).stdout, "");
}

#[cfg(feature = "encryption")]
#[test]
fn a_wrong_key_is_12_and_without_any_the_content_stays_closed() {
    let bench = Bench::with_files();
    let key = |name: &str| {
        let public = bench.run(&["keygen", "--output", name]).exits(0).stdout;
        public.split_whitespace().find(|word| word.starts_with("age1")).unwrap().to_owned()
    };
    let (right, _) = (key("right.txt"), key("wrong.txt"));
    configure(&bench, &format!("[encryption]\nrecipients = [{right:?}]\n"));
    bench.first_session();
    let closed = bench.run(&["drill", "--json"]).exits(3).message("drilled");
    assert_eq!(rung(&closed, "fetched")["outcome"], "passed");
    assert_eq!(rung(&closed, "decrypted")["outcome"], "not_run");
    assert!(rung(&closed, "decrypted")["said"].as_str().unwrap().contains(&right));
    bench.run(&["drill", "--identity", "wrong.txt"]).exits(12);
    next_second();
    let open = bench.run(&["drill", "--identity", "right.txt", "--json"]).exits(0).message("drilled");
    assert!(rung(&open, "decrypted")["said"].as_str().unwrap().starts_with("decrypted and unpacked"));
}

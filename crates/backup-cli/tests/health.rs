//! `health` of the built binary: what it prints, and how it ends.

mod support;

use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};
use support::{Bench, next_second};

/// The folder `data` has this many files.
fn fill(bench: &Bench, files: usize) {
    let _ = std::fs::remove_dir_all(bench.path("data"));
    std::fs::create_dir(bench.path("data")).unwrap();
    for n in 0..files {
        bench.write(&format!("data/{n}"), "x");
    }
}

/// A bench whose disk is never too full, however full this machine's is.
fn bench(more: &str) -> Bench {
    let bench = Bench::with_files();
    bench.config(&format!("[health]\ndisk_limit_percent = 100\n{more}"));
    bench
}

/// Moves the only session to another time: `to` is its stamp.
fn rename_session(bench: &Bench, session: &str, to: &str) {
    let (from, into) = (bench.path("store/sessions").join(session), bench.path("store/sessions").join(to));
    std::fs::rename(&from, &into).unwrap();
    let manifest = into.join("manifest.json");
    let text = std::fs::read_to_string(&manifest).unwrap().replace(session, to);
    std::fs::set_permissions(&manifest, PermissionsExt::from_mode(0o600)).unwrap();
    std::fs::write(&manifest, text).unwrap();
}

fn state(document: &Value, scope: &str, check: &str) -> String {
    let checks = document["checks"].as_array().unwrap();
    let found = checks.iter().find(|c| c["scope"] == scope && c["check"] == check);
    found.unwrap_or_else(|| panic!("no {scope} {check} in {document:#}"))["state"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[test]
fn a_fresh_session_is_well_on_a_line_for_each_check() {
    let bench = bench("");
    bench.first_session();
    let ran = bench.run(&["health"]).exits(0);
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(lines.len(), 14, "{}", ran.stdout);
    assert_eq!(lines[13], "all is well: 13 checks");
    assert!(lines[..13].iter().all(|line| line.starts_with("ok        ")), "{}", ran.stdout);
    // The columns stand under each other.
    let column = lines[0].find("reachable").unwrap();
    assert_eq!(lines[1].find("space"), Some(column));
    assert_eq!(lines[8].find("age "), Some(column));
    assert_eq!(bench.run(&["health", "-q"]).exits(0).stdout, "");
    let document = bench.run(&["health", "--json"]).exits(0).json();
    assert_eq!((&document["state"], state(&document, "component", "entries").as_str()), (&json!("ok"), "ok"));
}

#[test]
fn what_is_wrong_is_said_with_exit_3_and_alone_when_quiet() {
    let bench = bench("min_size = { web = \"1GB\" }\n");
    fill(&bench, 100);
    bench.first_session();
    fill(&bench, 30);
    bench.run(&["backup"]).exits(0);
    let ran = bench.run(&["health", "-q"]).exits(3);
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(lines.len(), 2, "{}", ran.stdout);
    assert!(lines[0].starts_with("CRITICAL  component web  size     "), "{}", ran.stdout);
    assert!(lines[0].contains("at least 953.7 MiB are expected"), "{}", ran.stdout);
    assert!(lines[1].contains("% fewer entries: 31; the one before: 101"), "{}", ran.stdout);
    let all = bench.run(&["health"]).exits(3).stdout;
    assert!(all.ends_with("2 critical of 13 checks\n"), "{all}");
}

#[test]
fn an_old_session_is_critical_and_one_from_the_future_does_not_make_it_fresh() {
    let bench = bench("");
    let session = bench.first_session();
    rename_session(&bench, &session, "backup_20260101_020000");
    let document = bench.run(&["health", "--json"]).exits(3).json();
    assert_eq!(state(&document, "job", "age"), "critical");
    rename_session(&bench, "backup_20260101_020000", "backup_20990101_020000");
    let document = bench.run(&["health", "--json"]).exits(3).json();
    assert_eq!(state(&document, "sessions", "clock"), "warning");
    assert_eq!(state(&document, "job", "age"), "critical");
}

#[test]
fn a_verification_that_failed_stays_critical_until_one_passes() {
    let bench = bench("");
    bench.first_session();
    let artifact = bench.stored("web");
    let right = std::fs::read(&artifact).unwrap();
    let mut wrong = right.clone();
    wrong[right.len() / 2] ^= 1;
    std::fs::set_permissions(&artifact, PermissionsExt::from_mode(0o600)).unwrap();
    std::fs::write(&artifact, wrong).unwrap();
    bench.run(&["verify"]).exits(3);
    let document = bench.run(&["health", "--json"]).exits(3).json();
    assert_eq!(state(&document, "sessions", "sound"), "critical");
    std::fs::write(&artifact, right).unwrap();
    next_second();
    bench.run(&["verify"]).exits(0);
    let document = bench.run(&["health", "--json"]).exits(0).json();
    assert_eq!(state(&document, "component", "verified"), "ok");
}

#[test]
fn partial_failed_and_unreadable_sessions_are_said() {
    let bench = bench("");
    let gone = bench.path("gone");
    bench.config(&format!(
        "[health]\ndisk_limit_percent = 100\n[[component]]\nkind = \"files\"\nname = \"gone\"\npath = {gone:?}\n"
    ));
    bench.run(&["init"]).exits(0);
    bench.run(&["backup"]).exits(3);
    let ran = bench.run(&["health"]).exits(3);
    let line =
        ran.stdout.lines().find(|line| line.starts_with("warning   job full        last run   PARTIAL "));
    assert!(line.is_some_and(|line| line.contains("ago: gone: ")), "{}", ran.stdout);
    assert!(
        ran.stdout.contains("CRITICAL  component gone  age        there is no good session"),
        "{}",
        ran.stdout
    );

    bench.write("store/sessions/backup_20260101_020000", "");
    std::fs::remove_file(bench.path("store/sessions/backup_20260101_020000")).unwrap();
    std::fs::create_dir(bench.path("store/sessions/backup_20260101_020000")).unwrap();
    bench.write("store/sessions/backup_20260101_020000/manifest.json", "{");
    let document = bench.run(&["health", "--json"]).exits(3).json();
    assert_eq!(state(&document, "sessions", "readable"), "critical");
}

#[test]
fn a_store_that_is_not_there_is_one_clear_line_with_an_exit_code_of_its_own() {
    let bench = bench("");
    let ran = bench.run(&["health"]).exits(10);
    let line = "CRITICAL  store local  reachable  nothing can be looked at: open the repository: the folder $DIR/store: \
                repository.json is not there (hint: is the file system mounted? For a new store run `ha-backup init`)\n\
                1 critical of 1 check\n";
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), (line, ""));
    assert!(bench.run(&["health", "-q"]).exits(10).stdout.starts_with("CRITICAL  store local"));
    let document = bench.run(&["health", "--json"]).exits(10).json();
    assert_eq!(document["checks"].as_array().unwrap().len(), 1);
    // Something that is no repository is not a missing one.
    std::fs::create_dir(bench.path("store")).unwrap();
    bench.write("store/repository.json", "{}");
    bench.run(&["health"]).exits(1);
}

/// First line, performance data, and the lines after it.
fn plugin(text: &str) -> (String, Vec<String>, usize) {
    let first = text.lines().next().unwrap();
    assert_eq!(first.matches('|').count(), usize::from(first.contains('|')), "{first}");
    let (said, numbers) = first.split_once(" | ").unwrap_or((first, ""));
    // A label has no blank here: each number is one word.
    (said.to_owned(), numbers.split_whitespace().map(str::to_owned).collect(), text.lines().count() - 1)
}

#[test]
fn a_monitoring_system_gets_its_line_its_numbers_and_its_exit_codes() {
    let bench = bench("");
    bench.first_session();
    let ran = bench.run(&["health", "--nagios"]).exits(0);
    let (said, numbers, more) = plugin(&ran.stdout);
    assert_eq!((said.as_str(), more), ("HA-BACKUP OK: all is well: 13 checks", 13));
    for number in &numbers {
        let (label, value) = number.split_once('=').unwrap();
        assert!(label.starts_with('\'') && label.ends_with('\''), "{number}");
        let fields: Vec<&str> = value.split(';').collect();
        assert_eq!(fields.len(), 5, "{number}");
        let digits = fields[0].trim_end_matches(|c: char| !c.is_ascii_digit());
        assert!(digits.parse::<u64>().is_ok(), "{number}");
        assert!(["", "s", "B", "%"].contains(&&fields[0][digits.len()..]), "{number}");
    }
    assert!(
        numbers.iter().any(|n| n.starts_with("'job_full_age'=") && n.contains("s;;90000;0;")),
        "{numbers:?}"
    );
    assert_eq!(bench.run(&["health", "--nagios", "-q"]).exits(0).stdout.lines().count(), 1);

    bench.config("[health]\ndisk_limit_percent = 100\nverify_max_age = \"0s\"\n");
    let ran = bench.run(&["health", "--nagios"]).exits(1);
    assert!(
        ran.stdout.starts_with("HA-BACKUP WARNING: 1 warning; component web verified: never"),
        "{}",
        ran.stdout
    );
    bench.config("[health]\ndisk_limit_percent = 100\nmax_age = \"0s\"\n");
    let ran = bench.run(&["health", "--nagios"]).exits(2);
    assert!(ran.stdout.starts_with("HA-BACKUP CRITICAL: 2 critical; job full age: newest"), "{}", ran.stdout);
    std::fs::rename(bench.path("store"), bench.path("away")).unwrap();
    let ran = bench.run(&["health", "--nagios"]).exits(2);
    assert!(
        ran.stdout.starts_with("HA-BACKUP CRITICAL: 1 critical; store local reachable"),
        "{}",
        ran.stdout
    );
}

#[test]
fn a_plugin_that_cannot_look_is_unknown_whatever_the_reason() {
    let bench = bench("oops = 1\n");
    let ran = bench.run(&["health", "--nagios"]).exits(3);
    assert!(
        ran.stdout.starts_with("HA-BACKUP UNKNOWN: read the configuration: ha-backup.toml:"),
        "{}",
        ran.stdout
    );
    assert_eq!((ran.stdout.lines().count(), ran.stderr.as_str()), (1, ""));
    for args in [&["health", "--nagios", "--frob"][..], &["health", "--nagios", "--json"]] {
        let ran = bench.run(args).exits(3);
        assert!(ran.stdout.contains("HA-BACKUP UNKNOWN: the command line is wrong\n"), "{}", ran.stdout);
    }
}

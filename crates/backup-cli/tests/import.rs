//! `import`: what shell scripts made is adopted where it stands, and retention goes on from there.

mod support;

use std::{
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

use support::{Bench, tree};

/// A file as the scripts made it: by gzip itself, some days ago.
fn made(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let file = std::fs::File::create(path).unwrap();
    let mut gzip = Command::new("gzip").arg("-c").stdin(Stdio::piped()).stdout(file).spawn().unwrap();
    gzip.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(gzip.wait().unwrap().success());
    age(path);
}

/// Nobody writes to it any more.
fn age(path: &Path) {
    let then = std::time::SystemTime::now() - std::time::Duration::from_secs(86_400);
    std::fs::File::options().write(true).open(path).unwrap().set_modified(then).unwrap();
}

/// A tree as the scripts left it, and a repository in the same folder.
fn bench() -> Bench {
    let bench = Bench::with_files();
    let file = |key: &str, text: &str| made(&bench.path("store").join(key), text);
    for day in 1..=9 {
        file(&format!("daily/etcd/etcd_backup_2026010{day}_020000.db.gz"), "keys");
        file(
            &format!("daily/postgres/postgres_2026010{day}_020000.sql.gz"),
            "select 1;\n-- PostgreSQL database cluster dump complete\n",
        );
    }
    file("weekly/supabase/supabase_backup_20260104_020000_config.yaml.gz", "a: 1\n");
    file("weekly/unified/crm_unified_backup_20260104_020000.tar.gz", "all");
    bench.run(&["init"]).exits(0);
    bench
}

fn import(bench: &Bench, more: &[&str]) -> support::Ran {
    let store = bench.path("store").display().to_string();
    let mut args = vec!["import", &store, "--time-zone", "Europe/Berlin", "--json"];
    args.extend(more);
    bench.run(&args)
}

#[test]
fn the_scripts_sessions_are_listed_verified_extracted_and_not_moved() {
    let bench = bench();
    let before = tree(&bench.path("store"));
    let planned = import(&bench, &["--dry-run"]).exits(0).message("import_ended");
    assert_eq!(planned["sessions"].as_array().unwrap().len(), 10);
    assert_eq!(tree(&bench.path("store")), before);

    let report = import(&bench, &[]).exits(0).message("import_ended");
    assert_eq!(report["sessions"][0]["session_id"], "backup_20260101_010000");
    assert_eq!(report["sessions"][0]["components"], serde_json::json!(["etcd", "postgres"]));
    assert_eq!(report["passed_over"], serde_json::json!([]));
    let after = tree(&bench.path("store"));
    let data = |files: &[String]| {
        files.iter().filter(|file| !file.starts_with("sessions/")).cloned().collect::<Vec<_>>()
    };
    assert_eq!(data(&after), data(&before));

    let list = bench.run(&["list", "--json"]).exits(0).json();
    assert_eq!(list["sessions"].as_array().unwrap().len(), 10);
    bench.run(&["verify", "--all", "--level", "content"]).exits(0);
    bench.run(&["extract", "backup_20260109_010000", "postgres", "--to", "plain"]).exits(0);
    let plain = std::fs::read_to_string(bench.path("plain/postgres/postgres_20260109_020000.sql")).unwrap();
    assert!(plain.starts_with("select 1;"), "{plain}");
    let ran = bench.run(&["restore", "backup_20260109_010000", "postgres", "--plan"]);
    assert!(ran.code != 0 && ran.stderr.contains("hint"), "{}", ran.stderr);

    // Once more there is nothing to do, and what has come since is adopted.
    assert_eq!(import(&bench, &[]).exits(0).message("import_ended")["sessions"], serde_json::json!([]));
    made(&bench.path("store/daily/etcd/etcd_backup_20260110_020000.db.gz"), "keys");
    assert_eq!(import(&bench, &[]).exits(0).message("import_ended")["sessions"].as_array().unwrap().len(), 1);
}

#[test]
fn retention_goes_on_from_there_and_removes_every_byte_of_what_it_removes() {
    let bench = bench();
    import(&bench, &[]).exits(0);
    let session = bench.first_session();
    let text = std::fs::read_to_string(bench.path("ha-backup.toml")).unwrap();
    bench.write(
        "ha-backup.toml",
        &format!("{text}[retention]\ndaily = 1\nweekly = 1\nmonthly = 1\nyearly = 1\n"),
    );
    bench.run(&["cleanup"]).exits(0);
    let list = bench.run(&["list", "--json"]).exits(0).json();
    let kept: Vec<&str> = list["sessions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|session| session["session_id"].as_str().unwrap())
        .collect();
    assert!(kept.contains(&session.as_str()), "{kept:?}");
    let files = tree(&bench.path("store"));
    let old: Vec<&String> =
        files.iter().filter(|file| file.contains("2026010") && !file.starts_with("sessions/")).collect();
    assert!(!old.is_empty());
    // Of components that nobody backs up any more the last good ones stay: invariant 4.
    for file in &old {
        assert!(file.contains("20260109") || file.contains("20260104"), "{old:?}");
    }
    bench.run(&["verify", "--all"]).exits(0);
}

#[test]
fn adopted_sessions_are_copied_and_not_rewrapped() {
    let bench = bench();
    import(&bench, &[]).exits(0);
    bench.run(&["keygen", "--output", "key.txt"]).exits(0);
    let key = std::fs::read_to_string(bench.path("key.txt")).unwrap();
    let key = key.lines().find_map(|line| line.strip_prefix("# public key: ")).unwrap();
    let text = std::fs::read_to_string(bench.path("ha-backup.toml")).unwrap();
    let second =
        format!("[[store]]\nkind = \"local\"\nname = \"second\"\npath = {:?}\n", bench.path("second"));
    bench.write("ha-backup.toml", &format!("{text}{second}[encryption]\nrecipients = [{key:?}]\n"));
    bench.run(&["init"]).exits(0);
    bench.run(&["copy", "--all", "--to", "second"]).exits(0);
    bench.run(&["verify", "--all", "--store", "second"]).exits(0);
    let ran = bench.run(&["rewrap", "--all", "--identity", "key.txt"]).exits(0);
    assert!(ran.stdout.contains("adopted"), "{}", ran.stdout);
    let show = bench.run(&["show", "backup_20260104_010000", "--json"]).exits(0).json();
    assert_eq!(show["manifest"]["start"], "2026-01-04T01:00:00Z", "{show}");
    assert_eq!(show["manifest"]["end"], "2026-01-04T01:00:00Z", "when its files were copied says nothing");
}

#[test]
fn what_is_damaged_is_said_and_left_alone() {
    let bench = bench();
    let damage = |key: &str, cut: usize| {
        let path = bench.path("store").join(key);
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - cut]).unwrap();
        age(&path);
    };
    damage("daily/etcd/etcd_backup_20260101_020000.db.gz", 4);
    damage("weekly/supabase/supabase_backup_20260104_020000_config.yaml.gz", 9);
    made(&bench.path("store/daily/postgres/postgres_20260102_020000.sql.gz"), "select 1;\n");
    let before = tree(&bench.path("store"));
    let report = import(&bench, &[]).exits(3).message("import_ended");
    let problems: Vec<&str> = report["sessions"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|session| session["problems"].as_array().unwrap())
        .map(|problem| problem.as_str().unwrap())
        .collect();
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(problems[0].contains("daily/etcd/etcd_backup_20260101_020000.db.gz"), "{problems:?}");
    assert!(problems[1].contains("`dump complete` does not stand at its end"), "{problems:?}");
    assert_eq!(report["passed_over"].as_array().unwrap().len(), 1, "{report}");
    assert!(before.iter().all(|file| bench.path("store").join(file).exists()));
    // The damaged ones are nobody's: they make no session the next time either.
    assert_eq!(import(&bench, &[]).exits(0).message("import_ended")["sessions"], serde_json::json!([]));
    bench.run(&["cleanup"]).exits(0);
    assert!(bench.path("store/daily/etcd/etcd_backup_20260101_020000.db.gz").exists());
}

#[test]
fn a_folder_that_is_no_store_and_an_unknown_zone_are_refused_with_what_to_do() {
    let bench = bench();
    let ran = bench.run(&["import", "data"]).exits(2);
    assert!(ran.stderr.contains("add [[store]] with kind = \"local\""), "{}", ran.stderr);
    assert!(bench.run(&["import", "nowhere"]).exits(2).stderr.contains("there is no such folder"));
    let ran = bench.run(&["import", "store", "--time-zone", "Berlin"]).exits(2);
    assert!(ran.stderr.contains("Europe/Berlin"), "{}", ran.stderr);
    let ran = bench.run(&["import", "store", "--job", "nightly"]).exits(2);
    assert!(ran.stderr.contains("nightly"), "{}", ran.stderr);
}

#[test]
fn the_scripts_old_names_lead_to_the_new_verbs() {
    let bench = Bench::empty();
    std::fs::create_dir(bench.path("bin")).unwrap();
    bench.write("bin/ha-backup", "#!/bin/sh\necho \"$@\"\n");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(bench.path("bin/ha-backup"), mode).unwrap();
    let wrappers = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/compat");
    for (script, args, expected) in [
        ("unified-ha-backup.sh", &[][..], "backup"),
        ("unified-ha-backup.sh", &["restore", "latest", "etcd"], "restore latest etcd"),
        ("etcd-backup-automation.sh", &[], "run etcd"),
        ("etcd-backup-automation.sh", &["backup", "--wait"], "backup --component etcd --wait"),
        ("setup-backup-automation.sh", &[], "schedule install --cron"),
        ("setup-backup-automation.sh", &["show"], "schedule show"),
        ("backup-health-monitor.sh", &["--json"], "health --json"),
        ("backup-status-dashboard.sh", &[], "status"),
    ] {
        let path = format!("{}:{}", bench.path("bin").display(), std::env::var("PATH").unwrap());
        let output = Command::new(wrappers.join(script)).args(args).env("PATH", path).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), expected, "{script} {args:?}");
        // And what they call can be typed.
        let help: Vec<&str> = expected.split(' ').take(1).chain(["--help"]).collect();
        bench.run(&help).exits(0);
    }
}

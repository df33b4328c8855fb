//! A whole round with the component `files` and a local store: no server is needed for it.

mod support;

use std::os::unix::fs::PermissionsExt;

use support::{Bench, numbers, tree};

#[test]
fn init_writes_a_configuration_that_works_and_never_writes_over_one() {
    let bench = Bench::empty();
    let ran = bench.run(&["init"]).exits(0);
    assert_eq!(
        ran.stdout,
        "wrote ha-backup.toml: look at it, and change it to your needs\ncreated the repository in the store local\n\
         next: `ha-backup check`, then `ha-backup backup`\n"
    );
    let mode = std::fs::metadata(bench.path("ha-backup.toml")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let written = std::fs::read_to_string(bench.path("ha-backup.toml")).unwrap();
    assert!(written.contains("kind = \"files\"\n"), "{written}");
    for kind in ["etcd", "postgres"] {
        assert!(written.contains(&format!("# kind = \"{kind}\"")), "{written}");
    }

    bench.write("ha-backup.toml", &format!("{written}\n# mine\n"));
    let ran = bench.run(&["init"]).exits(0);
    assert!(ran.stdout.contains(
        "ha-backup.toml is there: left as it is\nthe repository in the store local is there: joined it\n"
    ));
    assert!(std::fs::read_to_string(bench.path("ha-backup.toml")).unwrap().ends_with("# mine\n"));
    bench.run(&["check"]).exits(0);
}

#[test]
fn every_example_in_the_written_configuration_is_right() {
    let bench = Bench::empty();
    bench.run(&["init"]).exits(0);
    let written = std::fs::read_to_string(bench.path("ha-backup.toml")).unwrap();
    // Comments that are settings: `# key = ...` and `# [section]`.
    let setting = |line: &str| {
        let rest = line.strip_prefix("# ")?;
        let key: String = rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
        (rest.starts_with('[') || rest[key.len()..].starts_with(" = ")).then(|| rest.to_owned())
    };
    // Further stores need secrets that are not here: they stay comments, to the next empty line.
    let mut instead = false;
    let all: Vec<String> = written
        .lines()
        .map(|line| {
            instead = line == "# one more store, or another instead:" || (instead && !line.is_empty());
            setting(line).filter(|_| !instead).unwrap_or_else(|| line.to_owned())
        })
        .collect();
    bench.write("ha-backup.toml", &all.join("\n"));
    bench.run(&["list"]).exits(0);
}

#[test]
fn a_backup_is_listed_shown_verified_extracted_and_restored() {
    let bench = Bench::with_files();
    let session = bench.first_session();

    let list = bench.run(&["list"]).exits(0).stdout;
    assert!(list.starts_with("SESSION"), "{list}");
    let line = list.lines().nth(1).unwrap();
    assert!(line.starts_with(&session) && line.contains("SUCCESS") && line.ends_with("web"), "{line}");
    let shown = bench.run(&["show", "latest"]).exits(0).stdout;
    assert!(
        shown.starts_with(&format!("{session}  SUCCESS\n")) && shown.contains("web (files)  SUCCESS"),
        "{shown}"
    );
    let report = bench.run(&["report", &session, "--json"]).exits(0).json();
    assert_eq!(
        (report["session_id"].as_str(), report["status"].as_str()),
        (Some(&*session), Some("SUCCESS"))
    );
    bench.run(&["status"]).exits(0);

    for level in ["size", "checksum", "content"] {
        let ran = bench.run(&["verify", "--level", level, "--json"]).exits(0);
        assert_eq!(ran.message("verified")["passed"], true);
    }
    assert!(bench.run(&["list"]).exits(0).stdout.contains("content, just now"));

    bench.run(&["extract", "latest", "--to", "plain"]).exits(0);
    let plain = tree(&bench.path("plain"));
    assert_eq!(plain.len(), 1, "{plain:?}");
    assert!(plain[0].starts_with("web/web_backup_") && plain[0].ends_with(".tar"), "{plain:?}");

    let to = bench.path("back").display().to_string();
    let ran = bench.run(&["restore", "latest", "web", "--yes", "--set", &format!("to={to}")]).exits(0);
    assert!(ran.stdout.ends_with(&format!("Restored from {session}.\n")), "{}", ran.stdout);
    assert_eq!(tree(&bench.path("back")), ["hello.txt", "sub/numbers.txt"]);
    assert_eq!(std::fs::read_to_string(bench.path("back/sub/numbers.txt")).unwrap(), numbers());
}

#[test]
fn a_restore_is_not_begun_unasked() {
    let bench = Bench::with_files();
    bench.first_session();
    let to = format!("to={}", bench.path("back").display());
    let plan = bench.run(&["restore", "latest", "all", "--plan", "--set", &to]).exits(0);
    assert!(plan.stdout.starts_with("Restore from backup_"), "{}", plan.stdout);
    let refused = bench.run(&["restore", "latest", "all", "--set", &to]).exits(2);
    assert!(
        refused.stderr.contains("hint: look at the plan with --plan, then say --yes"),
        "{}",
        refused.stderr
    );
    assert!(!bench.path("back").exists());

    let ran = bench.run(&["restore", "latest", "web", "--yes", "--set", "existng=aside"]).exits(2);
    assert!(ran.stderr.contains("hint: did you mean `existing`?"), "{}", ran.stderr);
    let ran = bench.run(&["restore", "latest", "wbe", "--yes"]).exits(2);
    assert!(ran.stderr.contains("hint: the session has: web"), "{}", ran.stderr);
}

#[test]
fn a_flipped_byte_is_found_and_said() {
    let bench = Bench::with_files();
    let session = bench.first_session();
    let artifact = bench.stored("web");
    let mut bytes = std::fs::read(&artifact).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::set_permissions(&artifact, PermissionsExt::from_mode(0o600)).unwrap();
    std::fs::write(&artifact, bytes).unwrap();

    bench.run(&["verify", "--level", "size"]).exits(0);
    for level in ["checksum", "content"] {
        let ran = bench.run(&["verify", &session, "--level", level]).exits(3);
        assert!(ran.stdout.contains("FAILED") && ran.stdout.contains("ERROR"), "{}", ran.stdout);
    }
    let verified = bench.run(&["verify", "--all", "--json"]).exits(3).message("verified");
    assert_eq!(verified["passed"], false);
    bench.run(&["extract", "latest", "--to", "plain"]).exits(1);
    assert_eq!(tree(&bench.path("plain")), Vec::<String>::new());
}

#[test]
fn clean_up_says_why_each_session_stays() {
    let bench = Bench::with_files();
    let session = bench.first_session();
    let report = bench.run(&["cleanup", "--dry-run", "--json"]).exits(0).json();
    assert_eq!(report["decisions"][0]["session"], *session);
    assert_eq!(report["decisions"][0]["kept"], true);
    assert!(!report["decisions"][0]["reasons"].as_array().unwrap().is_empty());
    let text = bench.run(&["cleanup"]).exits(0).stdout;
    assert!(text.contains("keep") && text.ends_with("1 session kept, 0 removed (0 B).\n"), "{text}");
}

#[test]
fn a_component_that_is_not_there_makes_a_run_fail_and_beside_a_good_one_partial() {
    let bench = Bench::with_files();
    let gone = bench.path("gone");
    bench.config(&format!("[[component]]\nkind = \"files\"\nname = \"gone\"\npath = {gone:?}\n"));
    bench.run(&["init"]).exits(0);
    let checked = bench.run(&["check"]).exits(3);
    assert!(checked.stdout.contains("ERROR"), "{}", checked.stdout);
    let ran = bench.run(&["backup"]).exits(3);
    assert!(
        ran.stdout.contains("PARTIAL") && ran.stderr.contains("gone: failed"),
        "{}\n{}",
        ran.stdout,
        ran.stderr
    );
    bench.run(&["backup", "--component", "gone"]).exits(1);
    assert!(bench.run(&["list"]).exits(0).stdout.contains("web, gone (failed)"));
}

#[test]
fn what_is_not_there_ends_with_10() {
    let bench = Bench::with_files();
    for args in [&["list"][..], &["backup"], &["show", "latest"], &["cleanup"]] {
        let ran = bench.run(args).exits(10);
        assert!(
            ran.stderr.contains("hint: is the file system mounted? For a new store run `ha-backup init`"),
            "{}",
            ran.stderr
        );
    }
    bench.run(&["init"]).exits(0);
    for args in [
        &["show", "latest"][..],
        &["show", "backup_20200101_000000"],
        &["report"],
        &["verify"],
        &["extract", "latest", "--to", "x"],
        &["restore", "latest", "all", "--yes"],
    ] {
        bench.run(args).exits(10);
    }
    bench.run(&["show", "yesterday"]).exits(2);
}

#[test]
fn a_dry_run_says_the_type_and_leaves_the_store_alone() {
    let bench = Bench::with_files();
    bench.run(&["init"]).exits(0);
    let before = tree(&bench.path("store"));
    let plan = bench.run(&["monthly", "--dry-run", "--json"]).exits(0).json();
    assert_eq!((plan["job"].as_str(), plan["type"].as_str()), (Some("full"), Some("monthly")));
    let text = bench.run(&["backup", "--dry-run"]).exits(0).stdout;
    assert!(text.starts_with("A run of the job full now would make a "), "{text}");
    assert_eq!(tree(&bench.path("store")), before);
}

#[test]
fn messages_of_long_work_are_json_lines_that_begin_with_the_session() {
    let bench = Bench::with_files();
    bench.run(&["init"]).exits(0);
    let ran = bench.run(&["backup", "--json"]).exits(0);
    let messages = ran.messages();
    assert_eq!(messages.first().unwrap()["message_type"], "session_begun");
    assert_eq!(messages.last().unwrap()["message_type"], "backup_ended");
    assert_eq!(ran.stderr, "");
    let quiet = bench.run(&["backup", "-q"]).exits(0);
    assert_eq!(quiet.stderr, "");
}

//! Log files: what is in them, who may read them, and that they never fail a backup.

mod support;

use std::{os::unix::fs::PermissionsExt, time::SystemTime};

use serde_json::Value;
use support::Bench;

/// Every secret of these tests has it.
const MARK: &str = "s3cr3t";

fn with_log(format: &str) -> Bench {
    let bench = Bench::with_files();
    let log = format!("[log]\nfolder = {:?}\n{format}", bench.path("log"));
    bench.config(&log);
    bench
}

fn read(bench: &Bench, name: &str) -> String {
    std::fs::read_to_string(bench.path("log").join(name)).unwrap()
}

fn lines(bench: &Bench, name: &str) -> Vec<Value> {
    read(bench, name).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_run_is_logged_with_session_and_component_on_its_lines_for_us_only() {
    let bench = with_log("");
    let session = bench.first_session();
    bench.run(&["drill"]).exits(0);
    let log = lines(&bench, "unified-backup.log");
    let of = |message: &str| {
        log.iter().find(|line| line["message"] == message).unwrap_or_else(|| panic!("no {message}: {log:#?}"))
    };
    let messages = ["session begun", "point pinned", "done", "commit", "retention", "backup ended"];
    for message in messages.into_iter().chain(["drill web", "drilled"]) {
        assert_eq!(of(message)["session"], session.as_str(), "{message}");
    }
    assert_eq!((&of("done")["component"], &of("done")["level"]), (&"web".into(), &"info".into()));
    assert!(log.iter().all(|line| line["time"].as_str().is_some_and(|time| time.ends_with('Z'))), "{log:#?}");
    let mode = |name: &str| std::fs::metadata(bench.path(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("log"), mode("log/unified-backup.log")), (0o700, 0o600));
}

#[test]
fn who_restored_extracted_cleaned_and_pinned_is_noted_with_the_outcome() {
    let bench = with_log("format = \"text\"\n");
    let session = bench.first_session();
    let to = format!("to={}", bench.path("back").display());
    bench.run(&["restore", "latest", "web", "--plan", "--set", &to]).exits(0);
    bench.run(&["cleanup", "--dry-run"]).exits(0);
    assert!(!bench.path("log/audit.log").exists(), "a look is nothing to note");
    bench.run(&["restore", "latest", "web", "--yes", "--set", &to]).exits(0);
    bench.run(&["extract", "latest", "--to", "plain"]).exits(0);
    bench.run(&["cleanup"]).exits(0);
    bench.run(&["pin", "latest"]).exits(0);
    bench.run(&["unpin", &session]).exits(0);
    bench.run(&["extract", "backup_20200101_000000", "--to", "nothing"]).exits(10);
    let audit = read(&bench, "audit.log");
    let starts = [
        "restore latest web with to: good",
        "extract latest all to plain: good",
        "cleanup all stores: good",
        "pin latest: good",
        "good action=unpin",
        "extract backup_20200101_000000 all to nothing: exit code 10: find the session",
    ];
    assert_eq!(audit.lines().count(), starts.len(), "{audit}");
    for (line, said) in audit.lines().zip(starts) {
        assert!(line.contains(" AUDIT ") && line.contains(said), "{line}");
        assert!(line.contains(" uid=") && line.contains(" host=") && line.contains(" pid="), "{line}");
    }
    assert!(read(&bench, "unified-backup.log").contains("AUDIT pin latest: good"));
}

#[test]
fn a_log_that_cannot_be_written_is_a_warning_and_the_backup_good() {
    let bench = Bench::with_files();
    bench.write("file", "");
    bench.config(&format!("[log]\nfolder = {:?}\n", bench.path("file/log")));
    bench.run(&["init"]).exits(0);
    let ran = bench.run(&["backup"]).exits(0);
    assert_eq!(
        ran.stderr.matches("warning: the log in $DIR/file/log cannot be written").count(),
        1,
        "{}",
        ran.stderr
    );
    assert_eq!(bench.run(&["list", "--json"]).exits(0).json()["sessions"].as_array().unwrap().len(), 1);
}

#[test]
fn old_logs_are_pruned_by_their_job() {
    let bench = with_log("");
    bench.run(&["init"]).exits(0);
    bench.run(&["run", "health"]).exits(3);
    let old = bench.path("log/unified-backup-202001.log");
    std::fs::create_dir_all(bench.path("log")).unwrap();
    let file = std::fs::File::create(&old).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
    let ran = bench.run(&["run", "prune-logs"]).exits(0);
    assert_eq!(
        ran.stdout,
        "$DIR/log: removed 1 log file older than 90 days\n  $DIR/log/unified-backup-202001.log\n"
    );
    assert!(!old.exists());
    assert_eq!(bench.run(&["run", "prune-logs", "-q"]).exits(0).stdout, "");
}

#[test]
fn no_secret_is_in_a_log() {
    let mut bench = with_log("");
    bench.env("PASSWORD", &format!("{MARK}-1"));
    let text = std::fs::read_to_string(bench.path("ha-backup.toml")).unwrap();
    let more = format!(
        "[[component]]\nkind = \"etcd\"\nendpoints = [\"http://127.0.0.1:1\"]\nuser = \"root\"\npassword = {{ env = \"PASSWORD\" }}\n\
         [[component]]\nkind = \"command\"\nname = \"dump\"\nbackup = [\"sh\", \"-c\", \"exit 3\"]\nsecrets = {{ PASS = \"{MARK}-2\" }}\n"
    );
    bench.write("ha-backup.toml", &format!("{text}{more}"));
    bench.run(&["init"]).exits(0);
    let mut said = String::new();
    let set = format!("web.password={MARK}-3");
    for (args, code) in [
        (&["backup", "-v", "--log-format", "json"][..], 3),
        (&["check", "-v"], 3),
        (&["restore", "latest", "all", "--yes", "--set", &set], 2),
        (&["run", "verify"], 3),
    ] {
        let ran = bench.run(args);
        assert_eq!(ran.code, code, "{args:?}\n{}\n{}", ran.stdout, ran.stderr);
        said.push_str(&format!("{}{}", ran.stdout, ran.stderr));
    }
    let logs = format!("{}{}", read(&bench, "unified-backup.log"), read(&bench, "audit.log"));
    for (name, text) in [("logs", &logs), ("output", &said)] {
        assert!(!text.contains(MARK), "{name}: {text}");
    }
    assert!(
        logs.contains("restore latest all with web.password") && logs.contains("\"component\":\"etcd\""),
        "{logs}"
    );
}

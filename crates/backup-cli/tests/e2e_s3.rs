//! A repository in a bucket: a real S3 server, the built binary, and what goes wrong between them.

#![cfg(feature = "s3")]

mod e2e;
mod support;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use backup_testkit::servers::{FaultyProxy, ObjectServer, Objects};
use e2e::running::Running;
use support::{Bench, numbers, tree};

const BUCKET: &str = "backups";
/// What the component has to back up, in MB; it does not compress.
const MUCH: usize = 200;

/// A bench whose store is `s3://backups/crm` at `endpoint`, and `megabytes` to back up.
fn bench(server: &ObjectServer, endpoint: &str, megabytes: usize, more: &str) -> Bench {
    server.make_bucket(BUCKET).unwrap();
    let mut bench = Bench::empty();
    std::fs::create_dir_all(bench.path("data/sub")).unwrap();
    std::fs::write(bench.path("data/sub/numbers.txt"), numbers()).unwrap();
    for number in 0..megabytes / 10 {
        let file = format!("data/noise-{number}.bin");
        std::fs::write(bench.path(&file), noise(10_000_000, number as u64 + 1)).unwrap();
    }
    bench.env("S3_SECRET", ObjectServer::SECRET_KEY);
    write(&bench, "ha-backup.toml", endpoint, ObjectServer::ACCESS_KEY, "{ env = \"S3_SECRET\" }", more);
    bench
}

fn write(bench: &Bench, file: &str, endpoint: &str, id: &str, secret: &str, more: &str) {
    let text = format!(
        "name = \"crm\"\n[[store]]\nkind = \"s3\"\nurl = \"s3://{BUCKET}/crm\"\nendpoint = {endpoint:?}\n\
         access_key_id = {id:?}\nsecret_access_key = {secret}\nplaintext = true\n{more}\n\
         [[component]]\nkind = \"files\"\nname = \"web\"\npath = {:?}\n",
        bench.path("data"),
    );
    bench.write(file, &text);
}

fn noise(size: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

/// Both folders hold the same files.
#[track_caller]
fn assert_same(left: &Path, right: &Path) {
    let files = tree(left);
    assert_eq!(files, tree(right));
    for file in files {
        let same = std::fs::read(left.join(&file)).unwrap() == std::fs::read(right.join(&file)).unwrap();
        assert!(same, "{file}");
    }
}

/// The most memory that a process had, in KiB, watched while it runs.
struct Peak {
    stop: Arc<AtomicBool>,
    peak: Arc<AtomicU64>,
}

impl Peak {
    fn of(pid: u32) -> Self {
        let (stop, peak) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, seen) = (stop.clone(), peak.clone());
        std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
                let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
                let kib = line.and_then(|rest| rest.trim().split(' ').next()?.parse().ok()).unwrap_or(0);
                seen.fetch_max(kib, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        Self { stop, peak }
    }

    fn mib(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.peak.load(Ordering::Relaxed) >> 10
    }
}

/// Runs the binary to its end; its peak in MiB. What is measured is what the program holds: glibc is told to give freed pieces
/// back at once, of which it otherwise keeps some in every thread.
#[track_caller]
fn peak_of(bench: &Bench, args: &[&str]) -> u64 {
    let mut command = bench.command(args);
    command.env("MALLOC_MMAP_THRESHOLD_", "131072");
    let run = Running::spawn(command);
    let peak = Peak::of(run.pid());
    run.finish().exits(0);
    peak.mib()
}

#[test]
fn a_whole_life_in_a_bucket_within_the_bound_on_memory() {
    let server = ObjectServer::start(Objects::SeaweedFs).unwrap();
    let bench = bench(&server, &server.endpoint(), MUCH, "");
    let before = bench.run(&["check"]).exits(3);
    assert!(before.stdout.contains("repository.json is not there"), "{}", before.stdout);
    bench.run(&["init"]).exits(0);
    let checked = bench.run(&["check"]).exits(0);
    for said in [
        "of 8 that created one object at once, one made it",
        "clock",
        "read back whole and in part",
        "was removed",
    ] {
        assert!(checked.stdout.contains(said), "{}", checked.stdout);
    }
    let base = peak_of(&bench, &["list", "--json"]);
    let backup = peak_of(&bench, &["daily", "--json"]);
    let verify = peak_of(&bench, &["verify", "latest", "--level", "content", "--json"]);
    println!("peak memory in MiB: list {base}, backup {backup}, verify {verify}");
    assert!(backup <= base + 64 && verify <= base + 64, "{base} {backup} {verify}");
    let listed = bench.run(&["list", "--json"]).exits(0).json();
    assert_eq!(listed["sessions"][0]["status"], "SUCCESS");
    bench.run(&["show", "latest"]).exits(0);
    bench.run(&["status"]).exits(0);
    bench
        .run(&["restore", "latest", "web", "--yes", "--set", &format!("to={}", bench.path("back").display())])
        .exits(0);
    assert_same(&bench.path("data"), &bench.path("back"));
    bench.run(&["cleanup"]).exits(0);
    bench.run(&["verify", "latest", "--level", "checksum"]).exits(0);
}

#[test]
fn a_server_that_dies_in_mid_upload_and_comes_back_costs_nothing_but_time() {
    let mut server = ObjectServer::start(Objects::SeaweedFs).unwrap();
    // Slow enough to be caught.
    let bench = bench(&server, &server.endpoint(), 60, "bandwidth = \"10MB\"");
    bench.run(&["init"]).exits(0);
    let mut run = Running::start(&bench, &["daily", "--json"]);
    run.until("progress", |m| {
        m["message_type"] == "progress" && m["stored_bytes"].as_u64() > Some(20_000_000)
    });
    server.kill();
    server.restart().unwrap();
    let ended = e2e::ended(run.finish().exits(0));
    assert_eq!(ended["status"], "SUCCESS");
    bench.run(&["verify", "latest", "--level", "content"]).exits(0);
}

#[test]
fn a_server_that_stays_away_is_a_failure_and_the_next_run_clears_up() {
    let mut server = ObjectServer::start(Objects::SeaweedFs).unwrap();
    let more = "bandwidth = \"10MB\"\nretry = \"3s\"";
    let bench = bench(&server, &server.endpoint(), 60, more);
    bench.run(&["init"]).exits(0);
    let mut run = Running::start(&bench, &["daily", "--json"]);
    run.until("progress", |m| {
        m["message_type"] == "progress" && m["stored_bytes"].as_u64() > Some(20_000_000)
    });
    server.kill();
    let failed = run.finish().exits(1);
    assert!(failed.stderr.contains("endpoint") || failed.stdout.contains("Connection refused"), "{failed:?}");
    server.restart().unwrap();
    let listed = bench.run(&["list", "--json"]).exits(0).json();
    assert!(!listed.to_string().contains("SUCCESS"), "{listed}");
    bench.run(&["daily", "--json"]).exits(0);
    bench.run(&["verify", "latest", "--level", "content"]).exits(0);
    let listed = bench.run(&["list", "--json"]).exits(0).json();
    assert_eq!(listed.to_string().matches("\"SUCCESS\"").count(), 1);
    let left = bench.run(&["cleanup", "--dry-run", "--json"]).exits(0).json();
    assert_eq!(left["leftovers"].as_array().unwrap().len(), 0, "{left}");
}

#[test]
fn half_of_all_requests_may_fail() {
    let server = ObjectServer::start(Objects::SeaweedFs).unwrap();
    let proxy = FaultyProxy::start(server.port(), 42).unwrap();
    let bench = bench(&server, &server.endpoint_at(proxy.port()), 60, "retry = \"5m\"");
    bench.run(&["init"]).exits(0);
    proxy.fail(500);
    for _ in 0..3 {
        let ended = e2e::ended(bench.run(&["daily", "--json"]).exits(0));
        assert_eq!(ended["status"], "SUCCESS");
        assert_eq!(ended["problems"], serde_json::json!([]));
    }
    bench.run(&["verify", "--all", "--level", "content"]).exits(0);
    bench.run(&["cleanup"]).exits(0);
    let (good, failed) = proxy.counts();
    println!("{good} requests went well, {failed} did not");
    proxy.fail(0);
    let listed = bench.run(&["list", "--json"]).exits(0).json();
    assert_eq!(listed.to_string().matches("\"SUCCESS\"").count(), 3, "{listed:#}");
    assert_eq!(listed["sessions"].as_array().unwrap().len(), 3, "no claim was made twice: {listed:#}");
    bench.run(&["verify", "--all", "--level", "checksum"]).exits(0);
}

#[test]
fn a_bucket_that_is_not_there_and_wrong_keys_are_said_and_mended() {
    let server = ObjectServer::start(Objects::VersityGw).unwrap();
    let bench = bench(&server, &server.endpoint(), 10, "");
    bench.run(&["init"]).exits(0);
    bench.run(&["daily"]).exits(0);
    write(&bench, "wrong.toml", &server.endpoint(), ObjectServer::ACCESS_KEY, "\"s3cr3t-and-wrong\"", "");
    for args in [&["check"][..], &["daily"], &["list"], &["cleanup"], &["init"]] {
        let ran = bench.run(&[&["--config", "wrong.toml", "-vvv"], args].concat());
        assert!(ran.code == 1 || ran.code == 3, "{args:?}: {ran:?}");
        let said = format!("{}{}", ran.stdout, ran.stderr);
        assert!(said.contains("SignatureDoesNotMatch") && said.contains("credentials"), "{said}");
        assert!(!said.contains("s3cr3t"), "{said}");
    }
    server.remove_bucket(BUCKET).unwrap();
    for args in [&["check"][..], &["daily"], &["list"], &["cleanup"], &["init"]] {
        let ran = bench.run(args);
        assert!(ran.code == 2 || ran.code == 3, "{args:?}: {ran:?}");
        let said = format!("{}{}", ran.stdout, ran.stderr);
        assert!(said.contains("NoSuchBucket") && said.contains("create the bucket `backups`"), "{said}");
    }
}

#[test]
fn a_remote_store_in_clear_must_be_meant() {
    let server = ObjectServer::start(Objects::VersityGw).unwrap();
    let bench = bench(&server, &server.endpoint(), 0, "");
    let text = std::fs::read_to_string(bench.path("ha-backup.toml")).unwrap();
    bench.write("unsaid.toml", &text.replace("plaintext = true\n", ""));
    let refused = bench.run(&["--config", "unsaid.toml", "init"]).exits(2);
    assert!(
        refused.stderr.contains("in clear") && refused.stderr.contains("plaintext = true"),
        "{}",
        refused.stderr
    );
    bench.run(&["init"]).exits(0);
}

#[test]
fn without_a_conditional_create_runs_are_kept_apart_by_waiting() {
    let server = ObjectServer::start(Objects::VersityGw).unwrap();
    let bench = bench(&server, &server.endpoint(), 10, "conditional_create = false");
    bench.run(&["init"]).exits(0);
    let checked = bench.run(&["check"]).exits(0);
    assert!(checked.stdout.contains("the store has no conditional create"), "{}", checked.stdout);
    let runs: Vec<Running> = (0..2).map(|_| Running::start(&bench, &["daily", "--json"])).collect();
    let codes: Vec<i32> = runs.into_iter().map(|run| run.finish().code).collect();
    assert!(codes.contains(&0) && codes.iter().all(|code| [0, 11].contains(code)), "{codes:?}");
    bench.run(&["verify", "--all", "--level", "content"]).exits(0);
}

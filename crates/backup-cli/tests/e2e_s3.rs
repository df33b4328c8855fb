//! A repository in a bucket: a real S3 server, the built binary, and what goes wrong between them.

#![cfg(feature = "s3")]

mod e2e;
mod support;

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    path::Path,
    sync::{Arc, Mutex},
};

use backup_testkit::servers::{FaultyProxy, ObjectServer, Objects};
use e2e::{peak::peak_of, running::Running};
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

/// Answers every request as `answer` says, and keeps their heads.
fn listen(answer: fn(&str) -> (u16, String)) -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let heads: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = heads.clone();
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let mut lines = BufReader::new(client.try_clone().unwrap()).lines();
            let head: Vec<String> =
                lines.by_ref().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
            let (status, body) = answer(head.first().map_or("", String::as_str));
            let length = body.len();
            let head_of_answer =
                format!("HTTP/1.1 {status} x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
            seen.lock().unwrap().push(head.join("\n"));
            let _ = (&client).write_all(format!("{head_of_answer}{body}").as_bytes());
        }
    });
    (port, heads)
}

const NO_BUCKET: &str = "<Error><Code>NoSuchBucket</Code><Message>none</Message></Error>";

#[test]
fn a_proxy_a_virtual_host_and_a_session_token_reach_the_wire() {
    let (port, heads) = listen(|_| (404, NO_BUCKET.to_owned()));
    let mut bench = Bench::empty();
    std::fs::create_dir_all(bench.path("data")).unwrap();
    bench.env("HTTP_PROXY", &format!("http://127.0.0.1:{port}"));
    bench.env("NO_PROXY", "");
    let more = "allow_http = true\npath_style = false\nsession_token = \"t0ken\"";
    write(&bench, "ha-backup.toml", "http://s3.test", "AKID", "\"s3cr3t\"", more);
    let ran = bench.run(&["list"]).exits(2);
    assert!(ran.stderr.contains("create the bucket `backups`"), "{}", ran.stderr);
    let head = heads.lock().unwrap()[0].to_lowercase();
    assert!(head.starts_with("get http://backups.s3.test/"), "{head}");
    assert!(head.contains("x-amz-security-token: t0ken") && head.contains("credential=akid/"), "{head}");
    assert!(!head.contains("s3cr3t"), "{head}");
}

#[test]
fn without_keys_the_instance_says_who_we_are() {
    let (metadata, _) = listen(|request| match request.split(' ').nth(1).unwrap_or_default() {
        "/latest/api/token" => (200, "token".to_owned()),
        "/latest/meta-data/iam/security-credentials/" => (200, "backups".to_owned()),
        _ => {
            let keys = r#""AccessKeyId":"AKROLE","SecretAccessKey":"s3cr3t","Token":"t0ken""#;
            (200, format!("{{{keys},\"Expiration\":\"2199-01-01T00:00:00Z\"}}"))
        }
    });
    let (store, heads) = listen(|_| (404, NO_BUCKET.to_owned()));
    let mut bench = Bench::empty();
    std::fs::create_dir_all(bench.path("data")).unwrap();
    let config = |bench: &Bench| {
        write(bench, "ha-backup.toml", &format!("http://127.0.0.1:{store}"), "-", "\"-\"", "");
        let text = std::fs::read_to_string(bench.path("ha-backup.toml")).unwrap();
        let kept: Vec<&str> = text.lines().filter(|line| !line.contains("access_key")).collect();
        bench.write("ha-backup.toml", &kept.join("\n"));
    };
    config(&bench);
    bench.env("AWS_METADATA_ENDPOINT", &format!("http://127.0.0.1:{metadata}"));
    bench.run(&["list"]).exits(2);
    let head = heads.lock().unwrap()[0].clone();
    assert!(head.contains("Credential=AKROLE/") && head.contains("x-amz-security-token: t0ken"), "{head}");
    // An instance without a role: that is no missing object, and no missing repository.
    let (nobody, _) = listen(|_| (404, String::new()));
    bench.env("AWS_METADATA_ENDPOINT", &format!("http://127.0.0.1:{nobody}"));
    let ran = bench.run(&["list"]).exits(1);
    assert!(
        ran.stderr.contains("who says who we are") && ran.stderr.contains("key and secret"),
        "{}",
        ran.stderr
    );
}

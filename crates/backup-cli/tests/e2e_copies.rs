//! One store in a folder and one in a bucket of a real S3 server: the server goes away, bytes rot, and nothing is lost.

#![cfg(feature = "s3")]

mod e2e;
mod support;

use std::{fs, path::Path};

use backup_testkit::servers::{ObjectServer, Objects};
use e2e::{peak::peak_of, running::Running};
use serde_json::Value;
use support::{Bench, numbers, tree};

/// A bench with the stores `local` and `offsite`, and so many megabytes to back up; `more` stands in the bucket's section.
fn bench(server: &ObjectServer, megabytes: usize, more: &str) -> Bench {
    server.make_bucket("backups").unwrap();
    let mut bench = Bench::empty();
    bench.env("S3_SECRET", ObjectServer::SECRET_KEY);
    fs::create_dir_all(bench.path("data/sub")).unwrap();
    fs::write(bench.path("data/sub/numbers.txt"), numbers()).unwrap();
    for number in 0..megabytes / 10 {
        fs::write(bench.path(&format!("data/noise-{number}.bin")), noise(number as u64 + 1)).unwrap();
    }
    let text = format!(
        "name = \"crm\"\n[[store]]\nkind = \"local\"\npath = {:?}\n\
         [[store]]\nkind = \"s3\"\nname = \"offsite\"\nurl = \"s3://backups/crm\"\nendpoint = {:?}\n\
         access_key_id = {:?}\nsecret_access_key = {{ env = \"S3_SECRET\" }}\nplaintext = true\nretry = \"3s\"\n{more}\n\
         [[component]]\nkind = \"files\"\nname = \"web\"\npath = {:?}\n",
        bench.path("store"),
        server.endpoint(),
        ObjectServer::ACCESS_KEY,
        bench.path("data"),
    );
    bench.write("ha-backup.toml", &text);
    bench.run(&["init"]).exits(0);
    bench
}

/// Ten megabytes that do not compress.
fn noise(seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut word = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..1_250_000).flat_map(|_| word()).collect()
}

#[track_caller]
fn assert_same(left: &Path, right: &Path) {
    let files = tree(left);
    assert_eq!(files, tree(right));
    for file in files {
        assert!(fs::read(left.join(&file)).unwrap() == fs::read(right.join(&file)).unwrap(), "{file}");
    }
}

/// The stores that hold the newest session whole.
#[track_caller]
fn held(bench: &Bench) -> Vec<String> {
    let shown = bench.run(&["show", "latest", "--json"]).exits(0).json();
    let copies = shown["stores"].as_array().unwrap().clone();
    let whole = copies.into_iter().filter(|copy| copy["state"] == "held");
    whole.map(|copy| copy["store"].as_str().unwrap().to_owned()).collect()
}

#[track_caller]
fn restore(bench: &Bench, to: &str) -> support::Ran {
    let to = format!("to={}", bench.path(to).display());
    bench.run(&["restore", "latest", "web", "--yes", "--set", &to]).exits(0)
}

#[test]
fn a_bucket_that_was_away_is_healed_and_takes_the_place_of_a_rotten_folder() {
    let mut server = ObjectServer::start(Objects::SeaweedFs).unwrap();
    let bench = bench(&server, 20, "");
    bench.run(&["check"]).exits(0);
    let first = e2e::ended(bench.run(&["daily", "--json"]).exits(0));
    assert_eq!(first["stores"], serde_json::json!(["local", "offsite"]));
    server.kill();
    support::next_second();
    let second = e2e::ended(bench.run(&["daily", "--json"]).exits(3));
    assert_eq!((&second["status"], &second["stores"]), (&"SUCCESS".into(), &serde_json::json!(["local"])));
    assert!(second["errors"][0].as_str().unwrap().contains("store offsite: no copy of"), "{second}");
    let listed = bench.run(&["list"]).exits(0);
    assert!(listed.stdout.contains("The store offsite could not be looked at"), "{}", listed.stdout);
    let health = bench.run(&["health"]).exits(3);
    assert!(health.stdout.contains("offsite"), "{}", health.stdout);
    let refused = bench.run(&["copy", "--all", "--to", "offsite"]).exits(1);
    assert!(refused.stderr.contains("copy to the store: offsite"), "{}", refused.stderr);

    server.restart().unwrap();
    assert_eq!(held(&bench), ["local"]);
    let health = bench.run(&["health"]).exits(3);
    assert!(health.stdout.contains("`ha-backup copy --all --to offsite`"), "{}", health.stdout);
    let copied = bench.run(&["copy", "--all", "--to", "offsite"]).exits(0);
    assert!(copied.stdout.contains("1 session copied to offsite"), "{}", copied.stdout);
    assert_eq!(held(&bench), ["local", "offsite"]);
    let again = bench.run(&["copy", "--all", "--to", "offsite"]).exits(0);
    assert!(again.stdout.contains("offsite lacks nothing that it would keep"), "{}", again.stdout);
    bench.run(&["copy", "--to", "offsite"]).exits(0);
    bench.run(&["health"]).exits(0);

    rot(&bench, second["session_id"].as_str().unwrap());
    bench.run(&["verify", "--level", "checksum"]).exits(3);
    let there = bench.run(&["verify", "--all", "--store", "offsite", "--level", "content"]).exits(0);
    assert_eq!(there.stdout.matches("content passed").count(), 2, "{}", there.stdout);
    let restored = restore(&bench, "back");
    assert!(restored.stderr.contains("read from store offsite"), "{}", restored.stderr);
    assert_same(&bench.path("data"), &bench.path("back"));
    let out = bench.path("out").display().to_string();
    let extracted = bench.run(&["extract", "latest", "--to", &out]).exits(0);
    assert!(extracted.stderr.contains("read from store offsite"), "{}", extracted.stderr);
}

/// Changes a byte in the middle of the session's stored file.
fn rot(bench: &Bench, session: &str) {
    let file = e2e::store::artifact(bench, session, "web");
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::remove_file(&file).unwrap();
    fs::write(&file, bytes).unwrap();
}

#[test]
fn a_copy_that_is_cut_off_costs_the_session_nothing_and_the_next_run_finishes_it() {
    let mut server = ObjectServer::start(Objects::SeaweedFs).unwrap();
    let bench = bench(&server, 60, "bandwidth = \"10MB\"\nrequired = false");
    let mut run = Running::start(&bench, &["daily", "--json"]);
    let offsite = |m: &Value| m["message_type"] == "progress" && m["component"] == "offsite";
    run.until("bytes on their way", |m| offsite(m) && m["bytes"].as_u64() > Some(10_000_000));
    // The dump is over: a slow mirror never holds it up.
    assert!(bench.path("store/sessions").read_dir().unwrap().count() == 1);
    server.kill();
    let ended = e2e::ended(run.finish().exits(0));
    assert_eq!(ended["status"], "SUCCESS");
    assert!(ended["warnings"][0].as_str().unwrap().contains("store offsite: no copy"), "{ended}");
    server.restart().unwrap();
    support::next_second();
    let ended = e2e::ended(bench.run(&["daily", "--json"]).exits(0));
    assert_eq!(ended["warnings"], serde_json::json!([]));
    bench.run(&["verify", "--all", "--store", "offsite"]).exits(0);
    let listed = bench.run(&["list", "--json"]).exits(0).json();
    for session in listed["sessions"].as_array().unwrap() {
        assert!(
            session["stores"].as_array().unwrap().iter().all(|copy| copy["state"] == "held"),
            "{session}"
        );
    }
}

#[test]
fn a_folder_that_is_not_mounted_sends_the_run_to_the_bucket_and_gets_its_copy_later() {
    let server = ObjectServer::start(Objects::VersityGw).unwrap();
    let bench = bench(&server, 10, "");
    fs::rename(bench.path("store"), bench.path("elsewhere")).unwrap();
    fs::create_dir(bench.path("store")).unwrap();
    let ended = e2e::ended(bench.run(&["daily", "--json"]).exits(3));
    assert_eq!(ended["stores"], serde_json::json!(["offsite"]));
    assert!(ended["errors"][0].as_str().unwrap().contains("repository.json is not there"), "{ended}");
    assert_eq!(tree(&bench.path("store")), Vec::<String>::new(), "nothing is written beside a mount");
    restore(&bench, "back");
    assert_same(&bench.path("data"), &bench.path("back"));
    fs::remove_dir(bench.path("store")).unwrap();
    fs::rename(bench.path("elsewhere"), bench.path("store")).unwrap();
    let copied = bench.run(&["copy", "--to", "local", "--json"]).exits(0);
    assert_eq!(copied.message("copy_ended")["copied"].as_array().unwrap().len(), 1);
    assert_eq!(held(&bench), ["local", "offsite"]);
    bench.run(&["verify", "--store", "local", "--level", "content"]).exits(0);
    let unknown = bench.run(&["verify", "--store", "ofsite"]).exits(10);
    assert!(unknown.stderr.contains("local, offsite"), "{}", unknown.stderr);
    bench.run(&["copy", "--to", "ofsite"]).exits(10);
}

#[test]
fn memory_does_not_grow_with_what_is_copied() {
    let server = ObjectServer::start(Objects::SeaweedFs).unwrap();
    let bench = bench(&server, 200, "");
    let base = peak_of(&bench, &["list", "--json"]);
    let backup = peak_of(&bench, &["daily", "--json"]);
    println!("peak memory in MiB: list {base}, backup with a copy {backup}");
    assert!(backup <= base + 64, "{base} {backup}");
    assert_eq!(held(&bench), ["local", "offsite"]);
}

//! Stored bytes that are not what they were: it is said, and nothing is restored from them.

mod e2e;
mod support;

use std::path::{Path, PathBuf};

use backup_testkit::servers::{Etcd, EtcdCluster, EtcdOptions, PostgresServer, SampleData, Sql, etcd_keys};
use e2e::{
    backup,
    by_hand::Hands,
    config, dumpall,
    store::{artifact, assert_tidy, good_sessions},
};
use support::{Bench, tree};

const COMPONENTS: [&str; 3] = ["etcd", "postgres", "web"];

struct Place {
    etcd: EtcdCluster,
    server: PostgresServer,
    bench: Bench,
    session: String,
}

/// One good session of etcd, PostgreSQL and files, each of several gzip members.
fn place() -> Place {
    let etcd = EtcdCluster::start(1, Etcd::V35, EtcdOptions::default()).unwrap();
    // Large values make the database larger than one member.
    etcd.put_many((0..40).map(|i| (format!("/large/{i}"), vec![b'x'; 100_000]))).unwrap();
    etcd.put_many(etcd_keys(300)).unwrap();
    let server = PostgresServer::start(15).unwrap();
    SampleData::default().load(server.sql()).unwrap();
    let mut bench = Bench::with_files();
    bench.write("data/long.txt", &"line of a long file\n".repeat(150_000));
    let sections = [config::etcd(&etcd), config::server(server.sql()), config::files(&bench)];
    config::write(&mut bench, &sections);
    bench.run(&["init"]).exits(0);
    let session = backup(&bench)["session_id"].as_str().unwrap().to_owned();
    Place { etcd, server, bench, session }
}

#[test]
fn damaged_bytes_are_reported_and_never_restored() {
    let place = place();
    let before = dumpall(place.server.sql());
    for component in COMPONENTS {
        let file = artifact(&place.bench, &place.session, component);
        let whole = std::fs::read(&file).unwrap();
        for (damage, seen_by_size) in [(flip as fn(&Path), false), (cut_at_a_member, true), (remove, true)] {
            damage(&file);
            assert_reported(&place, component, seen_by_size);
            assert_refused(&place, component);
            std::fs::write(&file, &whole).unwrap();
        }
    }
    assert_eq!(dumpall(place.server.sql()), before, "nothing was touched");
    place.bench.run(&["verify", "latest", "--level", "content"]).exits(0);
    the_manifest_is_cut(&place);
}

fn flip(file: &Path) {
    let mut bytes = std::fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(file, bytes).unwrap();
}

/// gzip itself has nothing to say against it.
fn cut_at_a_member(file: &Path) {
    let bytes = std::fs::read(file).unwrap();
    let hands = Hands { folder: file.parent().unwrap().to_owned(), env: Vec::new() };
    let starts = |at: &usize| bytes[*at..].starts_with(&[0x1f, 0x8b, 8]);
    let cut = (1..bytes.len()).rev().filter(starts).find(|at| {
        std::fs::write(file, &bytes[..*at]).unwrap();
        let tested = std::process::Command::new("gzip").arg("-tq").arg(file).status().unwrap();
        tested.success()
    });
    assert!(cut.is_some(), "{} has one member only", file.display());
    hands.run(&format!("gzip -t '{}'", file.display()));
}

fn remove(file: &Path) {
    std::fs::remove_file(file).unwrap();
}

#[track_caller]
fn assert_reported(place: &Place, component: &str, seen_by_size: bool) {
    let Place { bench, session, .. } = place;
    bench.run(&["verify", session, "--level", "size"]).exits(if seen_by_size { 3 } else { 0 });
    for level in ["checksum", "content"] {
        let verified =
            bench.run(&["verify", session, "--level", level, "--json"]).exits(3).message("verified");
        assert_eq!(verified["passed"], false);
        let bad: Vec<&str> = verified["findings"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|finding| finding[1]["severity"] == "error")
            .map(|finding| finding[0].as_str().unwrap())
            .collect();
        assert_eq!(bad, [component], "{verified:#}");
    }
    bench.run(&["verify", "--all", "--level", "checksum"]).exits(3);
}

#[track_caller]
fn assert_refused(place: &Place, component: &str) {
    let Place { bench, session, server, .. } = place;
    let to = bench.path("extracted");
    bench.run(&["extract", session, component, "--to", to.to_str().unwrap()]).exits(1);
    let files: Vec<String> = if to.exists() { tree(&to) } else { Vec::new() };
    assert_eq!(files, Vec::<String>::new());
    let databases = server.sql().databases().unwrap();
    let set = target(place, component);
    let mut restore = vec!["restore", session, component, "--yes"];
    set.iter().for_each(|set| restore.extend(["--set", set.as_str()]));
    let refused = bench.run(&restore).exits(1);
    assert!(refused.stderr.contains("hint:"), "{}", refused.stderr);
    assert_eq!(server.sql().databases().unwrap(), databases);
    assert!(!bench.path("target").exists(), "{:?}", tree(&bench.path("target")));
    let journals: Vec<String> = tree(&bench.path("store/sessions").join(session))
        .into_iter()
        .filter(|file| file.starts_with("restore-"))
        .collect();
    assert_eq!(journals, Vec::<String>::new(), "no step was begun");
}

/// Options that make the restore go elsewhere than onto what is there.
fn target(place: &Place, component: &str) -> Vec<String> {
    let target = place.bench.path("target");
    match component {
        "etcd" => vec![format!("dir={}", target.display())],
        "web" => vec![format!("to={}", target.display())],
        _ => Vec::new(),
    }
}

fn the_manifest_is_cut(place: &Place) {
    let Place { bench, session, .. } = place;
    let manifest = bench.path("store/sessions").join(session).join("manifest.json");
    let whole = std::fs::read(&manifest).unwrap();
    std::fs::write(&manifest, &whole[..whole.len() / 2]).unwrap();
    let ran = bench.run(&["verify", session]).exits(1);
    assert!(ran.stderr.contains("manifest"), "{}", ran.stderr);
    bench.run(&["verify", "--all"]).exits(3);
    for component in COMPONENTS {
        bench.run(&["restore", session, component, "--yes"]).exits(1);
        bench.run(&["extract", session, component, "--to", "extracted"]).exits(1);
    }
    assert!(!bench.run(&["list"]).exits(0).stdout.contains("SUCCESS"));
    // What cannot be read is not taken for rubbish, neither by a clean-up nor by a run.
    let objects = e2e::store::objects(bench);
    bench.run(&["cleanup"]).exits(0);
    backup(bench);
    assert!(objects.is_subset(&e2e::store::objects(bench)));
    std::fs::write(&manifest, &whole).unwrap();
    bench.run(&["verify", session, "--level", "content"]).exits(0);
    assert_eq!(good_sessions(bench).len(), 2);
    assert_tidy(bench);
}

#[test]
fn what_is_at_the_target_is_refused_or_kept_aside() {
    let place = place();
    a_running_etcd_is_not_restored_onto(&place);
    an_old_data_directory_is_kept_aside(&place);
    a_folder_with_files_is_kept_aside_or_refused(&place);
    a_database_that_is_there_is_refused(&place.bench, place.server.sql());
}

fn a_running_etcd_is_not_restored_onto(place: &Place) {
    let data = place.etcd.data_dir(0);
    let before = tree(data);
    let set = format!("dir={}", data.display());
    let args = ["restore", "latest", "etcd", "--yes", "--set", &set, "--set", "member=etcd-1"];
    let refused = place.bench.run(&args).exits(1);
    assert!(refused.stderr.contains("an etcd is running on it"), "{}", refused.stderr);
    assert_eq!(tree(data), before);
    place.etcd.put("/still", "alive").unwrap();
}

fn an_old_data_directory_is_kept_aside(place: &Place) {
    let dir = place.bench.path("etcd-data");
    std::fs::create_dir_all(dir.join("etcd-1/member")).unwrap();
    std::fs::write(dir.join("etcd-1/member/old"), "old").unwrap();
    let set = format!("dir={}", dir.display());
    let args = [
        "restore",
        "latest",
        "etcd",
        "--yes",
        "--no-resume",
        "--set",
        &set,
        "--set",
        "endpoints=http://127.0.0.1:1",
    ];
    let waits = place.bench.run(&args).exits(3);
    assert!(waits.stdout.contains("is kept in"), "{}", waits.stdout);
    let files = tree(&dir);
    assert!(files.iter().any(|file| file == "etcd-1/member/snap/db"), "{files:?}");
    let aside = |file: &&String| file.starts_with("etcd-1.before-restore-") && file.ends_with("/member/old");
    assert_eq!(files.iter().filter(aside).count(), 1, "{files:?}");
}

fn a_folder_with_files_is_kept_aside_or_refused(place: &Place) {
    let bench = &place.bench;
    bench.write("data/hello.txt", "changed\n");
    let refused = bench.run(&["restore", "latest", "web", "--yes", "--set", "existing=refuse"]).exits(1);
    assert!(refused.stderr.contains("data"), "{}", refused.stderr);
    let text = |folder: &Path| std::fs::read_to_string(folder.join("hello.txt")).unwrap();
    assert_eq!(text(&bench.path("data")), "changed\n");
    bench.run(&["restore", "latest", "web", "--yes"]).exits(0);
    assert_eq!(text(&bench.path("data")), "hello\n");
    let beside: Vec<PathBuf> = std::fs::read_dir(bench.path(""))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("data."))
        .collect();
    assert_eq!(beside.len(), 1, "{beside:?}");
    assert_eq!(text(&beside[0]), "changed\n");
}

fn a_database_that_is_there_is_refused(bench: &Bench, sql: &Sql) {
    let before = dumpall(sql);
    let args = ["restore", "latest", "postgres", "--yes", "--set", "database=crm", "--set", "into=postgres"];
    let refused = bench.run(&args).exits(1);
    assert!(refused.stderr.contains("it exists already, and nothing was touched"), "{}", refused.stderr);
    assert_eq!(dumpall(sql), before);
}

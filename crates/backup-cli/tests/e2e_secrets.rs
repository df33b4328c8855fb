//! No password that was used is to be seen anywhere: not on a command line, not in output, logs, reports, manifests or journals.

mod e2e;
mod support;

use std::path::Path;

use backup_testkit::servers::{Etcd, EtcdCluster, EtcdOptions, PostgresServer, SampleData, etcd_keys};
use e2e::{config, watcher::Watcher};
use support::{Bench, tree};

const OF_ETCD: &str = "s3cr3t-of-etcd";
const OF_POSTGRES: &str = "s3cr3t-of-postgres";
/// Every secret of this test has it.
const MARK: &str = "s3cr3t";

#[test]
fn no_password_is_shown_or_written_anywhere() {
    let mut etcd =
        EtcdCluster::start(1, Etcd::V35, EtcdOptions { tls: true, ..EtcdOptions::default() }).unwrap();
    etcd.put_many(etcd_keys(100)).unwrap();
    etcd.enable_auth(OF_ETCD).unwrap();
    let server = PostgresServer::start(15).unwrap();
    SampleData::default().load(server.sql()).unwrap();
    let role = format!("create role backup superuser login password '{OF_POSTGRES}'");
    server.sql().run("postgres", &role).unwrap();
    let bench = bench(&etcd, &server);

    let watcher = Watcher::start(MARK);
    let mut said = String::new();
    let mut run = |args: &[&str], code: i32| {
        let ran = bench.run(args).exits(code);
        said.push_str(&format!("{args:?}\n{}{}\n", ran.stdout, ran.stderr));
    };
    let to = format!("etcd.dir={}", bench.path("restored").display());
    let elsewhere = ["--set", to.as_str(), "--set", "etcd.endpoints=https://127.0.0.1:1"];
    run(&["check", "-vvv"], 0);
    run(&["daily", "-vvv"], 0);
    run(&["daily", "--json"], 0);
    run(&["verify", "--all", "--level", "content", "-vvv"], 0);
    run(&["restore", "latest", "postgres", "--yes", "-vvv"], 0);
    run(&[&["restore", "latest", "all", "--yes", "-vvv"], &elsewhere[..]].concat(), 3);
    run(&["extract", "latest", "etcd", "--to", "plain", "-vvv"], 0);
    for query in [
        &["list"][..],
        &["show", "latest"],
        &["report", "latest", "--json"],
        &["status"],
        &["metrics"],
        &["report", "--html"],
        &["report", "--period", "2026", "--html"],
        &["cleanup"],
    ] {
        run(query, 0);
    }
    // Where things go wrong, more is said.
    bench.write("wrong.toml", &wrong(&bench));
    run(&["--config", "wrong.toml", "check", "-vvv"], 3);
    run(&["--config", "wrong.toml", "daily", "-vvv"], 1);
    bench.write(
        "typo.toml",
        &format!("name = \"crm\"\n[[component]]\nkind = \"etcd\"\npasswort = \"{MARK}\"\n"),
    );
    run(&["--config", "typo.toml", "check"], 2);
    watcher.assert_nothing_seen();

    let seen: Vec<&str> = said.lines().filter(|line| line.contains(MARK)).collect();
    assert_eq!(seen, Vec::<&str>::new());
    assert!(said.contains("DEBUG") && said.len() > 20_000, "there was something to look at: {}", said.len());
    assert_nothing_written(&bench.path("store"), 20);
    for (name, least) in [("unified-backup.log", 40), ("audit.log", 4)] {
        let log = std::fs::read_to_string(bench.path("log").join(name)).unwrap();
        assert!(log.lines().count() >= least && !log.contains(MARK), "{name}:\n{log}");
    }
}

/// One secret comes by the environment, one by a file.
fn bench(etcd: &EtcdCluster, server: &PostgresServer) -> Bench {
    let mut bench = Bench::empty();
    bench.write("etcd-password", &format!("{OF_ETCD}\n"));
    let files = etcd.certificates().unwrap();
    let login = format!(
        "user = \"root\"\npassword = {{ file = {:?} }}\ntls = {{ ca = {:?}, cert = {:?}, key = {:?} }}\n",
        bench.path("etcd-password"),
        files.ca,
        files.client_cert,
        files.client_key
    );
    let postgres = config::server(server.sql()).replace("user = \"postgres\"", "user = \"backup\"");
    let log = format!("[log]\nfolder = {:?}\n", bench.path("log"));
    config::write(&mut bench, &[config::etcd(etcd) + &login, postgres, log]);
    bench.env(config::PG_PASSWORD, OF_POSTGRES);
    bench.run(&["init"]).exits(0);
    bench
}

/// The same configuration with other passwords, in the file itself.
fn wrong(bench: &Bench) -> String {
    let right = std::fs::read_to_string(bench.path("ha-backup.toml")).unwrap();
    let line = |line: &str| match line.starts_with("password") {
        true => format!("password = \"{MARK}-and-wrong\""),
        false => line.to_owned(),
    };
    right.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// `at_least` so many files are there to be looked at.
#[track_caller]
fn assert_nothing_written(folder: &Path, at_least: usize) {
    let files = tree(folder);
    assert!(files.len() >= at_least, "{files:?}");
    assert!(files.iter().any(|file| file.contains("/restore-")), "{files:?}");
    for file in files {
        let bytes = std::fs::read(folder.join(&file)).unwrap();
        let found = bytes.windows(MARK.len()).any(|window| window == MARK.as_bytes());
        assert!(!found, "{file}");
    }
}

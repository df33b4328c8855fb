//! Real clusters, and the built binary at work on them.

#![allow(dead_code, reason = "each test binary uses its own part")]

pub(crate) mod by_hand;
pub(crate) mod config;
pub(crate) mod peak;
pub(crate) mod running;
pub(crate) mod store;
pub(crate) mod watcher;

use std::{
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use backup_testkit::servers::{
    Etcd, EtcdCluster, EtcdOptions, PatroniCluster, PatroniOptions, SampleData, Sql, etcd_keys,
};
use serde_json::Value;

use crate::support::{Bench, Ran};

/// Three members of etcd, and three nodes of Patroni that keep their state there.
pub(crate) struct Stack {
    // Patroni goes first when it is dropped.
    pub(crate) patroni: PatroniCluster,
    pub(crate) etcd: EtcdCluster,
}

impl Stack {
    /// With sample data in both.
    pub(crate) fn start() -> Self {
        let etcd = EtcdCluster::start(3, Etcd::V35, EtcdOptions::default()).unwrap();
        etcd.put_many(etcd_keys(2000)).unwrap();
        let mut patroni = PatroniCluster::start(3, &etcd, PatroniOptions::default()).unwrap();
        SampleData::default().load(&patroni.leader_sql().unwrap()).unwrap();
        patroni.wait_ready().unwrap();
        Self { patroni, etcd }
    }

    /// A folder with a configuration of both, and a repository.
    pub(crate) fn bench(&self) -> Bench {
        let mut bench = Bench::empty();
        config::write(&mut bench, &[config::etcd(&self.etcd), config::patroni(&self.patroni)]);
        bench.run(&["init"]).exits(0);
        bench
    }
}

/// Makes a daily session of everything; its `backup_ended`.
#[track_caller]
pub(crate) fn backup(bench: &Bench) -> Value {
    ended(bench.run(&["daily", "--json"]).exits(0))
}

/// What a run says at its end.
#[track_caller]
pub(crate) fn ended(ran: Ran) -> Value {
    ran.message("backup_ended")
}

/// A whole cluster as pg_dumpall writes it, without what differs each time.
#[track_caller]
pub(crate) fn dumpall(sql: &Sql) -> Vec<String> {
    let output = sql.client("pg_dumpall", "postgres").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let differs = |line: &&str| line.starts_with("\\restrict") || line.starts_with("\\unrestrict");
    text.lines().filter(|line| !differs(line)).map(str::to_owned).collect()
}

/// Compares long texts line by line, so that a failure shows the line.
#[track_caller]
pub(crate) fn assert_same_lines(left: &[String], right: &[String]) {
    for (number, (left, right)) in left.iter().zip(right).enumerate() {
        assert_eq!(left, right, "line {}", number + 1);
    }
    assert_eq!(left.len(), right.len());
}

/// Keys and values outside Patroni's namespace, as etcdctl prints them.
#[track_caller]
pub(crate) fn own_keys(etcd: &EtcdCluster) -> Vec<String> {
    let text = etcd.etcdctl(&["get", "", "--prefix", "-w=json"]).unwrap();
    let answer: Value = serde_json::from_str(&text).unwrap();
    let pair = |kv: &Value| format!("{} {}", kv["key"], kv["value"]);
    // "/service/" in base64 begins so.
    let own = |kv: &&Value| !kv["key"].as_str().is_some_and(|key| key.starts_with("L3NlcnZpY2Uv"));
    answer["kvs"].as_array().unwrap().iter().filter(own).map(pair).collect()
}

/// Folders to find programs in, first our servers' own ones.
pub(crate) fn path_with(folders: &[PathBuf]) -> String {
    let system = std::env::var("PATH").unwrap_or_default();
    let mut all: Vec<String> = folders.iter().map(|folder| folder.display().to_string()).collect();
    all.push(system);
    all.join(":")
}

/// The folder of etcd's programs.
pub(crate) fn etcd_bin(etcd: &EtcdCluster) -> PathBuf {
    etcd.tools().etcd.parent().unwrap().to_owned()
}

/// Servers that the test started by commands that the product printed; they end with this value.
#[derive(Default)]
pub(crate) struct Started(Vec<Child>);

impl Started {
    /// Starts `command` by a shell in `folder`.
    pub(crate) fn shell(&mut self, command: &str, folder: &std::path::Path, path: &str) {
        let log = std::fs::File::create(folder.join(format!("started-{}.log", self.0.len()))).unwrap();
        let child = Command::new("sh")
            .args(["-c", &format!("exec {command}")])
            .current_dir(folder)
            .env("PATH", path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.0.push(child);
    }

    /// Whether none of them has ended.
    pub(crate) fn are_running(&mut self) -> bool {
        self.0.iter_mut().all(|child| child.try_wait().unwrap().is_none())
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

//! Drills of a real etcd, a real PostgreSQL and files: all pass, and what kill -9 leaves is gone after the next one.

mod e2e;
mod support;

use std::{path::Path, time::Duration};

use backup_testkit::servers::{Etcd, EtcdCluster, EtcdOptions, PostgresServer, SampleData, etcd_keys, poll};
use e2e::{config, running::Running};
use serde_json::Value;
use support::{Bench, next_second};

/// Where another user than root can come to.
fn drills() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::Builder::new().prefix("d").tempdir_in("/var/tmp").unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
    folder
}

fn sections(
    bench: &Bench,
    etcd: &EtcdCluster,
    postgres: &PostgresServer,
    drills: &Path,
    question: &str,
) -> Vec<String> {
    let ask = format!("{{ database = \"crm\", sql = \"{question}\", expect = {{ min = 1 }} }}");
    vec![
        format!("{}drill = {{ etcd = {:?} }}\n", config::etcd(etcd), etcd.tools().etcd),
        format!("{}drill = {{ queries = [{ask}] }}\n", config::server(postgres.sql())),
        config::files(bench),
        format!("[drill]\nfolder = {:?}\nkeep_free = \"1MB\"\n", drills.join("p")),
    ]
}

/// Processes that have the folder in their command line.
fn processes(folder: &Path) -> Vec<u32> {
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let at_it = |pid: &u32| {
        let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&words).contains(folder.to_str().unwrap())
    };
    pids.filter(at_it).collect()
}

fn left(folder: &Path) -> usize {
    std::fs::read_dir(folder.join("p")).map_or(0, Iterator::count)
}

#[test]
fn a_recovery_point_is_drilled_and_a_killed_drill_leaves_nothing_after_the_next() {
    let etcd = EtcdCluster::start(1, Etcd::V35, EtcdOptions::default()).unwrap();
    etcd.put_many(etcd_keys(2000)).unwrap();
    let postgres = PostgresServer::start(15).unwrap();
    SampleData::default().load(postgres.sql()).unwrap();
    let (mut bench, drills) = (Bench::empty(), drills());
    std::fs::create_dir(bench.path("data")).unwrap();
    bench.write("data/state.json", "[1]");
    let count = "select count(*) from crm.contacts";
    let good = sections(&bench, &etcd, &postgres, drills.path(), count);
    config::write(&mut bench, &good);
    bench.first_session();

    let report = bench.run(&["drill", "--json"]).exits(0).message("drilled");
    assert_eq!(report["components"].as_array().unwrap().len(), 3, "{report:#}");
    for component in report["components"].as_array().unwrap() {
        let passed = |rung: &Value| rung["outcome"] == "passed";
        assert!(component["rungs"].as_array().unwrap().iter().all(passed), "{component:#}");
    }
    assert_eq!((left(drills.path()), processes(drills.path())), (0, vec![]));

    // A question that takes long holds the drill where everything runs.
    for (signal, code) in [("INT", 130), ("KILL", -1)] {
        let slow = sections(&bench, &etcd, &postgres, drills.path(), "select 1 from pg_sleep(600)");
        config::write_as(&bench, "slow.toml", &slow);
        let running =
            Running::start(&bench, &["--config", "slow.toml", "drill", "latest", "postgres", "--json"]);
        poll("the question to be asked", Duration::from_secs(60), || {
            let asks = |pid: &u32| {
                let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                String::from_utf8_lossy(&words).contains("SELECT")
            };
            let children = processes_of(&processes(drills.path()));
            if children.iter().any(asks) { Ok(()) } else { Err("not yet") }
        })
        .unwrap();
        running.signal(signal);
        assert_eq!(running.finish().code, code, "{signal}");
        if signal == "KILL" {
            assert!(!processes(drills.path()).is_empty() && left(drills.path()) > 0, "nothing was killed");
            next_second();
            let ran = bench.run(&["drill", "latest", "etcd"]).exits(0);
            assert!(ran.stderr.contains("removed what a drill that was killed had left"), "{}", ran.stderr);
        }
        assert_eq!((left(drills.path()), processes(drills.path())), (0, vec![]), "{signal}");
    }
}

/// All children of these.
fn processes_of(parents: &[u32]) -> Vec<u32> {
    let children = |pid: &u32| {
        let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<u32>>()
    };
    parents.iter().flat_map(children).collect()
}

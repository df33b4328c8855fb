//! `health` over sessions of a real etcd and a real PostgreSQL: what is lost there is seen in the first session after it.

mod e2e;
mod support;

use backup_testkit::servers::{Etcd, EtcdCluster, EtcdOptions, PostgresServer, etcd_keys};
use e2e::{backup, config};
use serde_json::Value;
use support::Bench;

/// Checks that are not well, as "scope name check: state message".
#[track_caller]
fn wrong(bench: &Bench, code: i32) -> Vec<String> {
    let document = bench.run(&["health", "--json"]).exits(code).json();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let bad = document["checks"].as_array().unwrap().iter().filter(|check| check["state"] != "ok");
    bad.map(|c| {
        let [scope, name, check, state, message] =
            ["scope", "name", "check", "state", "message"].map(|key| text(&c[key]));
        format!("{scope} {name} {check}: {state} {message}")
    })
    .collect()
}

#[test]
fn rows_and_keys_that_are_gone_are_seen_in_the_next_session() {
    let etcd = EtcdCluster::start(1, Etcd::V35, EtcdOptions::default()).unwrap();
    etcd.put_many(etcd_keys(2000)).unwrap();
    let postgres = PostgresServer::start(17).unwrap();
    let sql = postgres.sql();
    sql.run("postgres", "create database crm").unwrap();
    sql.run("crm", "create table t as select n from generate_series(1, 1000) n").unwrap();
    sql.run("postgres", "create table other as select n from generate_series(1, 5000) n").unwrap();
    let mut bench = Bench::empty();
    let health = "[health]\ndisk_limit_percent = 100\n".to_owned();
    config::write(&mut bench, &[config::etcd(&etcd), config::server(sql), health]);
    bench.run(&["init"]).exits(0);
    for _ in 0..3 {
        backup(&bench);
    }
    assert_eq!(wrong(&bench, 0), Vec::<String>::new());

    sql.run("crm", "delete from t where n % 2 = 0").unwrap();
    etcd.etcdctl(&["del", "--prefix", "/"]).unwrap();
    backup(&bench);
    let said = wrong(&bench, 3);
    let begins = |start: &str| assert!(said.iter().any(|line| line.starts_with(start)), "{start}: {said:?}");
    // The whole cluster lost only a tenth of its rows: the database is named.
    begins(
        "component postgres rows: critical 50 % fewer rows of database crm: 500; median of the 3 before: 1000, in",
    );
    begins("component etcd keys: critical ");
}

#[test]
fn an_alarm_of_etcd_is_a_warning() {
    let args = vec!["--quota-backend-bytes=4194304".to_owned()];
    let etcd = EtcdCluster::start(1, Etcd::V35, EtcdOptions { args, ..EtcdOptions::default() }).unwrap();
    let large = "x".repeat(256 << 10);
    let full = (0..100).find_map(|n| etcd.put(format!("/large/{n}"), &large).err());
    assert!(full.expect("it becomes full").to_string().contains("space"), "etcd is full");
    let mut bench = Bench::empty();
    let health = "[health]\ndisk_limit_percent = 100\n".to_owned();
    config::write(&mut bench, &[config::etcd(&etcd), health]);
    bench.run(&["init"]).exits(0);
    backup(&bench);
    let said = wrong(&bench, 3);
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(
        said[0].starts_with("component etcd warnings: warning ") && said[0].contains("NOSPACE"),
        "{said:?}"
    );
}

//! Patroni's configuration of one node.

use super::super::etcd::EtcdCluster;
use super::super::postgres::{PASSWORD, SETTINGS, SUPERUSER};
use super::super::toolbox::PostgresTools;
use super::PatroniOptions;
use serde_json::{Map, Value, json};
use std::path::Path;

/// Where a node lives.
pub(super) struct Place<'a> {
    pub(super) name: &'a str,
    pub(super) folder: &'a Path,
    pub(super) data_dir: &'a Path,
    pub(super) rest: u16,
    pub(super) postgres: u16,
}

/// The whole configuration.
pub(super) fn node(
    place: &Place<'_>,
    tools: &PostgresTools,
    etcd: &EtcdCluster,
    options: &PatroniOptions,
) -> Value {
    let rest = format!("127.0.0.1:{}", place.rest);
    let postgres = format!("127.0.0.1:{}", place.postgres);
    let hba = [
        "local all all reject",
        "host all all 127.0.0.1/32 scram-sha-256",
        "host replication all 127.0.0.1/32 scram-sha-256",
    ];
    json!({
        "scope": options.scope,
        "name": place.name,
        "restapi": {"listen": rest, "connect_address": rest},
        "etcd3": etcd3(etcd),
        "bootstrap": {
            "dcs": {
                // The least that Patroni takes: a failover in about 20 seconds.
                "ttl": 20,
                "loop_wait": 2,
                "retry_timeout": 3,
                "maximum_lag_on_failover": 1_048_576,
                "postgresql": {"use_pg_rewind": true, "use_slots": true, "parameters": parameters(options)},
            },
            "initdb": [{"encoding": "UTF8"}, {"locale": "C.UTF-8"}, "data-checksums", "no-sync"],
        },
        "postgresql": {
            "listen": postgres,
            "connect_address": postgres,
            "data_dir": place.data_dir,
            "bin_dir": tools.bin,
            "pgpass": place.folder.join("pgpass"),
            "authentication": {
                "superuser": {"username": SUPERUSER, "password": PASSWORD},
                "replication": {"username": "replicator", "password": "replicator-secret"},
                "rewind": {"username": "rewinder", "password": "rewinder-secret"},
            },
            "pg_hba": hba,
            // Replicas copy the leader without waiting for its next checkpoint.
            "basebackup": [{"checkpoint": "fast"}, "no-sync"],
        },
        "watchdog": {"mode": "off"},
    })
}

fn parameters(options: &PatroniOptions) -> Map<String, Value> {
    let own = SETTINGS.iter().map(|(k, v)| ((*k).to_owned(), json!(v)));
    own.chain(options.settings.iter().map(|(k, v)| (k.clone(), json!(v)))).collect()
}

fn etcd3(etcd: &EtcdCluster) -> Value {
    let hosts: Vec<_> = etcd
        .endpoints()
        .iter()
        .filter_map(|e| e.split_once("://").map(|(_, host)| host.to_owned()))
        .collect();
    let mut section = json!({"hosts": hosts});
    if let Some(c) = etcd.certificates() {
        section["protocol"] = json!("https");
        section["cacert"] = json!(c.ca);
        section["cert"] = json!(c.client_cert);
        section["key"] = json!(c.client_key);
    }
    if let Some(password) = etcd.password() {
        section["username"] = json!("root");
        section["password"] = json!(password);
    }
    section
}

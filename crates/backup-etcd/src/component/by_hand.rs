//! How a person restores the snapshot with etcd's own tools.

use std::path::PathBuf;

use backup_core::{traits::Target, words::ComponentRecord};
use serde_json::json;

use super::{
    commands::printed_start,
    config::EtcdConfig,
    options::{Understood, members_of},
};
use crate::version::Version;

/// Where the commands make data directories, below the folder that they are given in.
const FOLDER: &str = "etcd-restored";

/// The lines for `RESTORE.txt`; those that begin with `$ ` are commands.
pub(super) fn lines(config: &EtcdConfig, record: &ComponentRecord) -> Vec<String> {
    let Some(artifact) = record.artifacts.first() else { return Vec::new() };
    let file = format!("{}/{}", record.name, artifact.name);
    let Some(understood) = understood(config, record) else {
        return vec![
            "The snapshot names no members. For a cluster of one:".to_owned(),
            format!("$ {} snapshot restore {file} --data-dir {FOLDER}", tool(record)),
            format!("$ etcd --data-dir {FOLDER}"),
        ];
    };
    let mut lines = vec![
        format!(
            "The snapshot is of etcd {}: use that version or a newer one. (Up to 3.4 and where there is no etcdutl it is \
             `ETCDCTL_API=3 etcdctl snapshot restore`.)",
            record.facts.get("server_version").and_then(|version| version.as_str()).unwrap_or("3")
        ),
        "Stop the old members first. Each new member is made on its host, all from the same snapshot:"
            .to_owned(),
    ];
    lines.extend(restores(record, &understood, &file));
    lines.push(
        "Then start each, with the options that it had (certificates, listening addresses):".to_owned(),
    );
    let starts = printed_start(record, &understood).unwrap_or_default();
    lines.extend(starts.into_iter().map(|command| format!("$ {command}")));
    lines.extend(patroni(record));
    lines
}

/// The members of the snapshot, restored below [`FOLDER`].
fn understood(config: &EtcdConfig, record: &ComponentRecord) -> Option<Understood> {
    let target = Target::new(json!({ "dir": FOLDER }));
    let mut understood = Understood::new(config, &target, record).ok()?;
    for (name, dir) in &mut understood.dirs {
        *dir = PathBuf::from(FOLDER).join(name);
    }
    Some(understood)
}

fn restores(record: &ComponentRecord, understood: &Understood, file: &str) -> Vec<String> {
    let Ok(cluster) = understood.cluster() else { return Vec::new() };
    let tool = tool(record);
    let one = |(name, dir): &(String, PathBuf)| {
        let peers = cluster.member(name).ok()?.peer_urls.join(",");
        Some(format!(
            "$ {tool} snapshot restore {file} --name {name} --initial-cluster {} --initial-cluster-token {} \
             --initial-advertise-peer-urls {peers} --data-dir {}",
            understood.members,
            understood.token,
            dir.display()
        ))
    };
    understood.dirs.iter().filter_map(one).collect()
}

/// etcd 3.4 has no etcdutl, and later ones' etcdctl hands over to it.
fn tool(record: &ComponentRecord) -> &'static str {
    let version =
        record.facts.get("server_version").and_then(|version| version.as_str()?.parse::<Version>().ok());
    match version {
        Some(Version { major: 3, minor: ..=4 }) => "ETCDCTL_API=3 etcdctl",
        _ => "etcdutl",
    }
}

/// What binds Patroni's clusters to the nodes that they had.
fn patroni(record: &ComponentRecord) -> Vec<String> {
    let prefixes = record.facts.get("prefixes").and_then(|prefixes| prefixes.as_object());
    let scopes: Vec<&String> =
        prefixes.into_iter().flatten().map(|(prefix, _)| prefix).filter(|prefix| is_scope(prefix)).collect();
    if scopes.is_empty() {
        return Vec::new();
    }
    let clients: Vec<String> = members_of(record).into_iter().flat_map(|member| member.client_urls).collect();
    let endpoints =
        if clients.is_empty() { String::new() } else { format!(" --endpoints={}", clients.join(",")) };
    let mut lines = vec![
        "Patroni's keys came along. Where PostgreSQL is made anew as well, what binds it to the old nodes has to go, \
         or the new Patroni waits for ever:"
            .to_owned(),
    ];
    for scope in scopes {
        for key in ["initialize", "history"] {
            lines.push(format!("$ ETCDCTL_API=3 etcdctl{endpoints} del {scope}{key}"));
        }
    }
    lines
}

/// `/service/crm/` counts one of Patroni's clusters, `/registry/` a first level.
fn is_scope(prefix: &str) -> bool {
    prefix.matches('/').count() == 3
}

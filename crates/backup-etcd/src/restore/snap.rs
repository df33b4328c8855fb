//! The raft snapshot that a restored member starts from.
//!
//! Source: etcd `server/etcdserver/api/snap/snapshotter.go`, `v2store/store.go`. Its data is the old v2 store as JSON, in
//! which versions up to 3.6 keep the members.

use std::{collections::BTreeMap, fmt::Write};

use backup_core::words::Result;

use super::{
    cluster::{Cluster, go_json},
    wal,
};
use crate::proto::Message;

/// Events that the v2 store's history has room for.
const HISTORY: usize = 1000;
/// What every node of the v2 store carries.
const EXPIRES: &str = "\"ExpireTime\":\"0001-01-01T00:00:00Z\"";

/// The file's name: `TERM-INDEX.snap`.
pub(super) fn name(cluster: &Cluster) -> String {
    format!("{:016x}-{:016x}.snap", wal::TERM, wal::commit(cluster))
}

/// The file: `{crc = 1, data = 2}` around raft's Snapshot `{data = 1, metadata = 2 {conf_state = 1, index = 2, term = 3}}`.
pub(super) fn file(cluster: &Cluster) -> Result<Vec<u8>> {
    let metadata = Message::new()
        .bytes(1, &wal::conf_state(cluster))
        .number(2, wal::commit(cluster))
        .number(3, wal::TERM)
        .done();
    let snapshot = Message::new().bytes(1, v2_store(cluster)?.as_bytes()).bytes(2, &metadata).done();
    Ok(Message::new().number(1, u64::from(crc32c::crc32c(&snapshot))).bytes(2, &snapshot).done())
}

/// A directory of the v2 store; `children` is JSON.
fn directory(path: &str, index: usize, children: &str) -> String {
    format!(
        "{{\"Path\":\"{path}\",\"CreatedIndex\":{index},\"ModifiedIndex\":{index},{EXPIRES},\"Value\":\"\",\"Children\":{{{children}}}}}"
    )
}

fn v2_store(cluster: &Cluster) -> Result<String> {
    let mut events = String::new();
    // Created in the order of ids as numbers, listed in the order of ids as text.
    let mut nodes = BTreeMap::new();
    for (index, member) in (1..).zip(cluster.members()) {
        let id = member.hex_id();
        let value = go_json(&member.raft_json()?)?;
        let path = format!("/0/members/{id}");
        let attributes = format!(
            "\"raftAttributes\":{{\"Path\":\"{path}/raftAttributes\",\"CreatedIndex\":{index},\"ModifiedIndex\":{index},{EXPIRES},\"Value\":{value},\"Children\":null}}"
        );
        nodes.insert(id.clone(), format!("\"{id}\":{}", directory(&path, index, &attributes)));
        // Writing into a String cannot fail.
        let _ = write!(
            events,
            "{{\"action\":\"create\",\"node\":{{\"key\":\"{path}/raftAttributes\",\"value\":{value},\"modifiedIndex\":{index},\"createdIndex\":{index}}}}},"
        );
    }
    let members = cluster.members().len();
    let nulls = vec!["null"; HISTORY - members].join(",");
    let nodes = nodes.into_values().collect::<Vec<_>>().join(",");
    let members_node = directory("/0/members", 1, &nodes);
    let zero = directory("/0", 0, &format!("\"members\":{members_node}"));
    let root = directory("/", 0, &format!("\"0\":{zero},\"1\":{}", directory("/1", 0, "")));
    let history = format!(
        "{{\"Queue\":{{\"Events\":[{events}{nulls}],\"Size\":{members},\"Front\":0,\"Back\":{members},\"Capacity\":{HISTORY}}},\"StartIndex\":1,\"LastIndex\":{members}}}"
    );
    let stats = format!(
        "{{\"getsSuccess\":0,\"getsFail\":0,\"setsSuccess\":0,\"setsFail\":0,\"deleteSuccess\":0,\"deleteFail\":0,\
         \"updateSuccess\":0,\"updateFail\":0,\"createSuccess\":{members},\"createFail\":0,\"compareAndSwapSuccess\":0,\
         \"compareAndSwapFail\":0,\"compareAndDeleteSuccess\":0,\"compareAndDeleteFail\":0,\"expireCount\":0,\"watchers\":0}}"
    );
    Ok(format!(
        "{{\"Root\":{root},\"WatcherHub\":{{\"EventHistory\":{history}}},\"CurrentIndex\":{members},\"Stats\":{stats},\"CurrentVersion\":2}}"
    ))
}

//! etcd for ha-backup: snapshots from a live cluster, an offline reader, and a native restore.

pub mod bolt;
pub mod inspect;
pub mod mvcc;
pub mod patroni;
mod proto;
pub mod restore;
pub mod snapshot;
#[cfg(test)]
mod testing;
pub mod version;

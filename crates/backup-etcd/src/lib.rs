//! etcd for ha-backup: snapshots from a live cluster, an offline reader, and a native restore.
//!
//! [`EtcdComponent`] is the plug-in; [`EtcdFactory`] makes it from a configuration. What it is made of can be used alone:
//! [`bolt`] reads and writes etcd's database files, [`inspect`] says what a snapshot holds, [`restore`] writes data
//! directories without etcd's tools.

pub mod bolt;
mod component;
pub mod inspect;
mod live;
pub mod mvcc;
pub mod patroni;
mod proto;
pub mod restore;
pub mod snapshot;
#[cfg(test)]
mod testing;
pub mod version;

pub use component::{
    DrillOptions, EtcdComponent, EtcdConfig, EtcdFactory, KIND, RestoreCommands, RestoreOptions,
};
pub use live::Tls;

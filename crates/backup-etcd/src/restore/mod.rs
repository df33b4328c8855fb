//! Data directories for the members of a new cluster, written from a snapshot without etcd's tools.
//!
//! A member's directory is `member/snap/db` (the database, the same for all members), `member/snap/*.snap` (raft's snapshot)
//! and `member/wal/*.wal` (raft's log). Everything is written into a folder beside the target, synced, read again, and only
//! then put in the target's place; what was there is kept aside.

mod cluster;
mod db;
mod folder;
mod snap;
mod wal;

pub use cluster::{Cluster, Member};
pub use db::Rewritten;
pub use folder::{Existing, Staged};

use crate::{patroni::PatroniKeys, version::Version};

/// How the database is rewritten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewrite {
    /// Added to the revision, and everything before marked as compacted, so that it never goes backwards for clients which
    /// saw later ones than the snapshot's. 0: left as it is.
    pub bump: u64,
    /// Which of Patroni's keys are kept.
    pub patroni: PatroniKeys,
    /// Where Patroni keeps its clusters.
    pub patroni_namespace: String,
    /// The etcd that it is for; `None` for the snapshot's own.
    pub target: Option<Version>,
    /// Restores to an older etcd than the snapshot's too.
    pub force: bool,
}

impl Rewrite {
    /// What is added to the revision by default. The issue that etcd's tools learnt it from asks for this much or more.
    pub const BUMP: u64 = 1_000_000_000;
    /// Patroni's own default.
    pub const NAMESPACE: &str = "/service";
}

impl Default for Rewrite {
    fn default() -> Self {
        Self {
            bump: Self::BUMP,
            patroni: PatroniKeys::default(),
            patroni_namespace: Self::NAMESPACE.to_owned(),
            target: None,
            force: false,
        }
    }
}

//! The options of a restore, as they are given and as they are understood.

use std::path::{Path, PathBuf};

use backup_core::{
    traits::{Node, Target},
    words::{ComponentRecord, Error, ErrorKind, Result},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::config::EtcdConfig;
use crate::{
    inspect::MemberRecord,
    patroni::PatroniKeys,
    restore::{Cluster, Rewrite},
    version::Version,
};

/// Options of a restore (`--set KEY=VALUE`).
#[derive(Clone, Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RestoreOptions {
    /// Where the data directories are made: `DIR/NAME` for each member, or DIR itself with `member`.
    pub dir: Option<PathBuf>,
    /// The members of the new cluster, as for etcd's `--initial-cluster`: `m1=http://10.0.0.1:2380,m2=...`. Default: those of
    /// the snapshot.
    pub members: Option<String>,
    /// Make the data directory of this member only. The others must be made from the same session, with the same `members`,
    /// `token`, `bump` and `keys`.
    pub member: Option<String>,
    /// The new cluster's token. Default: one that follows from the snapshot.
    pub token: Option<String>,
    /// Added to the revision, so that it does not go backwards for clients. Default 1000000000; 0 for none.
    pub bump: Option<u64>,
    /// Which of Patroni's keys are kept: `all`, `no-leader` (default), `config` (default beside a restore of PostgreSQL).
    pub keys: Option<PatroniKeys>,
    /// The etcd that will run on it: `3.5`. Default: the version that the snapshot was taken from.
    pub target: Option<String>,
    /// Restore to an older etcd than the snapshot's too.
    pub force: Option<bool>,
    /// Client URLs of the new cluster, where it is looked for in the end. Default: the component's `endpoints`.
    pub endpoints: Option<Vec<String>>,
}

/// The options as they were understood: everything that the steps need.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Understood {
    /// Member and its data directory, in the order of the cluster.
    pub(super) dirs: Vec<(String, PathBuf)>,
    /// All members, as for `--initial-cluster`.
    pub(super) members: String,
    pub(super) token: String,
    pub(super) bump: u64,
    pub(super) keys: PatroniKeys,
    pub(super) namespace: String,
    pub(super) target: Option<Version>,
    pub(super) force: bool,
    pub(super) endpoints: Vec<String>,
}

impl Understood {
    pub(super) fn new(config: &EtcdConfig, target: &Target, record: &ComponentRecord) -> Result<Self> {
        let given: RestoreOptions = Node::options(&target.options).parse()?;
        let dir = given.dir.ok_or_else(|| {
            Error::new(ErrorKind::Config, "restore", record.name.clone())
                .detail("where to is not known")
                .hint("--set dir=/var/lib/etcd-restored")
        })?;
        let token = given.token.unwrap_or_else(|| default_token(record));
        let cluster = Cluster::parse(&given.members.map_or_else(|| old_members(record), Ok)?, &token)?;
        let dirs = match given.member {
            Some(name) => vec![(cluster.member(&name)?.name.clone(), real(&dir)?)],
            None => {
                let dirs = cluster.members().iter().map(|m| Ok((m.name.clone(), real(&dir.join(&m.name))?)));
                dirs.collect::<Result<_>>()?
            }
        };
        let beside_postgres = target.together_with.iter().any(|companion| companion.kind == "postgres");
        let default_keys = if beside_postgres { PatroniKeys::Config } else { PatroniKeys::default() };
        Ok(Self {
            dirs,
            members: cluster.initial_cluster(),
            token,
            bump: given.bump.unwrap_or(Rewrite::BUMP),
            keys: given.keys.unwrap_or(default_keys),
            namespace: config.namespace(),
            target: given.target.map(|version| version.parse()).transpose()?,
            force: given.force.unwrap_or(false),
            endpoints: given.endpoints.unwrap_or_else(|| config.endpoints.clone()),
        })
    }

    /// Reads them back from a plan.
    pub(super) fn from_plan(options: &Value) -> Result<Self> {
        Self::deserialize(options)
            .map_err(|e| Error::new(ErrorKind::Internal, "read the options of", "the plan").because(e))
    }

    pub(super) fn cluster(&self) -> Result<Cluster> {
        Cluster::parse(&self.members, &self.token)
    }

    pub(super) fn rewrite(&self) -> Rewrite {
        Rewrite {
            bump: self.bump,
            patroni: self.keys,
            patroni_namespace: self.namespace.clone(),
            target: self.target,
            force: self.force,
        }
    }
}

/// The directory itself, where the path is a link to it: what it points to is replaced, on the disk that it is on.
fn real(dir: &Path) -> Result<PathBuf> {
    let found = match std::fs::canonicalize(dir) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => std::path::absolute(dir),
        found => found,
    };
    found.map_err(|e| Error::io("find", dir.display().to_string(), e))
}

/// The same for every restore of one snapshot, so that members may be restored one by one, and never the old cluster's.
fn default_token(record: &ComponentRecord) -> String {
    let hash = record.artifacts.first().map_or("", |artifact| artifact.plain.sha256.as_str());
    format!("restored-{}", hash.get(..12).unwrap_or(hash))
}

/// The members that the snapshot names.
pub(super) fn members_of(record: &ComponentRecord) -> Vec<MemberRecord> {
    record.facts.get("members").and_then(|members| Vec::deserialize(members).ok()).unwrap_or_default()
}

fn old_members(record: &ComponentRecord) -> Result<String> {
    let pairs: Vec<String> = members_of(record)
        .iter()
        .filter(|member| !member.name.is_empty() && !member.is_learner)
        .flat_map(|member| member.peer_urls.iter().map(|url| format!("{}={url}", member.name)))
        .collect();
    if pairs.is_empty() {
        return Err(Error::new(ErrorKind::Config, "restore", record.name.clone())
            .detail("the snapshot names no members")
            .hint("--set members=m1=http://10.0.0.1:2380,m2=http://10.0.0.2:2380,m3=http://10.0.0.3:2380"));
    }
    Ok(pairs.join(","))
}

//! What the manifest says of captured files: small, and all that a restore needs to find their places again.

use std::collections::BTreeMap;

use backup_core::words::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::pods::{On, Owner};

/// The fact's names.
pub(crate) const STATE: &str = "state";
pub(crate) const STORAGE: &str = "storage";

/// Files out of running pods.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StateFacts {
    /// The folder.
    pub(crate) path: String,
    /// Names that were taken.
    pub(crate) include: Vec<String>,
    /// Names that were not.
    pub(crate) exclude: Vec<String>,
    /// Each pod.
    pub(crate) pods: Vec<PodFacts>,
}

/// One pod's files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PodFacts {
    /// Its namespace.
    pub(crate) namespace: String,
    /// Its name.
    pub(crate) pod: String,
    /// The folder in the archive, which is also a part of the artifact when it holds anything.
    pub(crate) folder: String,
    /// The container.
    pub(crate) container: String,
    /// Whose replica it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) owner: Option<Owner>,
    /// Its number in a StatefulSet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ordinal: Option<u64>,
    /// Where it ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) node: Option<String>,
    /// How it was read.
    pub(crate) method: String,
    /// What was read.
    #[serde(flatten)]
    pub(crate) counts: Counts,
    /// Where it lies.
    pub(crate) roots: Vec<RootFacts>,
}

/// How much was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    /// Files.
    pub(crate) files: u64,
    /// Symbolic links.
    pub(crate) links: u64,
    /// Folders.
    pub(crate) folders: u64,
    /// Lengths of all files.
    pub(crate) bytes: u64,
}

/// A folder on one file system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RootFacts {
    /// Its path in the container.
    pub(crate) path: String,
    /// Where it lies.
    #[serde(flatten)]
    pub(crate) on: On,
    /// Files and links in it.
    pub(crate) files: u64,
    /// Their lengths.
    pub(crate) bytes: u64,
}

/// A whole folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StorageFacts {
    /// Where it was read from.
    pub(crate) from: From,
    /// The folder: in the container, in the volume, or on the host.
    pub(crate) path: String,
    /// The folder in the archive.
    pub(crate) folder: String,
    /// The namespace of the pod or claim.
    pub(crate) namespace: String,
    /// Names that were not taken.
    pub(crate) exclude: Vec<String>,
    /// How it was read.
    pub(crate) method: String,
    /// Whether extended attributes are kept.
    pub(crate) attributes: bool,
    /// What was read.
    #[serde(flatten)]
    pub(crate) counts: Counts,
}

/// Where a folder was read from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(crate) enum From {
    /// A pod.
    Pod {
        /// Its name.
        pod: String,
        /// The container.
        container: String,
        /// Whose replica it is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        owner: Option<Owner>,
        /// Its number in a StatefulSet.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ordinal: Option<u64>,
        /// Where it ran.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        node: Option<String>,
        /// Where the folder lies.
        #[serde(flatten)]
        place: On,
    },
    /// A volume claim.
    Claim {
        /// Its name.
        claim: String,
    },
    /// A node.
    Node {
        /// Its name.
        node: String,
    },
}

/// A fact as it stands in a manifest; none when the backup has no such files.
pub(super) fn read<T: DeserializeOwned>(facts: &BTreeMap<String, Value>, name: &str) -> Result<Option<T>> {
    let Some(fact) = facts.get(name) else { return Ok(None) };
    serde_json::from_value(fact.clone()).map(Some).map_err(|e| {
        Error::new(ErrorKind::Corrupt, "read the manifest's fact", name)
            .hint("it was written by another version of this program")
            .because(e)
    })
}

/// A fact as it is written.
pub(super) fn write<T: Serialize>(fact: &T) -> Result<Value> {
    serde_json::to_value(fact)
        .map_err(|e| Error::new(ErrorKind::Internal, "write a fact of", "the manifest").because(e))
}

impl Counts {
    /// Those of what was read.
    pub(super) fn of(tally: &super::spool::Tally) -> Self {
        Self { files: tally.files, links: tally.links, folders: tally.folders, bytes: tally.bytes }
    }
}

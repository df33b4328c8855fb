//! What a session's manifest says of a component and its artifacts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Digest, Key, Kind, Point, Position, SessionId};

/// How plain bytes were compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Codec {
    /// Not compressed.
    None,
    /// A sequence of gzip members (RFC 1952).
    Gzip,
    /// A sequence of Zstandard frames (RFC 8878).
    Zstd,
}

impl Codec {
    /// What is appended to a file's name.
    pub fn extension(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Gzip => ".gz",
            Self::Zstd => ".zst",
        }
    }
}

/// One stored object; an artifact's volumes joined are the artifact as stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Where in the store.
    pub key: Key,
    /// Size and SHA-256 as stored.
    #[serde(flatten)]
    pub stored: Digest,
}

/// A named range of an artifact's plain bytes that is readable apart from the rest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// "globals", "database crm".
    pub name: String,
    /// First plain byte.
    pub start: u64,
    /// Size and SHA-256 of its plain bytes.
    #[serde(flatten)]
    pub plain: Digest,
    /// Where its first gzip member or zstd frame begins in the compressed stream before encryption, over all volumes.
    pub offset: u64,
}

/// Plain bytes: size and SHA-256.
pub type Plain = Digest;

/// What an artifact is useless without.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Need {
    /// Another artifact.
    Artifact {
        /// Of this session.
        session: SessionId,
        /// With this name.
        artifact: String,
    },
    /// A piece of a continuous log.
    Log {
        /// Its first position.
        from: Position,
        /// Its last position.
        to: Position,
    },
}

/// One logical file of a component.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// The plain file's name: `etcd_backup_20250108_120000.db`.
    pub name: String,
    /// What tells it from the component's other artifacts, when it has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suffix: Option<String>,
    /// RFC 6838 media type of the plain bytes.
    pub media_type: String,
    /// The plain bytes.
    pub plain: Plain,
    /// How they were compressed.
    pub codec: Codec,
    /// Public keys (age, X25519) of those who can read it; empty when it is not encrypted. One age stream runs over all volumes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recipients: Vec<String>,
    /// The stored objects, in order.
    pub volumes: Vec<Volume>,
    /// Parts, in order; empty when the artifact has none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Part>,
    /// What it is useless without.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<Need>,
    /// Why its end is believed to be the end.
    pub evidence: Vec<String>,
}

impl Artifact {
    /// Bytes in the store.
    pub fn stored_bytes(&self) -> u64 {
        self.volumes.iter().map(|volume| volume.stored.size).sum()
    }

    /// Whether it takes a key to read it.
    pub fn is_encrypted(&self) -> bool {
        !self.recipients.is_empty()
    }

    /// The part of that name.
    pub fn part(&self, name: &str) -> Option<&Part> {
        self.parts.iter().find(|part| part.name == name)
    }
}

/// Whether a component was captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ComponentStatus {
    /// Whole.
    Success,
    /// Good as far as it goes, but something is missing: `coverage` says what.
    Partial,
    /// No artifact of it counts.
    Failed,
}

/// What was left out, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    /// What.
    pub what: String,
    /// Why.
    pub why: String,
    /// True when it should have been there: the component is then partial.
    pub missing: bool,
}

/// What the manifest says of one component.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ComponentRecord {
    /// Its name, which is its folder.
    pub name: String,
    /// Its kind and that kind's format number.
    pub kind: Kind,
    /// Whether it was captured.
    pub status: ComponentStatus,
    /// What it is a backup of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub point: Option<Point>,
    /// Versions, row and key counts: whatever the kind says of its source.
    #[serde(default)]
    pub facts: BTreeMap<String, Value>,
    /// From open to the last byte.
    pub duration_seconds: f64,
    /// What failed.
    #[serde(default)]
    pub errors: Vec<String>,
    /// What should be looked at.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// What was left out.
    #[serde(default)]
    pub coverage: Vec<Coverage>,
    /// What was stored.
    #[serde(default)]
    pub artifacts: Vec<Artifact>,
}

impl ComponentRecord {
    /// Bytes in the store.
    pub fn stored_bytes(&self) -> u64 {
        self.artifacts.iter().map(Artifact::stored_bytes).sum()
    }

    /// True unless it failed.
    pub fn is_good(&self) -> bool {
        self.status != ComponentStatus::Failed
    }
}

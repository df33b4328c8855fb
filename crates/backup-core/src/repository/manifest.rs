//! `manifest.json`: writing it is the commit.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::words::{
    Artifact, ComponentRecord, Error, ErrorKind, Result, SessionId, SessionType, Span, Volume,
};

/// The manifest's format number.
pub const FORMAT: u32 = 1;

/// Abilities that this version has; a manifest that requires others is left alone.
const ABILITIES: &[&str] = if cfg!(feature = "encryption") { &[AGE] } else { &[] };

/// Opening artifacts that are encrypted with age.
const AGE: &str = "age";

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Status {
    /// Every component is good.
    Success,
    /// Some component failed or is partial; the others count.
    Partial,
    /// No component is good.
    Failed,
}

/// A session's manifest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: u32,
    /// Abilities that a reader must have, or leave the session alone.
    #[serde(default)]
    pub requires: Vec<String>,
    /// The repository's id.
    pub repository: String,
    /// The claim's nonce.
    pub nonce: String,
    /// The session.
    pub session: SessionId,
    /// The job's name.
    pub job: String,
    /// How long it is meant to be kept.
    #[serde(rename = "type")]
    pub session_type: SessionType,
    /// Why it has that type.
    #[serde(default)]
    pub type_reason: String,
    /// The installation's name.
    pub name: String,
    /// The host that ran it.
    pub host: String,
    /// "ha-backup 0.1.0".
    pub tool: String,
    /// How it ended.
    pub status: Status,
    /// When it began.
    pub start: DateTime<Utc>,
    /// When its last byte was stored.
    pub end: DateTime<Utc>,
    /// Seconds between the earliest and the latest point that the good components were pinned at.
    pub skew_seconds: f64,
    /// The session that it holds the same as, encrypted for others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rewrapped_from: Option<SessionId>,
    /// The components.
    pub components: Vec<ComponentRecord>,
}

/// What every format's manifest says.
#[derive(Deserialize)]
struct Head {
    format: u32,
    #[serde(default)]
    requires: Vec<String>,
}

impl Head {
    /// Whether this version can read the rest; else what that needs.
    fn check(&self) -> Result<(), String> {
        let known = |need: &String| ABILITIES.contains(&need.as_str());
        if self.format == FORMAT && self.requires.iter().all(known) {
            return Ok(());
        }
        Err(format!("its format is {}, it requires {:?}", self.format, self.requires))
    }
}

impl Manifest {
    /// Reads a manifest, whatever this version may make of it.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] when it is no manifest, [`ErrorKind::Unsupported`] when it needs abilities or a format that this
    /// version does not have.
    pub fn read(session: SessionId, body: &[u8]) -> Result<Self> {
        let subject = || format!("manifest.json of {session}");
        let corrupt = |e| {
            Error::new(ErrorKind::Corrupt, "read", subject()).because(Box::new(e) as crate::words::BoxError)
        };
        // Thousands are read for a list: what this version knows is read once only.
        let read = serde_json::from_slice::<Self>(body);
        let head = match &read {
            Ok(manifest) => Head { format: manifest.format, requires: manifest.requires.clone() },
            Err(_) => serde_json::from_slice(body).map_err(corrupt)?,
        };
        head.check().map_err(|lacking| {
            Error::new(ErrorKind::Unsupported, "read", subject())
                .detail(lacking)
                .hint("use a newer version of ha-backup")
        })?;
        let manifest = read.map_err(corrupt)?;
        if manifest.session != session {
            return Err(Error::new(ErrorKind::Corrupt, "read", subject())
                .detail(format!("it speaks of {}", manifest.session)));
        }
        Ok(manifest)
    }

    /// Abilities that a reader of these components must have.
    pub(crate) fn abilities_for(components: &[ComponentRecord]) -> Vec<String> {
        let encrypted = components.iter().flat_map(|c| &c.artifacts).any(Artifact::is_encrypted);
        if encrypted { vec![AGE.to_owned()] } else { Vec::new() }
    }

    /// Public keys of those who can read it, each once; none when it is not encrypted.
    pub fn recipients(&self) -> Vec<String> {
        let all = self.components.iter().flat_map(|c| &c.artifacts).flat_map(|artifact| &artifact.recipients);
        let mut recipients: Vec<String> = Vec::new();
        for recipient in all {
            if !recipients.contains(recipient) {
                recipients.push(recipient.clone());
            }
        }
        recipients
    }

    /// The component of that name.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when the session has none.
    pub fn component(&self, name: &str) -> Result<&ComponentRecord> {
        self.components.iter().find(|component| component.name == name).ok_or_else(|| {
            let names: Vec<&str> = self.components.iter().map(|component| component.name.as_str()).collect();
            Error::new(ErrorKind::NotFound, "find the component", format!("{name} in {}", self.session))
                .hint(format!("the session has: {}", names.join(", ")))
        })
    }

    /// Bytes in the store, without the unified archive.
    pub fn stored_bytes(&self) -> u64 {
        self.components.iter().map(ComponentRecord::stored_bytes).sum()
    }

    /// Every stored object that it names.
    pub fn volumes(&self) -> impl Iterator<Item = &Volume> {
        self.components
            .iter()
            .flat_map(|component| &component.artifacts)
            .flat_map(|artifact| &artifact.volumes)
    }

    /// The longest time between two good components' points, at worst, in seconds.
    pub fn skew(components: &[ComponentRecord]) -> f64 {
        let pinned = components
            .iter()
            .filter(|c| c.is_good())
            .filter_map(|c| c.point.as_ref())
            .map(|point| point.pinned);
        pinned.reduce(Span::join).map_or(0.0, Span::seconds)
    }
}

/// `unified.json`: the unified archive of a session in one store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnifiedRecord {
    /// The archive's plain name.
    pub name: String,
    /// Public keys of those who can read it; empty when it is not encrypted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recipients: Vec<String>,
    /// The objects, in order.
    pub volumes: Vec<Volume>,
}

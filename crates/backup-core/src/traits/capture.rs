//! From a pinned state to artifacts.

use std::{collections::BTreeMap, fmt::Debug};

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::Value;

use super::Context;
use crate::words::{Artifact, ArtifactName, Coverage, Need, Point, Result, SessionId};

/// What the engine asks of `open`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CaptureAsk {
    /// The session that it is for.
    pub session: SessionId,
    /// 1 for the first try, then counted up.
    pub attempt: u32,
}

impl CaptureAsk {
    /// The first try for `session`.
    pub fn new(session: SessionId) -> Self {
        Self { session, attempt: 1 }
    }
}

/// A pinned state. Dropping it frees what holds it (slot, snapshot, transaction).
#[async_trait]
pub trait Capture: Send + Debug {
    /// Streams the pinned state into `sink`.
    ///
    /// # Errors
    /// With [`Retry::Reopen`](crate::words::Retry) the engine opens again (a new leader, another member), a few times;
    /// what this attempt wrote is then garbage that the engine removes.
    async fn run(self: Box<Self>, cx: &Context, sink: &dyn Sink) -> Result<Captured>;
}

/// What a capture yielded. Only artifacts whose receipts are handed back enter the manifest.
#[derive(Debug)]
#[non_exhaustive]
pub struct Captured {
    /// What it is a backup of; may be exact only now (an etcd snapshot's true revision is inside it).
    pub point: Point,
    /// The artifacts that count.
    pub keep: Vec<Receipt>,
    /// Versions, row and key counts: whatever the kind says of its source. Nothing secret.
    pub facts: BTreeMap<String, Value>,
    /// What was left out, and why.
    pub coverage: Vec<Coverage>,
    /// What should be looked at.
    pub warnings: Vec<String>,
}

impl Captured {
    /// A capture of `point` that yielded `keep`.
    pub fn new(point: Point, keep: Vec<Receipt>) -> Self {
        Self { point, keep, facts: BTreeMap::new(), coverage: Vec::new(), warnings: Vec::new() }
    }

    /// Adds a fact.
    #[must_use]
    pub fn fact(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.facts.insert(name.to_owned(), value.into());
        self
    }
}

/// What a new artifact is.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ArtifactSpec {
    /// What the engine composes its name from.
    pub name: ArtifactName,
    /// RFC 6838 media type of the plain bytes.
    pub media_type: String,
    /// Plain bytes expected, for progress only.
    pub expected: Option<u64>,
    /// What it is useless without.
    pub needs: Vec<Need>,
}

impl ArtifactSpec {
    /// A component's only artifact: `extension` is the plain file's ("db", "sql", "tar").
    pub fn new(extension: &str, media_type: &str) -> Self {
        Self {
            name: ArtifactName { suffix: None, extension: extension.to_owned() },
            media_type: media_type.to_owned(),
            expected: None,
            needs: Vec::new(),
        }
    }

    /// One of several artifacts: `suffix` tells it apart ("config").
    #[must_use]
    pub fn suffix(mut self, suffix: &str) -> Self {
        self.name.suffix = Some(suffix.to_owned());
        self
    }

    /// Plain bytes expected, for progress only.
    #[must_use]
    pub fn expected(mut self, bytes: u64) -> Self {
        self.expected = Some(bytes);
        self
    }
}

/// Where a capture's bytes go. Shared, so that several artifacts are written side by side.
#[async_trait]
pub trait Sink: Send + Sync {
    /// Begins an artifact.
    ///
    /// # Errors
    /// When two artifacts of one component would have the same name, or the store refuses.
    async fn create(&self, spec: ArtifactSpec) -> Result<Box<dyn Writer>>;
}

/// Takes one artifact's bytes. Dropped without `finish` or `abort`, nothing of it counts.
#[async_trait]
pub trait Writer: Send {
    /// Takes the next plain bytes. Waits when the pipeline is full: back-pressure, never growth.
    ///
    /// # Errors
    /// When the store failed; the artifact is then lost.
    async fn write(&mut self, chunk: Bytes) -> Result<()>;

    /// Begins a named part with the next byte: it is readable apart from the rest. The first part must begin at the first byte.
    ///
    /// # Errors
    /// When the name was used before, or bytes stand before the first part.
    async fn part(&mut self, name: &str) -> Result<()>;

    /// Ends the artifact. Needs the reason why the end is believed to be the end: a truncated stream has none.
    ///
    /// # Errors
    /// When what was written does not agree with the evidence, or the store failed.
    async fn finish(self: Box<Self>, end: EndEvidence) -> Result<Receipt>;

    /// Drops the artifact; nothing of it stays in the store.
    async fn abort(self: Box<Self>);
}

/// Why the end of a stream is believed to be the end.
#[derive(Clone, Debug)]
pub struct EndEvidence {
    pub(crate) claims: Vec<String>,
    pub(crate) bytes: Option<u64>,
    pub(crate) sha256: Option<String>,
}

impl EndEvidence {
    /// The reason in words ("pg_dump exited 0 and wrote its end marker").
    pub fn new(claim: impl Into<String>) -> Self {
        Self { claims: vec![claim.into()], bytes: None, sha256: None }
    }

    /// One more reason.
    #[must_use]
    pub fn and(mut self, claim: impl Into<String>) -> Self {
        self.claims.push(claim.into());
        self
    }

    /// How many bytes the source says it sent; the engine compares.
    #[must_use]
    pub fn bytes(mut self, bytes: u64) -> Self {
        self.bytes = Some(bytes);
        self
    }

    /// The SHA-256 (lower-case hexadecimal) that the source says; the engine compares.
    #[must_use]
    pub fn sha256(mut self, sha256: impl Into<String>) -> Self {
        self.sha256 = Some(sha256.into());
        self
    }
}

/// Proof that an artifact is in the store. Only the engine makes one.
#[derive(Debug)]
pub struct Receipt {
    pub(crate) artifact: Artifact,
}

impl Receipt {
    /// What was stored.
    pub fn artifact(&self) -> &Artifact {
        &self.artifact
    }
}

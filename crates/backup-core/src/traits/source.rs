//! A session's artifacts, to be read.

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

use crate::words::{Artifact, ComponentRecord, Error, ErrorKind, Result};

/// Bytes as they come.
pub type ByteStream = BoxStream<'static, Result<Bytes>>;

/// How much of an artifact to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selection<'a> {
    /// All of it.
    Whole,
    /// One part.
    Part(&'a str),
}

/// Plain, hash-checked bytes of one component of a session; stores stay invisible.
#[async_trait]
pub trait Source: Send + Sync {
    /// What the manifest says of the component.
    fn record(&self) -> &ComponentRecord;

    /// Plain bytes of `artifact`. The stream ends with an error when the bytes are not those that were written: only a stream
    /// that ended without one was right.
    ///
    /// # Errors
    /// When the artifact or part is not there.
    async fn read(&self, artifact: &Artifact, what: Selection<'_>) -> Result<ByteStream>;

    /// The component's only artifact, or the one with that suffix.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is none.
    fn artifact(&self, suffix: Option<&str>) -> Result<&Artifact> {
        let record = self.record();
        record.artifacts.iter().find(|artifact| artifact.suffix.as_deref() == suffix).ok_or_else(|| {
            let subject = format!("{} of {}", suffix.unwrap_or("the artifact"), record.name);
            Error::new(ErrorKind::NotFound, "find", subject)
                .hint("`ha-backup show SESSION` lists what a session holds")
        })
    }
}

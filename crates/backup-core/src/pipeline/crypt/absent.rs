//! What stands in for encryption in a build without it: nothing is ever encrypted, and nothing encrypted is opened.

use std::{convert::Infallible, fmt, str::FromStr, sync::Arc};

use bytes::Bytes;
use futures::StreamExt;

use super::IdentitySource;
use crate::{
    traits::{ByteStream, Store},
    words::{Artifact, Error, ErrorKind, Result},
};

fn unsupported(operation: &str, subject: &str) -> Error {
    Error::new(ErrorKind::Unsupported, operation, subject)
        .detail("this program was built without the feature `encryption`")
}

/// A public key. There is none in this build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient(Infallible);

impl FromStr for Recipient {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Err(unsupported("use the public key", text))
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {}
    }
}

/// Keys that open artifacts. There is none in this build.
#[derive(Clone, Debug, Default)]
pub struct Keyring(());

impl Keyring {
    /// Reads identities.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] unless there is nothing to read.
    pub async fn load(sources: &[IdentitySource]) -> Result<Self> {
        match sources.first() {
            None => Ok(Self(())),
            Some(source) => Err(unsupported("use the identity", &source.name)),
        }
    }

    /// A key pair of its own for a run.
    pub fn generate() -> Self {
        Self(())
    }

    /// Always.
    pub fn is_empty(&self) -> bool {
        true
    }

    /// Never.
    pub fn opens(&self, _: &[String]) -> bool {
        false
    }

    /// None.
    pub fn recipients(&self) -> Vec<Recipient> {
        Vec::new()
    }
}

/// Encrypts. Cannot be made in this build.
#[derive(Clone, Debug)]
pub struct Seal(Infallible);

impl Seal {
    /// Encrypts for `recipients`; none in this build, for there are no recipients.
    pub fn new(recipients: Vec<Recipient>, _: &Keyring) -> Option<Self> {
        recipients.into_iter().next().map(|recipient| match recipient.0 {})
    }

    pub(crate) fn recipients(&self) -> Vec<String> {
        match self.0 {}
    }

    pub(crate) fn begin(&self) -> Result<Sealing> {
        match self.0 {}
    }
}

/// A stream that is being encrypted. Cannot be made in this build.
pub(crate) struct Sealing(Infallible);

impl Sealing {
    pub(crate) fn feed(&mut self, _: &[u8]) -> Result<Bytes> {
        match self.0 {}
    }

    pub(crate) fn finish(self) -> Result<Bytes> {
        match self.0 {}
    }
}

pub(crate) fn decrypted(_: ByteStream, artifact: &Artifact, _: &Keyring) -> ByteStream {
    let error = unsupported("decrypt", &artifact.name);
    futures::stream::once(async move { Err(error) }).boxed()
}

pub(crate) fn decrypted_range(
    _: Arc<dyn Store>,
    artifact: &Artifact,
    _: u64,
    _: Option<u64>,
    keys: &Keyring,
) -> ByteStream {
    decrypted(futures::stream::empty().boxed(), artifact, keys)
}

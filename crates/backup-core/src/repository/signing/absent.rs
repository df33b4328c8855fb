//! What stands in for signatures in a build without them: nothing is signed, and no key can be trusted.

use std::{convert::Infallible, fmt, str::FromStr};

use bytes::Bytes;

use super::SigningSource;
use crate::words::{Error, ErrorKind, Result};

fn unsupported(operation: &str) -> Error {
    Error::new(ErrorKind::Unsupported, operation, "a key for signatures")
        .detail("this program was built without the feature `signing`")
}

/// A public key whose signatures are trusted. There is none in this build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedKey(Infallible);

impl FromStr for TrustedKey {
    type Err = Error;

    fn from_str(_: &str) -> Result<Self> {
        Err(unsupported("read"))
    }
}

impl fmt::Display for TrustedKey {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {}
    }
}

impl TrustedKey {
    pub(super) fn verify(&self, _: &Bytes, _: &Bytes) -> Result<(), Option<String>> {
        match self.0 {}
    }
}

/// A secret key that signs. There is none in this build.
#[derive(Clone, Debug)]
pub struct Signer(Infallible);

impl Signer {
    /// Reads the key.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`], always.
    pub async fn load(_: &SigningSource) -> Result<Self> {
        Err(unsupported("use"))
    }

    /// The public key that belongs to it.
    ///
    /// # Errors
    /// Never called.
    pub fn public(&self) -> Result<TrustedKey> {
        match self.0 {}
    }

    pub(crate) fn sign(&self, _: &str, _: &Bytes) -> Result<Bytes> {
        match self.0 {}
    }
}

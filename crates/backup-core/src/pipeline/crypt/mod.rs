//! Encryption with [age](https://age-encryption.org/v1) to public keys.
//!
//! One age stream runs over all volumes of an artifact, around its compressed bytes; `cat VOLUMES | age -d -i KEY` opens it.
//! A run adds a key pair of its own that lives in memory only, so that it can read what it has just written, and nothing
//! later: whoever has the host has no old backup.

#[cfg(not(feature = "encryption"))]
mod absent;
#[cfg(feature = "encryption")]
mod file;
#[cfg(feature = "encryption")]
mod keys;
#[cfg(feature = "encryption")]
mod open;
#[cfg(feature = "encryption")]
mod seal;
#[cfg(all(test, feature = "encryption"))]
mod tests;
#[cfg(feature = "encryption")]
mod volumes;

#[cfg(not(feature = "encryption"))]
pub use absent::{Keyring, Recipient, Seal};
#[cfg(not(feature = "encryption"))]
pub(crate) use absent::{Sealing, decrypted, decrypted_range};
#[cfg(feature = "encryption")]
pub use file::{NewIdentity, is_protected};
#[cfg(feature = "encryption")]
pub use keys::{Keyring, Recipient};
#[cfg(feature = "encryption")]
pub(crate) use open::{decrypted, decrypted_range};
#[cfg(feature = "encryption")]
pub use seal::Seal;
#[cfg(feature = "encryption")]
pub(crate) use seal::Sealing;

use crate::{
    traits::SecretSource,
    words::{Artifact, Error, ErrorKind, Result},
};

/// What is appended to the name of an encrypted object.
pub(crate) const EXTENSION: &str = ".age";

/// Where an identity (a secret key) comes from. It is read when it is needed first.
#[derive(Clone, Debug)]
pub struct IdentitySource {
    /// Its name for people: a path, or where it stands in the configuration.
    pub name: String,
    /// An identity file's content, as `age-keygen` or `age -p` write it.
    pub key: SecretSource,
    /// What opens the file when a passphrase protects it.
    pub passphrase: Option<SecretSource>,
}

impl Keyring {
    /// Fails unless one of these keys opens `artifact`. Reads nothing: the manifest says who can.
    ///
    /// # Errors
    /// [`ErrorKind::WrongKey`] with the public keys of those who can.
    pub fn require(&self, artifact: &Artifact) -> Result<()> {
        if !artifact.is_encrypted() || self.opens(&artifact.recipients) {
            return Ok(());
        }
        let detail =
            if self.is_empty() { "it takes a key, and none was given" } else { "no key given opens it" };
        Err(wrong_key(&artifact.name, &artifact.recipients, detail))
    }
}

/// No key opens `subject`; those of `recipients` would.
fn wrong_key(subject: &str, recipients: &[String], detail: &str) -> Error {
    Error::new(ErrorKind::WrongKey, "decrypt", subject)
        .detail(format!("{detail}; it can be read by {}", recipients.join(", ")))
        .hint("give the identity file of one of them: --identity FILE, or `identity` in [encryption]")
}

//! Public keys, and the secret ones that belong to them.

use std::{fmt, str::FromStr, sync::Arc};

use super::{IdentitySource, file};
use crate::words::{Error, ErrorKind, Result};

/// A public key (`age1...`, X25519): whoever has its identity can read what is encrypted for it.
#[derive(Clone, PartialEq, Eq)]
pub struct Recipient(pub(super) age::x25519::Recipient);

impl FromStr for Recipient {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let text = text.trim();
        text.parse().map(Self).map_err(|_| {
            let bad = |detail: &str| {
                // What was written may be a secret key: it is not repeated.
                Error::new(ErrorKind::Config, "read", "the public key").detail(detail)
            };
            let upper = text.to_ascii_uppercase();
            if upper.starts_with("AGE-SECRET-KEY-") {
                bad("this is a secret key, and belongs into an identity file")
                    .hint("write the public key that belongs to it: `age-keygen -y FILE` prints it")
            } else if text.starts_with("age1") && text.len() != 62 {
                bad("this is no X25519 public key, which has 62 characters")
                    .hint("`ha-backup keygen` makes a key pair and prints the public key")
            } else {
                bad("this is no public key of age (age1...)")
                    .hint("`ha-backup keygen` makes a key pair and prints the public key")
            }
        })
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Identities (secret keys) that open artifacts. `Debug` shows their public keys only.
#[derive(Clone, Default)]
pub struct Keyring {
    identities: Arc<Vec<age::x25519::Identity>>,
    /// Made by a run for what it writes: its public key stands in no manifest.
    of_run: bool,
}

impl Keyring {
    /// Reads the identities of all `sources`.
    ///
    /// # Errors
    /// When one cannot be read, or its passphrase is missing or wrong.
    pub async fn load(sources: &[IdentitySource]) -> Result<Self> {
        let mut identities = Vec::new();
        for source in sources {
            identities.extend(file::read(source).await?);
        }
        Ok(Self { identities: Arc::new(identities), of_run: false })
    }

    /// A key pair of its own for a run; it is gone when the last copy is dropped.
    pub fn generate() -> Self {
        Self { identities: Arc::new(vec![age::x25519::Identity::generate()]), of_run: true }
    }

    /// True without any key.
    pub fn is_empty(&self) -> bool {
        self.identities.is_empty()
    }

    /// Whether one of the keys belongs to one of these public keys.
    pub fn opens(&self, recipients: &[String]) -> bool {
        self.of_run || self.recipients().iter().any(|own| recipients.contains(&own.to_string()))
    }

    /// The public keys.
    pub fn recipients(&self) -> Vec<Recipient> {
        self.identities.iter().map(|identity| Recipient(identity.to_public())).collect()
    }

    pub(super) fn identities(&self) -> impl Iterator<Item = &dyn age::Identity> {
        self.identities.iter().map(|identity| identity as &dyn age::Identity)
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Keyring").field(&self.recipients()).finish()
    }
}

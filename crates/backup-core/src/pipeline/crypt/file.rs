//! Identity files, as `age-keygen` and `age -p` write them.

use std::{fmt, io::Read};

use age::secrecy::{ExposeSecret, SecretString};
use chrono::{DateTime, SecondsFormat, Utc};

use super::{IdentitySource, Recipient};
use crate::words::{Error, ErrorKind, Result, Secret};

/// scrypt's work factor (N = 2^18, 256 MiB for a second), as `age -p` has it.
const WORK_FACTOR: u8 = 18;
/// The most that is accepted, as by `age`.
const MOST_WORK: u8 = 22;
/// The largest identity file.
const LARGEST: u64 = 1 << 20;

const BINARY: &[u8] = b"age-encryption.org/v1";
const ARMORED: &[u8] = b"-----BEGIN AGE ENCRYPTED FILE-----";

/// A new key pair.
pub struct NewIdentity {
    /// Its public key.
    pub recipient: Recipient,
    text: SecretString,
}

impl NewIdentity {
    /// Makes one from the operating system's randomness.
    pub fn generate(now: DateTime<Utc>) -> Self {
        let identity = age::x25519::Identity::generate();
        let recipient = Recipient(identity.to_public());
        let text = format!(
            "# created: {}\n# public key: {recipient}\n{}\n",
            now.to_rfc3339_opts(SecondsFormat::Secs, true),
            identity.to_string().expose_secret()
        );
        Self { recipient, text: text.into() }
    }

    /// The identity file; with a passphrase it is encrypted (scrypt) and armored. Blocks for about a second then, and takes
    /// 256 MiB.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] when the library fails.
    pub fn file(&self, passphrase: Option<&Secret>) -> Result<Secret> {
        let Some(passphrase) = passphrase else { return Ok(Secret::new(self.text.expose_secret())) };
        let mut recipient = age::scrypt::Recipient::new(passphrase.expose().to_owned().into());
        recipient.set_work_factor(WORK_FACTOR);
        let text = self.text.expose_secret().as_bytes();
        age::encrypt_and_armor(&recipient, text)
            .map(Secret::new)
            .map_err(|e| Error::new(ErrorKind::Internal, "protect", "the identity").detail(e.to_string()))
    }
}

impl fmt::Debug for NewIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("NewIdentity").field(&self.recipient).finish()
    }
}

/// Whether an identity file is protected by a passphrase.
pub fn is_protected(file: &[u8]) -> bool {
    file.starts_with(BINARY) || file.trim_ascii_start().starts_with(ARMORED)
}

/// The identities of one source.
pub(super) async fn read(source: &IdentitySource) -> Result<Vec<age::x25519::Identity>> {
    let content = source.key.resolve_bytes(&format!("identity {}", source.name)).await?;
    if !is_protected(&content) {
        return parse(&source.name, to_text(&source.name, content)?);
    }
    let Some(passphrase) = &source.passphrase else {
        return Err(Error::new(ErrorKind::Config, "read the identity", source.name.clone())
            .detail("a passphrase protects it")
            .hint(
                "say where it is: passphrase = { file = \"...\" }, { env = \"...\" } or { command = [...] }",
            ));
    };
    let passphrase = passphrase.resolve(&format!("passphrase of the identity {}", source.name)).await?;
    let name = source.name.clone();
    tokio::task::spawn_blocking(move || parse(&name, unlock(&name, &content, &passphrase)?))
        .await
        .map_err(|e| Error::new(ErrorKind::Internal, "read the identity", source.name.clone()).because(e))?
}

fn unlock(name: &str, content: &[u8], passphrase: &Secret) -> Result<SecretString> {
    let bad = |kind, detail: &str| Error::new(kind, "read the identity", name).detail(detail);
    let broken = |e: age::DecryptError| match e {
        age::DecryptError::DecryptionFailed | age::DecryptError::KeyDecryptionFailed => {
            bad(ErrorKind::WrongKey, "its passphrase is another one")
        }
        age::DecryptError::ExcessiveWork { .. } => {
            bad(ErrorKind::Unsupported, "its passphrase takes too much work")
        }
        _ => bad(ErrorKind::Corrupt, "it is damaged"),
    };
    let file = age::Decryptor::new_buffered(age::armor::ArmoredReader::new(content)).map_err(broken)?;
    if !file.is_scrypt() {
        return Err(bad(ErrorKind::Config, "it is encrypted for a key, not with a passphrase"));
    }
    let mut key = age::scrypt::Identity::new(passphrase.expose().to_owned().into());
    key.set_max_work_factor(MOST_WORK);
    let mut plain = Vec::new();
    file.decrypt(std::iter::once(&key as &dyn age::Identity))
        .map_err(broken)?
        .take(LARGEST)
        .read_to_end(&mut plain)
        .map_err(|_| bad(ErrorKind::Corrupt, "it is damaged"))?;
    to_text(name, plain)
}

fn to_text(name: &str, bytes: Vec<u8>) -> Result<SecretString> {
    String::from_utf8(bytes).map(SecretString::from).map_err(|_| {
        Error::new(ErrorKind::Config, "read the identity", name).detail("this is no identity file of age")
    })
}

/// One identity a line; empty lines and comments do not count.
fn parse(name: &str, text: SecretString) -> Result<Vec<age::x25519::Identity>> {
    let mut identities = Vec::new();
    for (index, line) in text.expose_secret().lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        // What stands there may be secret: it is not repeated.
        let identity = line.parse().map_err(|_| {
            Error::new(ErrorKind::Config, "read the identity", name)
                .detail(format!("line {} is no X25519 identity (AGE-SECRET-KEY-1...)", index + 1))
                .hint("name a file by { file = \"PATH\" }; `ha-backup keygen` and `age-keygen` make one")
        })?;
        identities.push(identity);
    }
    if identities.is_empty() {
        return Err(
            Error::new(ErrorKind::Config, "read the identity", name).detail("there is no identity in it")
        );
    }
    Ok(identities)
}

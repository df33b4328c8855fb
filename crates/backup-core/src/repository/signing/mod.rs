//! Signatures of manifests, in [minisign](https://jedisct1.github.io/minisign/)'s format: `manifest.json.minisig`.
//!
//! Encryption says who can read a session; a signature says who wrote it. The manifest names the SHA-256 of every stored object,
//! so that its signature covers the whole session. It is written before the manifest: a committed session has it.

#[cfg(not(feature = "signing"))]
mod absent;
#[cfg(feature = "signing")]
mod keys;

#[cfg(not(feature = "signing"))]
pub use absent::{Signer, TrustedKey};
#[cfg(feature = "signing")]
pub use keys::{Signer, TrustedKey};

use bytes::Bytes;

use super::{
    Manifest, Repository, SessionEntry,
    layout::session_key,
    objects::{create, create_own, read_small},
};
use crate::{
    traits::{Created, SecretSource},
    words::{Error, ErrorKind, Result, SessionId},
};

/// The signature's file in a session's folder.
pub(crate) const SIGNATURE: &str = "manifest.json.minisig";

/// The signature's file of another one in a session's folder.
pub(crate) fn signature_of(file: &str) -> String {
    format!("{file}.minisig")
}

/// Where the secret key for signing comes from. It is read when a run begins.
#[derive(Clone, Debug)]
pub struct SigningSource {
    /// Its name for people.
    pub name: String,
    /// A secret key's file as `minisign -G` writes it.
    pub key: SecretSource,
    /// What opens it when a passphrase protects it.
    pub passphrase: Option<SecretSource>,
}

impl Repository {
    /// Commits a session: writes its manifest, its signature before it, and looks for removals after it.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] when the session has a manifest already, or somebody announced its removal.
    pub(crate) async fn write_manifest(&self, manifest: &Manifest, signer: Option<&Signer>) -> Result<()> {
        let session = manifest.session;
        let body: Bytes = serde_json::to_vec_pretty(manifest)
            .map_err(|e| {
                Error::new(ErrorKind::Internal, "write the manifest of", session.to_string()).because(e)
            })?
            .into();
        let there = || {
            Error::new(ErrorKind::Conflict, "commit", session.to_string())
                .detail("the session has a manifest already")
        };
        if let Some(signer) = signer {
            let signature = signer.sign(&format!("manifest.json of {session}"), &body)?;
            // It stands under our claim: nobody else writes it.
            if create_own(&self.store, &session_key(session, SIGNATURE)?, signature).await? == Created::Exists
            {
                return Err(there());
            }
        }
        match create(&self.store, &session_key(session, "manifest.json")?, body).await? {
            Created::Made(_) => self.look_for_removals(session).await,
            Created::Exists => Err(there()),
        }
    }

    /// The manifest of a committed session, when one of the `trusted` keys has signed it; with no key in the list any will do.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] when none has.
    pub(crate) async fn trusted_manifest(
        &self,
        entry: &SessionEntry,
        trusted: &[TrustedKey],
    ) -> Result<Manifest> {
        let known = entry.committed()?;
        if trusted.is_empty() {
            return Ok(known.clone());
        }
        if !entry.has(SIGNATURE) {
            return Err(untrusted(entry.id, "its manifest is not signed", trusted));
        }
        let manifest = read_small(&self.store, &session_key(entry.id, "manifest.json")?).await?;
        let signature = read_small(&self.store, &session_key(entry.id, SIGNATURE)?).await?;
        check(entry.id, &manifest, &signature, trusted)?;
        // What is used are the bytes that were checked, not those that were read before.
        let manifest = Manifest::read(entry.id, &manifest)?;
        if manifest.repository != self.identity().id {
            return Err(untrusted(entry.id, "it was signed in another repository", trusted));
        }
        Ok(manifest)
    }
}

/// Fails unless one of the `trusted` keys has signed `manifest` as that of `session`.
fn check(session: SessionId, manifest: &Bytes, signature: &Bytes, trusted: &[TrustedKey]) -> Result<()> {
    check_signature(manifest, signature, trusted)
        .map_err(|why| untrusted(session, &format!("its manifest: {why}"), trusted))
}

/// Fails, with the reason, unless one of the `trusted` keys has signed `body`.
pub(crate) fn check_signature(body: &Bytes, signature: &Bytes, trusted: &[TrustedKey]) -> Result<(), String> {
    let mut whose = None;
    for key in trusted {
        match key.verify(body, signature) {
            Ok(()) => return Ok(()),
            // Of several reasons, that of the key which the signature names is the one that counts.
            Err(reason) => whose = whose.or(reason),
        }
    }
    Err(whose.unwrap_or_else(|| "it is signed by another key than those trusted".to_owned()))
}

fn untrusted(session: SessionId, detail: &str, trusted: &[TrustedKey]) -> Error {
    let keys: Vec<String> = trusted.iter().map(ToString::to_string).collect();
    Error::new(ErrorKind::Refused, "trust", session.to_string())
        .detail(format!("{detail}; trusted: {}", keys.join(", ")))
        .hint("take a session that a trusted key has signed; if you trust this one by other means, `extract` gives its files")
}

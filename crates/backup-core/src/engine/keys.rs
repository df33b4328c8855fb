//! Which keys there are: those that are configured, and a run's own.

use std::sync::Arc;

use tokio::sync::OnceCell;

use super::Engine;
use crate::{
    pipeline::{IdentitySource, Keyring, Recipient, Seal, StoreSource},
    words::{Artifact, ComponentRecord, Result},
};

/// Identities that are configured; read when they are needed first, and once.
#[derive(Clone, Debug, Default)]
pub(super) struct Identities {
    sources: Vec<IdentitySource>,
    read: Arc<OnceCell<Keyring>>,
}

impl Identities {
    pub(super) fn new(sources: Vec<IdentitySource>) -> Self {
        Self { sources, read: Arc::default() }
    }

    /// Whether any is configured.
    pub(super) fn are_given(&self) -> bool {
        !self.sources.is_empty()
    }

    /// The keys.
    pub(super) async fn keyring(&self) -> Result<Keyring> {
        self.read.get_or_try_init(|| Keyring::load(&self.sources)).await.cloned()
    }
}

/// What one run encrypts with, and what opens it for as long as the run lives.
#[derive(Clone, Debug, Default)]
pub(super) struct RunKeys {
    pub(super) seal: Option<Seal>,
    pub(super) keys: Keyring,
}

impl RunKeys {
    pub(super) fn new(recipients: &[Recipient]) -> Self {
        if recipients.is_empty() {
            return Self::default();
        }
        let keys = Keyring::generate();
        Self { seal: Seal::new(recipients.to_vec(), &keys), keys }
    }
}

impl Engine {
    /// The keys that open these components.
    ///
    /// # Errors
    /// [`ErrorKind::WrongKey`](crate::words::ErrorKind) with who can read them; nothing of the store is read.
    pub(super) async fn keys_for<'r>(
        &self,
        records: impl Iterator<Item = &'r ComponentRecord>,
    ) -> Result<Keyring> {
        let encrypted: Vec<&Artifact> =
            records.flat_map(|record| &record.artifacts).filter(|artifact| artifact.is_encrypted()).collect();
        if encrypted.is_empty() {
            return Ok(Keyring::default());
        }
        let keys = self.identities.keyring().await?;
        encrypted.iter().try_for_each(|artifact| keys.require(artifact))?;
        Ok(keys)
    }

    /// Reads one component of a session.
    pub(super) fn source(&self, record: &ComponentRecord, keys: &Keyring) -> StoreSource {
        StoreSource::new(self.store.clone(), record.clone()).with_keys(keys.clone())
    }
}

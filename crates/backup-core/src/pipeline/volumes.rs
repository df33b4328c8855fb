//! Writing one stream as objects of a store.

use bytes::Bytes;

use super::crypt::{Seal, Sealing};
use crate::{
    traits::{Store, Upload},
    words::{Error, ErrorKind, Hasher, Key, Result, Volume},
};

/// Where an artifact's volumes go.
#[derive(Clone, Debug)]
pub struct Destination {
    /// The store.
    pub store: std::sync::Arc<dyn Store>,
    /// The first volume's key; further ones get `.001`, `.002`, ...
    pub key: Key,
    /// The largest volume in bytes.
    pub volume_bytes: u64,
}

/// What was stored.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    /// The objects, in order.
    pub volumes: Vec<Volume>,
    /// For each chunk, where its member begins in the joined stream, before encryption.
    pub offsets: Vec<u64>,
    /// Bytes of the joined stream, before encryption.
    pub packed: u64,
}

/// Writes a stream into as many objects as the store's limit demands.
pub(crate) struct VolumeWriter {
    destination: Destination,
    sealing: Option<Sealing>,
    open: Option<(Box<dyn Upload>, Key, Hasher)>,
    stored: Stored,
}

impl VolumeWriter {
    /// Encrypts what it writes when there is a `seal`.
    pub(crate) fn new(destination: Destination, seal: Option<&Seal>) -> Result<Self> {
        let sealing = seal.map(Seal::begin).transpose()?;
        Ok(Self { destination, sealing, open: None, stored: Stored::default() })
    }

    /// Writes one member or frame.
    pub(crate) async fn write(&mut self, member: Bytes) -> Result<()> {
        self.stored.offsets.push(self.stored.packed);
        self.append(member).await
    }

    /// Writes bytes that continue the last member.
    pub(crate) async fn append(&mut self, bytes: Bytes) -> Result<()> {
        self.stored.packed += bytes.len() as u64;
        let bytes = match &mut self.sealing {
            Some(sealing) => sealing.feed(&bytes)?,
            None => bytes,
        };
        self.store(bytes).await
    }

    async fn store(&mut self, mut bytes: Bytes) -> Result<()> {
        while !bytes.is_empty() {
            if self.open.as_ref().is_some_and(|(_, _, hasher)| hasher.size() >= self.destination.volume_bytes)
            {
                self.close_volume().await?;
            }
            if self.open.is_none() {
                let number = self.stored.volumes.len();
                let key = volume_key(&self.destination.key, number)?;
                self.open = Some((self.destination.store.begin(&key).await?, key, Hasher::new()));
            }
            let Some((upload, _, hasher)) = &mut self.open else { continue };
            let room = self.destination.volume_bytes.saturating_sub(hasher.size());
            let now = bytes.split_to(usize::try_from(room).unwrap_or(usize::MAX).min(bytes.len()));
            hasher.update(&now);
            upload.write(now).await?;
        }
        Ok(())
    }

    async fn close_volume(&mut self) -> Result<()> {
        if let Some((upload, key, hasher)) = self.open.take() {
            let stored = hasher.finish();
            let meta = upload.finish().await?;
            let volume = Volume { key, stored };
            if meta.size != volume.stored.size {
                return Err(Error::new(ErrorKind::Corrupt, "store", volume.key.to_string()).detail(format!(
                    "{} bytes were written, the store has {}",
                    volume.stored.size, meta.size
                )));
            }
            self.stored.volumes.push(volume);
        }
        Ok(())
    }

    /// Ends the stream and its last volume.
    pub(crate) async fn finish(mut self) -> Result<Stored> {
        match self.end().await {
            Ok(()) => Ok(self.stored),
            Err(error) => {
                self.abort().await;
                Err(error)
            }
        }
    }

    async fn end(&mut self) -> Result<()> {
        if let Some(sealing) = self.sealing.take() {
            self.store(sealing.finish()?).await?;
        }
        self.close_volume().await
    }

    /// Drops the open upload and removes the volumes that were finished.
    pub(crate) async fn abort(self) {
        if let Some((upload, key, _)) = self.open
            && let Err(error) = upload.abort().await
        {
            tracing::warn!(%key, error = %error.chain(), "could not drop the upload; a later clean-up will");
        }
        for volume in self.stored.volumes {
            if let Err(error) = self.destination.store.delete(&volume.key).await {
                tracing::warn!(key = %volume.key, error = %error.chain(), "could not remove the volume; a later clean-up will");
            }
        }
    }
}

/// `NAME`, `NAME.001`, `NAME.002`, ...
fn volume_key(first: &Key, number: usize) -> Result<Key> {
    if number == 0 { Ok(first.clone()) } else { Key::new(format!("{first}.{number:03}")) }
}

//! Encrypting what is stored for others, without unpacking it.

use std::sync::Arc;

use futures::StreamExt;

use super::{
    archive::read_ahead,
    crypt::{Keyring, Seal},
    reader::packed,
    volumes::{Destination, VolumeWriter},
};
use crate::{
    traits::{Context, Store},
    words::{Artifact, Result},
};

/// `artifact` under another key, encrypted by `seal`. Its compressed bytes stay what they are, and so do the offsets of its
/// parts; stored bytes are checked against the manifest as they are read.
///
/// # Errors
/// When its bytes are not those of the manifest, no key of `keys` opens it, or the store fails; nothing of the copy stays.
pub(crate) async fn rewrap(
    cx: &Context,
    from: &Arc<dyn Store>,
    artifact: &Artifact,
    keys: &Keyring,
    seal: &Seal,
    to: Destination,
) -> Result<Artifact> {
    let mut volumes = VolumeWriter::new(to, Some(seal))?;
    let mut bytes = read_ahead(packed(from.clone(), artifact, keys));
    loop {
        let step = match cx.or_cancelled("rewrap", async { bytes.next().await.transpose() }).await {
            Ok(Some(chunk)) => volumes.append(chunk).await,
            Ok(None) => break,
            Err(error) => Err(error),
        };
        if let Err(error) = step {
            volumes.abort().await;
            return Err(error);
        }
    }
    let stored = volumes.finish().await?;
    Ok(Artifact { recipients: seal.recipients(), volumes: stored.volumes, ..artifact.clone() })
}

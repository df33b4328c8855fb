//! Hashing what a store holds.

use std::sync::Arc;

use futures::StreamExt;

use crate::{
    traits::{Context, Store},
    words::{Digest, Error, ErrorKind, Hasher, Key, Result},
};

/// Reads the object under `key` to its end and hashes it; fetching and hashing go side by side.
///
/// # Errors
/// When it is not there, cannot be read, or the caller cancelled.
pub async fn hash_object(cx: &Context, store: &Arc<dyn Store>, key: &Key) -> Result<Digest> {
    let (_, mut bytes) = store.get(key, None).await?;
    let (chunks, mut queue) = tokio::sync::mpsc::channel::<bytes::Bytes>(4);
    let hashing = tokio::task::spawn_blocking(move || {
        let mut hasher = Hasher::new();
        while let Some(chunk) = queue.blocking_recv() {
            hasher.update(&chunk);
        }
        hasher.finish()
    });
    while let Some(chunk) = cx.or_cancelled("read", async { bytes.next().await.transpose() }).await? {
        if chunks.send(chunk).await.is_err() {
            break;
        }
    }
    drop(chunks);
    hashing.await.map_err(|e| Error::new(ErrorKind::Internal, "hash", key.to_string()).because(e))
}

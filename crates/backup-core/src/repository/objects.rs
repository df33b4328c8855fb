//! Small JSON objects in a store.

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use serde::{Serialize, de::DeserializeOwned};

use super::patience::create_patiently;
use crate::{
    traits::{Created, Depth, Meta, Store},
    words::{Error, ErrorKind, Key, Result},
};

/// The largest JSON object that is read: a manifest of many thousand artifacts stays well below.
const MOST: u64 = 64 << 20;

/// Reads an object whole.
pub(crate) async fn read_small(store: &Arc<dyn Store>, key: &Key) -> Result<Bytes> {
    let (meta, mut stream) = store.get(key, None).await?;
    if meta.size > MOST {
        return Err(Error::new(ErrorKind::Corrupt, "read", key.to_string())
            .detail(format!("{} bytes are too many", meta.size)));
    }
    let mut body = Vec::new();
    while let Some(chunk) = stream.next().await.transpose()? {
        body.extend_from_slice(&chunk);
    }
    // An answer that was cut short says nothing of the object: a claim that is there must not pass for one that says nothing.
    if body.len() as u64 != meta.size {
        return Err(Error::new(ErrorKind::Truncated, "read", key.to_string())
            .detail(format!("{} of {} bytes came", body.len(), meta.size))
            .hint("the connection to the store broke off: try again"));
    }
    Ok(body.into())
}

/// Reads a JSON object.
pub(crate) async fn read_json<T: DeserializeOwned>(store: &Arc<dyn Store>, key: &Key) -> Result<T> {
    let body = read_small(store, key).await?;
    serde_json::from_slice(&body)
        .map_err(|e| Error::new(ErrorKind::Corrupt, "read", key.to_string()).because(e))
}

/// Creates a JSON object that must not be there yet.
pub(crate) async fn create_json(
    store: &Arc<dyn Store>,
    key: &Key,
    value: &impl Serialize,
) -> Result<Created> {
    create(store, key, to_body(key, value)?).await
}

fn to_body(key: &Key, value: &impl Serialize) -> Result<Bytes> {
    serde_json::to_vec_pretty(value)
        .map(Bytes::from)
        .map_err(|e| Error::new(ErrorKind::Internal, "write", key.to_string()).because(e))
}

/// Creates an object that must not be there yet. An outcome that is not known is settled by reading back.
pub(crate) async fn create(store: &Arc<dyn Store>, key: &Key, body: Bytes) -> Result<Created> {
    let Some(exclusive) = store.exclusive().await? else { return create_patiently(store, key, body).await };
    match exclusive.create(key, body.clone()).await {
        Err(unknown) if unknown.kind() == ErrorKind::Unknown => match read_small(store, key).await {
            Ok(found) if found == body => Ok(Created::Made(store.head(key).await?)),
            Ok(_) => Ok(Created::Exists),
            Err(_) => Err(unknown),
        },
        outcome => outcome,
    }
}

/// [`create`] for a name that nobody else contends for: it holds a nonce of ours or stands under our claim. Where the store has
/// no conditional create, a look beforehand is enough, and nobody is waited for.
pub(crate) async fn create_own(store: &Arc<dyn Store>, key: &Key, body: Bytes) -> Result<Created> {
    if store.exclusive().await?.is_some() {
        return create(store, key, body).await;
    }
    match store.head(key).await {
        Ok(_) => Ok(Created::Exists),
        Err(missing) if missing.kind() == ErrorKind::NotFound => {
            store.put(key, body).await.map(Created::Made)
        }
        Err(error) => Err(error),
    }
}

/// [`create_own`] of a JSON object.
pub(crate) async fn create_own_json(
    store: &Arc<dyn Store>,
    key: &Key,
    value: &impl Serialize,
) -> Result<Created> {
    create_own(store, key, to_body(key, value)?).await
}

/// Everything below `prefix`.
pub(crate) async fn list_all(store: &Arc<dyn Store>, prefix: &Key) -> Result<Vec<Meta>> {
    store.list(prefix, Depth::All).try_collect().await
}

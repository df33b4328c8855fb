//! Stores on real servers.

#![allow(dead_code, reason = "each test binary uses its own part")]

#[cfg(feature = "gcs")]
pub(crate) mod google;

use std::sync::Arc;

use backup_cloud::S3Factory;
use backup_core::{
    traits::{Deps, LocalPlace, Node, Store, StoreFactory},
    words::{Key, Result},
};
use backup_testkit::servers::{ObjectServer, Objects};
use bytes::Bytes;
use futures::TryStreamExt;
use serde_json::{Value, json};

/// The bucket of every test.
pub(crate) const BUCKET: &str = "backups";

/// A server with an empty bucket.
#[track_caller]
pub(crate) fn server(kind: Objects) -> ObjectServer {
    let server = ObjectServer::start(kind).unwrap();
    server.make_bucket(BUCKET).unwrap();
    server
}

/// A section of kind `s3`, with `more` keys in it.
pub(crate) fn section(endpoint: &str, more: Value) -> Value {
    let mut section = json!({
        "url": format!("s3://{BUCKET}/some/prefix"),
        "endpoint": endpoint,
        "access_key_id": ObjectServer::ACCESS_KEY,
        "secret_access_key": ObjectServer::SECRET_KEY,
    });
    for (key, value) in more.as_object().unwrap() {
        section[key] = value.clone();
    }
    section
}

/// The store that a factory makes of a section.
pub(crate) async fn build(factory: &dyn StoreFactory, section: Value) -> Result<Arc<dyn Store>> {
    factory.build(&Node::new(section), &Deps::new(Arc::new(LocalPlace))).await
}

/// A store of kind `s3` at `endpoint`.
pub(crate) async fn s3(endpoint: &str, more: Value) -> Arc<dyn Store> {
    build(&S3Factory, section(endpoint, more)).await.unwrap()
}

pub(crate) fn key(name: &str) -> Key {
    Key::new(name).unwrap()
}

/// An object whole.
pub(crate) async fn read(store: &Arc<dyn Store>, name: &str) -> Result<Vec<u8>> {
    let (_, bytes) = store.get(&key(name), None).await?;
    Ok(bytes.try_collect::<Vec<Bytes>>().await?.concat())
}

/// Bytes that do not repeat.
pub(crate) fn noise(size: usize, seed: u64) -> Bytes {
    let mut state = seed.max(1);
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(size);
    bytes.into()
}

/// A store of kind `gcs` in the open bucket of SeaweedFS.
#[cfg(feature = "gcs")]
pub(crate) async fn gcs(endpoint: &str) -> Arc<dyn Store> {
    let url = format!("gs://{}/some/prefix", ObjectServer::OPEN_BUCKET);
    let section = json!({"url": url, "endpoint": endpoint, "anonymous": true});
    build(&backup_cloud::GcsFactory, section).await.unwrap()
}

//! First versions of objects, on real servers.

use std::sync::Arc;

use backup_core::{traits::Store, words::ErrorKind};
use backup_testkit::servers::{ObjectServer, Objects};
use bytes::Bytes;
use futures::TryStreamExt;
use serde_json::json;

use super::lock_tests::{bucket, key, store};

async fn first_bytes(store: &Arc<dyn Store>, name: &str) -> Vec<u8> {
    let first = store.first_versions().unwrap();
    let (_, bytes) = first.get_first(&key(name), None).await.unwrap();
    bytes.try_collect::<Vec<Bytes>>().await.unwrap().concat()
}

async fn listed_first(store: &Arc<dyn Store>, prefix: &str) -> Vec<(String, u64)> {
    let prefix = key(prefix);
    let first = store.first_versions().unwrap();
    let metas: Vec<_> = first.list_first(&prefix).try_collect().await.unwrap();
    let mut found: Vec<_> = metas.iter().map(|meta| (meta.key.to_string(), meta.size)).collect();
    found.sort();
    found
}

async fn first_versions_are_found(server: &ObjectServer) {
    bucket(server).await;
    let store = store(server, json!({})).await;
    let put = async |name: &str, body: &'static [u8]| {
        store.put(&key(name), Bytes::from_static(body)).await.unwrap();
    };
    put("a/one", b"first").await;
    put("a/one", b"another").await;
    put("a/one", b"a third").await;
    put("a/one.001", b"beside").await;
    put("a/two", b"hidden").await;
    store.delete(&key("a/two")).await.unwrap();
    put("ab/three", b"of another folder").await;
    assert_eq!(store.head(&key("a/two")).await.unwrap_err().kind(), ErrorKind::NotFound);
    let expected = [("a/one", 5), ("a/one.001", 6), ("a/two", 6)];
    assert_eq!(
        listed_first(&store, "a").await,
        expected.map(|(name, size)| (name.to_owned(), size)).to_vec()
    );
    assert_eq!(first_bytes(&store, "a/one").await, b"first");
    assert_eq!(first_bytes(&store, "a/two").await, b"hidden");
    let first = store.first_versions().unwrap();
    let (meta, range) = first.get_first(&key("a/two"), Some(1..3)).await.unwrap();
    assert_eq!((meta.size, range.try_collect::<Vec<Bytes>>().await.unwrap().concat()), (6, b"id".to_vec()));
    for name in ["a/on", "a/three", "b"] {
        let missing = first.get_first(&key(name), Some(0..0)).await.map(|_| ()).unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::NotFound, "{name}");
    }
    assert!(first.get_first(&key("a/two"), Some(0..7)).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn seaweedfs_gives_first_versions() {
    first_versions_are_found(&ObjectServer::start(Objects::SeaweedFs).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn versitygw_gives_first_versions() {
    first_versions_are_found(&ObjectServer::start(Objects::VersityGw).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn moto_gives_first_versions() {
    first_versions_are_found(&ObjectServer::start(Objects::Moto).unwrap()).await;
}

/// More objects and versions than one page holds.
#[tokio::test(flavor = "multi_thread")]
async fn pages_of_versions_are_put_together() {
    let server = ObjectServer::start(Objects::SeaweedFs).unwrap();
    bucket(&server).await;
    let store = store(&server, json!({})).await;
    for round in [&b"first"[..], b"second one"] {
        for number in 0..600 {
            store.put(&key(&format!("many/{number:04}")), Bytes::copy_from_slice(round)).await.unwrap();
        }
    }
    let found = listed_first(&store, "many").await;
    assert_eq!(found.len(), 600);
    assert!(found.iter().all(|(_, size)| *size == 5), "{found:?}");
}

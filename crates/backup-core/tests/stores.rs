//! The built-in stores keep the promises of the trait.

use std::{fs, sync::Arc, time::Duration};

use backup_core::{
    stores::{LocalStore, MemoryStore},
    traits::Store,
    words::{ErrorKind, Key},
};
use backup_testkit::suites::store_conformance;
use bytes::Bytes;

#[tokio::test]
async fn the_memory_store_conforms() {
    store_conformance(Arc::new(MemoryStore::new())).await;
}

#[tokio::test]
async fn the_local_store_conforms_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    store_conformance(Arc::new(LocalStore::new(folder.path()))).await;
    let uploads: Vec<_> = fs::read_dir(folder.path().join(".tmp")).unwrap().collect();
    assert!(uploads.is_empty(), "{uploads:?}");
}

#[tokio::test]
async fn uploads_of_the_dead_are_cleared_and_those_of_the_living_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::new(folder.path());
    let key = Key::new("daily/x/x.bin").unwrap();
    let mut living = store.begin(&key).await.unwrap();
    living.write(Bytes::from_static(b"x")).await.unwrap();
    // What a killed process leaves is a file that nobody holds a lock on.
    fs::write(folder.path().join(".tmp/upload-of-the-dead"), b"half").unwrap();
    let cleared = store.clear_uploads(Duration::from_secs(86_400)).await.unwrap();
    assert_eq!(cleared, 1);
    living.finish().await.unwrap();
    assert_eq!(store.head(&key).await.unwrap().size, 1);
}

#[tokio::test]
async fn space_that_is_not_there_cannot_be_reserved() {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::new(folder.path());
    let space = store.space().unwrap();
    let (free, total) = space.space().await.unwrap();
    assert!(free <= total);
    let refused = space.reserve(total * 2).await.map(|_| ()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::NoSpace, "{}", refused.chain());
    assert_eq!(fs::read_dir(folder.path().join(".tmp")).unwrap().count(), 0);
}

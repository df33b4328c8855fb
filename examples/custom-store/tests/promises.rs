//! The store passes the suite that every store must pass.

use std::sync::Arc;

use backup_testkit::suites::store_conformance;
use example_custom_store::FlatStore;

#[tokio::test]
async fn it_keeps_every_promise_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    store_conformance(Arc::new(FlatStore::new(folder.path()))).await;
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

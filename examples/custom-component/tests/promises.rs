//! The component passes the suites that every component must pass.

use std::{fs, sync::Arc};

use backup_core::traits::{Deps, LocalPlace, Node};
use backup_testkit::suites::{component_conformance, restore_conformance};
use example_custom_component::factory;
use serde_json::json;

#[tokio::test]
async fn it_keeps_every_promise_and_brings_the_file_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    fs::write(&path, "as it was").unwrap();
    let section = Node::new(json!({ "path": path }));
    let component = factory().build("app", &section, &Deps::new(Arc::new(LocalPlace))).await.unwrap();
    component_conformance(component.clone()).await;
    restore_conformance(component, json!({})).await;
    assert_eq!(fs::read_to_string(path).unwrap(), "as it was");
}

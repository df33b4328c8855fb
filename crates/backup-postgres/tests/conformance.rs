//! The component passes the suites for components.

mod support;

use std::sync::Arc;

use backup_core::traits::{Component, LocalPlace, Node};
use backup_postgres::PostgresComponent;
use backup_testkit::{
    servers::{PostgresServer, SampleData},
    suites::{component_conformance, restore_conformance},
};
use serde_json::json;
use support::direct;

#[tokio::test(flavor = "multi_thread")]
async fn a_server_passes() {
    let server = PostgresServer::start(15).unwrap();
    SampleData::default().load(server.sql()).unwrap();
    let config = Node::new(direct(server.sql()));
    let component: Arc<dyn Component> =
        Arc::new(PostgresComponent::new("postgres", &config, Arc::new(LocalPlace)).unwrap());
    component_conformance(component.clone()).await;
    restore_conformance(component, json!({})).await;
    assert_eq!(server.sql().row_counts("crm").unwrap()["crm.contacts"], 2000);
}

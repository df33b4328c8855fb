//! The component passes the suite for components.

use std::sync::Arc;

use backup_core::traits::{ComponentFactory, Deps, LocalPlace, Node};
use backup_etcd::EtcdFactory;
use backup_testkit::{
    servers::{Etcd, EtcdCluster, EtcdOptions},
    suites::component_conformance,
};

use crate::lab::section;

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_passes() {
    let cluster = EtcdCluster::start(3, Etcd::V35, EtcdOptions::default()).unwrap();
    cluster.put_many((0..2000).map(|i| (format!("/app/{i:05}"), format!("value {i}")))).unwrap();
    let deps = Deps::new(Arc::new(LocalPlace));
    let component = EtcdFactory.build("etcd", &Node::new(section(&cluster)), &deps).await.unwrap();
    component_conformance(component).await;
}

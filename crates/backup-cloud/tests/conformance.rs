//! The stores keep the promises of the trait, on real servers.

mod support;

use backup_testkit::{servers::Objects, suites::store_conformance};
use serde_json::json;
use support::{s3, server};

#[tokio::test(flavor = "multi_thread")]
async fn s3_on_seaweedfs_conforms() {
    let server = server(Objects::SeaweedFs);
    store_conformance(s3(&server.endpoint(), json!({})).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_on_versitygw_conforms() {
    let server = server(Objects::VersityGw);
    store_conformance(s3(&server.endpoint(), json!({})).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_on_moto_conforms() {
    let server = server(Objects::Moto);
    store_conformance(s3(&server.endpoint(), json!({})).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_in_the_bucket_itself_conforms_without_checksums_too() {
    let server = server(Objects::VersityGw);
    let section =
        json!({"url": "s3://backups", "checksums": false, "part_size": "5MiB", "parallel_parts": 1});
    store_conformance(s3(&server.endpoint(), section).await).await;
}

#[cfg(feature = "gcs")]
#[tokio::test(flavor = "multi_thread")]
async fn gcs_on_its_emulator_conforms() {
    let server = server(Objects::FakeGcs);
    let section =
        json!({"url": "gs://backups/some/prefix", "endpoint": server.endpoint(), "anonymous": true});
    store_conformance(support::build(&backup_cloud::GcsFactory, section).await.unwrap()).await;
}

#[cfg(feature = "azure")]
#[tokio::test(flavor = "multi_thread")]
async fn azure_on_its_emulator_conforms() {
    use backup_testkit::servers::ObjectServer;
    let server = server(Objects::Azurite);
    let section = json!({
        "url": "azure://backups/some/prefix",
        "endpoint": server.endpoint(),
        "account": ObjectServer::AZURE_ACCOUNT,
        "access_key": ObjectServer::AZURE_KEY,
    });
    store_conformance(support::build(&backup_cloud::AzureFactory, section).await.unwrap()).await;
}

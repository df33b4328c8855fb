//! The stores keep the promises of the trait, on real servers.

mod support;

#[cfg(any(feature = "azure", feature = "gcs"))]
use backup_testkit::servers::ObjectServer;
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
async fn gcs_conforms_on_a_server_that_takes_googles_words() {
    let server = server(Objects::SeaweedFs);
    server.make_bucket(ObjectServer::OPEN_BUCKET).unwrap();
    let google = support::google::Google::before(server.port());
    let store = support::gcs(&google.endpoint()).await;
    assert!(store.exclusive().await.unwrap().is_some());
    store_conformance(store).await;
    assert!(google.checked() > 3000, "{} checksums", google.checked());
}

#[cfg(feature = "gcs")]
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_passes_over_conditions_is_not_said_to_create_once() {
    // It knows nothing of Google's condition, and replaces what is there.
    let server = server(Objects::SeaweedFs);
    server.make_bucket(ObjectServer::OPEN_BUCKET).unwrap();
    let store = support::gcs(&server.endpoint()).await;
    assert!(store.exclusive().await.unwrap().is_none());
    store_conformance(store).await;
}

#[cfg(feature = "azure")]
#[tokio::test(flavor = "multi_thread")]
async fn azure_on_its_emulator_conforms() {
    let server = server(Objects::Azurite);
    let section = json!({
        "url": "azure://backups/some/prefix",
        "endpoint": server.endpoint(),
        "account": ObjectServer::AZURE_ACCOUNT,
        "access_key": ObjectServer::AZURE_KEY,
    });
    store_conformance(support::build(&backup_cloud::AzureFactory, section).await.unwrap()).await;
}

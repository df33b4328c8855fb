//! Object lock on real servers.

use std::{sync::Arc, time::Duration};

use backup_core::{
    traits::{Deps, LocalPlace, Node, Severity, Store, StoreFactory},
    words::{ErrorKind, Key},
};
use backup_testkit::servers::{ObjectServer, Objects};
use bytes::Bytes;
use chrono::{TimeDelta, Utc};
use object_store::{
    aws::AmazonS3Builder,
    client::{HttpClient, HttpRequestBody},
};
use serde_json::{Value, json};

use super::{S3Factory, SignV4, versions::BucketVersions};
use crate::{
    signed::{Sign, Signed},
    wire::{Checks, Wire, WireSettings},
};

const BUCKET: &str = "locked";
const DATA: &str = "daily/db/db_backup_20260108_020000.bin.gz";

/// Makes a bucket with object lock, as its owner would.
pub(super) async fn bucket(server: &ObjectServer) -> Signed {
    let endpoint = server.endpoint();
    let client = AmazonS3Builder::new()
        .with_bucket_name(BUCKET)
        .with_region("us-east-1")
        .with_endpoint(&endpoint)
        .with_allow_http(true)
        .with_access_key_id(ObjectServer::ACCESS_KEY)
        .with_secret_access_key(ObjectServer::SECRET_KEY)
        .build()
        .unwrap();
    let settings = WireSettings {
        connect: Duration::from_secs(5),
        silence: Duration::from_secs(20),
        ca: None,
        bandwidth: None,
    };
    let wire = Wire::new(&settings, Checks::S3, &endpoint).unwrap();
    let signer: Arc<dyn Sign> = Arc::new(SignV4 { client, region: "us-east-1".to_owned() });
    let address = format!("{endpoint}/{BUCKET}");
    let mut request = http::Request::put(&address)
        .header("x-amz-bucket-object-lock-enabled", "true")
        .body(HttpRequestBody::empty())
        .unwrap();
    signer.sign(&mut request).await.unwrap();
    HttpClient::new(wire.clone()).execute(request).await.unwrap();
    Signed::new(&wire, address, signer)
}

pub(super) async fn store(server: &ObjectServer, more: Value) -> Arc<dyn Store> {
    let mut section = json!({
        "url": format!("s3://{BUCKET}/crm"),
        "endpoint": server.endpoint(),
        "access_key_id": ObjectServer::ACCESS_KEY,
        "secret_access_key": ObjectServer::SECRET_KEY,
    });
    for (key, value) in more.as_object().unwrap() {
        section[key] = value.clone();
    }
    S3Factory.build(&Node::new(section), &Deps::new(Arc::new(LocalPlace))).await.unwrap()
}

pub(super) fn key(name: &str) -> Key {
    Key::new(name).unwrap()
}

async fn write(store: &Arc<dyn Store>, name: &str, size: usize) {
    let mut upload = store.begin(&key(name)).await.unwrap();
    upload.write(vec![7_u8; size].into()).await.unwrap();
    upload.finish().await.unwrap();
}

/// What the bucket still has below our prefix, hidden or not.
async fn versions(signed: &Signed, name: &str) -> usize {
    BucketVersions::new(signed.clone(), None).ids(&format!("crm/{name}")).await.unwrap().len()
}

async fn locks_for_a_day(server: &ObjectServer, sizes: &[usize]) {
    let signed = bucket(server).await;
    let store = store(server, json!({"lock": "1d"})).await;
    let locks = store.locks().unwrap();
    for (number, size) in sizes.iter().enumerate() {
        let name = &format!("{DATA}.{number:03}");
        write(&store, name, *size).await;
        let hold = locks.hold(&key(name)).await.unwrap();
        let left = hold.until.unwrap() - Utc::now();
        assert!(left > TimeDelta::hours(23) && left <= TimeDelta::hours(24), "{name}: {hold}");
        let refused = store.delete(&key(name)).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Refused, "{}", refused.chain());
        assert!(store.head(&key(name)).await.is_ok(), "{name} is hidden");
    }
    // What is not locked goes with all its versions, so that a bucket gathers none.
    let lease = "sessions/backup_20260108_020000/lease-0001.json";
    for _ in 0..3 {
        store.put(&key(lease), Bytes::from_static(b"{}")).await.unwrap();
    }
    assert!(!locks.hold(&key(lease)).await.unwrap().holds());
    assert_eq!(versions(&signed, lease).await, 3);
    store.delete(&key(lease)).await.unwrap();
    assert_eq!(versions(&signed, lease).await, 0);
    assert!(!locks.hold(&key("daily/db/nothing")).await.unwrap().holds());
    let findings = locks.findings().await;
    assert!(findings.iter().all(|finding| finding.severity == Severity::Ok), "{findings:?}");
    assert!(findings[1].message.contains("locked for 24 h (governance)"), "{findings:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_to_seaweedfs_is_locked() {
    locks_for_a_day(&ObjectServer::start(Objects::SeaweedFs).unwrap(), &[1000, 11 << 20]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_to_versitygw_is_locked() {
    locks_for_a_day(&ObjectServer::start(Objects::VersityGw).unwrap(), &[1000, 11 << 20]).await;
}

/// It passes over the lock of an upload in parts, as real servers do not.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_whole_to_moto_is_locked() {
    locks_for_a_day(&ObjectServer::start(Objects::Moto).unwrap(), &[1000]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_its_time_an_object_goes_with_all_its_versions() {
    let server = ObjectServer::start(Objects::SeaweedFs).unwrap();
    let signed = bucket(&server).await;
    let store = store(&server, json!({"lock": "3s", "lock_mode": "compliance"})).await;
    write(&store, DATA, 1000).await;
    let until = store.locks().unwrap().hold(&key(DATA)).await.unwrap().until.unwrap();
    assert!(store.delete(&key(DATA)).await.is_err());
    // The server goes by its own clock, which is ours.
    tokio::time::sleep((until - Utc::now()).to_std().unwrap_or_default() + Duration::from_secs(1)).await;
    store.delete(&key(DATA)).await.unwrap();
    assert_eq!(versions(&signed, DATA).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_without_lock_is_said_with_what_that_means() {
    let server = ObjectServer::start(Objects::Moto).unwrap();
    server.make_bucket(BUCKET).unwrap();
    let said = async |more| store(&server, more).await.locks().unwrap().findings().await;
    let plain = said(json!({})).await;
    assert!(plain[0].message.contains("keeps no versions"), "{plain:?}");
    assert!(plain.iter().all(|finding| finding.severity == Severity::Ok), "{plain:?}");
    assert_eq!(said(json!({"lock": "30d"})).await[1].severity, Severity::Error);
}

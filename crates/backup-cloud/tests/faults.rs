//! What goes wrong between here and a real server, and what becomes of it.

mod support;

use std::time::{Duration, Instant};

use backup_core::{
    traits::{Created, Depth},
    words::ErrorKind,
};
use backup_testkit::servers::{FaultyProxy, Objects};
use bytes::Bytes;
use futures::TryStreamExt;
use serde_json::json;
use support::{key, noise, read, s3, server};

/// Long enough for many tries at one call.
fn patient() -> serde_json::Value {
    json!({"retry": "5m", "timeout": "20s"})
}

#[tokio::test(flavor = "multi_thread")]
async fn when_half_of_all_requests_fail_all_goes_well_and_nothing_is_done_twice() {
    let server = server(Objects::SeaweedFs);
    let proxy = FaultyProxy::start(server.port(), 20_260_105).unwrap();
    let store = s3(&server.endpoint_at(proxy.port()), patient()).await;
    assert!(store.exclusive().await.unwrap().is_some());
    proxy.fail(500);
    let exclusive = store.exclusive().await.unwrap().unwrap();
    for number in 0..60 {
        let (key, body) = (key(&format!("once/{number}")), Bytes::from(format!("nonce {number}")));
        let created = exclusive.create(&key, body.clone()).await.unwrap();
        assert!(matches!(created, Created::Made(_)), "what we made is ours, also when the answer was lost");
        let again = exclusive.create(&key, "another nonce".into()).await.unwrap();
        assert_eq!(again, Created::Exists);
        assert_eq!(read(&store, key.as_str()).await.unwrap(), body);
    }
    let body = noise(30 << 20, 1);
    let mut upload = store.begin(&key("big")).await.unwrap();
    for chunk in 0..30 {
        upload.write(body.slice(chunk << 20..(chunk + 1) << 20)).await.unwrap();
    }
    assert_eq!(upload.finish().await.unwrap().size, 30 << 20);
    assert!(read(&store, "big").await.unwrap() == body, "all bytes, in order");
    let listed: Vec<_> = store.list(&key("once"), Depth::All).try_collect().await.unwrap();
    assert_eq!(listed.len(), 60);
    for meta in listed {
        store.delete(&meta.key).await.unwrap();
    }
    proxy.fail(0);
    assert_eq!(store.list(&key("once"), Depth::All).try_collect::<Vec<_>>().await.unwrap().len(), 0);
    // Begun twice for a lost answer, an upload may be left over; a clean-up finds it.
    store.clear_uploads(Duration::ZERO).await.unwrap();
    assert_eq!(store.clear_uploads(Duration::ZERO).await.unwrap(), 0);
    let (good, failed) = proxy.counts();
    println!("{good} requests went well, {failed} did not");
    assert!(failed * 3 > good, "{failed} of {} failed", good + failed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_in_mid_upload_and_comes_back_loses_nothing() {
    let mut server = server(Objects::SeaweedFs);
    let store = s3(&server.endpoint(), patient()).await;
    let body = noise(40 << 20, 2);
    let mut upload = store.begin(&key("big")).await.unwrap();
    upload.write(body.slice(..20 << 20)).await.unwrap();
    server.kill();
    let writing = tokio::spawn({
        let body = body.clone();
        async move {
            upload.write(body.slice(20 << 20..)).await?;
            upload.finish().await
        }
    });
    server.restart().unwrap();
    assert_eq!(writing.await.unwrap().unwrap().size, 40 << 20);
    assert!(read(&store, "big").await.unwrap() == body);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_while_it_is_read_and_comes_back_gives_the_rest() {
    let mut server = server(Objects::VersityGw);
    // Slow enough that most of it is still to come.
    let store = s3(&server.endpoint(), json!({"bandwidth": "8MiB", "retry": "1m"})).await;
    let body = noise(24 << 20, 3);
    s3(&server.endpoint(), json!({})).await.put(&key("big"), body.clone()).await.unwrap();
    let (_, mut stream) = store.get(&key("big"), None).await.unwrap();
    let mut found = stream.try_next().await.unwrap().unwrap().to_vec();
    server.kill();
    server.restart().unwrap();
    while let Some(chunk) = stream.try_next().await.unwrap() {
        found.extend_from_slice(&chunk);
    }
    assert!(found == body, "the same bytes, without a gap");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_changes_while_it_is_read_is_an_error_and_no_mixture() {
    let server = server(Objects::VersityGw);
    let proxy = FaultyProxy::start(server.port(), 5).unwrap();
    let plain = s3(&server.endpoint(), json!({})).await;
    plain.put(&key("big"), noise(24 << 20, 4)).await.unwrap();
    let store = s3(&server.endpoint_at(proxy.port()), json!({"bandwidth": "8MiB", "retry": "5s"})).await;
    let (_, mut stream) = store.get(&key("big"), None).await.unwrap();
    stream.try_next().await.unwrap().unwrap();
    plain.put(&key("big"), noise(24 << 20, 5)).await.unwrap();
    // The connection that is open gives the old bytes to its end, or fails; a new one must not go on with the new bytes.
    let mut found = 0;
    let ended = loop {
        match stream.try_next().await {
            Ok(Some(chunk)) => found += chunk.len(),
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    match ended {
        Ok(()) => assert!(found < 24 << 20),
        Err(error) => assert!(error.kind() != ErrorKind::Internal, "{}", error.chain()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_is_not_there_is_said_by_every_call() {
    // SeaweedFS would make it.
    let server = server(Objects::VersityGw);
    let section = json!({"url": "s3://elsewhere/x"});
    let store = s3(&server.endpoint(), section).await;
    let key = key("a/b");
    let mut kinds = Vec::new();
    kinds.push(store.put(&key, "x".into()).await.map(drop));
    kinds.push(store.get(&key, None).await.map(drop));
    kinds.push(store.delete(&key).await);
    kinds.push(store.list(&key, Depth::All).try_collect::<Vec<_>>().await.map(drop));
    kinds.push(store.exclusive().await.map(drop));
    kinds.push(store.clear_uploads(Duration::ZERO).await.map(drop));
    let mut upload = store.begin(&key).await.unwrap();
    kinds.push(upload.write(noise(20 << 20, 6)).await);
    for (call, outcome) in kinds.into_iter().enumerate() {
        let error = outcome.expect_err(&format!("call {call}"));
        assert_eq!(error.kind(), ErrorKind::Config, "{}", error.chain());
        assert!(error.to_string().contains("NoSuchBucket"), "{error}");
        assert!(error.advice().unwrap().contains("create the bucket `elsewhere`"), "{:?}", error.advice());
        assert!(!error.to_string().contains('\n'));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_are_denied_and_never_shown() {
    let server = server(Objects::SeaweedFs);
    for section in [
        json!({"secret_access_key": "s3cr3t-and-wrong"}),
        json!({"access_key_id": "AKNOBODY", "secret_access_key": "s3cr3t-and-wrong"}),
    ] {
        let store = s3(&server.endpoint(), section).await;
        for error in [
            store.put(&key("k"), "x".into()).await.unwrap_err(),
            store.get(&key("k"), None).await.map(drop).unwrap_err(),
            store.head(&key("k")).await.unwrap_err(),
            store.clear_uploads(Duration::ZERO).await.unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::Denied, "{}", error.chain());
            assert!(error.advice().unwrap().contains("credentials"), "{:?}", error.advice());
            let said = format!("{error} {error:?} {} {store:?}", error.chain());
            assert!(!said.contains("s3cr3t"), "{said}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_where_nobody_is_is_said_soon() {
    let port = backup_testkit::servers::Port::reserve().unwrap();
    let store = s3(&format!("http://127.0.0.1:{}", port.number()), json!({})).await;
    let begun = Instant::now();
    let error = store.head(&key("k")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{}", error.chain());
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert!(error.advice().unwrap().contains("endpoint"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_falls_silent_does_not_hold_us_for_ever() {
    let mut server = server(Objects::SeaweedFs);
    let limits = json!({"timeout": "1s", "retry": "3s"});
    let store = s3(&server.endpoint(), limits).await;
    store.put(&key("k"), "x".into()).await.unwrap();
    let (_, mut stream) = store.get(&key("k"), None).await.unwrap();
    server.pause().unwrap();
    let begun = Instant::now();
    let error = store.head(&key("k")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut, "{}", error.chain());
    let error = store.put(&key("big"), noise(8 << 20, 7)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut, "{}", error.chain());
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    server.resume().unwrap();
    let _ = stream.try_next().await;
    assert_eq!(read(&store, "k").await.unwrap(), b"x");
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_of_a_process_that_died_are_found_and_dropped() {
    let server = server(Objects::SeaweedFs);
    let other = s3(&server.endpoint(), json!({"url": "s3://backups/other"})).await;
    let store = s3(&server.endpoint(), json!({})).await;
    for store in [&store, &other] {
        let mut upload = store.begin(&key("daily/x/half done.bin")).await.unwrap();
        upload.write(noise(20 << 20, 8)).await.unwrap();
        // As kill -9 leaves it.
        std::mem::forget(upload);
        assert_eq!(store.clear_uploads(Duration::ZERO).await.unwrap(), 0, "our own are never dropped");
    }
    // Another process.
    let other = s3(&server.endpoint(), json!({"url": "s3://backups/other"})).await;
    let store = s3(&server.endpoint(), json!({})).await;
    assert_eq!(store.clear_uploads(Duration::from_secs(60)).await.unwrap(), 0, "it may still go on");
    assert_eq!(store.clear_uploads(Duration::ZERO).await.unwrap(), 1);
    assert_eq!(store.clear_uploads(Duration::ZERO).await.unwrap(), 0);
    assert_eq!(other.clear_uploads(Duration::ZERO).await.unwrap(), 1, "another prefix is another's");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bandwidth_is_kept_in_both_directions() {
    let server = server(Objects::VersityGw);
    let store = s3(&server.endpoint(), json!({"bandwidth": "4MiB"})).await;
    let body = noise(20 << 20, 9);
    let begun = Instant::now();
    let mut upload = store.begin(&key("slow")).await.unwrap();
    upload.write(body.clone()).await.unwrap();
    upload.finish().await.unwrap();
    let up = begun.elapsed().as_secs_f64();
    assert!((4.0..9.0).contains(&up), "20 MiB at 4 MiB/s took {up} s");
    let begun = Instant::now();
    assert!(read(&store, "slow").await.unwrap() == body);
    let down = begun.elapsed().as_secs_f64();
    assert!((4.0..9.0).contains(&down), "20 MiB at 4 MiB/s took {down} s");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_ends_where_the_servers_parts_end() {
    let server = server(Objects::VersityGw);
    let store = s3(&server.endpoint(), json!({"part_size": "5MiB", "max_parts": 3})).await;
    assert_eq!(store.limits().object_bytes, 15 << 20);
    let mut upload = store.begin(&key("full")).await.unwrap();
    upload.write(noise(15 << 20, 10)).await.unwrap();
    assert_eq!(upload.finish().await.unwrap().size, 15 << 20, "so much fits");
    let mut upload = store.begin(&key("more")).await.unwrap();
    let written = upload.write(noise((15 << 20) + 1, 11)).await;
    let error = match written {
        Ok(()) => upload.finish().await.unwrap_err(),
        Err(error) => error,
    };
    assert_eq!(error.kind(), ErrorKind::NoSpace, "{}", error.chain());
}

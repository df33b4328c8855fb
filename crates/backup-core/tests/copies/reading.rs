//! What is read when a store fails, or its bytes are bad.

use std::fs;

use backup_core::{engine::RestoreRequest, words::ErrorKind};
use chrono::TimeDelta;

use super::{Rig, noise};

#[tokio::test]
async fn what_is_damaged_lost_or_breaks_off_here_is_read_from_there_and_that_is_said() {
    for way in ["damaged", "lost", "breaks", "away"] {
        let rig = Rig::new().await;
        rig.backup().await;
        let key = rig.near.artifacts().remove(0);
        match way {
            "damaged" => rig.near.damage(&key).await,
            "lost" => rig.near.lose(&key).await,
            "breaks" => rig.near.reads_break_after(1 << 20),
            _ => rig.near.away(true),
        }
        let folder = tempfile::tempdir().unwrap();
        let extracted = rig.engine.extract(&rig.cx, "latest", None, folder.path()).await.unwrap();
        assert!(fs::read(&extracted[0].path).unwrap() == noise(3 << 20, 7), "{way}");
        let said = rig.warnings().iter().any(|warning| warning.contains("read from store far"));
        assert_eq!(said, way != "away", "{way}: {:?}", rig.warnings());
    }
}

#[tokio::test]
async fn a_restore_finds_the_good_copy_before_its_first_step() {
    let rig = Rig::new().await;
    rig.backup().await;
    let key = rig.near.artifacts().remove(0);
    rig.near.damage(&key).await;
    let plan = rig.engine.plan_restore(&rig.cx, &RestoreRequest::new("latest")).await.unwrap();
    assert!(rig.engine.restore(&rig.cx, &plan).await.unwrap().is_done());
    assert!(rig.warnings().iter().any(|warning| warning.contains("read from store far")));
    rig.far.lose(&key).await;
    let error = rig.engine.restore(&rig.cx, &plan).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
    assert!(error.to_string().contains("nothing was touched"), "{error}");
}

#[tokio::test]
async fn a_manifest_that_cannot_be_read_here_is_read_there() {
    let rig = Rig::new().await;
    let session = rig.backup().await.report.session_id;
    let key = backup_core::words::Key::new(format!("sessions/{session}/manifest.json")).unwrap();
    use backup_core::traits::Store;
    rig.near.put(&key, bytes::Bytes::from_static(b"{")).await.unwrap();
    assert_eq!(rig.held(session).await, ["far"]);
    let folder = tempfile::tempdir().unwrap();
    let extracted = rig.engine.extract(&rig.cx, "latest", None, folder.path()).await.unwrap();
    assert!(fs::read(&extracted[0].path).unwrap() == noise(3 << 20, 7));
}

#[tokio::test]
async fn an_unfinished_restore_is_found_again_though_another_store_is_nearest_now() {
    let rig = Rig::new().await;
    rig.backup().await;
    let mut request = RestoreRequest::new("latest");
    request.options.insert("app".into(), serde_json::json!({ "wait": true }));
    let plan = rig.engine.plan_restore(&rig.cx, &request).await.unwrap();
    rig.near.away(true);
    assert!(!rig.engine.restore(&rig.cx, &plan).await.unwrap().is_done());
    rig.near.away(false);
    rig.wait(TimeDelta::minutes(1));
    let unfinished = rig.engine.unfinished_restore(&rig.cx, "latest").await.unwrap().unwrap();
    assert!(rig.engine.resume_restore(&rig.cx, &unfinished).await.unwrap().is_done());
}

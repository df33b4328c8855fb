//! Sessions written by earlier versions are read for ever: a frozen repository for each format number and ability.

use std::{fs, path::Path, sync::Arc};

use backup_core::{
    components::files::FilesFactory,
    engine::{Engine, Level},
    pipeline::IdentitySource,
    repository::FORMAT,
    stores::LocalStore,
    traits::{ComponentFactory, Context, Deps, LocalPlace, Node, SecretSource},
};

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// A frozen repository: of a format number alone, or with an ability beside it.
fn sample(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/formats").join(name)
}

/// An engine over a copy of a sample, with the sample's key where it has one.
async fn engine(name: &str, folder: &Path) -> Engine {
    let store = folder.join("store");
    copy(&sample(name), &store);
    let node = Node::new(serde_json::json!({ "path": "/srv/app" }));
    let files = FilesFactory.build("files", &node, &Deps::new(Arc::new(LocalPlace))).await.unwrap();
    let file = store.join("key.txt");
    let key = IdentitySource {
        name: "key.txt".to_owned(),
        key: SecretSource::File { file: file.clone() },
        passphrase: None,
    };
    Engine::builder("crm")
        .store("local", Arc::new(LocalStore::new(store)))
        .component("files", files)
        .identities(if file.exists() { vec![key] } else { Vec::new() })
        .build()
        .unwrap()
}

async fn read_verify_and_extract(name: &str, format: u32) {
    let folder = tempfile::tempdir().unwrap();
    let engine = engine(name, folder.path()).await;
    let cx = Context::new();
    let entry = engine.session(&cx, "latest").await.unwrap();
    assert_eq!(entry.committed().unwrap().format, format);
    assert!(engine.report(entry.id).await.is_ok(), "{name}: the report is read");
    let report = engine.verify(&cx, "latest", Level::Content).await.unwrap();
    assert!(report.passed && report.level == Level::Content, "{name}: {report:?}");
    let out = folder.path().join("out");
    let extracted = engine.extract(&cx, "latest", None, &out).await.unwrap();
    let tar = fs::read(&extracted[0].path).unwrap();
    assert!(tar.windows(17).any(|window| window == b"greeting = hello\n"), "{name}: the file is in the tar");
}

#[tokio::test]
async fn every_format_is_read_verified_and_extracted() {
    for format in 1..=FORMAT {
        read_verify_and_extract(&format!("v{format}"), format).await;
    }
}

#[cfg(feature = "encryption")]
#[tokio::test]
async fn an_encrypted_session_is_read_verified_and_extracted() {
    read_verify_and_extract("v1-age", 1).await;
}

/// As every version before encryption does, which knew no abilities.
#[cfg(not(feature = "encryption"))]
#[tokio::test]
async fn an_encrypted_session_is_left_alone_by_who_cannot_read_it() {
    use backup_core::repository::SessionState;
    let folder = tempfile::tempdir().unwrap();
    let mut engine = Engine::builder("crm");
    copy(&sample("v1-age"), &folder.path().join("store"));
    engine = engine.store("local", Arc::new(LocalStore::new(folder.path().join("store"))));
    let (engine, cx) = (engine.build().unwrap(), Context::new());
    let sessions = engine.sessions(&cx).await.unwrap();
    assert_eq!(sessions[0].state, SessionState::Unreadable);
    assert!(sessions[0].problem.as_ref().unwrap().contains("age"), "{:?}", sessions[0].problem);
    let report = engine.cleanup(&cx, false).await.unwrap();
    assert!(report.decisions.iter().all(|decision| decision.kept), "{report:?}");
    assert_eq!(engine.sessions(&cx).await.unwrap().len(), 1);
}

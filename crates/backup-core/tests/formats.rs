//! Sessions written by earlier versions are read for ever: one frozen repository for each format number.

use std::{fs, path::Path, sync::Arc};

use backup_core::{
    components::files::FilesFactory,
    engine::{Engine, Level},
    repository::FORMAT,
    stores::LocalStore,
    traits::{ComponentFactory, Context, Deps, LocalPlace, Node},
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

fn sample(format: u32) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/formats/v{format}"))
}

#[tokio::test]
async fn every_format_is_read_verified_and_extracted() {
    for format in 1..=FORMAT {
        let folder = tempfile::tempdir().unwrap();
        copy(&sample(format), &folder.path().join("store"));
        let node = Node::new(serde_json::json!({ "path": "/srv/app" }));
        let files = FilesFactory.build("files", &node, &Deps::new(Arc::new(LocalPlace))).await.unwrap();
        let engine = Engine::builder("crm")
            .store("local", Arc::new(LocalStore::new(folder.path().join("store"))))
            .component("files", files)
            .build()
            .unwrap();
        let cx = Context::new();
        let entry = engine.session(&cx, "latest").await.unwrap();
        assert_eq!(entry.committed().unwrap().format, format);
        assert!(engine.report(entry.id).await.is_ok(), "v{format}: the report is read");
        let report = engine.verify(&cx, "latest", Level::Content).await.unwrap();
        assert!(report.passed, "v{format}: {report:?}");
        let out = folder.path().join("out");
        let extracted = engine.extract(&cx, "latest", None, &out).await.unwrap();
        let tar = fs::read(&extracted[0].path).unwrap();
        assert!(
            tar.windows(17).any(|window| window == b"greeting = hello\n"),
            "v{format}: the file is in the tar"
        );
    }
}

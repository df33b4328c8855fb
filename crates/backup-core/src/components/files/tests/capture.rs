//! What a capture takes, and what it says of what it does not take.

use std::{
    fs::{self, File},
    os::unix::net::UnixListener,
    sync::{Arc, atomic::Ordering},
};

use super::{
    doubles::{MemorySink, capture, capture_and, capture_into, folder},
    trees::{make_everything, sparse_file},
};
use crate::{
    components::files::{Files, FilesConfig, FilesFactory},
    traits::{Component, ComponentFactory, Context, Node, Severity},
    words::{Coverage, Error, ErrorKind},
};

fn said(coverage: &[Coverage], what: &str) -> Coverage {
    coverage.iter().find(|c| c.what == what).unwrap_or_else(|| panic!("{what} in {coverage:?}")).clone()
}

#[tokio::test]
async fn facts_and_the_point_are_said() {
    let from = folder();
    fs::create_dir(from.path().join("a")).unwrap();
    fs::write(from.path().join("a/b"), "12345").unwrap();
    fs::hard_link(from.path().join("a/b"), from.path().join("c")).unwrap();
    let (captured, source) = capture(FilesConfig::new(from.path())).await;
    for (name, expected) in [("entries", 4), ("files", 2), ("folders", 2), ("symlinks", 0), ("bytes", 5)] {
        assert_eq!(captured.facts[name], expected, "{name}");
    }
    assert_eq!(captured.facts["path"], from.path().to_str().unwrap());
    assert!(captured.point.pinned.from <= captured.point.pinned.to);
    let artifact = captured.keep[0].artifact();
    assert_eq!(artifact.media_type, "application/x-tar");
    assert!(artifact.evidence[1].contains("two empty blocks"));
    assert!(source.bytes.ends_with(&[0; 1024]));
}

#[tokio::test]
async fn an_archive_is_as_large_as_the_data_and_not_the_holes() {
    let from = folder();
    sparse_file(&from.path().join("huge"), 1 << 40, &[(1 << 39, "middle")]);
    let (captured, source) = capture(FilesConfig::new(from.path())).await;
    assert_eq!(captured.facts["bytes"], 1u64 << 40);
    assert!(source.bytes.len() < 100_000, "{} bytes", source.bytes.len());
}

#[tokio::test]
async fn what_is_excluded_is_said_and_left_out() {
    let from = folder();
    fs::create_dir_all(from.path().join("cache/x")).unwrap();
    fs::create_dir_all(from.path().join("work")).unwrap();
    fs::write(from.path().join("work/cache"), "a file, not a folder").unwrap();
    fs::write(from.path().join("work/a.log"), "").unwrap();
    fs::write(from.path().join("b.log"), "").unwrap();
    let exclude = ["*.log".to_owned(), "cache/".to_owned(), "never".to_owned()];
    let config = FilesConfig { exclude: exclude.to_vec(), ..FilesConfig::new(from.path()) };
    let (captured, _) = capture(config).await;
    assert_eq!(captured.facts["entries"], 3);
    assert_eq!(captured.coverage.len(), 2);
    let logs = said(&captured.coverage, "*.log");
    assert!(!logs.missing && logs.why.contains('2'), "{logs:?}");
}

#[tokio::test]
async fn a_socket_is_left_out_and_said() {
    let from = folder();
    let _socket = UnixListener::bind(from.path().join("socket")).unwrap();
    let (captured, _) = capture(FilesConfig::new(from.path())).await;
    assert!(!said(&captured.coverage, "socket").missing);
    assert_eq!(captured.facts["entries"], 1);
}

#[tokio::test]
async fn a_file_that_shrinks_is_padded_and_makes_the_component_partial() {
    let from = folder();
    let path = from.path().join("shrinks");
    fs::write(&path, vec![b'x'; 8 << 20]).unwrap();
    let cut = path.clone();
    let on_first = move || {
        File::options().write(true).open(&cut).unwrap().set_len(2 << 20).unwrap();
        Ok(())
    };
    let (captured, source) = capture_and(FilesConfig::new(from.path()), Some(Arc::new(on_first))).await;
    let shrunk = said(&captured.coverage, "shrinks");
    assert!(shrunk.missing && shrunk.why.contains("zeros from byte 2097152"), "{shrunk:?}");
    // What follows is still where it should be.
    let findings =
        Files::new(FilesConfig::new("/x")).unwrap().verify(&Context::new(), &source).await.unwrap();
    assert!(findings.iter().all(|f| f.severity == Severity::Ok), "{findings:?}");
    assert!(source.bytes.len() > 8 << 20);
}

#[tokio::test]
async fn a_file_that_grows_is_a_warning() {
    let from = folder();
    let path = from.path().join("grows");
    fs::write(&path, vec![b'x'; 8 << 20]).unwrap();
    let grow = path.clone();
    let on_first = move || {
        File::options().write(true).open(&grow).unwrap().set_len(9 << 20).unwrap();
        Ok(())
    };
    let (captured, _) = capture_and(FilesConfig::new(from.path()), Some(Arc::new(on_first))).await;
    assert_eq!(captured.coverage, []);
    assert_eq!(captured.warnings, ["grows: changed while it was read: 8388608 bytes then, 9437184 now"]);
    assert_eq!(captured.facts["bytes"], 8 << 20);
}

#[tokio::test]
async fn a_folder_that_vanishes_is_said_and_is_no_fault() {
    let from = folder();
    fs::write(from.path().join("large"), vec![b'x'; 8 << 20]).unwrap();
    let vanishing = from.path().join("vanishing");
    fs::create_dir(&vanishing).unwrap();
    let on_first = move || {
        fs::remove_dir(&vanishing).unwrap();
        Ok(())
    };
    let (captured, _) = capture_and(FilesConfig::new(from.path()), Some(Arc::new(on_first))).await;
    let vanished = said(&captured.coverage, "vanishing");
    assert!(!vanished.missing && vanished.why.contains("vanished"), "{vanished:?}");
}

#[tokio::test]
async fn what_may_not_be_read_makes_the_component_partial() {
    // Not even root may read this one (mode 0200, sysfs(5)).
    let (captured, _) = capture(FilesConfig::new("/sys/bus/cpu")).await;
    let unread = said(&captured.coverage, "uevent");
    assert!(unread.missing && unread.why.contains("Permission denied"), "{unread:?}");
}

#[tokio::test]
async fn a_store_that_fails_aborts_the_artifact() {
    let from = folder();
    fs::write(from.path().join("large"), vec![b'x'; 8 << 20]).unwrap();
    let fails = || Err(Error::new(ErrorKind::NoSpace, "write", "the store"));
    let sink = MemorySink { on_first: Some(Arc::new(fails)), ..MemorySink::default() };
    let error = capture_into(&Context::new(), FilesConfig::new(from.path()), &sink).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoSpace);
    assert!(sink.aborted.load(Ordering::SeqCst));
}

#[tokio::test]
async fn a_cancelled_capture_aborts_the_artifact() {
    let from = folder();
    fs::write(from.path().join("large"), vec![b'x'; 8 << 20]).unwrap();
    let cx = Context::new();
    let cancel = cx.cancel.clone();
    let cancels = move || {
        cancel.cancel();
        Ok(())
    };
    let sink = MemorySink { on_first: Some(Arc::new(cancels)), ..MemorySink::default() };
    let error = capture_into(&cx, FilesConfig::new(from.path()), &sink).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert!(sink.aborted.load(Ordering::SeqCst));
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_not_opened() {
    let config = FilesConfig::new("/no/such/folder");
    let error = capture_into(&Context::new(), config.clone(), &MemorySink::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let findings = Files::new(config).unwrap().check(&Context::new()).await.unwrap();
    assert_eq!(findings[0].severity, Severity::Error);
}

#[tokio::test]
async fn a_check_says_how_large_the_folder_is() {
    let from = folder();
    make_everything(from.path());
    let findings = Files::new(FilesConfig::new(from.path())).unwrap().check(&Context::new()).await.unwrap();
    let (captured, _) = capture(FilesConfig::new(from.path())).await;
    assert_eq!(findings.len(), 1, "{findings:?}");
    let entries = format!("{} entries", captured.facts["entries"]);
    assert!(findings[0].message.starts_with(&entries), "{} {entries}", findings[0].message);
}

#[tokio::test]
async fn the_factory_reads_sections_strictly() {
    let deps = crate::traits::Deps::new(Arc::new(crate::traits::LocalPlace));
    let build =
        async |section: serde_json::Value| FilesFactory.build("files", &Node::new(section), &deps).await;
    build(serde_json::json!({"path": "/etc", "exclude": ["*.log"]})).await.unwrap();
    for bad in [
        serde_json::json!({"path": "etc"}),
        serde_json::json!({"path": "/etc", "exclude": [""]}),
        serde_json::json!({"path": "/etc", "excludes": []}),
    ] {
        assert_eq!(build(bad.clone()).await.unwrap_err().kind(), ErrorKind::Config, "{bad}");
    }
    assert!(FilesFactory.example().contains("kind = \"files\""));
    assert!(FilesFactory.restore_schema()["properties"]["to"].is_object());
}

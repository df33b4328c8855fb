//! Archives are for people with GNU tar and nothing of ours.

use std::fs;

use super::{
    doubles::{capture, folder, run},
    trees::{describe, make_everything},
};
use crate::components::files::FilesConfig;

#[tokio::test]
async fn gnu_tar_restores_everything() {
    let (work, from) = (folder(), folder());
    make_everything(from.path());
    let (captured, source) = capture(FilesConfig::new(from.path())).await;
    assert_eq!(captured.warnings, Vec::<String>::new());
    fs::write(work.path().join("a.tar"), &source.bytes).unwrap();
    fs::create_dir(work.path().join("out")).unwrap();
    // It warns of times before 1970, and sets them.
    let extract = ["--warning=no-timestamp", "--xattrs", "--xattrs-include=*", "-xpf", "a.tar", "-C", "out"];
    run("tar", &extract, work.path());
    let (expected, restored) = (describe(from.path()), describe(&work.path().join("out")));
    for (path, expected) in &expected {
        assert_eq!(restored.get(path), Some(expected), "{path:?}");
    }
    assert_eq!(restored.len(), expected.len());
}

#[tokio::test]
async fn a_plain_tar_xf_restores_the_files() {
    let (work, from) = (folder(), folder());
    fs::create_dir_all(from.path().join("a/b")).unwrap();
    fs::write(from.path().join("a/b/c"), "content").unwrap();
    let (_, source) = capture(FilesConfig::new(from.path())).await;
    fs::write(work.path().join("a.tar"), &source.bytes).unwrap();
    let listed = run("tar", &["-tf", "a.tar"], work.path());
    assert_eq!(listed.lines().collect::<Vec<_>>(), ["./", "./a/", "./a/b/", "./a/b/c"]);
    run("tar", &["-xf", "a.tar"], work.path());
    assert_eq!(fs::read_to_string(work.path().join("a/b/c")).unwrap(), "content");
}

#[tokio::test]
async fn gnu_tar_finds_no_difference() {
    let (work, from) = (folder(), folder());
    make_everything(from.path());
    // It would compare nine gigabytes of zeros.
    fs::remove_file(from.path().join("nine-gigabytes")).unwrap();
    let (_, source) = capture(FilesConfig::new(from.path())).await;
    fs::write(work.path().join("a.tar"), &source.bytes).unwrap();
    let from = from.path().to_str().unwrap();
    assert_eq!(run("tar", &["--xattrs", "-df", "a.tar", "-C", from], work.path()), "");
}

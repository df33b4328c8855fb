//! Restores: what comes back, what is kept aside, and what an interruption leaves.

use std::{
    fs::{self, File},
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::fs::{Mode, OFlags};
use serde_json::json;

use super::{
    doubles::{MemoryJournal, MemorySource, apply_all, apply_step, capture, folder, only_child},
    trees::{describe, make_everything},
};
use crate::{
    components::files::{Files, FilesConfig},
    traits::{Component, Context, Journal, Phase, Plan, Restored, Target},
    words::{ErrorKind, Result},
};

async fn small() -> MemorySource {
    let from = folder();
    fs::write(from.path().join("new"), "new content").unwrap();
    capture(FilesConfig::new(from.path())).await.1
}

async fn plan(to: &Path, options: serde_json::Value, source: &MemorySource) -> Result<(Files, Plan)> {
    let files = Files::new(FilesConfig::new(to))?;
    let plan = files.plan(&Context::new(), &Target::new(options), source).await?;
    Ok((files, plan))
}

fn names(folder: &Path) -> Vec<String> {
    let children = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = children.map(|c| c.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn everything_comes_back_as_it_was() {
    let (from, work) = (folder(), folder());
    make_everything(from.path());
    let (_, source) = capture(FilesConfig::new(from.path())).await;
    let to = work.path().join("some/where");
    let (files, plan) = plan(&to, json!(null), &source).await.unwrap();
    assert!(plan.steps.iter().all(|step| step.phase == Phase::Volumes));
    assert!(plan.loses.is_empty());
    assert_eq!(names(work.path()), Vec::<String>::new(), "a plan touches nothing");
    let notes = apply_all(&files, &plan, &source).await.unwrap();
    if super::trees::is_root() {
        assert_eq!(notes, Vec::<String>::new());
    }
    let (expected, restored) = (describe(from.path()), describe(&to));
    for (path, expected) in &expected {
        assert_eq!(restored.get(path), Some(expected), "{path:?}");
    }
    assert_eq!(restored.len(), expected.len());
    assert_eq!(names(to.parent().unwrap()), ["where"]);
}

#[tokio::test]
async fn a_folder_that_is_there_is_kept_aside_whole() {
    let (work, source) = (folder(), small().await);
    let to = work.path().join("data");
    fs::create_dir(&to).unwrap();
    fs::write(to.join("old"), "old content").unwrap();
    let (files, plan) = plan(&to, json!({}), &source).await.unwrap();
    assert!(plan.loses[0].contains("kept aside"), "{:?}", plan.loses);
    let notes = apply_all(&files, &plan, &source).await.unwrap();
    assert!(notes.iter().any(|note| note.contains("data.before-")), "{notes:?}");
    assert_eq!(fs::read_to_string(to.join("new")).unwrap(), "new content");
    assert_eq!(names(&to), ["new"]);
    let aside = only_child(work.path(), "data.before-");
    assert_eq!(fs::read_to_string(aside.join("old")).unwrap(), "old content");
    assert_eq!(names(work.path()).len(), 2);
}

#[tokio::test]
async fn a_folder_with_files_is_refused_when_that_was_asked_and_an_empty_one_is_used() {
    let (work, source) = (folder(), small().await);
    let to = work.path().join("data");
    fs::create_dir(&to).unwrap();
    let options = json!({"existing": "refuse", "to": to});
    let (files, empty) = plan(Path::new("/elsewhere"), options.clone(), &source).await.unwrap();
    apply_all(&files, &empty, &source).await.unwrap();
    assert_eq!(names(work.path()), ["data"]);
    let error = plan(Path::new("/elsewhere"), options, &source).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(error.advice().unwrap().contains("existing=aside"));
}

#[tokio::test]
async fn targets_that_cannot_be_switched_are_refused_when_planning() {
    let (work, source) = (folder(), small().await);
    let file = work.path().join("file");
    fs::write(&file, "").unwrap();
    for bad in ["relative", "/", "/proc", file.to_str().unwrap()] {
        let error = plan(Path::new("/x"), json!({"to": bad}), &source).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Config | ErrorKind::Refused), "{bad}: {error}");
    }
    let error = plan(Path::new("/x"), json!({"too": "/y"}), &source).await.unwrap_err();
    assert_eq!(error.advice(), Some("did you mean `to`?"));
}

#[tokio::test]
async fn a_target_behind_a_link_is_switched_where_it_is() {
    let (work, source) = (folder(), small().await);
    let real = work.path().join("real");
    fs::create_dir(&real).unwrap();
    std::os::unix::fs::symlink(&real, work.path().join("link")).unwrap();
    let (files, plan) = plan(&work.path().join("link"), json!({}), &source).await.unwrap();
    apply_all(&files, &plan, &source).await.unwrap();
    assert!(work.path().join("link").is_symlink());
    assert_eq!(names(&real), ["new"]);
}

#[tokio::test]
async fn a_target_that_changed_since_the_plan_is_left_alone() {
    let (work, source) = (folder(), small().await);
    let to = work.path().join("data");
    let (files, plan) = plan(&to, json!({}), &source).await.unwrap();
    fs::create_dir(&to).unwrap();
    fs::write(to.join("since"), "").unwrap();
    let error = apply_all(&files, &plan, &source).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(names(work.path()), ["data"]);
    assert_eq!(names(&to), ["since"]);
}

#[tokio::test]
async fn bytes_that_are_not_those_of_the_manifest_never_reach_the_target() {
    let (work, whole) = (folder(), small().await);
    let to = work.path().join("data");
    let mut broken = whole.clone();
    broken.breaks_at = Some(whole.bytes.len());
    let mut different = whole;
    different.record.facts.insert("entries".to_owned(), 7.into());
    for source in [broken, different] {
        let (files, plan) = plan(&to, json!({}), &source).await.unwrap();
        let error = apply_all(&files, &plan, &source).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert_eq!(names(work.path()), Vec::<String>::new());
    }
}

fn staging(plan: &Plan) -> PathBuf {
    PathBuf::from(plan.steps[0].arguments["staging"].as_str().unwrap())
}

#[tokio::test]
async fn an_interrupted_extraction_begins_anew() {
    let (work, source) = (folder(), small().await);
    let to = work.path().join("data");
    let (files, plan) = plan(&to, json!({}), &source).await.unwrap();
    fs::create_dir(staging(&plan)).unwrap();
    fs::write(staging(&plan).join("half"), "").unwrap();
    // Not ours as far as the journal knows: left alone.
    let journal = MemoryJournal::default();
    let error = apply_step(&files, &plan, &plan.steps[0], &source, &journal).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert_eq!(names(&staging(&plan)), ["half"]);
    journal.record("staging", json!(staging(&plan))).await.unwrap();
    apply_step(&files, &plan, &plan.steps[0], &source, &journal).await.unwrap();
    assert_eq!(names(&staging(&plan)), ["new"]);
}

#[tokio::test]
async fn a_switch_interrupted_anywhere_is_finished() {
    for crash_after in 0..3 {
        let (work, source) = (folder(), small().await);
        let to = work.path().join("data");
        fs::create_dir(&to).unwrap();
        fs::write(to.join("old"), "").unwrap();
        let (files, plan) = plan(&to, json!({}), &source).await.unwrap();
        let extract = apply_step(&files, &plan, &plan.steps[0], &source, &MemoryJournal::default()).await;
        extract.unwrap();
        let aside = plan.steps[1].arguments["aside"].as_str().unwrap().to_owned();
        let journal = MemoryJournal::default();
        journal.record("begun", json!(true)).await.unwrap();
        if crash_after >= 1 {
            fs::rename(&to, &aside).unwrap();
        }
        if crash_after >= 2 {
            fs::rename(staging(&plan), &to).unwrap();
        }
        let done = apply_step(&files, &plan, &plan.steps[1], &source, &journal).await.unwrap();
        assert!(matches!(done, Restored::Done { .. }));
        assert_eq!(names(&to), ["new"], "after {crash_after}");
        assert_eq!(names(Path::new(&aside)), ["old"], "after {crash_after}");
        assert_eq!(names(work.path()).len(), 2);
    }
}

/// A chain of folders whose path is longer than any system call takes.
fn make_deep(root: &Path) -> usize {
    let name = "d".repeat(30);
    let open = |folder: &OwnedFd| {
        rustix::fs::mkdirat(folder, &name, Mode::RWXU).unwrap();
        rustix::fs::openat(folder, &name, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).unwrap()
    };
    let depth = 200;
    let deepest = (0..depth).fold(OwnedFd::from(File::open(root).unwrap()), |folder, _| open(&folder));
    let file = rustix::fs::openat(
        deepest.as_fd(),
        "file",
        OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC,
        Mode::RUSR | Mode::WUSR,
    );
    rustix::io::write(file.unwrap(), b"deep down").unwrap();
    depth
}

#[tokio::test]
async fn a_tree_deeper_than_any_path_comes_back() {
    let (from, work) = (folder(), folder());
    let depth = make_deep(from.path());
    let (captured, source) = capture(FilesConfig::new(from.path())).await;
    assert_eq!(captured.coverage, []);
    assert_eq!(captured.facts["folders"], depth + 1);
    let to = work.path().join("deep");
    let (files, plan) = plan(&to, json!({}), &source).await.unwrap();
    // That all came back is what the step itself compares.
    apply_all(&files, &plan, &source).await.unwrap();
    let (again, _) = capture(FilesConfig::new(&to)).await;
    assert_eq!(again.facts["fingerprint"], captured.facts["fingerprint"]);
}

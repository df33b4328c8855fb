//! A drill of files passes for a good archive, and names the rung and the file where it is not.

use std::{fs, path::Path, sync::Arc};

use chrono::{DateTime, Utc};

use super::doubles::{MemorySource, capture, folder};
use crate::{
    components::files::{ArchiveDrill, Files, FilesConfig, drill},
    policy::{Ladder, Rung, RungOutcome, RungReport},
    traits::{Context, Drill, LocalPlace, Place, Throwaway},
    words::SessionId,
};

#[derive(Debug)]
struct Here(tempfile::TempDir);

impl Throwaway for Here {
    fn folder(&self) -> &Path {
        self.0.path()
    }

    fn place(&self) -> Arc<dyn Place> {
        Arc::new(LocalPlace)
    }

    fn session(&self) -> SessionId {
        "backup_20260101_020000".parse().unwrap()
    }

    fn ends_by(&self) -> DateTime<Utc> {
        Utc::now()
    }
}

async fn good() -> MemorySource {
    let from = folder();
    fs::write(from.path().join("state.json"), br#"{"deep": [1, 2, {"x": null}]}"#).unwrap();
    fs::write(from.path().join("model.pkl"), b"\x80\x04]\x94(K\x01K\x02e.").unwrap();
    fs::write(from.path().join("big"), "x".repeat(300_000)).unwrap();
    fs::hard_link(from.path().join("big"), from.path().join("same")).unwrap();
    std::os::unix::fs::symlink("big", from.path().join("link")).unwrap();
    xattr::set(from.path().join("big"), "user.tag", b"blue").unwrap();
    capture(FilesConfig::new(from.path())).await.1
}

async fn climb(source: &MemorySource) -> Vec<RungReport> {
    let (files, place) = (Files::new(FilesConfig::new("/x")).unwrap(), Here(tempfile::tempdir().unwrap()));
    let mut ladder = Ladder::new();
    ladder.passed(Rung::Fetched, "");
    ladder.passed(Rung::Decrypted, "");
    if let Err(error) = files.drill(&Context::new(), &place, source, &mut ladder).await {
        ladder.broke(&error.chain());
    }
    ladder.finish().rungs
}

fn failed(rungs: &[RungReport]) -> (Rung, String) {
    let failed: Vec<&RungReport> = rungs.iter().filter(|r| r.outcome == RungOutcome::Failed).collect();
    assert_eq!(failed.len(), 1, "{rungs:#?}");
    (failed[0].rung, format!("{}: {:?}", failed[0].said, failed[0].wrong))
}

#[tokio::test]
async fn a_good_archive_passes_every_rung() {
    let rungs = climb(&good().await).await;
    assert!(rungs.iter().all(|rung| rung.outcome == RungOutcome::Passed), "{rungs:#?}");
    assert!(rungs[6].said.starts_with("JSON files that parse: 1; pickles"), "{}", rungs[6].said);
}

#[tokio::test]
async fn an_archive_that_ends_early_fails_at_structure() {
    let mut source = good().await;
    source.breaks_at = Some(200_000);
    assert_eq!(failed(&climb(&source).await).0, Rung::Structure);
}

#[tokio::test]
async fn other_numbers_than_the_manifests_fail_at_volume() {
    let mut source = good().await;
    source.record.facts.insert("files".to_owned(), 9.into());
    let (rung, said) = failed(&climb(&source).await);
    assert_eq!(rung, Rung::Volume);
    assert!(said.contains("files: 4 in the archive, 9 in the manifest"), "{said}");
}

#[tokio::test]
async fn files_that_no_application_could_read_fail_at_smoke_by_name() {
    let from = folder();
    fs::write(from.path().join("cut.json"), b"{\"a\": [1, 2").unwrap();
    fs::write(from.path().join("cut.pkl"), b"\x80\x04]\x94(K").unwrap();
    let (_, source) = capture(FilesConfig::new(from.path())).await;
    let (rung, said) = failed(&climb(&source).await);
    assert_eq!(rung, Rung::Smoke);
    for part in ["cut.json", "no JSON: EOF", "cut.pkl", "no pickle: it ends at byte 6 without its STOP"] {
        assert!(said.contains(part), "{said}");
    }
}

#[tokio::test]
async fn what_differs_on_disk_is_named() {
    let source = good().await;
    let place = Here(tempfile::tempdir().unwrap());
    let files = Files::new(FilesConfig::new("/x")).unwrap();
    files.drill(&Context::new(), &place, &source, &mut Ladder::new()).await.unwrap();
    let tree = place.folder().join("tree");
    let compared = |tree: &Path| {
        let mut ladder = Ladder::new();
        drill::compare(source.bytes.as_slice(), tree, drill::Compared::default())
            .unwrap()
            .report(&mut ladder);
        format!("{:?}", ladder.finish().rungs.into_iter().flat_map(|rung| rung.wrong).collect::<Vec<_>>())
    };
    assert_eq!(compared(&tree), "[]");
    xattr::remove(tree.join("big"), "user.tag").unwrap();
    assert!(compared(&tree).contains("its attribute user.tag is missing"));
    let mut text = fs::read(tree.join("big")).unwrap();
    text[200_000] = b'y';
    fs::write(tree.join("big"), text).unwrap();
    assert!(compared(&tree).contains("it differs from the archive near byte"), "{}", compared(&tree));
    fs::remove_file(tree.join("link")).unwrap();
    fs::remove_file(tree.join("state.json")).unwrap();
    let said = compared(&tree);
    assert!(said.contains("it links elsewhere") && said.contains("\"state.json\""), "{said}");
}

#[tokio::test]
async fn folders_that_an_archive_of_chosen_members_lacks_are_made() {
    let mut header = tar::Header::new_ustar();
    header.set_mode(0o644);
    header.set_mtime(1);
    header.set_size(3);
    header.set_uid(0);
    header.set_gid(0);
    let mut archive = tar::Builder::new(Vec::new());
    for name in ["pod/app/a.json", "pod/app/deep/b.json", "other/c"] {
        archive.append_data(&mut header, name, &b"[1]"[..]).unwrap();
    }
    let bytes = archive.into_inner().unwrap();
    let mut source = good().await;
    source.record.artifacts[0].plain = crate::words::Digest::of(&bytes);
    source.bytes = bytes;
    let (place, mut ladder) = (Here(tempfile::tempdir().unwrap()), Ladder::new());
    let mut archives = ArchiveDrill::of_chosen_members();
    let artifact = source.record.artifacts[0].clone();
    let into = place.folder().join("state");
    archives.extract(&Context::new(), &source, &artifact, into.clone()).await.unwrap();
    archives.extracted(&mut ladder, Vec::new());
    archives.compare(&Context::new(), &source, &mut ladder).await.unwrap();
    let rungs = ladder.finish().rungs;
    assert!(rungs[2..].iter().all(|rung| rung.outcome == RungOutcome::Passed), "{rungs:#?}");
    assert_eq!(fs::read(into.join("pod/app/deep/b.json")).unwrap(), b"[1]");

    let files = Files::new(FilesConfig::new("/x")).unwrap();
    let error = files.drill(&Context::new(), &place, &source, &mut Ladder::new()).await.unwrap_err();
    assert!(error.to_string().contains("the folder it lies in is not in the archive"), "{error}");
}

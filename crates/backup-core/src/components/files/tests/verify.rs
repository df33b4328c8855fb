//! Archives that are not what the manifest says are found out.

use std::fs;

use super::{
    doubles::{MemorySource, capture, folder},
    trees::set_time,
};
use crate::{
    components::files::{Files, FilesConfig},
    traits::{Component, Context, Finding, Severity},
};

async fn good() -> MemorySource {
    let from = folder();
    for name in ["a", "b"] {
        fs::write(from.path().join(name), "x".repeat(2000)).unwrap();
        set_time(&from.path().join(name), 1_700_000_000, 0);
    }
    // With times of whole seconds no member needs a pax header.
    set_time(from.path(), 1_700_000_000, 0);
    capture(FilesConfig::new(from.path())).await.1
}

async fn findings(source: &MemorySource) -> Vec<Finding> {
    Files::new(FilesConfig::new("/x")).unwrap().verify(&Context::new(), source).await.unwrap()
}

async fn error(source: &MemorySource) -> String {
    let findings = findings(source).await;
    assert!(findings.iter().all(|f| f.severity == Severity::Error), "{findings:?}");
    findings[0].message.clone()
}

#[tokio::test]
async fn a_good_archive_is_read_whole() {
    let findings = findings(&good().await).await;
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].severity, Severity::Ok);
    assert!(findings[0].message.contains("3 entries, 2 of them files"), "{}", findings[0].message);
}

#[tokio::test]
async fn an_archive_cut_at_any_block_is_found_out() {
    let whole = good().await;
    for blocks in 0..whole.bytes.len() / 512 {
        let mut cut = whole.clone();
        cut.bytes.truncate(blocks * 512);
        assert!(error(&cut).await.contains("without its end mark"), "{blocks} blocks");
    }
}

#[tokio::test]
async fn a_member_that_is_missing_or_changed_is_found_out() {
    let whole = good().await;
    // The root's header is one block, then come two files of a header and four blocks each.
    let mut shorter = whole.clone();
    shorter.bytes.drain(512..512 + 5 * 512);
    assert!(error(&shorter).await.contains("2 in the archive, 3 in the manifest"));
    let mut flipped = whole.clone();
    flipped.bytes[512 + 3] ^= 1;
    assert!(error(&flipped).await.contains("checksum"));
    let mut behind = whole.clone();
    behind.bytes.extend([1; 512]);
    assert!(error(&behind).await.contains("behind its end"));
    let mut said = whole;
    said.record.facts.insert("fingerprint".to_owned(), "0".into());
    assert!(error(&said).await.contains("fingerprint"));
}

#[tokio::test]
async fn a_stream_that_ends_with_an_error_is_found_out_though_the_archive_is_whole() {
    let mut source = good().await;
    source.breaks_at = Some(source.bytes.len());
    assert!(error(&source).await.contains("volume 1"));
}

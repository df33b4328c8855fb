//! Reads archives of files whole, and counts what is in them.

use std::{
    collections::BTreeMap,
    io::{BufReader, Read},
};

use backup_core::{
    archive::{EntryKind, Reader},
    traits::{Context, Finding, Selection, Source},
    words::{Artifact, ComponentRecord, Result, human_bytes},
};
use futures::TryStreamExt;
use tokio_util::io::{StreamReader, SyncIoBridge};

use super::{
    facts::{self, Counts, StateFacts, StorageFacts},
    take::blocking,
    wanted::lies_in,
};

/// Whether an artifact is an archive of files.
pub(crate) fn is_archive(artifact: &Artifact) -> bool {
    matches!(artifact.suffix.as_deref(), Some(facts::STATE | facts::STORAGE))
}

/// Whether an artifact holds as much as the manifest says, and is whole to its end mark.
pub(crate) async fn verify(cx: &Context, from: &dyn Source, artifact: &Artifact) -> Result<Finding> {
    let expected = expected(from.record(), artifact)?;
    let stream = from.read(artifact, Selection::Whole).await?;
    let bytes = SyncIoBridge::new(StreamReader::new(Box::pin(stream.map_err(std::io::Error::other))));
    let folders: Vec<String> = expected.iter().map(|(folder, _)| folder.clone()).collect();
    let counted = blocking(move || count(bytes, &folders));
    let found = match cx.or_cancelled("verify the files", counted).await {
        Ok(found) => found,
        Err(e) => {
            cx.check_cancelled("verify the files")?;
            return Ok(Finding::from_error(&artifact.name, &e));
        }
    };
    let differs = |(folder, expected): &(String, Counts)| {
        let found = found.get(folder).copied().unwrap_or_default();
        (found != *expected).then(|| {
            format!(
                "{folder}: {} files and {} bytes, not {} and {}",
                found.files, found.bytes, expected.files, expected.bytes
            )
        })
    };
    let differences: Vec<String> = expected.iter().filter_map(differs).collect();
    if !differences.is_empty() {
        return Ok(Finding::error(&artifact.name, differences.join("; ")).hint("take another session"));
    }
    let sum = |part: fn(&Counts) -> u64| expected.iter().map(|(_, counts)| part(counts)).sum::<u64>();
    let size = human_bytes(sum(|counts| counts.bytes));
    let files = sum(|counts| counts.files);
    Ok(Finding::ok(
        &artifact.name,
        format!("read whole, to its end mark: {files} files with {size}, as in the manifest"),
    ))
}

/// The folders in the archive and what each holds.
fn expected(record: &ComponentRecord, artifact: &Artifact) -> Result<Vec<(String, Counts)>> {
    if artifact.suffix.as_deref() == Some(facts::STORAGE) {
        let storage: Option<StorageFacts> = facts::read(&record.facts, facts::STORAGE)?;
        return Ok(storage.into_iter().map(|storage| (storage.folder, storage.counts)).collect());
    }
    let state: StateFacts = facts::read(&record.facts, facts::STATE)?.unwrap_or_default();
    Ok(state.pods.into_iter().map(|pod| (pod.folder, pod.counts)).collect())
}

fn count(archive: impl Read, folders: &[String]) -> Result<BTreeMap<String, Counts>> {
    let mut reader = Reader::new(BufReader::with_capacity(128 << 10, archive));
    let mut found: BTreeMap<String, Counts> = BTreeMap::new();
    let mut last = 0;
    while let Some(entry) = reader.next()? {
        // Members of one folder stand together.
        let is_in =
            |index: usize| folders.get(index).is_some_and(|folder| lies_in(&entry.path, folder.as_bytes()));
        if !is_in(last) {
            last = (0..folders.len()).find(|index| is_in(*index)).unwrap_or(folders.len());
        }
        let folder = folders.get(last).map_or("what nobody took", String::as_str);
        let counts = found.entry(folder.to_owned()).or_default();
        match entry.kind {
            EntryKind::File => {
                counts.files += 1;
                counts.bytes += entry.size;
            }
            EntryKind::HardLink => counts.files += 1,
            EntryKind::Symlink => counts.links += 1,
            EntryKind::Folder => counts.folders += 1,
            EntryKind::Fifo | EntryKind::CharDevice | EntryKind::BlockDevice => {}
        }
    }
    reader.finish()?;
    Ok(found)
}

//! The unified archive: one tar of plain files, made by joining compressed streams. Nothing is compressed twice.
//!
//! A gzip file may consist of several members (RFC 1952, section 2.2), a zstd file of several frames (RFC 8878, section 3.1):
//! so the archive is [member: tar header] [the artifact's own members] [member: padding] for each file, then the tar's end.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures::StreamExt;

use super::{
    codec::Compression,
    crypt::{Keyring, Seal},
    reader::packed,
    volumes::{Destination, VolumeWriter},
};
use crate::{
    traits::{ByteStream, Context, Store},
    words::{Artifact, Error, ErrorKind, Result, Volume},
};

const BLOCK: u64 = 512;

/// A file of the archive.
#[derive(Clone, Debug)]
pub enum ArchiveEntry {
    /// An artifact, taken from the store as it is; its path in the archive.
    Artifact(String, Box<Artifact>),
    /// A small file; its path and content.
    Text(String, String),
}

/// How an archive is made.
#[derive(Clone, Debug)]
pub struct ArchivePlan {
    /// Where its artifacts are.
    pub from: Arc<dyn Store>,
    /// What opens them.
    pub keys: Keyring,
    /// How its own small pieces are compressed; the artifacts' codec.
    pub compression: Compression,
    /// The time of its files.
    pub modified: DateTime<Utc>,
    /// What encrypts it.
    pub seal: Option<Seal>,
}

/// Writes an archive of `entries` to `destination` and returns its volumes. Stored bytes are checked against the manifest as
/// they are read. What is encrypted is opened first: members join only as they are, and are encrypted again as one stream.
///
/// # Errors
/// When an artifact's bytes are not those of the manifest, has another codec, or the store fails; nothing of the archive stays.
pub async fn concatenate(
    cx: &Context,
    plan: &ArchivePlan,
    entries: &[ArchiveEntry],
    destination: Destination,
) -> Result<Vec<Volume>> {
    let mut volumes = VolumeWriter::new(destination, plan.seal.as_ref())?;
    match write_entries(cx, plan, entries, &mut volumes).await {
        Ok(()) => Ok(volumes.finish().await?.volumes),
        Err(error) => {
            volumes.abort().await;
            Err(error)
        }
    }
}

async fn write_entries(
    cx: &Context,
    plan: &ArchivePlan,
    entries: &[ArchiveEntry],
    volumes: &mut VolumeWriter,
) -> Result<()> {
    let ArchivePlan { compression, modified, .. } = *plan;
    for entry in entries {
        match entry {
            ArchiveEntry::Text(path, text) => {
                let mut plain = header(path, text.len() as u64, modified)?;
                plain.extend_from_slice(text.as_bytes());
                plain.resize(plain.len() + padding(text.len() as u64), 0);
                volumes.write(compression.compress(&plain)?.into()).await?;
            }
            ArchiveEntry::Artifact(path, artifact) => {
                let head = header(path, artifact.plain.size, modified)?;
                volumes.write(compression.compress(&head)?.into()).await?;
                copy_members(cx, plan, artifact, volumes).await?;
                let padding = vec![0; padding(artifact.plain.size)];
                if !padding.is_empty() {
                    volumes.write(compression.compress(&padding)?.into()).await?;
                }
            }
        }
    }
    // POSIX: a tar ends with two zero blocks.
    volumes.write(compression.compress(&[0; 2 * BLOCK as usize])?.into()).await
}

async fn copy_members(
    cx: &Context,
    plan: &ArchivePlan,
    artifact: &Artifact,
    volumes: &mut VolumeWriter,
) -> Result<()> {
    if artifact.codec != plan.compression.codec {
        return Err(
            Error::new(ErrorKind::Internal, "join", artifact.name.clone()).detail("it has another codec")
        );
    }
    let mut bytes = read_ahead(packed(plan.from.clone(), artifact, &plan.keys));
    while let Some(chunk) = cx.or_cancelled("join", async { bytes.next().await.transpose() }).await? {
        volumes.append(chunk).await?;
    }
    Ok(())
}

/// Reads and checks on a task of its own, while what was read before is hashed and written.
pub(super) fn read_ahead(mut bytes: ByteStream) -> ByteStream {
    let (chunks, queue) = tokio::sync::mpsc::channel(4);
    tokio::spawn(async move {
        while let Some(chunk) = bytes.next().await {
            if chunks.send(chunk).await.is_err() {
                break;
            }
        }
    });
    futures::stream::unfold(queue, |mut queue| async { queue.recv().await.map(|chunk| (chunk, queue)) })
        .boxed()
}

fn padding(size: u64) -> usize {
    (size.next_multiple_of(BLOCK) - size) as usize
}

/// A tar header for a plain file that only its owner may read; a long path gets a GNU long-name record.
fn header(path: &str, size: u64, modified: DateTime<Utc>) -> Result<Vec<u8>> {
    let bad = |e: std::io::Error| Error::new(ErrorKind::Internal, "write the tar header of", path).because(e);
    let mut header = tar::Header::new_gnu();
    header.set_size(size);
    header.set_mode(0o600);
    header.set_mtime(u64::try_from(modified.timestamp()).unwrap_or(0));
    header.set_uid(0);
    header.set_gid(0);
    header.set_entry_type(tar::EntryType::Regular);
    let mut archive = tar::Builder::new(Vec::new());
    // `append_data` writes the long-name record when it is needed; the content itself is another member.
    archive.append_data(&mut header, path, std::io::empty()).map_err(bad)?;
    let mut bytes = archive.into_inner().map_err(bad)?;
    let end = 2 * BLOCK as usize;
    bytes.truncate(bytes.len() - end);
    Ok(bytes)
}

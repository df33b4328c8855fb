//! The plain artifacts of a session as files.

use std::path::{Path, PathBuf};

use futures::StreamExt;
use serde::Serialize;
use tokio::io::AsyncWriteExt;

use super::Engine;
use crate::{
    pipeline::StoreSource,
    traits::{Context, Selection, Source},
    words::{Artifact, Error, ErrorKind, Result},
};

/// A file that was extracted.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Extracted {
    /// Where it is.
    pub path: PathBuf,
    /// Its bytes.
    pub bytes: u64,
}

impl Engine {
    /// Writes the plain artifacts of a session, or of one component of it, to `folder/COMPONENT/FILE`. A file has its name only
    /// when its bytes were right to the end; nothing that is there is touched.
    /// What one store lacks or has wrong is read from another.
    /// A session that no trusted key has signed is warned of, and extracted all the same: no system is changed by it.
    ///
    /// # Errors
    /// When a file is there already, bytes are damaged, or the key to them is missing: nothing is written then.
    pub async fn extract(
        &self,
        cx: &Context,
        which: &str,
        component: Option<&str>,
        folder: &Path,
    ) -> Result<Vec<Extracted>> {
        let near = self.near_copy(cx, which, false).await?;
        let manifest = &near.manifest;
        self.warn_of_untrusted(cx, near.repository(), &near.entry).await;
        let records = match component {
            Some(name) => vec![manifest.component(name)?],
            None => manifest.components.iter().collect(),
        };
        let keys = self.keys_for(records.iter().copied()).await?;
        let mut extracted = Vec::new();
        for record in records {
            let source = near.source(record, &keys);
            let target = folder.join(&record.name);
            for artifact in &record.artifacts {
                let first = extract_one(cx, &source, artifact, &target).await;
                extracted.push(match first {
                    // Another store may have better bytes; the file has no name yet.
                    Err(error) if near.has_others(&error) => {
                        near.settle(cx, std::iter::once(record)).await?;
                        extract_one(cx, &source, artifact, &target).await?
                    }
                    first => first?,
                });
            }
        }
        Ok(extracted)
    }
}

async fn extract_one(
    cx: &Context,
    source: &StoreSource,
    artifact: &Artifact,
    folder: &Path,
) -> Result<Extracted> {
    let path = folder.join(&artifact.name);
    let subject = path.display().to_string();
    if tokio::fs::try_exists(&path).await.map_err(|e| Error::io("look at", subject.clone(), e))? {
        return Err(
            Error::new(ErrorKind::AlreadyExists, "extract to", subject).hint("choose an empty folder")
        );
    }
    let mut builder = tokio::fs::DirBuilder::new();
    builder
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .await
        .map_err(|e| Error::io("make the folder", subject.clone(), e))?;
    let scratch = tempfile::Builder::new()
        .prefix(".extract-")
        .tempfile_in(folder)
        .map_err(|e| Error::io("make a file in", folder.display().to_string(), e))?;
    let file = scratch.reopen().map_err(|e| Error::io("open", subject.clone(), e))?;
    let mut file = tokio::io::BufWriter::with_capacity(1 << 20, tokio::fs::File::from_std(file));
    let mut bytes = source.read(artifact, Selection::Whole).await?;
    while let Some(chunk) = cx.or_cancelled("extract", async { bytes.next().await.transpose() }).await? {
        file.write_all(&chunk).await.map_err(|e| Error::io("write", subject.clone(), e))?;
    }
    file.flush().await.map_err(|e| Error::io("write", subject.clone(), e))?;
    file.get_ref().sync_all().await.map_err(|e| Error::io("sync", subject.clone(), e))?;
    scratch.persist_noclobber(&path).map_err(|e| Error::io("name the file", subject, e.error))?;
    Ok(Extracted { path, bytes: artifact.plain.size })
}

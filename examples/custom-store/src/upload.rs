//! Uploads in the making.

use std::{path::PathBuf, time::Duration};

use async_trait::async_trait;
use backup_core::{
    traits::{Created, Meta, Upload},
    words::{Error, ErrorKind, Key, Result},
};
use bytes::Bytes;
use tokio::{
    fs::{self, File},
    io::AsyncWriteExt,
};

use super::{FlatStore, UNFINISHED, failed};

#[derive(Debug)]
pub(super) struct FlatUpload {
    pub(super) store: FlatStore,
    pub(super) key: Key,
    pub(super) path: PathBuf,
    pub(super) file: File,
}

#[async_trait]
impl Upload for FlatUpload {
    async fn write(&mut self, chunk: Bytes) -> Result<()> {
        self.file.write_all(&chunk).await.map_err(failed("write", &self.key))
    }

    async fn finish(mut self: Box<Self>) -> Result<Meta> {
        self.file.flush().await.map_err(failed("write", &self.key))?;
        self.file.sync_all().await.map_err(failed("write", &self.key))?;
        match self.store.publish(&self.path, &self.key).await? {
            Created::Made(meta) => Ok(meta),
            Created::Exists => Err(Error::new(ErrorKind::AlreadyExists, "store", self.key.to_string())),
        }
    }

    async fn abort(self: Box<Self>) -> Result<()> {
        // Dropping it is enough.
        Ok(())
    }
}

impl Drop for FlatUpload {
    fn drop(&mut self) {
        // A finished one has another name by now.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Removes uploads that nobody has written to for `older_than`.
pub(super) async fn clear(store: &FlatStore, older_than: Duration) -> Result<u64> {
    let root = Key::root();
    let mut entries = fs::read_dir(&store.0).await.map_err(failed("list", &root))?;
    let mut cleared = 0;
    while let Some(entry) = entries.next_entry().await.map_err(failed("list", &root))? {
        let unfinished = entry.file_name().to_string_lossy().starts_with(UNFINISHED);
        let age =
            entry.metadata().await.and_then(|about| about.modified()).ok().and_then(|at| at.elapsed().ok());
        if unfinished
            && age.is_some_and(|age| age >= older_than)
            && fs::remove_file(entry.path()).await.is_ok()
        {
            cleared += 1;
        }
    }
    Ok(cleared)
}

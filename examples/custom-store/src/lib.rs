//! A kind of store of your own: all objects in one flat folder, their keys as file names.

mod upload;

use std::{io, ops::Range, path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use backup_core::{traits::*, words::*};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::{StreamExt, TryStreamExt, stream, stream::BoxStream};
use serde_json::{Value, json};
use tokio::{
    fs::{self, File},
    io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt},
};

/// What uploads in the making are called.
const UNFINISHED: &str = ".unfinished-";

/// The folder.
#[derive(Clone, Debug)]
pub struct FlatStore(PathBuf);

fn failed(what: &str, key: &Key) -> impl Fn(io::Error) -> Error {
    let (what, key) = (what.to_owned(), key.to_string());
    move |error| Error::io(&what, &key, error)
}

impl FlatStore {
    /// A store in `folder`, which must be there.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self(folder.into())
    }

    fn path(&self, key: &Key) -> PathBuf {
        self.0.join(key.as_str().replace('%', "%25").replace('/', "%2F"))
    }

    /// A new file that no listing shows.
    async fn unfinished(&self, key: &Key) -> Result<(PathBuf, File)> {
        let path = self.0.join(format!("{UNFINISHED}{:032x}", fastrand::u128(..)));
        let file = File::create_new(&path).await.map_err(failed("write", key))?;
        Ok((path, file))
    }

    async fn written(&self, key: &Key, body: &[u8]) -> Result<PathBuf> {
        let (path, mut file) = self.unfinished(key).await?;
        file.write_all(body).await.map_err(failed("write", key))?;
        file.sync_all().await.map_err(failed("write", key))?;
        Ok(path)
    }

    /// Gives a whole file its name, unless that is taken.
    async fn publish(&self, unfinished: &PathBuf, key: &Key) -> Result<Created> {
        let linked = fs::hard_link(unfinished, self.path(key)).await;
        fs::remove_file(unfinished).await.map_err(failed("write", key))?;
        match linked {
            Ok(()) => self.head(key).await.map(Created::Made),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(Created::Exists),
            Err(e) => Err(failed("write", key)(e)),
        }
    }
}

fn meta(key: Key, found: &std::fs::Metadata) -> Meta {
    let modified = found.modified().map_or(DateTime::UNIX_EPOCH, DateTime::<Utc>::from);
    Meta::new(key, found.len(), modified)
}

#[async_trait]
impl Store for FlatStore {
    fn limits(&self) -> StoreLimits {
        StoreLimits::new(1 << 40)
    }

    async fn begin(&self, key: &Key) -> Result<Box<dyn Upload>> {
        let (path, file) = self.unfinished(key).await?;
        Ok(Box::new(upload::FlatUpload { store: self.clone(), key: key.clone(), path, file }))
    }

    async fn put(&self, key: &Key, body: Bytes) -> Result<Meta> {
        let path = self.written(key, &body).await?;
        fs::rename(path, self.path(key)).await.map_err(failed("write", key))?;
        self.head(key).await
    }

    async fn head(&self, key: &Key) -> Result<Meta> {
        let found = fs::metadata(self.path(key)).await.map_err(failed("look at", key))?;
        Ok(meta(key.clone(), &found))
    }

    async fn get(&self, key: &Key, range: Option<Range<u64>>) -> Result<(Meta, ByteStream)> {
        let meta = self.head(key).await?;
        let range = range.unwrap_or(0..meta.size);
        if range.start > range.end || range.end > meta.size {
            return Err(Error::new(ErrorKind::Truncated, "read", key.to_string())
                .detail(format!("it has {} bytes, {range:?} were asked for", meta.size)));
        }
        let mut file = File::open(self.path(key)).await.map_err(failed("read", key))?;
        file.seek(io::SeekFrom::Start(range.start)).await.map_err(failed("read", key))?;
        let part = file.take(range.end - range.start);
        let key = key.clone();
        let bytes = stream::try_unfold(part, move |mut part| {
            let key = key.clone();
            async move {
                let mut chunk = Vec::with_capacity(64 << 10);
                let read = part.read_buf(&mut chunk).await.map_err(failed("read", &key))?;
                Ok((read > 0).then(|| (Bytes::from(chunk), part)))
            }
        });
        Ok((meta, bytes.boxed()))
    }

    fn list<'a>(&'a self, prefix: &'a Key, depth: Depth) -> BoxStream<'a, Result<Meta>> {
        stream::once(self.listing(prefix, depth))
            .map_ok(|metas| stream::iter(metas).map(Ok))
            .try_flatten()
            .boxed()
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        match fs::remove_file(self.path(key)).await {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(failed("remove", key)(e)),
            _ => Ok(()),
        }
    }

    async fn clear_uploads(&self, older_than: Duration) -> Result<u64> {
        upload::clear(self, older_than).await
    }

    async fn exclusive(&self) -> Result<Option<&dyn CreateIfAbsent>> {
        Ok(Some(self))
    }
}

impl FlatStore {
    async fn listing(&self, prefix: &Key, depth: Depth) -> Result<Vec<Meta>> {
        let below = if prefix.as_str().is_empty() { String::new() } else { format!("{prefix}/") };
        let mut entries = fs::read_dir(&self.0).await.map_err(failed("list", prefix))?;
        let mut found = std::collections::BTreeMap::new();
        while let Some(entry) = entries.next_entry().await.map_err(failed("list", prefix))? {
            let name = entry.file_name().to_string_lossy().replace("%2F", "/").replace("%25", "%");
            let Some(rest) = name.strip_prefix(&below).filter(|_| !name.starts_with(UNFINISHED)) else {
                continue;
            };
            // Somebody may remove it while we look.
            let Ok(about) = entry.metadata().await else { continue };
            let one = match rest.split_once('/') {
                Some((folder, _)) if depth == Depth::Children => {
                    Meta::new(Key::new(format!("{below}{folder}"))?, 0, DateTime::UNIX_EPOCH)
                }
                _ => meta(Key::new(name)?, &about),
            };
            found.insert(one.key.to_string(), one);
        }
        Ok(found.into_values().collect())
    }
}

#[async_trait]
impl CreateIfAbsent for FlatStore {
    async fn create(&self, key: &Key, body: Bytes) -> Result<Created> {
        let unfinished = self.written(key, &body).await?;
        self.publish(&unfinished, key).await
    }
}

/// Makes the store from a section of a configuration.
#[derive(Clone, Copy, Debug)]
pub struct FlatFactory;

#[async_trait]
impl StoreFactory for FlatFactory {
    fn kind(&self) -> &'static str {
        "flat"
    }

    fn schema(&self) -> Value {
        json!({ "type": "object", "required": ["folder"], "properties": { "folder": { "type": "string" } } })
    }

    fn is_remote(&self) -> bool {
        false
    }

    async fn build(&self, section: &Node, _: &Deps) -> Result<Arc<dyn Store>> {
        let folder = section.get("folder").ok_or_else(|| section.error("folder", "it is missing"))?;
        Ok(Arc::new(FlatStore::new(folder.value().as_str().unwrap_or_default())))
    }
}

//! A folder of a file system as a store.

use std::{
    fs,
    io::{self, Read, Seek, SeekFrom, Write},
    ops::Range,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::{StreamExt, stream::BoxStream};
use tokio::sync::mpsc;

use crate::{
    traits::{
        ByteStream, CreateIfAbsent, Created, Depth, Meta, Reservation, Space, Store, StoreLimits, Upload,
    },
    words::{Error, ErrorKind, Key, Result},
};

const UPLOADS: &str = ".tmp";

/// Keys are paths below a folder. Uploads are made in `.tmp/`, synced, and linked to their name: an object is there whole or
/// not at all, and survives a power cut. Files are 0600, folders 0700.
#[derive(Clone)]
pub struct LocalStore {
    root: Arc<PathBuf>,
}

impl LocalStore {
    /// The store in `root`; the folder is made when the first object is written.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: Arc::new(root.into()) }
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn path(&self, key: &Key) -> PathBuf {
        self.root.join(key.as_str())
    }

    /// Bytes free for us, and bytes in all.
    fn measure(&self) -> Result<(u64, u64)> {
        let root = self.root.as_path();
        let stat = rustix::fs::statvfs(root)
            .map_err(|e| Error::io("measure the space of", root.display().to_string(), e.into()))?;
        // Blocks that are kept for root are neither free nor used, as df(1) reckons.
        let kept = stat.f_bfree.saturating_sub(stat.f_bavail);
        Ok((stat.f_bavail * stat.f_frsize, stat.f_blocks.saturating_sub(kept) * stat.f_frsize))
    }

    /// Runs file-system work on a thread that may block.
    async fn blocking<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&Self) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let store = self.clone();
        tokio::task::spawn_blocking(move || work(&store))
            .await
            .map_err(|e| Error::new(ErrorKind::Internal, operation, "the local store").because(e))?
    }

    /// A new file in `.tmp/` of 0600, locked while it is open: a file that can be locked by others has no writer any more.
    fn scratch_file(&self) -> Result<(fs::File, PathBuf)> {
        let folder = self.root.join(UPLOADS);
        make_folder(&folder)?;
        loop {
            let path = folder.join(unique_name());
            let failed = |e| Error::io("make the file", path.display().to_string(), e);
            match fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
                Ok(file) => {
                    file.lock().map_err(failed)?;
                    // A clean-up may have come between the two calls.
                    if file.metadata().map_err(failed)?.nlink() > 0 {
                        return Ok((file, path));
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(failed(e)),
            }
        }
    }

    /// Writes `body` durably to a scratch file.
    fn write_scratch(&self, body: &[u8]) -> Result<(fs::File, PathBuf)> {
        let (mut file, path) = self.scratch_file()?;
        let written = file.write_all(body).and_then(|()| file.sync_all());
        written.map_err(|e| {
            let _ = fs::remove_file(&path);
            Error::io("write", path.display().to_string(), e)
        })?;
        Ok((file, path))
    }

    fn meta(&self, key: &Key) -> Result<Meta> {
        let path = self.path(key);
        let found = fs::metadata(&path).map_err(|e| Error::io("look at", path.display().to_string(), e))?;
        if found.is_dir() {
            return Err(Error::new(ErrorKind::NotFound, "look at", path.display().to_string())
                .detail("it is a folder"));
        }
        Ok(meta_of(key.clone(), &found))
    }

    /// Gives the scratch file its name unless that is taken; the scratch name is gone afterwards.
    fn publish(&self, scratch: &Path, key: &Key) -> Result<Created> {
        let path = self.path(key);
        let folder = path.parent().unwrap_or(&self.root);
        make_folder(folder)?;
        // A link fails where something is; a rename would replace it.
        let linked = fs::hard_link(scratch, &path);
        let _ = fs::remove_file(scratch);
        match linked {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Ok(Created::Exists),
            Err(e) => return Err(Error::io("name the file", path.display().to_string(), e)),
        }
        sync_folder(folder)?;
        self.meta(key).map(Created::Made)
    }
}

impl std::fmt::Debug for LocalStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the folder {}", self.root.display())
    }
}

fn meta_of(key: Key, found: &fs::Metadata) -> Meta {
    let modified = DateTime::from_timestamp(found.mtime(), u32::try_from(found.mtime_nsec()).unwrap_or(0));
    Meta::new(key, found.len(), modified.unwrap_or(DateTime::<Utc>::UNIX_EPOCH))
}

fn make_folder(folder: &Path) -> Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|e| Error::io("make the folder", folder.display().to_string(), e))?;
    folder.parent().map_or(Ok(()), sync_folder)
}

/// Makes new and removed names of a folder durable.
fn sync_folder(folder: &Path) -> Result<()> {
    fs::File::open(folder)
        .and_then(|opened| opened.sync_all())
        .map_err(|e| Error::io("sync the folder", folder.display().to_string(), e))
}

/// Unique among the processes that share the folder.
fn unique_name() -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let nanos = Utc::now().timestamp_nanos_opt().unwrap_or(0);
    format!("upload-{}-{nanos:x}-{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed))
}

#[async_trait]
impl Store for LocalStore {
    fn limits(&self) -> StoreLimits {
        StoreLimits::new(u64::MAX)
    }

    async fn begin(&self, key: &Key) -> Result<Box<dyn Upload>> {
        let key = key.clone();
        self.blocking("begin", move |store| {
            let (file, path) = store.scratch_file()?;
            let upload = LocalUpload {
                store: store.clone(),
                key,
                file: Some(file),
                scratch: Some(path),
                synced: 0,
                syncing: None,
                size: 0,
            };
            Ok(Box::new(upload) as Box<dyn Upload>)
        })
        .await
    }

    async fn put(&self, key: &Key, body: Bytes) -> Result<Meta> {
        let key = key.clone();
        self.blocking("put", move |store| {
            let (_locked, scratch) = store.write_scratch(&body)?;
            let path = store.path(&key);
            let folder = path.parent().unwrap_or(&store.root);
            make_folder(folder)?;
            fs::rename(&scratch, &path)
                .map_err(|e| Error::io("name the file", path.display().to_string(), e))?;
            sync_folder(folder)?;
            store.meta(&key)
        })
        .await
    }

    async fn head(&self, key: &Key) -> Result<Meta> {
        let key = key.clone();
        self.blocking("look at", move |store| store.meta(&key)).await
    }

    async fn get(&self, key: &Key, range: Option<Range<u64>>) -> Result<(Meta, ByteStream)> {
        let key = key.clone();
        self.blocking("read", move |store| {
            let meta = store.meta(&key)?;
            let path = store.path(&key);
            let range = range.unwrap_or(0..meta.size);
            if range.start > range.end || range.end > meta.size {
                return Err(Error::new(ErrorKind::Truncated, "read", path.display().to_string()).detail(
                    format!("it has {} bytes, {}..{} were asked for", meta.size, range.start, range.end),
                ));
            }
            let mut file =
                fs::File::open(&path).map_err(|e| Error::io("open", path.display().to_string(), e))?;
            if range.end - range.start <= SMALL {
                let body = read_range(&mut file, &range)
                    .map_err(|e| Error::io("read", path.display().to_string(), e))?;
                return Ok((meta, futures::stream::iter([Ok(body)]).boxed()));
            }
            let (chunks, queue) = mpsc::channel(4);
            tokio::task::spawn_blocking(move || {
                if let Err(e) = send_range(file, &range, &chunks) {
                    let _ = chunks.blocking_send(Err(Error::io("read", path.display().to_string(), e)));
                }
            });
            let bytes = futures::stream::unfold(queue, |mut queue| async {
                queue.recv().await.map(|item| (item, queue))
            });
            Ok((meta, bytes.boxed()))
        })
        .await
    }

    fn list<'a>(&'a self, prefix: &'a Key, depth: Depth) -> BoxStream<'a, Result<Meta>> {
        let (metas, queue) = mpsc::channel(256);
        let (store, prefix) = (self.clone(), prefix.clone());
        tokio::task::spawn_blocking(move || {
            if let Err(error) = walk(&store.path(&prefix), &prefix, depth, &metas) {
                let _ = metas.blocking_send(Err(error));
            }
        });
        futures::stream::unfold(queue, |mut queue| async { queue.recv().await.map(|item| (item, queue)) })
            .boxed()
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        let key = key.clone();
        self.blocking("remove", move |store| {
            let path = store.path(&key);
            match fs::remove_file(&path) {
                Ok(()) => {}
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
                Err(e) => return Err(Error::io("remove", path.display().to_string(), e)),
            }
            // Folders are not objects: an empty one has no reason to stay.
            let mut folder = path.parent();
            while let Some(empty) = folder.filter(|folder| *folder != store.root.as_path()) {
                if fs::remove_dir(empty).is_err() {
                    break;
                }
                folder = empty.parent();
            }
            Ok(())
        })
        .await
    }

    async fn clear_uploads(&self, older_than: Duration) -> Result<u64> {
        self.blocking("clear uploads", move |store| clear_uploads(&store.root.join(UPLOADS), older_than))
            .await
    }

    async fn exclusive(&self) -> Result<Option<&dyn CreateIfAbsent>> {
        Ok(Some(self))
    }

    fn space(&self) -> Option<&dyn Space> {
        Some(self)
    }
}

/// What is read at once, without a stream of chunks: manifests, by the thousand.
const SMALL: u64 = 64 << 10;

fn read_range(file: &mut fs::File, range: &Range<u64>) -> io::Result<Bytes> {
    file.seek(SeekFrom::Start(range.start))?;
    let mut buffer = vec![0; (range.end - range.start) as usize];
    file.read_exact(&mut buffer)?;
    Ok(buffer.into())
}

fn send_range(
    mut file: fs::File,
    range: &Range<u64>,
    chunks: &mpsc::Sender<Result<Bytes>>,
) -> io::Result<()> {
    const READ: u64 = 512 << 10;
    let mut at = range.start;
    while at < range.end {
        let next = range.end.min(at + READ);
        if chunks.blocking_send(Ok(read_range(&mut file, &(at..next))?)).is_err() {
            break;
        }
        at = next;
    }
    Ok(())
}

fn walk(folder: &Path, prefix: &Key, depth: Depth, metas: &mpsc::Sender<Result<Meta>>) -> Result<()> {
    let failed = |path: &Path, e: io::Error| Error::io("list", path.display().to_string(), e);
    let mut folders = vec![(folder.to_owned(), prefix.clone())];
    while let Some((path, key)) = folders.pop() {
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(e) => return Err(failed(&path, e)),
        };
        for entry in entries {
            let entry = entry.map_err(|e| failed(&path, e))?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            // Uploads in the making, and names that no key can have, are not objects.
            let Ok(child) = key.join(name) else { continue };
            if child.as_str() == UPLOADS {
                continue;
            }
            let found = match entry.metadata() {
                Ok(found) => found,
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(e) => return Err(failed(&entry.path(), e)),
            };
            if found.is_dir() && depth == Depth::All {
                folders.push((entry.path(), child));
                continue;
            }
            let mut meta = meta_of(child, &found);
            if found.is_dir() {
                meta.size = 0;
            }
            if metas.blocking_send(Ok(meta)).is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn clear_uploads(folder: &Path, older_than: Duration) -> Result<u64> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(e) => return Err(Error::io("list", folder.display().to_string(), e)),
    };
    let mut removed = 0;
    for entry in entries.flatten() {
        let age = entry.metadata().and_then(|found| found.modified()).ok().and_then(|at| at.elapsed().ok());
        // Where locks do not reach the writer's host, age decides.
        let old = age.is_some_and(|age| age >= older_than);
        if remove_unlocked(&entry.path()) || (old && fs::remove_file(entry.path()).is_ok()) {
            removed += 1;
        }
    }
    Ok(removed)
}

/// True when nobody writes to the file any more; it is then removed.
fn remove_unlocked(path: &Path) -> bool {
    let Ok(file) = fs::File::open(path) else { return false };
    file.try_lock().is_ok() && fs::remove_file(path).is_ok()
}

#[async_trait]
impl CreateIfAbsent for LocalStore {
    async fn create(&self, key: &Key, body: Bytes) -> Result<Created> {
        let key = key.clone();
        self.blocking("create", move |store| {
            let (_locked, scratch) = store.write_scratch(&body)?;
            store.publish(&scratch, &key)
        })
        .await
    }
}

#[async_trait]
impl Space for LocalStore {
    async fn space(&self) -> Result<(u64, u64)> {
        self.blocking("measure", |store| store.measure()).await
    }

    async fn reserve(&self, bytes: u64) -> Result<Box<dyn Reservation>> {
        self.blocking("reserve", move |store| {
            let root = || store.root.display().to_string();
            let (file, path) = store.scratch_file()?;
            let reserved = LocalReservation { path, file };
            // Some file systems take all that there is before they say that it is not enough, and whoever writes meanwhile fails.
            let (free, _) = store.measure()?;
            if free < bytes {
                return Err(Error::new(ErrorKind::NoSpace, "reserve space in", root())
                    .detail(format!("{free} bytes are free, {bytes} are needed")));
            }
            rustix::fs::fallocate(&reserved.file, rustix::fs::FallocateFlags::empty(), 0, bytes)
                .map_err(|e| Error::io("reserve space in", root(), e.into()))?;
            Ok(Box::new(reserved) as Box<dyn Reservation>)
        })
        .await
    }
}

#[derive(Debug)]
struct LocalReservation {
    path: PathBuf,
    file: fs::File,
}

impl Reservation for LocalReservation {}

impl Drop for LocalReservation {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

#[derive(Debug)]
struct LocalUpload {
    store: LocalStore,
    key: Key,
    file: Option<fs::File>,
    scratch: Option<PathBuf>,
    synced: u64,
    syncing: Option<tokio::task::JoinHandle<io::Result<()>>>,
    size: u64,
}

impl LocalUpload {
    /// Lets the disk work while more bytes are made: a single sync at the end would wait for all of it.
    const SYNC_EVERY: u64 = 16 << 20;

    /// Begins to sync what was written, beside the writing.
    async fn write_back(&mut self) -> Result<()> {
        let busy = self.syncing.as_ref().is_some_and(|syncing| !syncing.is_finished());
        if self.size - self.synced < Self::SYNC_EVERY || busy {
            return Ok(());
        }
        self.wait_for_sync().await?;
        if let Some(Ok(file)) = self.file.as_ref().map(fs::File::try_clone) {
            self.synced = self.size;
            self.syncing = Some(tokio::task::spawn_blocking(move || file.sync_data()));
        }
        Ok(())
    }

    /// The kernel tells of a failed sync once only, to whoever asked first: its answer must not be lost.
    async fn wait_for_sync(&mut self) -> Result<()> {
        match self.syncing.take() {
            Some(syncing) => match syncing.await {
                Ok(synced) => synced.map_err(|e| Error::io("sync", self.key.to_string(), e)),
                Err(e) => Err(Error::new(ErrorKind::Internal, "sync", self.key.to_string()).because(e)),
            },
            None => Ok(()),
        }
    }
}

#[async_trait]
impl Upload for LocalUpload {
    async fn write(&mut self, chunk: Bytes) -> Result<()> {
        let gone = || Error::new(ErrorKind::Internal, "write", "an upload that failed before");
        let mut file = self.file.take().ok_or_else(gone)?;
        let path = self.scratch.clone().ok_or_else(gone)?;
        self.size += chunk.len() as u64;
        self.file = Some(
            self.store
                .blocking("write", move |_| {
                    file.write_all(&chunk).map_err(|e| Error::io("write", path.display().to_string(), e))?;
                    Ok(file)
                })
                .await?,
        );
        self.write_back().await
    }

    async fn finish(mut self: Box<Self>) -> Result<Meta> {
        let gone = || Error::new(ErrorKind::Internal, "finish", "an upload that failed before");
        self.wait_for_sync().await?;
        let file = self.file.take().ok_or_else(gone)?;
        let scratch = self.scratch.take().ok_or_else(gone)?;
        let key = self.key.clone();
        self.store
            .blocking("finish", move |store| {
                let synced = file.sync_all();
                if let Err(e) = synced {
                    let _ = fs::remove_file(&scratch);
                    return Err(Error::io("sync", scratch.display().to_string(), e));
                }
                match store.publish(&scratch, &key)? {
                    Created::Made(meta) => Ok(meta),
                    Created::Exists => Err(Error::new(ErrorKind::AlreadyExists, "store", key.to_string())
                        .detail("an object is there; objects are never rewritten")),
                }
            })
            .await
    }

    async fn abort(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

impl Drop for LocalUpload {
    fn drop(&mut self) {
        if let Some(scratch) = self.scratch.take() {
            let _ = fs::remove_file(scratch);
        }
    }
}

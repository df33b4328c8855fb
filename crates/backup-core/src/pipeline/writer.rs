//! One artifact's way into the store.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use tokio::{sync::mpsc, task::JoinHandle};

use super::codec::{CHUNK, CodecPool, Packing};
use crate::{
    traits::{ArtifactSpec, EndEvidence, Event, Receipt, Store, Upload, Writer},
    words::{Artifact, Digest, Error, ErrorKind, Hasher, Key, Part, Result, Volume},
};

use super::sink::Reporter;

/// Where an artifact's volumes go.
#[derive(Clone, Debug)]
pub struct Destination {
    /// The store.
    pub store: std::sync::Arc<dyn Store>,
    /// The first volume's key; further ones get `.001`, `.002`, ...
    pub key: Key,
    /// The largest volume in bytes.
    pub volume_bytes: u64,
}

/// What was stored.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    /// The objects, in order.
    pub volumes: Vec<Volume>,
    /// For each chunk, where its member begins in the joined stream.
    pub offsets: Vec<u64>,
}

enum Item {
    Chunk(Packing),
    End,
}

struct PartInMaking {
    name: String,
    start: u64,
    first_chunk: usize,
    hasher: Hasher,
}

/// Hashes, compresses and stores one artifact; the engine's [`Writer`].
pub struct ArtifactWriter {
    spec: ArtifactSpec,
    plain_name: String,
    pool: CodecPool,
    reporter: Reporter,
    buffer: BytesMut,
    whole: Hasher,
    parts: Vec<PartInMaking>,
    chunks: usize,
    queue: mpsc::Sender<Item>,
    /// Taken by whoever learns how it ended.
    storing: Option<JoinHandle<Result<Stored>>>,
    reported: Option<Instant>,
}

impl ArtifactWriter {
    /// Begins the artifact whose plain file is called `plain_name`.
    pub(crate) fn begin(
        spec: ArtifactSpec,
        plain_name: String,
        destination: Destination,
        pool: CodecPool,
        reporter: Reporter,
    ) -> Self {
        // The pool bounds the chunks in memory; the queue only keeps their order.
        let (queue, items) = mpsc::channel(64);
        let storing = tokio::spawn(store_in_order(destination, items, reporter.clone()));
        Self {
            spec,
            plain_name,
            pool,
            reporter,
            buffer: BytesMut::new(),
            whole: Hasher::new(),
            parts: Vec::new(),
            chunks: 0,
            queue,
            storing: Some(storing),
            reported: None,
        }
    }

    async fn flush(&mut self) -> Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let chunk = self.buffer.split().freeze();
        self.chunks += 1;
        let packing = self.pool.submit(chunk).await;
        if self.queue.send(Item::Chunk(packing)).await.is_err() {
            return Err(self.store_error().await);
        }
        Ok(())
    }

    /// How the storing task ended.
    async fn stored(&mut self) -> Result<Stored> {
        let internal = || Error::new(ErrorKind::Internal, "store", self.plain_name.clone());
        match self.storing.take() {
            Some(storing) => storing.await.unwrap_or_else(|panic| Err(internal().because(panic))),
            None => Err(internal().detail("it had failed before, and was written to again")),
        }
    }

    /// Why the storing task ended early.
    async fn store_error(&mut self) -> Error {
        match self.stored().await {
            Err(error) => error,
            Ok(_) => Error::new(ErrorKind::Internal, "store", self.plain_name.clone()).detail("ended early"),
        }
    }

    fn report(&mut self) {
        if self.reported.is_none_or(|last| last.elapsed() >= Duration::from_millis(250)) {
            self.reported = Some(Instant::now());
            self.reporter.progress(&self.plain_name, self.whole.size(), self.spec.expected);
        }
    }

    fn take_part_results(&mut self, offsets: &[u64], total: u64) -> Vec<Part> {
        let parts = std::mem::take(&mut self.parts);
        let build = |part: PartInMaking| Part {
            name: part.name,
            start: part.start,
            // An empty last part begins where the stream ends.
            offset: offsets.get(part.first_chunk).copied().unwrap_or(total),
            plain: part.hasher.finish(),
        };
        parts.into_iter().map(build).collect()
    }
}

#[async_trait]
impl Writer for ArtifactWriter {
    async fn write(&mut self, chunk: Bytes) -> Result<()> {
        let mut rest = &chunk[..];
        while !rest.is_empty() {
            self.buffer.reserve(CHUNK - self.buffer.len());
            let (now, later) = rest.split_at(rest.len().min(CHUNK - self.buffer.len()));
            self.whole.update(now);
            if let Some(part) = self.parts.last_mut() {
                part.hasher.update(now);
            }
            self.buffer.extend_from_slice(now);
            rest = later;
            if self.buffer.len() == CHUNK {
                self.flush().await?;
            }
        }
        self.report();
        Ok(())
    }

    async fn part(&mut self, name: &str) -> Result<()> {
        let misuse = |detail: &str| {
            Err(Error::new(ErrorKind::Internal, "begin the part", format!("{name} of {}", self.plain_name))
                .detail(detail))
        };
        if self.parts.is_empty() && self.whole.size() > 0 {
            return misuse("bytes stand before the first part");
        }
        if self.parts.iter().any(|part| part.name == name) {
            return misuse("the name was used before");
        }
        self.flush().await?;
        self.parts.push(PartInMaking {
            name: name.to_owned(),
            start: self.whole.size(),
            first_chunk: self.chunks,
            hasher: Hasher::new(),
        });
        Ok(())
    }

    async fn finish(mut self: Box<Self>, end: EndEvidence) -> Result<Receipt> {
        let plain = self.whole.clone().finish();
        compare(&self.plain_name, &plain, &end)?;
        if plain.size == 0 {
            // Even nothing is a valid gzip file or zstd frame.
            let packing = self.pool.submit(Bytes::new()).await;
            if self.queue.send(Item::Chunk(packing)).await.is_err() {
                return Err(self.store_error().await);
            }
        }
        self.flush().await?;
        if self.queue.send(Item::End).await.is_err() {
            return Err(self.store_error().await);
        }
        let stored = self.stored().await?;
        let total = stored.volumes.iter().map(|volume| volume.stored.size).sum();
        self.reporter.progress(&self.plain_name, plain.size, Some(plain.size));
        let parts = self.take_part_results(&stored.offsets, total);
        let artifact = Artifact {
            name: self.plain_name,
            suffix: self.spec.name.suffix,
            media_type: self.spec.media_type,
            plain,
            codec: self.pool.compression().codec,
            volumes: stored.volumes,
            parts,
            needs: self.spec.needs,
            evidence: end.claims,
        };
        self.reporter.finished(&artifact);
        Ok(Receipt { artifact })
    }

    async fn abort(self: Box<Self>) {
        drop(self.queue);
        // The storing task sees the queue end without `End` and aborts its upload.
        if let Some(storing) = self.storing
            && let Ok(Err(error)) = storing.await
            && error.kind() != ErrorKind::Cancelled
        {
            tracing::debug!(artifact = %self.plain_name, error = %error.chain(), "the aborted artifact had failed already");
        }
    }
}

impl std::fmt::Debug for ArtifactWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ArtifactWriter({}, {} B)", self.plain_name, self.whole.size())
    }
}

fn compare(name: &str, plain: &Digest, end: &EndEvidence) -> Result<()> {
    let disagree = |what: &str, said: String, read: String| {
        Err(Error::new(ErrorKind::Truncated, "finish the artifact", name)
            .detail(format!("the source said {what} {said}, what was read has {read}"))
            .hint("run the backup again; if it stays so, something between the source and here drops or changes bytes"))
    };
    match (end.bytes, &end.sha256) {
        (Some(bytes), _) if bytes != plain.size => {
            disagree("size", bytes.to_string(), plain.size.to_string())
        }
        (_, Some(sha256)) if *sha256 != plain.sha256 => {
            disagree("sha256", sha256.clone(), plain.sha256.clone())
        }
        _ => Ok(()),
    }
}

/// Takes compressed chunks in order and writes them to volumes.
async fn store_in_order(
    destination: Destination,
    mut items: mpsc::Receiver<Item>,
    reporter: Reporter,
) -> Result<Stored> {
    let mut volumes = VolumeWriter::new(destination);
    loop {
        let step = match items.recv().await {
            Some(Item::Chunk(packing)) => match packing.await {
                Ok(Ok(packed)) => {
                    reporter.stored(packed.bytes.len() as u64);
                    volumes.write(packed.bytes).await
                }
                Ok(Err(error)) => Err(error),
                Err(panic) => Err(Error::new(ErrorKind::Internal, "compress", "a chunk").because(panic)),
            },
            Some(Item::End) => return volumes.finish().await,
            None => Err(Error::cancelled("store the artifact")),
        };
        if let Err(error) = step {
            items.close();
            volumes.abort().await;
            return Err(error);
        }
    }
}

/// Writes a stream into as many objects as the store's limit demands.
pub(crate) struct VolumeWriter {
    destination: Destination,
    open: Option<(Box<dyn Upload>, Key, Hasher)>,
    stored: Stored,
    written: u64,
}

impl VolumeWriter {
    pub(crate) fn new(destination: Destination) -> Self {
        Self { destination, open: None, stored: Stored::default(), written: 0 }
    }

    /// Writes one member or frame.
    pub(crate) async fn write(&mut self, member: Bytes) -> Result<()> {
        self.stored.offsets.push(self.written);
        self.append(member).await
    }

    /// Writes bytes that continue the last member.
    pub(crate) async fn append(&mut self, mut bytes: Bytes) -> Result<()> {
        self.written += bytes.len() as u64;
        while !bytes.is_empty() {
            if self.open.as_ref().is_some_and(|(_, _, hasher)| hasher.size() >= self.destination.volume_bytes)
            {
                self.close_volume().await?;
            }
            if self.open.is_none() {
                let number = self.stored.volumes.len();
                let key = volume_key(&self.destination.key, number)?;
                self.open = Some((self.destination.store.begin(&key).await?, key, Hasher::new()));
            }
            let Some((upload, _, hasher)) = &mut self.open else { continue };
            let room = self.destination.volume_bytes.saturating_sub(hasher.size());
            let now = bytes.split_to(usize::try_from(room).unwrap_or(usize::MAX).min(bytes.len()));
            hasher.update(&now);
            upload.write(now).await?;
        }
        Ok(())
    }

    async fn close_volume(&mut self) -> Result<()> {
        if let Some((upload, key, hasher)) = self.open.take() {
            let stored = hasher.finish();
            let meta = upload.finish().await?;
            let volume = Volume { key, stored };
            if meta.size != volume.stored.size {
                return Err(Error::new(ErrorKind::Corrupt, "store", volume.key.to_string()).detail(format!(
                    "{} bytes were written, the store has {}",
                    volume.stored.size, meta.size
                )));
            }
            self.stored.volumes.push(volume);
        }
        Ok(())
    }

    pub(crate) async fn finish(mut self) -> Result<Stored> {
        self.close_volume().await?;
        Ok(self.stored)
    }

    /// Drops the open upload and removes the volumes that were finished.
    pub(crate) async fn abort(self) {
        if let Some((upload, key, _)) = self.open
            && let Err(error) = upload.abort().await
        {
            tracing::warn!(%key, error = %error.chain(), "could not drop the upload; a later clean-up will");
        }
        for volume in self.stored.volumes {
            if let Err(error) = self.destination.store.delete(&volume.key).await {
                tracing::warn!(key = %volume.key, error = %error.chain(), "could not remove the volume; a later clean-up will");
            }
        }
    }
}

/// `NAME`, `NAME.001`, `NAME.002`, ...
fn volume_key(first: &Key, number: usize) -> Result<Key> {
    if number == 0 { Ok(first.clone()) } else { Key::new(format!("{first}.{number:03}")) }
}

impl Reporter {
    fn progress(&self, artifact: &str, bytes: u64, expected: Option<u64>) {
        self.observer.event(Event::Progress {
            component: self.component.clone(),
            artifact: artifact.to_owned(),
            bytes,
            stored_bytes: self.stored_bytes(),
            expected,
        });
    }
}

//! One artifact's way into the store.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_util::task::AbortOnDropHandle;

use super::{
    codec::{CHUNK, CodecPool, Packing},
    crypt::Seal,
    sink::Reporter,
    volumes::{Destination, Stored, VolumeWriter},
};
use crate::{
    traits::{ArtifactSpec, EndEvidence, Event, Receipt, Writer},
    words::{Artifact, Digest, Error, ErrorKind, Hasher, Part, Result},
};

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

/// Hashes, compresses, encrypts and stores one artifact; the engine's [`Writer`].
pub struct ArtifactWriter {
    spec: ArtifactSpec,
    plain_name: String,
    pool: CodecPool,
    recipients: Vec<String>,
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
        seal: Option<&Seal>,
        pool: CodecPool,
        reporter: Reporter,
    ) -> Result<Self> {
        // The pool bounds the chunks in memory; the queue only keeps their order.
        let (queue, items) = mpsc::channel(64);
        let volumes = VolumeWriter::new(destination, seal)?;
        let storing = reporter.storing.spawn(store_in_order(volumes, items, reporter.clone()));
        Ok(Self {
            spec,
            plain_name,
            pool,
            recipients: seal.map(Seal::recipients).unwrap_or_default(),
            reporter,
            buffer: BytesMut::new(),
            whole: Hasher::new(),
            parts: Vec::new(),
            chunks: 0,
            queue,
            storing: Some(storing),
            reported: None,
        })
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
            // Whoever no longer waits for the end no longer wants it: an object must not appear after that.
            Some(storing) => {
                AbortOnDropHandle::new(storing).await.unwrap_or_else(|panic| Err(internal().because(panic)))
            }
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

    fn take_part_results(&mut self, stored: &Stored) -> Vec<Part> {
        let parts = std::mem::take(&mut self.parts);
        let build = |part: PartInMaking| Part {
            name: part.name,
            start: part.start,
            // An empty last part begins where the stream ends.
            offset: stored.offsets.get(part.first_chunk).copied().unwrap_or(stored.packed),
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
        self.reporter.progress(&self.plain_name, plain.size, Some(plain.size));
        let parts = self.take_part_results(&stored);
        let artifact = Artifact {
            name: self.plain_name,
            suffix: self.spec.name.suffix,
            media_type: self.spec.media_type,
            plain,
            codec: self.pool.compression().codec,
            recipients: self.recipients,
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
    mut volumes: VolumeWriter,
    mut items: mpsc::Receiver<Item>,
    reporter: Reporter,
) -> Result<Stored> {
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

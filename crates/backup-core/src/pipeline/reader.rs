//! From stored objects back to plain, checked bytes.

use std::{
    io::{self, Read},
    sync::Arc,
};

use async_trait::async_trait;
use bytes::{Buf, Bytes};
use futures::{StreamExt, stream};
use tokio::sync::mpsc;

use crate::{
    traits::{ByteStream, Selection, Source, Store},
    words::{Artifact, Codec, ComponentRecord, Digest, Error, ErrorKind, Hasher, Part, Result, Volume},
};

/// One component of a session, read from a store.
#[derive(Clone, Debug)]
pub struct StoreSource {
    store: Arc<dyn Store>,
    record: Arc<ComponentRecord>,
}

impl StoreSource {
    /// Reads what `record` names from `store`.
    pub fn new(store: Arc<dyn Store>, record: ComponentRecord) -> Self {
        Self { store, record: Arc::new(record) }
    }
}

#[async_trait]
impl Source for StoreSource {
    fn record(&self) -> &ComponentRecord {
        &self.record
    }

    async fn read(&self, artifact: &Artifact, what: Selection<'_>) -> Result<ByteStream> {
        match what {
            Selection::Whole => Ok(read_artifact(self.store.clone(), artifact.clone())),
            Selection::Part(name) => {
                let index = artifact.parts.iter().position(|part| part.name == name).ok_or_else(|| {
                    let names: Vec<&str> = artifact.parts.iter().map(|part| part.name.as_str()).collect();
                    Error::new(ErrorKind::NotFound, "find the part", format!("{name} of {}", artifact.name))
                        .hint(format!("it has: {}", names.join(", ")))
                })?;
                Ok(read_part(self.store.clone(), artifact.clone(), index))
            }
        }
    }
}

/// All plain bytes of `artifact`. Ends with an error when stored or plain bytes are not those of the manifest.
pub fn read_artifact(store: Arc<dyn Store>, artifact: Artifact) -> ByteStream {
    let packed = checked_volumes(store, artifact.volumes.clone());
    decode(packed, &artifact, artifact.name.clone(), artifact.plain.clone(), artifact.parts.clone())
}

fn read_part(store: Arc<dyn Store>, artifact: Artifact, index: usize) -> ByteStream {
    let part = artifact.parts[index].clone();
    if part.plain.size == 0 {
        // An empty part has no member of its own.
        return stream::empty().boxed();
    }
    let end = artifact.parts.get(index + 1).map_or(artifact.stored_bytes(), |next| next.offset);
    let packed = range_of_volumes(store, &artifact.volumes, part.offset, end);
    decode(packed, &artifact, format!("{} of {}", part.name, artifact.name), part.plain, Vec::new())
}

/// The stored bytes of all volumes, each checked against its size and hash when it ends.
pub(crate) fn checked_volumes(store: Arc<dyn Store>, volumes: Vec<Volume>) -> ByteStream {
    let streams = volumes.into_iter().map(move |volume| checked_volume(store.clone(), volume));
    stream::iter(streams).flatten().boxed()
}

fn checked_volume(store: Arc<dyn Store>, volume: Volume) -> ByteStream {
    struct State {
        bytes: ByteStream,
        hasher: Hasher,
        volume: Volume,
    }
    let opened = async move {
        let (_, bytes) = store.get(&volume.key, None).await?;
        let state = State { bytes, hasher: Hasher::new(), volume };
        let checked = stream::try_unfold(Some(state), |state| async move {
            let Some(mut state) = state else { return Ok(None) };
            match state.bytes.next().await.transpose()? {
                Some(chunk) => {
                    state.hasher.update(&chunk);
                    Ok(Some((chunk, Some(state))))
                }
                None => {
                    same_digest(state.volume.key.as_str(), &state.volume.stored, &state.hasher.finish())?;
                    Ok(None)
                }
            }
        });
        Ok::<_, Error>(checked.boxed())
    };
    stream::once(opened).map(flatten_result).flatten().boxed()
}

fn flatten_result(opened: Result<ByteStream>) -> ByteStream {
    match opened {
        Ok(bytes) => bytes,
        Err(error) => stream::once(async move { Err(error) }).boxed(),
    }
}

/// Stored bytes `from..to` of the joined volumes.
fn range_of_volumes(store: Arc<dyn Store>, volumes: &[Volume], from: u64, to: u64) -> ByteStream {
    let mut wanted = Vec::new();
    let mut begin = 0;
    for volume in volumes {
        let end = begin + volume.stored.size;
        let range = from.max(begin)..to.min(end);
        if range.start < range.end {
            wanted.push((volume.key.clone(), range.start - begin..range.end - begin));
        }
        begin = end;
    }
    stream::iter(wanted)
        .then(move |(key, range)| {
            let store = store.clone();
            async move { store.get(&key, Some(range)).await.map(|(_, bytes)| bytes) }
        })
        .map(flatten_result)
        .flatten()
        .boxed()
}

/// Compares, with the error that says what it means.
pub(crate) fn same_digest(subject: &str, expected: &Digest, found: &Digest) -> Result<()> {
    if expected == found {
        return Ok(());
    }
    let (kind, detail) = if expected.size == found.size {
        (ErrorKind::Corrupt, format!("sha256 is {}, the manifest says {}", found.sha256, expected.sha256))
    } else {
        let kind = if found.size < expected.size { ErrorKind::Truncated } else { ErrorKind::Corrupt };
        (kind, format!("{} bytes, the manifest says {}", found.size, expected.size))
    };
    Err(Error::new(kind, "read", subject)
        .detail(detail)
        .hint("these bytes are damaged: use another session or another copy, and look at the disk"))
}

/// Decompresses `packed` on a thread of its own and checks the plain bytes against `expected` and those of `parts`.
fn decode(
    mut packed: ByteStream,
    artifact: &Artifact,
    subject: String,
    expected: Digest,
    parts: Vec<Part>,
) -> ByteStream {
    let (input, queue) = mpsc::channel::<Bytes>(4);
    let (output, plain) = mpsc::channel::<Result<Bytes>>(4);
    let feeding_errors = output.clone();
    tokio::spawn(async move {
        while let Some(chunk) = packed.next().await {
            match chunk {
                Ok(chunk) => {
                    if input.send(chunk).await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    // The receiver may be gone: then nobody wants to know. Sent before the input ends, so it comes first.
                    let _ = feeding_errors.send(Err(error)).await;
                    return;
                }
            }
        }
    });
    let codec = artifact.codec;
    tokio::task::spawn_blocking(move || {
        let input = QueueReader { queue, chunk: Bytes::new() };
        let checks = PlainChecks { subject, expected, whole: Hasher::new(), parts, part: None };
        if let Err(error) = decode_blocking(codec, input, checks, &output) {
            let _ = output.blocking_send(Err(error));
        }
    });
    stream::unfold(Some(plain), |plain| async move {
        let mut plain = plain?;
        let item = plain.recv().await?;
        // Nothing after an error counts.
        let rest = if item.is_ok() { Some(plain) } else { None };
        Some((item, rest))
    })
    .boxed()
}

struct PlainChecks {
    subject: String,
    expected: Digest,
    whole: Hasher,
    parts: Vec<Part>,
    part: Option<Hasher>,
}

impl PlainChecks {
    fn update(&mut self, mut bytes: &[u8]) -> Result<()> {
        let mut at = self.whole.size();
        self.whole.update(bytes);
        while !bytes.is_empty() && !self.parts.is_empty() {
            let left = self.parts[0].start + self.parts[0].plain.size - at;
            let take = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
            self.part.get_or_insert_with(Hasher::new).update(&bytes[..take]);
            at += take as u64;
            bytes = &bytes[take..];
            if take as u64 == left {
                self.end_part()?;
            }
        }
        Ok(())
    }

    fn end_part(&mut self) -> Result<()> {
        let part = self.parts.remove(0);
        let found = self.part.take().unwrap_or_default().finish();
        same_digest(&format!("{} of {}", part.name, self.subject), &part.plain, &found)
    }

    fn finish(self) -> Result<()> {
        same_digest(&self.subject, &self.expected, &self.whole.finish())
    }
}

fn decode_blocking(
    codec: Codec,
    input: QueueReader,
    mut checks: PlainChecks,
    output: &mpsc::Sender<Result<Bytes>>,
) -> Result<()> {
    let mut decoder: Box<dyn Read> = match codec {
        Codec::None => Box::new(input),
        Codec::Gzip => {
            Box::new(flate2::bufread::MultiGzDecoder::new(io::BufReader::with_capacity(64 << 10, input)))
        }
        Codec::Zstd => Box::new(
            zstd::Decoder::new(input).map_err(|e| Error::io("decompress", checks.subject.clone(), e))?,
        ),
    };
    loop {
        let mut buffer = vec![0; 256 << 10];
        let mut filled = 0;
        while filled < buffer.len() {
            match decoder.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(bad_stream(&checks.subject, e)),
            }
        }
        if filled == 0 {
            return checks.finish();
        }
        buffer.truncate(filled);
        checks.update(&buffer)?;
        if checks.whole.size() > checks.expected.size {
            return checks.finish();
        }
        if output.blocking_send(Ok(buffer.into())).is_err() {
            return Ok(());
        }
    }
}

fn bad_stream(subject: &str, source: io::Error) -> Error {
    let kind =
        if source.kind() == io::ErrorKind::UnexpectedEof { ErrorKind::Truncated } else { ErrorKind::Corrupt };
    Error::new(kind, "decompress", subject)
        .hint("these bytes are damaged: use another session or another copy, and look at the disk")
        .because(source)
}

/// Reads what an async task sends.
struct QueueReader {
    queue: mpsc::Receiver<Bytes>,
    chunk: Bytes,
}

impl Read for QueueReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() {
            match self.queue.blocking_recv() {
                Some(chunk) => self.chunk = chunk,
                None => return Ok(0),
            }
        }
        let size = buffer.len().min(self.chunk.len());
        self.chunk.copy_to_slice(&mut buffer[..size]);
        Ok(size)
    }
}

//! A step of reading that blocks, between two streams.

use std::io::{self, Read};

use bytes::{Buf, Bytes};
use futures::{StreamExt, stream};
use tokio::sync::mpsc;

use crate::{
    traits::ByteStream,
    words::{Error, ErrorKind, Result},
};

/// Chunks that wait between two steps.
const QUEUE: usize = 4;
/// The largest chunk that a step sends.
const CHUNK: usize = 256 << 10;

/// Where a step sends what it makes.
pub(crate) type Output = mpsc::Sender<Result<Bytes>>;

/// Runs `work` on a thread of its own; its output is the stream. An error ends it.
#[cfg(feature = "encryption")]
pub(crate) fn source(work: impl FnOnce(&Output) -> Result<()> + Send + 'static) -> ByteStream {
    let (output, made) = mpsc::channel(QUEUE);
    run(work, output);
    until_error(made)
}

/// Runs `work` over `input` on a thread of its own; its output is the stream. An error of either ends it.
pub(crate) fn step(
    mut input: ByteStream,
    work: impl FnOnce(QueueReader, &Output) -> Result<()> + Send + 'static,
) -> ByteStream {
    let (feed, queue) = mpsc::channel::<Bytes>(QUEUE);
    let (output, made) = mpsc::channel(QUEUE);
    let feeding_errors = output.clone();
    tokio::spawn(async move {
        while let Some(chunk) = input.next().await {
            match chunk {
                Ok(chunk) => {
                    if feed.send(chunk).await.is_err() {
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
    run(move |output| work(QueueReader { queue, chunk: Bytes::new() }, output), output);
    until_error(made)
}

fn run(work: impl FnOnce(&Output) -> Result<()> + Send + 'static, output: Output) {
    tokio::spawn(async move {
        let sink = output.clone();
        let ended = tokio::task::spawn_blocking(move || work(&sink)).await;
        let ended = ended.unwrap_or_else(|panic| {
            Err(Error::new(ErrorKind::Internal, "read", "an artifact").because(panic))
        });
        if let Err(error) = ended {
            let _ = output.send(Err(error)).await;
        }
    });
}

/// Nothing after an error counts.
fn until_error(made: mpsc::Receiver<Result<Bytes>>) -> ByteStream {
    stream::unfold(Some(made), |made| async move {
        let mut made = made?;
        let item = made.recv().await?;
        let rest = if item.is_ok() { Some(made) } else { None };
        Some((item, rest))
    })
    .boxed()
}

/// Reads up to one chunk; empty at the end.
pub(crate) fn next_chunk(reader: &mut dyn Read) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; CHUNK];
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    buffer.truncate(filled);
    Ok(buffer)
}

/// What an error while `operation` was done to stored bytes says of them.
pub(crate) fn bad_stream(operation: &str, subject: &str, e: io::Error) -> Error {
    let kind = match e.kind() {
        io::ErrorKind::UnexpectedEof => ErrorKind::Truncated,
        _ => ErrorKind::Corrupt,
    };
    match e.downcast::<Error>() {
        // It comes from a store below.
        Ok(error) => error,
        Err(e) => damaged(kind, operation, subject).because(e),
    }
}

/// Stored bytes that are not what they should be.
pub(crate) fn damaged(kind: ErrorKind, operation: &str, subject: &str) -> Error {
    Error::new(kind, operation, subject)
        .hint("these bytes are damaged: use another session or another copy, and look at the disk")
}

/// Reads what an async task sends.
#[derive(Debug)]
pub(crate) struct QueueReader {
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

//! Between blocking code, which reads file systems and archives, and the engine's asynchronous streams.

use std::io::{self, Read, Write};

use bytes::{Buf, Bytes};
use futures::StreamExt;
use tokio::sync::mpsc;

use crate::{
    archive::read_error,
    traits::{ByteStream, Context, Writer},
    words::{Error, ErrorKind, Result},
};

/// Bytes in a chunk, and chunks on their way: half a MiB at most on each bridge.
const CHUNK: usize = 128 << 10;
const CHUNKS: usize = 4;

/// Runs `produce` on a blocking thread and hands on what it writes.
pub(super) async fn write_blocking<T: Send + 'static>(
    cx: &Context,
    to: &mut dyn Writer,
    produce: impl FnOnce(&mut ChunkWriter) -> Result<T> + Send + 'static,
) -> Result<T> {
    let (sender, mut chunks) = mpsc::channel(CHUNKS);
    let work = tokio::task::spawn_blocking(move || {
        let mut writer = ChunkWriter { sender, chunk: Vec::with_capacity(CHUNK), bytes: 0 };
        let made = produce(&mut writer)?;
        writer.flush().map_err(|e| read_error("hand on the archive", e))?;
        Ok(made)
    });
    let handed_on = cx
        .or_cancelled("read the folder", async {
            while let Some(chunk) = chunks.recv().await {
                // A chain of calls that never wait would not notice otherwise.
                cx.check_cancelled("read the folder")?;
                to.write(chunk).await?;
            }
            Ok(())
        })
        .await;
    // Without a receiver the producer ends at its next chunk.
    drop(chunks);
    let made = joined(work.await);
    handed_on.and(made)
}

/// Runs `consume` on a blocking thread with the bytes of `stream`.
pub(super) async fn read_blocking<T: Send + 'static>(
    cx: &Context,
    mut stream: ByteStream,
    consume: impl FnOnce(ChunkReader) -> Result<T> + Send + 'static,
) -> Result<T> {
    let (sender, chunks) = mpsc::channel(CHUNKS);
    let work = tokio::task::spawn_blocking(move || {
        consume(ChunkReader { chunks, chunk: Bytes::new(), ended: false })
    });
    loop {
        let item = match cx.or_cancelled("read the archive", async { Ok(stream.next().await) }).await {
            Ok(None) => break,
            Ok(Some(item)) => item,
            Err(cancelled) => Err(cancelled),
        };
        let failed = item.is_err();
        if sender.send(Message::Item(item)).await.is_err() || failed {
            break;
        }
    }
    let _ = sender.send(Message::End).await;
    drop(sender);
    joined(work.await)
}

fn joined<T>(result: Result<Result<T>, tokio::task::JoinError>) -> Result<T> {
    result.unwrap_or_else(|e| Err(Error::new(ErrorKind::Internal, "work on", "the archive").because(e)))
}

enum Message {
    Item(Result<Bytes>),
    End,
}

/// Gathers what is written into chunks.
pub(super) struct ChunkWriter {
    sender: mpsc::Sender<Bytes>,
    chunk: Vec<u8>,
    bytes: u64,
}

impl ChunkWriter {
    /// All bytes written so far.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Write for ChunkWriter {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let taken = data.len().min(CHUNK - self.chunk.len());
        self.chunk.extend_from_slice(&data[..taken]);
        self.bytes += taken as u64;
        if self.chunk.len() == CHUNK {
            self.flush()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::replace(&mut self.chunk, Vec::with_capacity(CHUNK));
        self.sender
            .blocking_send(chunk.into())
            .map_err(|_| io::Error::other(Error::cancelled("hand on the archive")))
    }
}

/// Reads a stream's chunks. Ends only where the stream ended: a stream that was dropped is an error.
pub(super) struct ChunkReader {
    chunks: mpsc::Receiver<Message>,
    chunk: Bytes,
    ended: bool,
}

impl Read for ChunkReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() && !self.ended {
            match self.chunks.blocking_recv() {
                Some(Message::Item(chunk)) => self.chunk = chunk.map_err(io::Error::other)?,
                Some(Message::End) => self.ended = true,
                None => return Err(io::Error::other(Error::cancelled("read the archive"))),
            }
        }
        let taken = buffer.len().min(self.chunk.len());
        self.chunk.copy_to_slice(&mut buffer[..taken]);
        Ok(taken)
    }
}

//! Reading an object that no manifest describes yet.

use std::{
    io::{self, Read},
    sync::Arc,
};

use futures::StreamExt;
use tokio::sync::oneshot;

use super::{
    decode::decoder,
    stage::{QueueReader, bad_stream, next_chunk, step},
};
use crate::{
    traits::{Context, Store},
    words::{Codec, Digest, Error, ErrorKind, Hasher, Key, Result},
};

/// So many of the last plain bytes are kept.
const TAIL: usize = 4096;

/// What was read of an object.
#[derive(Clone, Debug)]
pub(crate) struct Examined {
    /// As it is stored.
    pub(crate) stored: Digest,
    /// Decompressed.
    pub(crate) plain: Digest,
    /// The last plain bytes.
    pub(crate) tail: Vec<u8>,
}

/// Reads the object under `key` to its end, decompressing it as `codec` says.
///
/// # Errors
/// When it is damaged or ends early, cannot be read, or the caller cancelled.
pub(crate) async fn examine(
    cx: &Context,
    store: &Arc<dyn Store>,
    key: &Key,
    codec: Codec,
) -> Result<Examined> {
    let (_, packed) = store.get(key, None).await?;
    let (answer, examined) = oneshot::channel();
    let subject = key.to_string();
    let mut output = step(packed, move |input, _| {
        let made = examine_blocking(input, codec, &subject)?;
        let _ = answer.send(made);
        Ok(())
    });
    while cx.or_cancelled("read", async { output.next().await.transpose() }).await?.is_some() {}
    examined.await.map_err(|e| Error::new(ErrorKind::Internal, "read", key.to_string()).because(e))
}

fn examine_blocking(input: QueueReader, codec: Codec, subject: &str) -> Result<Examined> {
    let mut hashing = Hashing { input, hasher: Hasher::new() };
    let mut whole = Hasher::new();
    let mut tail = Vec::new();
    {
        let mut decoder = decoder(codec, &mut hashing, subject)?;
        loop {
            let chunk = next_chunk(&mut *decoder).map_err(|e| bad_stream("decompress", subject, e))?;
            if chunk.is_empty() {
                break;
            }
            whole.update(&chunk);
            tail.extend_from_slice(&chunk);
            tail.drain(..tail.len().saturating_sub(TAIL));
        }
    }
    // What stands behind the last member belongs to the object too.
    io::copy(&mut hashing, &mut io::sink()).map_err(|e| bad_stream("read", subject, e))?;
    Ok(Examined { stored: hashing.hasher.finish(), plain: whole.finish(), tail })
}

/// Hashes what is read.
struct Hashing {
    input: QueueReader,
    hasher: Hasher,
}

impl Read for Hashing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        Ok(read)
    }
}

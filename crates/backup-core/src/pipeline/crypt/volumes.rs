//! All volumes of an artifact as one file that can be read anywhere.

use std::{
    io::{self, Read, Seek, SeekFrom},
    sync::Arc,
};

use bytes::{Buf, Bytes};
use futures::StreamExt;
use tokio::runtime::Handle;

use crate::{
    pipeline::stage::damaged,
    traits::{ByteStream, Store},
    words::{ErrorKind, Result, Volume},
};

/// A chunk of age's, as stored: 64 KiB and a tag.
const STORED_CHUNK: u64 = (64 << 10) + 16;
/// What is fetched at once for the header: a kilobyte holds about ten recipients.
const HEADER: u64 = 16 << 10;

/// Stored bytes, fetched as they are read; to be used on a thread that may block.
pub(super) struct VolumesFile {
    runtime: Handle,
    store: Arc<dyn Store>,
    volumes: Vec<Volume>,
    at: u64,
    /// No stream fetches further than this.
    until: u64,
    fetching: Option<ByteStream>,
    chunk: Bytes,
}

impl VolumesFile {
    /// To be made inside the runtime. Compressed bytes beyond `to` will not be wanted.
    pub(super) fn new(store: Arc<dyn Store>, volumes: Vec<Volume>, to: Option<u64>) -> Self {
        let size = volumes.iter().map(|volume| volume.stored.size).sum();
        let needed = |to: u64| HEADER + (to / (64 << 10) + 1) * STORED_CHUNK;
        Self {
            runtime: Handle::current(),
            store,
            volumes,
            at: 0,
            until: to.map_or(size, |to| needed(to).min(size)),
            fetching: None,
            chunk: Bytes::new(),
        }
    }

    fn size(&self) -> u64 {
        self.volumes.iter().map(|volume| volume.stored.size).sum()
    }

    /// How far one fetch that begins here goes.
    fn bound(&self) -> u64 {
        match self.at {
            0 => HEADER,
            at if at < self.until => self.until,
            // The last chunk, which says how long the stream is.
            at => at + STORED_CHUNK,
        }
    }

    /// The bytes from here on, as many as come at once; none at the end.
    fn next_chunk(&mut self) -> Result<Option<Bytes>> {
        if let Some(fetching) = &mut self.fetching {
            if let Some(chunk) = self.runtime.block_on(fetching.next()).transpose()? {
                return Ok(Some(chunk));
            }
            self.fetching = None;
        }
        let mut end = 0;
        let here = self.volumes.iter().find(|volume| {
            end += volume.stored.size;
            self.at < end
        });
        let Some(volume) = here else { return Ok(None) };
        let begin = end - volume.stored.size;
        let range = self.at - begin..volume.stored.size.min(self.bound() - begin);
        let (_, mut stream) = self.runtime.block_on(self.store.get(&volume.key, Some(range)))?;
        let first = self.runtime.block_on(stream.next()).transpose()?;
        self.fetching = Some(stream);
        // A store that says nothing is not asked for ever.
        first.map(Some).ok_or_else(|| damaged(ErrorKind::Truncated, "read", volume.key.as_str()))
    }
}

impl Read for VolumesFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() {
            match self.next_chunk() {
                Ok(Some(chunk)) => self.chunk = chunk,
                Ok(None) => return Ok(0),
                Err(error) => return Err(io::Error::other(error)),
            }
        }
        let size = buffer.len().min(self.chunk.len());
        self.chunk.copy_to_slice(&mut buffer[..size]);
        self.at += size as u64;
        Ok(size)
    }
}

impl Seek for VolumesFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => self.size().checked_add_signed(by),
        };
        let at = at.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        if at != self.at {
            self.fetching = None;
            self.chunk = Bytes::new();
            self.at = at;
        }
        Ok(at)
    }
}

//! Compression of chunks on a bounded pool of workers.

use std::{
    fmt,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::words::{Codec, Error, ErrorKind, Result};

/// Plain bytes in one gzip member or zstd frame.
pub const CHUNK: usize = 1 << 20;

/// Which codec, and how hard it tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compression {
    /// The codec.
    pub codec: Codec,
    /// gzip 1 to 12, zstd 1 to 19.
    pub level: i32,
}

impl Compression {
    /// gzip at level 6: every tool reads it.
    pub const GZIP: Self = Self { codec: Codec::Gzip, level: 6 };
    /// zstd at level 3: several times faster than gzip, and smaller.
    pub const ZSTD: Self = Self { codec: Codec::Zstd, level: 3 };

    /// Checks the level.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when the codec has no such level.
    pub fn new(codec: Codec, level: Option<i32>) -> Result<Self> {
        let (default, most) = match codec {
            Codec::None => (0, 0),
            Codec::Gzip => (6, 12),
            Codec::Zstd => (3, 19),
        };
        let level = level.unwrap_or(default);
        let least = i32::from(codec != Codec::None);
        if (least..=most).contains(&level) {
            return Ok(Self { codec, level });
        }
        Err(Error::new(ErrorKind::Config, "set the compression level", level.to_string())
            .hint(format!("{codec:?} takes {least} to {most}")))
    }

    /// Compresses `plain` as one member or frame, on this thread.
    ///
    /// # Errors
    /// When the library fails.
    pub fn compress(self, plain: &[u8]) -> Result<Vec<u8>> {
        Encoder::new(self)?.compress(plain)
    }
}

/// libdeflate packs tighter than gzip at the same number: from 6 to 9 the number below is no larger than gzip's, and faster.
fn libdeflate_level(level: i32) -> i32 {
    if (6..=9).contains(&level) { level - 1 } else { level }
}

enum Encoder {
    None,
    Gzip(Box<libdeflater::Compressor>),
    Zstd(Box<zstd::bulk::Compressor<'static>>),
}

impl Encoder {
    fn new(compression: Compression) -> Result<Self> {
        let internal =
            |detail: String| Error::new(ErrorKind::Internal, "set up", "compression").detail(detail);
        match compression.codec {
            Codec::None => Ok(Self::None),
            Codec::Gzip => {
                let level = libdeflater::CompressionLvl::new(libdeflate_level(compression.level))
                    .map_err(|_| internal(format!("level {}", compression.level)))?;
                Ok(Self::Gzip(Box::new(libdeflater::Compressor::new(level))))
            }
            Codec::Zstd => zstd::bulk::Compressor::new(compression.level)
                .map(|compressor| Self::Zstd(Box::new(compressor)))
                .map_err(|e| internal(e.to_string())),
        }
    }

    fn compress(&mut self, plain: &[u8]) -> Result<Vec<u8>> {
        let internal = |detail: String| Error::new(ErrorKind::Internal, "compress", "a chunk").detail(detail);
        let mut packed = match self {
            Self::None => plain.to_vec(),
            Self::Gzip(compressor) => {
                let mut packed = vec![0; compressor.gzip_compress_bound(plain.len())];
                let size =
                    compressor.gzip_compress(plain, &mut packed).map_err(|e| internal(format!("{e:?}")))?;
                packed.truncate(size);
                packed
            }
            Self::Zstd(compressor) => compressor.compress(plain).map_err(|e| internal(e.to_string()))?,
        };
        // The bound is as large as the input: what waits to be stored must not hold on to it.
        packed.shrink_to_fit();
        Ok(packed)
    }
}

/// Workers that compress chunks, shared by all artifacts of a run.
#[derive(Clone)]
pub struct CodecPool {
    shared: Arc<Shared>,
}

struct Shared {
    compression: Compression,
    workers: Arc<Semaphore>,
    chunks: Arc<Semaphore>,
    idle: Mutex<Vec<Encoder>>,
}

/// A compressed chunk on its way to the store; its share of the memory bound is freed with it.
#[derive(Debug)]
pub(crate) struct Packed {
    pub(crate) bytes: Bytes,
    _share: OwnedSemaphorePermit,
}

/// A chunk that is being compressed.
pub(crate) type Packing = tokio::task::JoinHandle<Result<Packed>>;

impl CodecPool {
    /// `workers` chunks are compressed at a time, and about three times as many are in memory.
    pub fn new(compression: Compression, workers: usize) -> Self {
        let workers = workers.max(1);
        Self {
            shared: Arc::new(Shared {
                compression,
                workers: Arc::new(Semaphore::new(workers)),
                chunks: Arc::new(Semaphore::new(3 * workers + 2)),
                idle: Mutex::new(Vec::new()),
            }),
        }
    }

    /// How it compresses.
    pub fn compression(&self) -> Compression {
        self.shared.compression
    }

    /// Begins to compress `plain`; waits while too many chunks are in memory.
    pub(crate) async fn submit(&self, plain: Bytes) -> Packing {
        let share = acquire(&self.shared.chunks).await;
        let pool = self.clone();
        tokio::spawn(async move {
            let worker = acquire(&pool.shared.workers).await;
            let packed = tokio::task::spawn_blocking(move || {
                let _worker = worker;
                pool.compress(&plain)
            })
            .await
            .map_err(|e| Error::new(ErrorKind::Internal, "compress", "a chunk").because(e))??;
            Ok(Packed { bytes: packed.into(), _share: share })
        })
    }

    fn compress(&self, plain: &[u8]) -> Result<Vec<u8>> {
        let idle = self.shared.idle.lock().unwrap_or_else(std::sync::PoisonError::into_inner).pop();
        let mut encoder = match idle {
            Some(encoder) => encoder,
            None => Encoder::new(self.shared.compression)?,
        };
        let packed = encoder.compress(plain)?;
        self.shared.idle.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(encoder);
        Ok(packed)
    }
}

async fn acquire(semaphore: &Arc<Semaphore>) -> OwnedSemaphorePermit {
    semaphore.clone().acquire_owned().await.expect("the semaphore is never closed")
}

impl fmt::Debug for CodecPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CodecPool({:?})", self.shared.compression)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_that_the_codec_lacks_is_a_config_error() {
        assert!(Compression::new(Codec::Gzip, Some(13)).is_err());
        assert!(Compression::new(Codec::Zstd, Some(0)).is_err());
        assert_eq!(Compression::new(Codec::Gzip, None).unwrap(), Compression::GZIP);
    }

    #[test]
    fn members_joined_are_one_gzip_file() {
        use std::io::Read;
        let mut joined = Compression::GZIP.compress(b"one ").unwrap();
        joined.extend(Compression::GZIP.compress(b"two").unwrap());
        let mut plain = String::new();
        flate2::read::MultiGzDecoder::new(&joined[..]).read_to_string(&mut plain).unwrap();
        assert_eq!(plain, "one two");
    }
}

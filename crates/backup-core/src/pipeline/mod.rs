//! Between a component and a store: hash, compress, hash, store; and back.
//!
//! Plain bytes are cut into chunks of 1 MiB. Each becomes one gzip member or zstd frame, compressed on a shared pool of
//! workers, stored in order. The pool also bounds memory: so many chunks are under way, whatever the number of artifacts.

mod archive;
mod codec;
mod hash;

mod reader;
mod sink;
mod writer;

pub use archive::{ArchiveEntry, concatenate};
pub use codec::{CHUNK, CodecPool, Compression};
pub use hash::hash_object;
pub(crate) use reader::same_digest;
pub use reader::{StoreSource, read_artifact};
pub use sink::{KeyComposer, SessionSink};
pub use writer::{ArtifactWriter, Destination, Stored};

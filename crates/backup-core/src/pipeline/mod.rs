//! Between a component and a store: hash, compress, encrypt, hash, store; and back.
//!
//! Plain bytes are cut into chunks of 1 MiB. Each becomes one gzip member or zstd frame, compressed on a shared pool of
//! workers, stored in order. The pool also bounds memory: so many chunks are under way, whatever the number of artifacts.

mod archive;
mod codec;
mod copy;
mod crypt;
mod decode;
mod examine;
mod hash;
mod nearest;
mod reader;
mod rewrap;
mod sink;
mod stage;
mod volumes;
mod writer;

pub use archive::{ArchiveEntry, ArchivePlan, concatenate};
pub use codec::{CHUNK, CodecPool, Compression};
pub(crate) use copy::{NotCopied, copy_object};
pub use crypt::{IdentitySource, Keyring, Recipient, Seal};
#[cfg(feature = "encryption")]
pub use crypt::{NewIdentity, is_protected};
pub(crate) use examine::examine;
pub use hash::hash_object;
pub(crate) use nearest::NearestStore;
pub use reader::StoreSource;
pub(crate) use reader::same_digest;
pub(crate) use rewrap::rewrap;
pub(crate) use sink::stored_name;
pub use sink::{KeyComposer, SessionSink};
pub use volumes::{Destination, Stored};
pub use writer::ArtifactWriter;

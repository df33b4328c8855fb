//! The words everything else is said in: identifiers, keys, points, digests and errors. Knows nothing of the floors above.

mod artifact;
mod count;
mod digest;
mod error;
mod id;
mod key;
mod point;
mod secret;
mod size;
mod time_length;

pub use artifact::{Artifact, Codec, ComponentRecord, ComponentStatus, Coverage, Need, Part, Plain, Volume};
pub use count::Count;
pub use digest::{Digest, Hasher};
pub use error::{BoxError, Error, ErrorKind, Result, Retry};
pub use id::{ArtifactName, Kind, SessionId, SessionType, check_component_name};
pub use key::Key;
pub use point::{Point, Position, Span};
pub use secret::Secret;
pub use size::{ByteSize, human_bytes};
pub use time_length::{TimeLength, human_count, human_seconds, human_time};

//! What one installation keeps in a store: claims, manifests, evidence, removals.
//!
//! Every object is written once. The catalogue is a listing of `sessions/`: there is no index to break.

mod catalogue;
mod claim;
mod drills;
mod host;
mod identity;
mod layout;
mod leftovers;
mod manifest;
mod missing;
mod notices;
mod objects;
mod patience;
mod pins;
mod removal;
mod signing;

pub use catalogue::{Evidence, SessionEntry, SessionState, Survey};
pub(crate) use claim::rewrap_job;
pub use claim::{Begin, Claim};
pub(crate) use drills::drill_file;
pub use drills::{DrillRecord, DrilledComponent};
pub use host::ProcessIdentity;
pub(crate) use identity::random_id;
pub use identity::{Repository, RepositoryIdentity};
pub use layout::{session_key, stamp_of};
pub use leftovers::{Leftover, LeftoverKind, Surveyed, find_leftovers};
pub use manifest::{FORMAT, Manifest, Status, UnifiedRecord};
pub use missing::{Holdings, Missing, Standing, missing_copies};
pub(crate) use objects::{create, create_json, create_own, create_own_json, list_all, read_json, read_small};
pub(crate) use patience::PATIENCE;
pub use pins::{Pin, Unpinned};
pub use removal::Removed;
pub(crate) use signing::{SIGNATURE, check_signature, signature_of};
pub use signing::{Signer, SigningSource, TrustedKey};

#[cfg(test)]
mod removal_tests;

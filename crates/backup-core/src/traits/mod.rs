//! The traits that plug-ins implement, and the values that pass between them and the engine.
//!
//! A component never sees a store and a store never sees a component; hashing, compression, volumes, retention and
//! locking never reach a plug-in.

mod capture;
mod component;
mod context;
mod drill;
mod node;
mod place;
mod registry;
mod restore;
mod secret_source;
mod source;
mod store;

pub use capture::{ArtifactSpec, Capture, CaptureAsk, Captured, EndEvidence, Receipt, Sink, Writer};
pub use component::{Component, Finding, Severity};
pub use context::{Clock, Context, Event, Observer, Quiet, Scratch, SystemClock};
pub use drill::{Drill, Throwaway};
pub use node::{Node, nearest};
pub use place::{Command, Connection, Exit, Hosts, LocalPlace, Place, Process, exit_error, read_tail};
pub use registry::{ComponentFactory, Deps, Detected, StoreFactory, component_factory};
pub use restore::{Companion, Journal, Phase, Plan, Restored, Step, Target};
pub use secret_source::SecretSource;
pub use source::{ByteStream, Selection, Source};
pub use store::{
    CreateIfAbsent, Created, Depth, FirstVersions, Hold, Locks, Meta, Reservation, Space, Store, StoreLimits,
    Upload,
};

//! Doubles for the traits of backup-core, and suites of what they promise.

pub mod faults;
mod gate;
mod scripted;
mod store;

pub use gate::GatedStore;
pub use scripted::{Act, ScriptedComponent};
pub use store::store_conformance;

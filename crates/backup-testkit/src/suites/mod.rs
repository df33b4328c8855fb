//! Doubles for the traits of backup-core, and suites of what they promise.

mod clock;
mod component;
mod death;
pub mod faults;
mod gate;
pub mod invariants;
mod scripted;
pub mod simulation;
mod store;

pub use clock::HandClock;
pub use component::{component_conformance, restore_conformance};
pub use death::{bury, until_death};
pub use gate::GatedStore;
pub use scripted::{Act, ScriptedComponent};
pub use store::store_conformance;

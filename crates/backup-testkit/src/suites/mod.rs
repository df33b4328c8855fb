//! Doubles for the traits of backup-core, for faults that a real source cannot be made to show.

mod scripted;

pub use scripted::{Act, ScriptedComponent};

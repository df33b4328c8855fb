//! A store that goes wrong when its script says so, counts every operation, and writes a trace of them.

mod call;
mod control;
mod script;
mod store;
mod streams;
mod trace;

pub use call::{Call, Fault, Op};
pub use script::{Rule, Script, Seeded, at};
pub use store::FaultyStore;
pub use trace::Trace;

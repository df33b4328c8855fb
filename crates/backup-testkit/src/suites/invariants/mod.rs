//! One checker of what must always hold, for any test: it compares what a store says with what runs had reported.

mod kept;
mod ledger;
mod look;
mod violation;

pub use ledger::{Expect, Ledger};
pub use violation::{Rule, Violation};

//! The invariants of the design: the checker that knows them, and runs that die or fail at every single operation.

mod checker;
mod points;
mod world;

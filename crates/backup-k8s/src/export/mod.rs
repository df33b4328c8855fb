//! The export.

mod head;
mod refs;
mod spool;

//! Components that need no server: core's own.

pub mod command;
pub mod files;

//! The command line of ha-backup, as a library: a binary with kinds of components or stores of its own is a [`Builder`] with
//! these registered.
//!
//! `tests/custom_kind.rs` of this crate has a kind that is complete in thirty lines.
//!
//! ```no_run
//! fn main() -> std::process::ExitCode {
//!     backup_cli::Builder::new().run(std::env::args_os())
//! }
//! ```

mod args;
mod builder;
mod commands;
mod config;
mod exit;
mod help;
mod logging;
mod options;
mod private_file;
mod registry;
mod render;
mod signals;

pub use builder::Builder;

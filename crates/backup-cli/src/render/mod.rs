//! What people and scripts see.

mod ask;
mod error;
mod output;
mod progress;
mod spark;
mod text;

#[cfg(feature = "encryption")]
pub(crate) use ask::ask_secret;
pub(crate) use ask::{ask, ask_line};
pub(crate) use backup_core::words::{human_count as count, human_seconds as seconds};
pub(crate) use error::{print as print_error, print_usage};
pub(crate) use output::{Output, colours, eprintln_quietly, print_message};
pub(crate) use progress::{Reporter, bars};
pub(crate) use spark::{bar, sparkline};
pub(crate) use text::{ago, moment, table};

//! The configuration: found, read, checked, turned into stores and components.

mod alerts;
mod document;
mod encryption;
mod find;
mod health;
mod hooks;
mod jobs;
mod later;
mod model;
mod plaintext;
mod schema;
mod signing;
mod stores;

use std::path::{Path, PathBuf};

use backup_core::words::Result;

pub(crate) use encryption::Encryption;
pub(crate) use find::{LOCAL, VARIABLE, existing};
pub(crate) use jobs::{Entry, Run, fit_ages};
pub(crate) use model::{Config, Section};
pub(crate) use plaintext::{PLAINTEXT, check_plaintext};
pub(crate) use schema::schema;
pub(crate) use stores::{COMMON, StoreSection};

/// Finds and reads the configuration file.
///
/// # Errors
/// [`ErrorKind::Config`](backup_core::words::ErrorKind) with line and column.
pub(crate) fn load(given: Option<&Path>) -> Result<(PathBuf, Config)> {
    let file = existing(given)?;
    let config = Config::new(&document::read(&file)?)?;
    Ok((file, config))
}

#[cfg(test)]
mod tests;

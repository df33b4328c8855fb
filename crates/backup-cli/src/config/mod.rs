//! The configuration: found, read, checked, turned into stores and components.

mod alerts;
mod dashboard;
mod document;
mod drill;
mod encryption;
mod find;
mod health;
mod hooks;
mod jobs;
mod log;
mod model;
mod plaintext;
mod report;
mod schema;
mod shown;
mod signing;
mod stores;

use std::path::{Path, PathBuf};

use backup_core::{traits::Node, words::Result};

pub(crate) use encryption::Encryption;
pub(crate) use find::{LOCAL, VARIABLE, existing};
pub(crate) use jobs::{Entry, Run, fit_ages};
pub(crate) use log::{LogFormat, LogSection};
pub(crate) use model::{Config, Section};
pub(crate) use plaintext::{PLAINTEXT, check_plaintext};
pub(crate) use schema::schema;
pub(crate) use shown::{Block, Is, blocks, secrets};
pub(crate) use stores::{COMMON, StoreSection};

/// Finds and reads the configuration file.
///
/// # Errors
/// [`ErrorKind::Config`](backup_core::words::ErrorKind) with line and column.
pub(crate) fn load(given: Option<&Path>) -> Result<(PathBuf, Config)> {
    let document = Document::find(given)?;
    let config = document.config()?;
    Ok((document.file, config))
}

/// The file's text as it was once: what is written into the file later changes nothing.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    pub(crate) file: PathBuf,
    root: Node,
}

impl Document {
    /// Finds and reads the configuration file.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](backup_core::words::ErrorKind) with line and column.
    pub(crate) fn find(given: Option<&Path>) -> Result<Self> {
        let file = existing(given)?;
        let root = document::read(&file)?;
        Ok(Self { file, root })
    }

    /// What was written, unchecked.
    pub(crate) fn root(&self) -> &Node {
        &self.root
    }

    /// What it says.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](backup_core::words::ErrorKind) with line and column.
    pub(crate) fn config(&self) -> Result<Config> {
        Config::new(&self.root)
    }
}

#[cfg(test)]
mod tests;

//! `[log]`: where log files are kept.

use std::path::PathBuf;

use backup_core::{traits::Node, words::Result};
use schemars::JsonSchema;
use serde::Deserialize;

/// `[log]`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogSection {
    /// The folder of `unified-backup.log` and `audit.log`; made when it is not there.
    pub(crate) folder: PathBuf,
    /// How lines are written: json (default) or text.
    #[serde(default)]
    pub(crate) format: LogFormat,
}

/// How a line is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// A JSON object on each line.
    #[default]
    Json,
}

impl LogSection {
    /// Refuses a folder that is another one for each caller.
    ///
    /// # Errors
    /// With line and column.
    pub(super) fn check(&self, root: &Node) -> Result<()> {
        if self.folder.is_absolute() {
            return Ok(());
        }
        Err(root
            .error(
                "log.folder",
                "a schedule runs in another folder, where this relative path leads elsewhere",
            )
            .hint("write an absolute path"))
    }
}

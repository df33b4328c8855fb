//! `[report]`: where reports are kept besides the stores.

use std::path::PathBuf;

use backup_core::{traits::Node, words::Result};
use schemars::JsonSchema;
use serde::Deserialize;

/// `[report]`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReportSection {
    /// The folder that gets `unified_backup_YYYYMMDD_HHMMSS.json` and `backup_summary_YYYYMMDD_HHMMSS.txt` of each session; made when it is not there.
    pub(crate) folder: PathBuf,
}

impl ReportSection {
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
                "report.folder",
                "a schedule runs in another folder, where this relative path leads elsewhere",
            )
            .hint("write an absolute path"))
    }
}

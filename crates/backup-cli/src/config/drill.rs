//! `[drill]`: where drills are, and what they may take.

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use backup_core::{
    engine::DrillSettings,
    traits::Node,
    words::{ByteSize, Result, TimeLength},
};
use schemars::JsonSchema;
use serde::Deserialize;

/// `[drill]`. Missing keys take the default.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct DrillSection {
    /// The folder that sessions are restored in, for this program alone. Default: `drills` in state_dir; where a server must run as
    /// another user than root and cannot come there, a folder in /var/tmp.
    folder: Option<PathBuf>,
    /// How long one component may take. Default: 1h.
    time_limit: Option<TimeLength>,
    /// Bytes that stay free on the folder's file system. Default: 1GiB.
    keep_free: Option<ByteSize>,
}

impl DrillSection {
    /// The settings; `root` is the file.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](backup_core::words::ErrorKind) with line and column.
    pub(super) fn settings(&self, root: &Node, state_dir: Option<&Path>) -> Result<DrillSettings> {
        if self.folder.as_ref().is_some_and(|folder| !folder.is_absolute()) {
            return Err(root.error("drill.folder", "the path is not absolute").hint("begin it with /"));
        }
        let mut settings = DrillSettings::default();
        let is_root = settings.is_for_root();
        if let Some(folder) = &self.folder {
            settings.folder.clone_from(folder);
        } else if let Some(state_dir) = state_dir.filter(|folder| !is_root || is_open(folder)) {
            settings.folder = state_dir.join("drills");
        } else if is_root {
            // PostgreSQL refuses to run as root, and another user has to come to its data.
            settings.folder = PathBuf::from("/var/tmp/ha-backup-drills-0");
        }
        if let Some(limit) = self.time_limit {
            settings.time_limit =
                limit.0.to_std().ok().filter(|limit| *limit > Duration::ZERO).ok_or_else(|| {
                    root.error("drill.time_limit", "a drill needs some time").hint("write 30min, or 2h")
                })?;
        }
        if let Some(bytes) = self.keep_free {
            settings.keep_free = bytes.0;
        }
        Ok(settings)
    }
}

/// Whether users other than its owner can come through all of the path that there is.
fn is_open(folder: &Path) -> bool {
    folder.ancestors().all(|path| std::fs::metadata(path).is_ok_and(|about| about.mode() & 0o001 != 0))
}

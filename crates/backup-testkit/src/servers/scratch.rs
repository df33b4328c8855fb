//! A folder for servers, whose processes and files go when its owner goes.

use super::error::{Context, Result};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A folder of our own under the system's temporary folder, watched by a small shell: when this value is
/// dropped or the process ends in any way, every process that works in the folder is killed and the folder
/// removed. With `HA_BACKUP_KEEP=1` in the environment the folder stays, for a look at the logs.
#[derive(Debug)]
pub struct Scratch {
    dir: PathBuf,
    guard: Child,
}

impl Scratch {
    /// Makes the folder and starts its guard.
    ///
    /// # Errors
    /// When the folder or the guard can't be made.
    pub fn new() -> Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix("ha-backup-servers-")
            .tempdir()
            .context("can't make a scratch folder")?
            .keep();
        // PostgreSQL may run as another user, who must reach its folder.
        fs::set_permissions(&dir, Permissions::from_mode(0o755))?;
        let dir = dir.canonicalize()?;
        let guard = Command::new("sh")
            .args(["-c", include_str!("guard.sh")])
            .current_dir("/")
            // Not an argument: the guard kills whoever has the folder among its arguments.
            .env("HA_BACKUP_SCRATCH", &dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .context("can't start the guard of the scratch folder (sh)")?;
        Ok(Self { dir, guard })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.dir
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        // The guard ends by itself; a failure here leaves nothing for us to do.
        let _ = self.guard.wait();
    }
}

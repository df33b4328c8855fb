//! Where the configuration file is.

use std::path::{Path, PathBuf};

use backup_core::words::{Error, ErrorKind, Result};

/// The variable that names the file.
pub(crate) const VARIABLE: &str = "HA_BACKUP_CONFIG";
/// Looked for in the working folder.
pub(crate) const LOCAL: &str = "ha-backup.toml";
/// Looked for last.
pub(crate) const SYSTEM: &str = "/etc/ha-backup/config.toml";

/// The file that is there: `given` (by `--config` or the variable), else the working folder's, else the system's.
pub(crate) fn existing(given: Option<&Path>) -> Result<PathBuf> {
    let missing = |subject: String| Error::new(ErrorKind::Config, "find the configuration", subject);
    match given {
        Some(file) if file.is_file() => Ok(file.to_owned()),
        Some(file) => Err(missing(file.display().to_string())
            .detail("there is no such file")
            .hint(format!("`ha-backup --config {} init` writes one", file.display()))),
        None => [LOCAL, SYSTEM].iter().map(PathBuf::from).find(|file| file.is_file()).ok_or_else(|| {
            missing(format!("./{LOCAL}, {SYSTEM}")).detail("neither file is there").hint(format!(
                "`ha-backup init` writes ./{LOCAL}; or name a file with --config or {VARIABLE}"
            ))
        }),
    }
}

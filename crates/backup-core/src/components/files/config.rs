//! The config section and the restore options.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::exclude::Exclude;
use crate::words::{Error, ErrorKind, Result};

/// A `[[component]]` section of kind `files`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FilesConfig {
    /// The folder, as an absolute path.
    pub path: PathBuf,
    /// What to leave out. `*` and `?` stop at `/`, `**` does not; a pattern with a `/` is held against the path inside the
    /// folder, one without against the name; one that ends in `/` matches folders only.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// Do not enter other file systems that are mounted inside the folder.
    #[serde(default)]
    pub one_file_system: bool,
}

impl FilesConfig {
    /// The whole folder at `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), exclude: Vec::new(), one_file_system: false }
    }

    pub(super) fn check(&self) -> Result<()> {
        if !self.path.is_absolute() {
            return Err(Error::new(ErrorKind::Config, "use the folder", self.path.display().to_string())
                .detail("the path is not absolute")
                .hint("begin `path` with /"));
        }
        Exclude::new(&self.exclude).map(drop)
    }
}

pub(super) const EXAMPLE: &str = r#"[[component]]
kind = "files"
# name = "files"                  # needed when there are several of this kind
path = "/etc"                     # a folder of this host; it becomes one tar
# exclude = ["*.log", "cache/", "/srv/**/tmp"]
# one_file_system = true          # do not enter what is mounted inside
"#;

/// What to do with a folder that is at the target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Existing {
    /// Keep it aside under a dated name.
    #[default]
    Aside,
    /// Do not restore when it holds anything.
    Refuse,
}

/// Whom restored files belong to, when root restores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Owners {
    /// The user and group of the same name on this host, else the same number, as tar does it.
    #[default]
    Name,
    /// The same number, whatever its name here.
    Number,
}

/// Options of a restore (`--set KEY=VALUE`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FilesRestore {
    /// The folder to restore to, as an absolute path; default: where the files came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<PathBuf>,
    /// What to do with a folder that is there.
    #[serde(default)]
    pub existing: Existing,
    /// Whom the files belong to.
    #[serde(default)]
    pub owners: Owners,
}

//! The config section and the restore options.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    traits::{Phase, SecretSource},
    words::{Error, ErrorKind, Result},
};

/// A `[[component]]` section of kind `command`. A program is a list: its name or path, then its arguments; no shell reads it.
#[derive(Clone, Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CommandConfig {
    /// Writes the backup to its standard output.
    pub backup: Vec<String>,
    /// Reads a backup from its standard input and puts it back. Without it there is only `extract`.
    #[serde(default)]
    pub restore: Option<Vec<String>>,
    /// Reads a backup from its standard input and looks whether it is whole, without the live system.
    #[serde(default)]
    pub verify: Option<Vec<String>>,
    /// Looks whether a backup would work; changes nothing.
    #[serde(default)]
    pub check: Option<Vec<String>>,
    /// What the file's name ends with, before `.gz`.
    #[serde(default = "extension")]
    pub extension: String,
    /// What the file is, as in RFC 6838.
    #[serde(default = "media_type")]
    pub media_type: String,
    /// A text that stands in the last 4 KiB of each whole backup.
    #[serde(default)]
    pub end_marker: Option<String>,
    /// Whether a backup of no bytes may be right.
    #[serde(default)]
    pub may_be_empty: bool,
    /// After so many seconds a program is ended, and has failed; none by default.
    #[serde(default)]
    pub timeout: Option<u64>,
    /// When a restore of everything runs it: before (`stop`, `coordination`), as, or after the databases.
    #[serde(default = "phase")]
    #[schemars(with = "String")]
    pub phase: Phase,
    /// Variables of the programs' environment.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// Variables of the programs' environment that are never shown.
    #[serde(default)]
    pub secrets: BTreeMap<String, SecretSource>,
}

fn extension() -> String {
    "bin".to_owned()
}

fn media_type() -> String {
    "application/octet-stream".to_owned()
}

fn phase() -> Phase {
    Phase::Database
}

impl CommandConfig {
    /// What `program` writes, with the defaults for the rest.
    pub fn new(program: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            backup: program.into_iter().map(Into::into).collect(),
            restore: None,
            verify: None,
            check: None,
            extension: extension(),
            media_type: media_type(),
            end_marker: None,
            may_be_empty: false,
            timeout: None,
            phase: phase(),
            environment: BTreeMap::new(),
            secrets: BTreeMap::new(),
        }
    }

    pub(super) fn check(&self) -> Result<()> {
        let programs = [
            ("backup", Some(&self.backup)),
            ("restore", self.restore.as_ref()),
            ("verify", self.verify.as_ref()),
            ("check", self.check.as_ref()),
        ];
        for (key, program) in programs {
            if program.is_some_and(|program| program.first().is_none_or(String::is_empty)) {
                return Err(wrong(key, "it names no program", "write a list: [\"PROGRAM\", \"ARGUMENT\"]"));
            }
        }
        if self.end_marker.as_ref().is_some_and(String::is_empty) {
            return Err(wrong(
                "end_marker",
                "it is empty",
                "name a text that stands at the end of each backup",
            ));
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '_' || c == '-';
        if self.extension.is_empty() || !self.extension.chars().all(plain) || self.extension.starts_with('.')
        {
            return Err(wrong("extension", "it is no end of a file's name", "extension = \"sql\""));
        }
        Ok(())
    }
}

fn wrong(key: &str, detail: &str, hint: &str) -> Error {
    Error::new(ErrorKind::Config, "use the key", key).detail(detail).hint(hint)
}

pub(super) const EXAMPLE: &str = r#"[[component]]
kind = "command"
# name = "mysql"                  # its folder, and what its files' names begin with
backup = ["mysqldump", "--all-databases", "--single-transaction"]   # writes to its standard output
# end_marker = "-- Dump completed"
# restore = ["mysql"]             # reads from its standard input
# check = ["mysqladmin", "status"]
# extension = "sql"
# secrets = { MYSQL_PWD = { env = "MYSQL_PWD" } }
"#;

/// Options of a restore (`--set KEY=VALUE`): there are none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CommandRestore {}

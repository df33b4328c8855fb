//! What `--set` takes, and what a step is told.

use backup_core::{
    traits::Node,
    words::{Error, ErrorKind, Result},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Restore options of the kind `postgres`.
#[derive(Clone, Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Options {
    /// Which databases, joined by commas; all but template1 otherwise.
    pub(crate) database: Option<String>,
    /// A new name for the one database; nothing is switched then.
    pub(crate) into: Option<String>,
    /// `last`: the restored database takes the old one's name when it is checked. `first`: the old one is put aside before
    /// anything is loaded, for extensions that are tied to a database's name (pg_cron).
    pub(crate) switch: SwitchWhen,
    /// `true`: roles and tablespaces that are missing are created, others left alone. `overwrite`: all are set as they
    /// were. `false`: none.
    pub(crate) globals: Option<WrittenGlobals>,
}

/// When the restored database takes the old one's name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SwitchWhen {
    /// When it is checked.
    #[default]
    Last,
    /// Before it is loaded.
    First,
}

/// `globals` as it may be written.
#[derive(Clone, Copy, Debug, Deserialize, schemars::JsonSchema)]
#[serde(untagged)]
pub(crate) enum WrittenGlobals {
    /// A boolean.
    Flag(bool),
    /// A word.
    Word(GlobalsWord),
}

/// `globals` as a word.
#[derive(Clone, Copy, Debug, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum GlobalsWord {
    /// What is missing is created.
    True,
    /// Nothing is done.
    False,
    /// All are set as they were.
    Overwrite,
}

/// What is done with roles and tablespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum GlobalsMode {
    /// What is missing is created.
    Missing,
    /// All are set as they were.
    Overwrite,
    /// Nothing.
    Leave,
}

/// The options as they were understood; a plan keeps them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Settled {
    /// Roles and tablespaces.
    pub(crate) globals: GlobalsMode,
    /// How long a step waits for a leader, in seconds.
    pub(crate) leader_wait_seconds: u64,
}

/// What a step does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Action {
    /// Roles and tablespaces.
    Globals,
    /// The old database is put aside.
    Aside,
    /// The new database is created.
    Create,
    /// It is loaded.
    Load,
    /// It is held against the manifest.
    Check,
    /// It takes the old one's name.
    Switch,
}

/// A step's arguments.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Work {
    /// What to do.
    pub(crate) action: Action,
    /// The database as the backup knows it.
    #[serde(default)]
    pub(crate) database: String,
    /// The name under which it is created and loaded.
    #[serde(default)]
    pub(crate) name: String,
    /// The name that the old one gets.
    #[serde(default)]
    pub(crate) aside: String,
}

impl Options {
    /// Reads what `--set` gave.
    pub(crate) fn read(options: &Value) -> Result<Self> {
        match options {
            Value::Null => Ok(Self::default()),
            options => Node::new(options.clone()).parse(),
        }
    }

    /// What is to be done with roles and tablespaces.
    pub(crate) fn globals(&self) -> GlobalsMode {
        match self.globals {
            None | Some(WrittenGlobals::Flag(true) | WrittenGlobals::Word(GlobalsWord::True)) => {
                GlobalsMode::Missing
            }
            Some(WrittenGlobals::Flag(false) | WrittenGlobals::Word(GlobalsWord::False)) => {
                GlobalsMode::Leave
            }
            Some(WrittenGlobals::Word(GlobalsWord::Overwrite)) => GlobalsMode::Overwrite,
        }
    }

    /// The databases to restore, of those that the backup has.
    pub(crate) fn choose<'a>(&self, known: impl Iterator<Item = &'a String> + Clone) -> Result<Vec<String>> {
        let Some(wanted) = &self.database else {
            return Ok(known.filter(|name| *name != "template1").cloned().collect());
        };
        // A name may hold a comma: a whole match comes first.
        if known.clone().any(|name| name == wanted) {
            return Ok(vec![wanted.clone()]);
        }
        let wanted: Vec<&str> = wanted.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
        match wanted.iter().find(|name| !known.clone().any(|known| known == *name)) {
            Some(missing) => {
                let known: Vec<&str> = known.map(String::as_str).collect();
                Err(Error::new(ErrorKind::NotFound, "restore the database", *missing)
                    .detail("the backup has none of that name")
                    .hint(format!("it has: {}", known.join(", "))))
            }
            None => Ok(wanted.into_iter().map(str::to_owned).collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Vec<String> {
        ["a,b", "crm", "postgres", "template1"].map(str::to_owned).to_vec()
    }

    fn choose(options: Value) -> Result<Vec<String>> {
        Options::read(&options)?.choose(names().iter())
    }

    #[test]
    fn all_databases_but_template1_unless_named() {
        assert_eq!(choose(Value::Null).unwrap(), ["a,b", "crm", "postgres"]);
        assert_eq!(choose(serde_json::json!({"database": "crm, template1"})).unwrap(), ["crm", "template1"]);
        assert_eq!(choose(serde_json::json!({"database": "a,b"})).unwrap(), ["a,b"]);
        assert_eq!(choose(serde_json::json!({"database": "x"})).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(choose(serde_json::json!({"databse": "x"})).unwrap_err().kind(), ErrorKind::Config);
    }

    #[test]
    fn globals_may_be_written_as_a_flag_or_a_word() {
        let read = |value: Value| Options::read(&serde_json::json!({ "globals": value })).unwrap().globals();
        assert_eq!(read(false.into()), GlobalsMode::Leave);
        assert_eq!(read("true".into()), GlobalsMode::Missing);
        assert_eq!(read("overwrite".into()), GlobalsMode::Overwrite);
    }
}

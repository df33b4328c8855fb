//! What all ways of running jobs have in common.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use backup_core::{
    policy::Schedule,
    words::{Error, ErrorKind, Result},
};
use chrono::{DateTime, Utc};
use serde_json::Value;

use super::App;
use crate::config::{self, Config, Entry, Run};

/// The jobs of a configuration, to be run by something else.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) config: Config,
    /// The configuration's absolute path.
    pub(super) file: PathBuf,
    pub(super) now: DateTime<Utc>,
}

impl Plan {
    /// Reads the configuration.
    ///
    /// # Errors
    /// When it is wrong, or its path cannot stand in a text of lines.
    pub(super) fn new(app: &App) -> Result<Self> {
        let (file, config) = config::load(app.global.config.as_deref())?;
        let file = std::path::absolute(&file)
            .map_err(|e| Error::io("find the folder of", file.display().to_string(), e))?;
        check_path(&file)?;
        Ok(Self { config, file, now: app.cx.now() })
    }

    /// The jobs that have a schedule.
    pub(super) fn jobs(&self) -> impl Iterator<Item = (&Entry, &Schedule)> {
        self.config.entries.iter().filter_map(|entry| Some((entry, entry.schedule.as_ref()?)))
    }

    /// Whose the installed texts are: "crm, /etc/ha-backup/config.toml".
    pub(super) fn owner(&self) -> String {
        format!("{}, {}", self.config.name, self.file.display())
    }

    /// Names of installed files begin with it.
    pub(super) fn prefix(&self) -> String {
        format!("ha-backup-{}-", self.config.name)
    }

    /// This program's path for jobs on this host, after a look at what would not work when something else runs them.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] with what to change.
    pub(super) fn for_this_host(&self, given: Option<&Path>) -> Result<PathBuf> {
        self.check_paths()?;
        let program = match given {
            Some(program) => program.to_owned(),
            None => std::env::current_exe().map_err(|e| Error::io("find", "this program", e))?,
        };
        let wrong = |detail: &str| {
            Error::new(ErrorKind::Config, "call the program", program.display().to_string())
                .detail(detail)
                .hint("name it: --program /usr/local/bin/ha-backup")
        };
        if program.is_relative() {
            return Err(wrong("the path is not absolute"));
        }
        if !program.is_file() {
            return Err(wrong("there is no such file"));
        }
        check_path(&program)?;
        Ok(program)
    }

    /// Refuses paths that lead elsewhere in another folder.
    fn check_paths(&self) -> Result<()> {
        for section in self.sections() {
            let relative = ["local", "files"].contains(&section.kind.as_str())
                && path_of(section).is_some_and(|path| path.is_relative());
            if relative {
                return Err(section
                    .node
                    .error(
                        "path",
                        "a schedule runs in another folder, where this relative path leads elsewhere",
                    )
                    .hint("write an absolute path"));
            }
        }
        Ok(())
    }

    /// Refuses what a pod cannot do, where nothing of a host is.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] with what to change.
    pub(super) fn for_pods(&self) -> Result<()> {
        self.check_paths()?;
        for section in self.config.components.iter().filter(|section| section.kind == "files") {
            let backs_up = |job: &Entry| job.run == Run::Backup && job.components.contains(&section.name);
            if let Some((job, _)) = self.jobs().find(|(job, _)| backs_up(job)) {
                let why = format!(
                    "the job {} would read this folder in a pod, which has none of a host's",
                    job.name
                );
                return Err(section.node.error("path", why).hint(
                    "leave the component out of jobs for Kubernetes, or use --cron or --systemd on that host",
                ));
            }
        }
        Ok(())
    }

    /// The folders of local stores.
    pub(super) fn store_folders(&self) -> Vec<PathBuf> {
        let stores = self.config.stores.iter().map(|store| &store.section);
        stores.filter(|section| section.kind == "local").filter_map(path_of).collect()
    }

    /// Where logs and reports are written, and what these folders are called; each once.
    pub(super) fn written_folders(&self) -> impl Iterator<Item = (&'static str, &PathBuf)> {
        let log = self.config.log.as_ref().map(|log| ("log", &log.folder));
        let reports = self.config.report.as_ref().map(|report| ("reports", &report.folder));
        let another = reports.filter(|(_, folder)| log.is_none_or(|(_, log)| log != *folder));
        log.into_iter().chain(another)
    }

    fn sections(&self) -> impl Iterator<Item = &config::Section> {
        self.config.stores.iter().map(|store| &store.section).chain(&self.config.components)
    }

    /// Folders that the component `files` reads.
    pub(super) fn read_folders(&self) -> impl Iterator<Item = PathBuf> {
        self.config.components.iter().filter(|section| section.kind == "files").filter_map(path_of)
    }

    /// Variables that secrets are taken from.
    pub(super) fn variables(&self) -> BTreeSet<String> {
        self.sources("env")
    }

    /// Files that secrets are taken from.
    pub(super) fn secret_files(&self) -> BTreeSet<String> {
        self.sources("file")
    }

    fn sources(&self, key: &str) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for section in self.sections() {
            collect(section.node.value(), key, &mut found);
        }
        found
    }

    /// What to know of jobs that something else will run.
    pub(super) fn notes(&self) -> Vec<String> {
        let by_hand = self.config.entries.iter().filter(|entry| entry.schedule.is_none());
        by_hand.map(|entry| format!("the job {} has no schedule: it is not installed", entry.name)).collect()
    }
}

fn path_of(section: &config::Section) -> Option<PathBuf> {
    section.node.get("path")?.value().as_str().map(PathBuf::from)
}

/// `{ KEY = "X" }`, wherever it stands.
fn collect(value: &Value, key: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(table) => match (table.len(), table.get(key)) {
            (1, Some(Value::String(name))) => drop(found.insert(name.clone())),
            _ => table.values().for_each(|value| collect(value, key, found)),
        },
        Value::Array(items) => items.iter().for_each(|value| collect(value, key, found)),
        _ => {}
    }
}

/// A path that can stand on a line.
fn check_path(path: &Path) -> Result<()> {
    let wrong = |detail: &str| {
        Err(Error::new(ErrorKind::Config, "write down the path", path.display().to_string()).detail(detail))
    };
    match path.to_str() {
        None => wrong("it is not UTF-8"),
        Some(text) if text.chars().any(char::is_control) => wrong("it holds control characters"),
        Some(_) => Ok(()),
    }
}

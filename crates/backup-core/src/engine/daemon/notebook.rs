//! What a daemon remembers of its own runs: a cache, for what leaves no trace in a store.

use std::{
    collections::BTreeMap,
    io::Write,
    path::{Path, PathBuf},
};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{policy::PastRun, words::Error};

/// So many of a job's newest runs are remembered.
const RUNS: usize = 400;

/// A run of ours; without an end it goes on, or died.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    start: DateTime<Utc>,
    end: Option<DateTime<Utc>>,
    done: bool,
}

/// Runs by job, in memory and in a file.
#[derive(Debug, Default)]
pub(super) struct Notebook {
    file: Option<PathBuf>,
    notes: BTreeMap<String, Vec<Note>>,
}

impl Notebook {
    /// Takes up what the file says. One that is not there or says nothing costs a repeated run at most.
    pub(super) fn open(file: Option<PathBuf>) -> Self {
        let notes = file.as_deref().and_then(read).unwrap_or_default();
        Self { file, notes }
    }

    pub(super) fn begin(&mut self, job: &str, start: DateTime<Utc>) {
        let notes = self.notes.entry(job.to_owned()).or_default();
        notes.push(Note { start, end: None, done: false });
        if notes.len() > RUNS {
            notes.remove(0);
        }
        self.write();
    }

    pub(super) fn end(&mut self, job: &str, end: DateTime<Utc>, done: bool) {
        if let Some(note) = self.notes.get_mut(job).and_then(|notes| notes.last_mut()) {
            (note.end, note.done) = (Some(end), done);
        }
        self.write();
    }

    /// The run that began last did not come to run.
    pub(super) fn take_back(&mut self, job: &str) {
        if let Some(notes) = self.notes.get_mut(job) {
            notes.pop();
        }
        self.write();
    }

    /// The job's runs, ours and those that the stores show, by their start. A failure that we know is not counted again.
    pub(super) fn with(&self, job: &str, seen: &[PastRun]) -> Vec<PastRun> {
        let ours = self.notes.get(job).map(Vec::as_slice).unwrap_or_default();
        let known = |run: &PastRun| {
            ours.iter().any(|note| note.start <= run.start && note.end.is_some_and(|end| run.start <= end))
        };
        let mut runs: Vec<PastRun> = seen.iter().filter(|run| run.done || !known(run)).copied().collect();
        runs.extend(ours.iter().map(|note| PastRun {
            start: note.start,
            end: note.end.unwrap_or(note.start),
            done: note.done,
        }));
        runs.sort_by_key(|run| run.start);
        runs
    }

    fn write(&self) {
        let Some(file) = &self.file else { return };
        if let Err(error) = replace(file, &self.notes) {
            tracing::warn!(error = %error.chain(), "the daemon's memory could not be written: after a restart a run may come again");
        }
    }
}

fn read(file: &Path) -> Option<BTreeMap<String, Vec<Note>>> {
    let text = match std::fs::read(file) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::warn!(file = %file.display(), %error, "the daemon's memory could not be read");
            return None;
        }
    };
    serde_json::from_slice(&text)
        .inspect_err(
            |error| tracing::warn!(file = %file.display(), %error, "the daemon's memory says nothing"),
        )
        .ok()
}

/// Whole or not at all.
fn replace(file: &Path, notes: &BTreeMap<String, Vec<Note>>) -> Result<(), Error> {
    let failed = |e| Error::io("write", file.display().to_string(), e);
    let folder = file.parent().unwrap_or(Path::new("."));
    let mut new = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    serde_json::to_writer(&mut new, notes).map_err(|e| failed(e.into()))?;
    new.flush().map_err(failed)?;
    new.persist(file).map_err(|e| failed(e.error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + chrono::TimeDelta::minutes(minute)
    }

    #[test]
    fn what_was_noted_is_there_after_a_restart_and_a_damaged_file_is_an_empty_one() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("daemon.json");
        let mut notebook = Notebook::open(Some(file.clone()));
        notebook.begin("full", at(0));
        notebook.end("full", at(3), true);
        notebook.begin("health", at(5));
        let again = Notebook::open(Some(file.clone()));
        assert_eq!(again.with("full", &[]), [PastRun { start: at(0), end: at(3), done: true }]);
        // It died.
        assert_eq!(again.with("health", &[]), [PastRun { start: at(5), end: at(5), done: false }]);
        std::fs::write(&file, "{").unwrap();
        assert_eq!(Notebook::open(Some(file)).with("full", &[]), []);
    }

    #[test]
    fn a_failure_that_shows_in_the_store_too_counts_once() {
        let mut notebook = Notebook::default();
        notebook.begin("full", at(0));
        notebook.end("full", at(9), false);
        let seen = PastRun { start: at(1), end: at(8), done: false };
        assert_eq!(notebook.with("full", &[seen]).len(), 1);
        let other = PastRun { start: at(10), ..seen };
        assert_eq!(notebook.with("full", &[seen, other]).len(), 2);
    }
}

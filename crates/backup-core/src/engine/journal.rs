//! A restore's journal: numbered entries beside the session, written through one by one.

use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::RestorePlan;
use crate::{
    repository::{ProcessIdentity, Repository, create_json, create_own_json, read_json, session_key},
    traits::{Created, Journal},
    words::{Error, ErrorKind, Result, SessionId},
};

const PREFIX: &str = "restore-";
const STAMP: &str = "%Y%m%d_%H%M%S";

/// One entry of a journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "snake_case")]
pub(super) enum Entry {
    Begun { at: DateTime<Utc>, process: ProcessIdentity, plan: Box<RestorePlan> },
    Resumed { at: DateTime<Utc>, process: ProcessIdentity },
    StepBegun { component: String, step: String },
    Noted { component: String, step: String, name: String, value: Value },
    StepEnded { component: String, step: String, summary: String, notes: Vec<String> },
    Waiting { component: String, step: String },
    Failed { component: String, step: String, error: String },
    Ended { at: DateTime<Utc> },
}

/// A journal that is open for writing.
#[derive(Debug)]
pub(super) struct Book {
    repository: Repository,
    session: SessionId,
    stamp: String,
    entries: Mutex<Vec<Entry>>,
}

impl Book {
    /// Begins a journal with the plan. A journal begun in the same second is another one's: the next second is tried.
    pub(super) async fn begin(
        repository: &Repository,
        plan: &RestorePlan,
        now: DateTime<Utc>,
    ) -> Result<Self> {
        let process = ProcessIdentity::current();
        let begun = Entry::Begun { at: now, process, plan: Box::new(plan.clone()) };
        let mut at = now;
        loop {
            let book = Self {
                repository: repository.clone(),
                session: plan.session,
                stamp: at.format(STAMP).to_string(),
                entries: Mutex::default(),
            };
            match book.add(begun.clone()).await {
                Err(taken) if taken.kind() == ErrorKind::Locked && at - now < TimeDelta::minutes(1) => {
                    at += TimeDelta::seconds(1);
                }
                outcome => return outcome.map(|()| book),
            }
        }
    }

    /// The newest journal of the session, if its restore has not ended.
    pub(super) async fn unfinished(repository: &Repository, session: SessionId) -> Result<Option<Self>> {
        let files = repository.session_files(session).await?;
        let mut numbered: Vec<(&str, u64)> = files.iter().filter_map(|file| parse_name(file)).collect();
        numbered.sort_unstable();
        let Some(&(stamp, _)) = numbered.last() else { return Ok(None) };
        let mut entries = Vec::new();
        for (_, number) in numbered.iter().filter(|(other, _)| *other == stamp) {
            entries.push(read_json::<Entry>(&repository.store, &entry_key(session, stamp, *number)?).await?);
        }
        if entries.iter().any(|entry| matches!(entry, Entry::Ended { .. })) {
            return Ok(None);
        }
        let stamp = stamp.to_owned();
        Ok(Some(Self { repository: repository.clone(), session, stamp, entries: Mutex::new(entries) }))
    }

    /// The plan that is being applied.
    pub(super) fn plan(&self) -> Result<RestorePlan> {
        match self.entries().first() {
            Some(Entry::Begun { plan, .. }) => Ok((**plan).clone()),
            _ => Err(Error::new(ErrorKind::Corrupt, "read the journal", format!("restore-{}", self.stamp))
                .detail("its first entry is not the plan")),
        }
    }

    /// Who wrote last; none when that process has ended.
    pub(super) fn holder(&self) -> Option<ProcessIdentity> {
        let entries = self.entries();
        let last = entries.iter().rev().find_map(|entry| match entry {
            Entry::Begun { process, .. } | Entry::Resumed { process, .. } => Some(process.clone()),
            _ => None,
        });
        let stopped = matches!(entries.last(), Some(Entry::Waiting { .. } | Entry::Failed { .. }));
        last.filter(|process| !stopped && !process.is_gone() && *process != ProcessIdentity::current())
    }

    /// What a step that has ended said.
    pub(super) fn ended(&self, component: &str, step: &str) -> Option<(String, Vec<String>)> {
        self.entries().iter().rev().find_map(|entry| match entry {
            Entry::StepEnded { component: c, step: s, summary, notes } if c == component && s == step => {
                Some((summary.clone(), notes.clone()))
            }
            _ => None,
        })
    }

    /// Writes an entry.
    pub(super) async fn add(&self, entry: Entry) -> Result<()> {
        let number = self.entries().len() as u64;
        let key = entry_key(self.session, &self.stamp, number)?;
        let store = &self.repository.store;
        let written = match entry {
            // Here two restores contend; whoever lost one of these writes nothing more.
            Entry::Begun { .. } | Entry::Resumed { .. } => create_json(store, &key, &entry).await?,
            _ => create_own_json(store, &key, &entry).await?,
        };
        match written {
            Created::Made(_) => {
                self.entries().push(entry);
                Ok(())
            }
            Created::Exists => Err(Error::new(ErrorKind::Locked, "write the journal", key.to_string())
                .detail("another restore of this session writes it")
                .hint("wait for it to end")),
        }
    }

    fn entries(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn recall(&self, component: &str, step: &str, wanted: &str) -> Option<Value> {
        self.entries().iter().rev().find_map(|entry| match entry {
            Entry::Noted { component: c, step: s, name, value }
                if c == component && s == step && name == wanted =>
            {
                Some(value.clone())
            }
            _ => None,
        })
    }
}

fn entry_key(session: SessionId, stamp: &str, number: u64) -> Result<crate::words::Key> {
    session_key(session, &format!("{PREFIX}{stamp}-{number:03}.json"))
}

fn parse_name(file: &str) -> Option<(&str, u64)> {
    let (stamp, number) = file.strip_prefix(PREFIX)?.strip_suffix(".json")?.rsplit_once('-')?;
    Some((stamp, number.parse().ok()?))
}

/// What one step sees of the journal.
pub(super) struct StepJournal<'a> {
    pub(super) book: &'a Book,
    pub(super) component: &'a str,
    pub(super) step: &'a str,
}

#[async_trait]
impl Journal for StepJournal<'_> {
    async fn record(&self, name: &str, value: Value) -> Result<()> {
        let (component, step) = (self.component.to_owned(), self.step.to_owned());
        self.book.add(Entry::Noted { component, step, name: name.to_owned(), value }).await
    }

    fn recall(&self, name: &str) -> Option<Value> {
        self.book.recall(self.component, self.step, name)
    }

    fn recall_from(&self, step: &str, name: &str) -> Option<Value> {
        self.book.recall(self.component, step, name)
    }
}

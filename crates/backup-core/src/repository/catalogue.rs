//! What sessions there are: a listing, and the manifests that it shows.

use std::{collections::BTreeMap, fmt, str::FromStr};

use chrono::{DateTime, NaiveDateTime, Utc};
use futures::{StreamExt, TryStreamExt, stream, stream::BoxStream};
use serde::{Deserialize, Serialize};

use super::{
    Begin, DrillRecord, Manifest, Repository, UnifiedRecord,
    layout::{SESSIONS, session_key},
    notices::latest_due,
    objects::{list_all, read_json, read_small},
    pins::Marks,
};
use crate::{
    traits::Depth,
    words::{Error, ErrorKind, Key, Result, SessionId, Volume},
};

/// How many manifests are read side by side.
const READS: usize = 32;

/// How a session stands in one store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionState {
    /// Has a manifest and no purge: it counts.
    Committed,
    /// Has a manifest that this version cannot read: it is left alone.
    Unreadable,
    /// A run is at it.
    Running,
    /// A run died at it: it never happened, and its bytes go with the next clean-up.
    Dead,
    /// Removed for ever, or about to be.
    Purged,
}

/// A verification that was recorded beside a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// When.
    pub at: DateTime<Utc>,
    /// "size", "checksum", "content".
    pub level: String,
    /// Whether all was right.
    pub passed: bool,
}

impl Evidence {
    const STAMP: &str = "%Y%m%d_%H%M%S";

    /// `verify-STAMP-LEVEL-passed.json` or `...-failed.json`.
    pub(crate) fn file_name(&self) -> String {
        let outcome = if self.passed { "passed" } else { "failed" };
        format!("verify-{}-{}-{outcome}.json", self.at.format(Self::STAMP), self.level)
    }
}

impl FromStr for Evidence {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        let rest = name.strip_prefix("verify-").and_then(|rest| rest.strip_suffix(".json")).ok_or(())?;
        let mut parts = rest.split('-');
        let (Some(at), Some(level), Some(outcome), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(());
        };
        let at = NaiveDateTime::parse_from_str(at, Self::STAMP).map_err(|_| ())?.and_utc();
        Ok(Self { at, level: level.to_owned(), passed: outcome == "passed" })
    }
}

/// One session as the store shows it.
#[derive(Clone, Debug)]
pub struct SessionEntry {
    /// Its id.
    pub id: SessionId,
    /// How it stands.
    pub state: SessionState,
    /// Its manifest, when it is committed.
    pub manifest: Option<Manifest>,
    /// Its claim, where it was read.
    pub begin: Option<Begin>,
    /// Why its manifest cannot be read.
    pub problem: Option<String>,
    /// Verifications, oldest first.
    pub evidence: Vec<Evidence>,
    /// Drills, oldest first.
    pub drills: Vec<DrillRecord>,
    /// Whether it is kept by hand.
    pub pinned: bool,
    /// For when its removal was announced, by retention and in advance.
    pub notice: Option<DateTime<Utc>>,
    /// Names of all files in its folder, sorted.
    pub files: Vec<String>,
}

impl SessionEntry {
    /// Whether its folder has the file `name`.
    pub fn has(&self, name: &str) -> bool {
        self.files.iter().any(|file| file == name)
    }

    /// The manifest of a committed session.
    ///
    /// # Errors
    /// When it is not committed, or was removed: its manifest may still be there, its bytes need not be.
    pub fn committed(&self) -> Result<&Manifest> {
        self.manifest.as_ref().filter(|_| self.state != SessionState::Purged).ok_or_else(|| {
            let error = |kind| Error::new(kind, "use the session", self.id.to_string());
            if let (Some(problem), SessionState::Unreadable) = (&self.problem, self.state) {
                return error(ErrorKind::Corrupt)
                    .detail(problem.clone())
                    .hint("its files are left as they are; `ha-backup list` shows the other sessions");
            }
            let error = error(ErrorKind::NotFound);
            match self.state {
                SessionState::Running => error.detail("a run is still at it"),
                SessionState::Purged => error
                    .detail("it was removed")
                    .hint("`ha-backup list --removed` shows whether its bytes are still there"),
                _ => error.detail("its run died before it was committed"),
            }
        })
    }

    /// Every stored object that its manifest and its unified archive name.
    pub(crate) fn named<'e>(
        &'e self,
        unified: Option<&'e UnifiedRecord>,
    ) -> impl Iterator<Item = &'e Volume> {
        let archive = unified.into_iter().flat_map(|unified| &unified.volumes);
        self.manifest.iter().flat_map(Manifest::volumes).chain(archive)
    }

    /// True when this store is not the home of its run, and got the claim only, or a copy.
    pub fn is_from_elsewhere(&self) -> bool {
        self.begin.as_ref().is_some_and(|begin| !begin.home)
    }

    /// True when its manifest names it SUCCESS or PARTIAL.
    pub fn is_good(&self) -> bool {
        self.manifest.as_ref().is_some_and(|manifest| manifest.status != super::Status::Failed)
    }
}

/// All sessions, read one after the other as they are asked for.
pub struct Survey<'r> {
    /// When the newest file of a session was written, on the store's clock.
    pub newest_object: Option<DateTime<Utc>>,
    /// Oldest first.
    pub sessions: BoxStream<'r, Result<SessionEntry>>,
}

impl fmt::Debug for Survey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Survey").field("newest_object", &self.newest_object).finish_non_exhaustive()
    }
}

/// Whose claims are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Claims {
    /// Those of all sessions.
    All,
    /// Those of sessions that are not committed.
    Uncommitted,
}

impl Repository {
    /// All sessions, oldest first.
    ///
    /// # Errors
    /// When the store cannot be listed; a session that cannot be read is an entry, not an error.
    pub async fn sessions(&self, now: DateTime<Utc>) -> Result<Vec<SessionEntry>> {
        self.survey_with(now, Claims::All).await?.sessions.try_collect().await
    }

    /// Lists all sessions, once, to read them one after the other: memory holds the names of their files and no more than
    /// a few manifests. Claims of committed sessions are not read.
    ///
    /// # Errors
    /// When the store cannot be listed; a session that cannot be read is an entry, not an error.
    pub async fn survey(&self, now: DateTime<Utc>) -> Result<Survey<'_>> {
        self.survey_with(now, Claims::Uncommitted).await
    }

    async fn survey_with(&self, now: DateTime<Utc>, claims: Claims) -> Result<Survey<'_>> {
        let mut folders: BTreeMap<SessionId, Vec<String>> = BTreeMap::new();
        let mut newest_object = None;
        let prefix = Key::new(SESSIONS)?;
        let mut listing = self.store.list(&prefix, Depth::All);
        while let Some(meta) = listing.try_next().await? {
            let mut parts = meta.key.as_str().splitn(3, '/');
            if let (_, Some(Ok(id)), Some(file)) = (parts.next(), parts.next().map(str::parse), parts.next())
            {
                folders.entry(id).or_default().push(file.to_owned());
                newest_object = newest_object.max(Some(meta.modified));
            }
        }
        let read = move |(id, files)| self.session_entry(id, files, now, claims);
        let sessions = stream::iter(folders).map(read).buffered(READS).boxed();
        Ok(Survey { newest_object, sessions })
    }

    /// One session, looked at anew.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when the store has none of that id.
    pub async fn session(&self, id: SessionId, now: DateTime<Utc>) -> Result<SessionEntry> {
        let files = self.session_files(id).await?;
        if files.is_empty() {
            return Err(Error::new(ErrorKind::NotFound, "find the session", id.to_string())
                .hint("`ha-backup list` shows the sessions that there are"));
        }
        self.session_entry(id, files, now, Claims::All).await
    }

    /// Names of the files in a session's folder.
    pub(crate) async fn session_files(&self, id: SessionId) -> Result<Vec<String>> {
        let folder = Key::new(format!("{SESSIONS}/{id}"))?;
        let metas = list_all(&self.store, &folder).await?;
        Ok(metas.iter().map(|meta| meta.key.file_name().to_owned()).collect())
    }

    async fn session_entry(
        &self,
        id: SessionId,
        mut files: Vec<String>,
        now: DateTime<Utc>,
        claims: Claims,
    ) -> Result<SessionEntry> {
        files.sort();
        let mut evidence: Vec<Evidence> = files.iter().filter_map(|file| file.parse().ok()).collect();
        evidence.sort_by_key(|evidence| evidence.at);
        let mut entry = SessionEntry {
            id,
            state: SessionState::Dead,
            manifest: None,
            begin: None,
            problem: None,
            evidence,
            drills: self.drills(id, &files).await?,
            pinned: Marks::of(&files).pinned(),
            notice: latest_due(&files),
            files,
        };
        let purged = entry.files.iter().any(|file| file.starts_with("purge-"));
        if entry.has("manifest.json") {
            match read_small(&self.store, &session_key(id, "manifest.json")?).await {
                Ok(body) => match Manifest::read(id, &body) {
                    Ok(manifest) => {
                        entry.state = SessionState::Committed;
                        entry.manifest = Some(manifest);
                    }
                    Err(error) => entry.problem = Some(error.chain()),
                },
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            if entry.problem.is_some() {
                entry.state = SessionState::Unreadable;
            }
        }
        if claims == Claims::All || entry.state != SessionState::Committed {
            entry.begin = self.read_begin(id, &entry.files).await?;
        }
        if purged {
            entry.state = SessionState::Purged;
        } else if entry.state == SessionState::Dead && self.claim_lives(&entry, now).await {
            entry.state = SessionState::Running;
        }
        Ok(entry)
    }

    async fn read_begin(&self, id: SessionId, files: &[String]) -> Result<Option<Begin>> {
        if !files.iter().any(|file| file == "begin.json") {
            return Ok(None);
        }
        match read_json(&self.store, &session_key(id, "begin.json")?).await {
            Ok(begin) => Ok(Some(begin)),
            // A claim that says nothing belongs to nobody that could be asked: its age decides, see `claim_lives`.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Corrupt) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether the run that claimed the session may still be at it.
    pub(crate) async fn claim_lives(&self, entry: &SessionEntry, now: DateTime<Utc>) -> bool {
        let Some(begin) = &entry.begin else {
            return now - entry.id.time() < chrono::TimeDelta::days(1);
        };
        let lease = entry.files.iter().rfind(|file| file.starts_with("lease-"));
        let deadline = match lease {
            Some(lease) => self.newest_deadline(entry.id, lease).await,
            None => None,
        };
        !begin.is_dead(deadline, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_is_read_back_from_its_name() {
        let evidence =
            Evidence { at: "2026-01-02T03:04:05Z".parse().unwrap(), level: "checksum".into(), passed: true };
        assert_eq!(evidence.file_name().parse(), Ok(evidence));
        assert!("verify-x.json".parse::<Evidence>().is_err());
    }
}

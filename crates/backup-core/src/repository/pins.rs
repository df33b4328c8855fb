//! Pins: sessions that a person wants kept.
//!
//! A pin is written, then looks for the announcement of a removal, and is refused if there is one; whoever removes announces
//! and then looks for pins. So of a pin and a removal at most one goes on, however long either is paused.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{
    ProcessIdentity, Repository, SessionEntry,
    identity::random_id,
    layout::session_key,
    objects::{create_json, create_own_json, read_json},
};
use crate::{
    traits::Created,
    words::{Error, ErrorKind, Result, SessionId},
};

/// How often a pin is tried when others pin and unpin the same session.
const TRIES: usize = 16;

/// `pin-N.json` and `unpin-N.json`: who wanted it, when, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// Random; tells two of the same number apart.
    pub nonce: String,
    /// When.
    pub at: DateTime<Utc>,
    /// The host it was done on.
    pub host: String,
    /// Why, in a person's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What became of an unpin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unpinned {
    /// Retention decides on it again.
    Done,
    /// It was not pinned.
    Needless,
    /// Somebody pinned it again at the same time.
    PinnedAgain,
}

/// The highest numbers among a session's pins and unpins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Marks {
    pin: Option<u64>,
    unpin: Option<u64>,
}

impl Marks {
    pub(super) fn of<'f>(files: impl IntoIterator<Item = &'f String>) -> Self {
        let mut marks = Self { pin: None, unpin: None };
        for file in files {
            let number = |prefix: &str| {
                file.strip_prefix(prefix)?
                    .strip_suffix(".json")?
                    .parse::<u64>()
                    .ok()
                    .filter(|n| *n < u64::MAX)
            };
            marks.pin = marks.pin.max(number("pin-"));
            marks.unpin = marks.unpin.max(number("unpin-"));
        }
        marks
    }

    /// The highest number counts; of a pin and an unpin that took the same one at once, the pin: nothing is removed in doubt.
    pub(super) fn pinned(self) -> bool {
        self.pin.is_some() && self.pin >= self.unpin
    }

    /// The number of the next pin or unpin.
    fn next(self) -> u64 {
        self.pin.max(self.unpin).map_or(1, |highest| highest + 1)
    }
}

impl Repository {
    /// Keeps a session until it is unpinned, whatever retention says.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is no such session that is committed, [`ErrorKind::Conflict`] when its removal is
    /// announced: it is being removed, or a clean-up died at it.
    pub async fn pin(&self, session: SessionId, reason: Option<&str>, now: DateTime<Utc>) -> Result<Pin> {
        let mut files = self.session_files(session).await?;
        check_there(session, &files)?;
        let pin = mark(reason, now);
        for _ in 0..TRIES {
            let number = Marks::of(&files).next();
            let key = session_key(session, &format!("pin-{number}.json"))?;
            let made = create_json(&self.store, &key, &pin).await?;
            files = self.session_files(session).await?;
            if made == Created::Exists {
                continue;
            }
            if let Some(removal) = announced(&files) {
                let refused = refused(session, removal);
                self.undo(session, number, &files, now).await;
                return Err(refused);
            }
            check_there(session, &files)?;
            // Numbers leave no gaps: without an unpin at or above ours, whoever takes a higher pin back has seen ours.
            if Marks::of(&files).unpin < Some(number) {
                return Ok(pin);
            }
        }
        Err(Error::new(ErrorKind::Conflict, "pin", session.to_string())
            .detail("others pin and unpin it all the time")
            .hint("look who does that; then pin it again"))
    }

    /// Takes a refused pin back. Not when another pin counts: its unpin would end that one too.
    async fn undo(&self, session: SessionId, number: u64, files: &[String], now: DateTime<Utc>) {
        let own = format!("pin-{number}.json");
        if Marks::of(files.iter().filter(|file| **file != own)).pinned() {
            return;
        }
        let written = match session_key(session, &format!("unpin-{}.json", number + 1)) {
            Ok(key) => {
                let unpin = mark(Some("the pin was refused: a removal is announced"), now);
                create_own_json(&self.store, &key, &unpin).await.map(drop)
            }
            Err(error) => Err(error),
        };
        if let Err(error) = written {
            tracing::warn!(%session, error = %error.chain(), "could not take the refused pin back: it stays");
        }
    }

    /// Leaves a session to retention again.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is no such session that is committed; when the store refuses.
    pub async fn unpin(
        &self,
        session: SessionId,
        reason: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<Unpinned> {
        let files = self.session_files(session).await?;
        check_there(session, &files)?;
        let marks = Marks::of(&files);
        if !marks.pinned() {
            return Ok(Unpinned::Needless);
        }
        let key = session_key(session, &format!("unpin-{}.json", marks.next()))?;
        // One that is there already says the same.
        create_json(&self.store, &key, &mark(reason, now)).await?;
        let files = self.session_files(session).await?;
        Ok(if Marks::of(&files).pinned() { Unpinned::PinnedAgain } else { Unpinned::Done })
    }

    /// Who pinned it and why; none when it is not pinned, or by a file that does not say.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn pin_of(&self, entry: &SessionEntry) -> Result<Option<Pin>> {
        let marks = Marks::of(&entry.files);
        let Some(number) = marks.pin.filter(|_| marks.pinned()) else { return Ok(None) };
        match read_json(&self.store, &session_key(entry.id, &format!("pin-{number}.json"))?).await {
            Ok(pin) => Ok(Some(pin)),
            // A pin counts by its name: one made by hand may hold anything.
            Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn mark(reason: Option<&str>, now: DateTime<Utc>) -> Pin {
    let host = ProcessIdentity::current().host;
    Pin { nonce: random_id(), at: now, host, reason: reason.map(str::to_owned) }
}

/// The announcement or purge among a session's files.
fn announced(files: &[String]) -> Option<&String> {
    files.iter().find(|file| file.starts_with("delete-") || file.starts_with("purge-"))
}

fn check_there(session: SessionId, files: &[String]) -> Result<()> {
    let missing = |detail: &str| {
        Err(Error::new(ErrorKind::NotFound, "pin", session.to_string())
            .detail(detail)
            .hint("`ha-backup list` shows the sessions that there are"))
    };
    if files.is_empty() {
        return missing("there is no such session");
    }
    if files.iter().any(|file| file.starts_with("purge-")) {
        return missing("it was removed");
    }
    if !files.iter().any(|file| file == "manifest.json") {
        return missing("no run has committed it");
    }
    Ok(())
}

fn refused(session: SessionId, removal: &str) -> Error {
    Error::new(ErrorKind::Conflict, "pin", session.to_string())
        .detail(format!("a clean-up has begun to remove it ({removal})"))
        .hint("if it is still listed when no clean-up runs, one died at it; what must be kept can be had with `extract`")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::stores::MemoryStore;
    use crate::traits::Store;

    fn pinned(names: &[&str]) -> bool {
        let files: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        Marks::of(&files).pinned()
    }

    #[test]
    fn the_highest_number_decides_and_of_equal_ones_the_pin() {
        assert!(!pinned(&["manifest.json"]));
        assert!(pinned(&["pin-1.json"]));
        assert!(!pinned(&["pin-1.json", "unpin-2.json"]));
        assert!(pinned(&["pin-1.json", "unpin-2.json", "pin-10.json"]));
        assert!(pinned(&["pin-2.json", "unpin-2.json"]));
        assert!(!pinned(&["unpin-1.json", "pin-x.json", "pin-.json"]));
    }

    fn now() -> DateTime<Utc> {
        "2026-01-05T02:00:00Z".parse().unwrap()
    }

    async fn committed() -> (Repository, MemoryStore, SessionId) {
        let store = MemoryStore::new();
        let (repository, _) = Repository::init(Arc::new(store.clone()), "crm", now()).await.unwrap();
        let session = SessionId::at(now());
        store.put(&session_key(session, "manifest.json").unwrap(), "{}".into()).await.unwrap();
        (repository, store, session)
    }

    #[tokio::test]
    async fn pins_and_unpins_take_turns_and_nothing_is_rewritten() {
        let (repository, store, session) = committed().await;
        assert_eq!(repository.unpin(session, None, now()).await.unwrap(), Unpinned::Needless);
        repository.pin(session, Some("audit"), now()).await.unwrap();
        let entry = repository.session(session, now()).await.unwrap();
        assert!(entry.pinned);
        assert_eq!(repository.pin_of(&entry).await.unwrap().unwrap().reason.as_deref(), Some("audit"));
        assert_eq!(repository.unpin(session, None, now()).await.unwrap(), Unpinned::Done);
        repository.pin(session, None, now()).await.unwrap();
        let names = store.keys();
        for (name, there) in
            [("pin-1.json", true), ("unpin-2.json", true), ("pin-3.json", true), ("pin-4.json", false)]
        {
            assert_eq!(
                names.iter().any(|key| key.ends_with(&format!("/{name}"))),
                there,
                "{name}: {names:?}"
            );
        }
    }

    #[tokio::test]
    async fn a_refused_pin_is_taken_back_and_leaves_that_of_another() {
        let (repository, store, session) = committed().await;
        let announcement = session_key(session, "delete-x.json").unwrap();
        store.put(&announcement, "{}".into()).await.unwrap();
        let refused = repository.pin(session, None, now()).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Conflict);
        assert!(!repository.session(session, now()).await.unwrap().pinned);
        // One that was there before the removal was announced.
        store.put(&session_key(session, "pin-7.json").unwrap(), "{}".into()).await.unwrap();
        assert!(repository.pin(session, None, now()).await.is_err());
        assert!(repository.session(session, now()).await.unwrap().pinned);
    }

    #[tokio::test]
    async fn what_is_not_committed_or_was_removed_is_not_pinned() {
        let (repository, store, session) = committed().await;
        let kind = async |session| repository.pin(session, None, now()).await.unwrap_err().kind();
        assert_eq!(kind(session.next()).await, ErrorKind::NotFound);
        store.put(&session_key(session.next(), "begin.json").unwrap(), "{}".into()).await.unwrap();
        assert_eq!(kind(session.next()).await, ErrorKind::NotFound);
        store.put(&session_key(session, "purge-x.json").unwrap(), "{}".into()).await.unwrap();
        assert_eq!(kind(session).await, ErrorKind::NotFound);
    }
}

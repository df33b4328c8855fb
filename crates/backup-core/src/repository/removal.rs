//! Removing sessions: announce, look, act.
//!
//! Commit and removal cannot both win, however long anybody is paused: the writer creates the manifest and then looks for an
//! announcement; a remover announces and then looks for the manifest (of a dead run) or for pins (of a good session). What is
//! announced changes nothing for a reader; a purge is for ever, and anybody may finish it.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use futures::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    DrillRecord, Leftover, LeftoverKind, Repository, SessionEntry, SessionState, UnifiedRecord,
    identity::random_id,
    layout::{session_key, stamp_of},
    leftovers::{Surveyed, find_leftovers},
    objects::{create_own_json, list_all, read_json},
};
use crate::{
    policy::DrillReport,
    traits::{Hold, Meta},
    words::{Error, ErrorKind, Key, Result, SessionId, SessionType},
};

/// How long a purge stays, so that no forgotten writer or copy brings the session back.
const PURGE_STAYS: TimeDelta = TimeDelta::days(400);

/// `delete-NONCE.json` and `purge-NONCE.json`.
#[derive(Debug, Serialize, Deserialize)]
struct Removal {
    nonce: String,
    at: DateTime<Utc>,
    reason: String,
    /// The session's report; in the purge only.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    report: Value,
    /// Its drills; in the purge only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    drills: Vec<Value>,
}

/// What became of a removal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removed {
    /// Gone; so many bytes.
    Gone(u64),
    /// Somebody was quicker: it stays, and why.
    Stays(String),
}

impl Repository {
    /// Objects under the types' folders, by the session under whose stamp they stand.
    ///
    /// # Errors
    /// When the store cannot be listed.
    pub async fn objects_by_session(&self) -> Result<BTreeMap<SessionId, Vec<Meta>>> {
        let mut found: BTreeMap<SessionId, Vec<Meta>> = BTreeMap::new();
        for meta in self.objects().await? {
            if let Some(session) = stamp_of(&meta.key) {
                found.entry(session).or_default().push(meta);
            }
        }
        Ok(found)
    }

    /// All objects under the types' folders.
    pub(crate) async fn objects(&self) -> Result<Vec<Meta>> {
        let mut objects = Vec::new();
        for session_type in SessionType::ALL {
            objects.extend(list_all(&self.store, &Key::new(session_type.as_str())?).await?);
        }
        Ok(objects)
    }

    /// What may go without a decision: dead runs, removals that were not finished, objects that no manifest names.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn leftovers(&self, sessions: &[SessionEntry], now: DateTime<Utc>) -> Result<Vec<Leftover>> {
        let objects = self.objects_by_session().await?;
        let mut surveyed = Vec::new();
        for entry in sessions {
            let unified = self.unified(entry).await?;
            let claimed = self.claim_lives(entry, now).await;
            surveyed.push(Surveyed { entry: entry.clone(), unified, claimed });
        }
        Ok(find_leftovers(&surveyed, &objects))
    }

    /// The session's unified archive in this store.
    ///
    /// # Errors
    /// When its record cannot be read.
    pub async fn unified(&self, entry: &SessionEntry) -> Result<Option<UnifiedRecord>> {
        if !entry.has("unified.json") {
            return Ok(None);
        }
        read_json(&self.store, &session_key(entry.id, "unified.json")?).await.map(Some)
    }

    /// What keeps any of these objects from being removed.
    async fn hold(&self, keys: impl IntoIterator<Item = &Key>) -> Result<Hold> {
        let Some(locks) = self.store.locks() else { return Ok(Hold::default()) };
        let asked: Vec<_> = keys.into_iter().map(|key| locks.hold(key)).collect();
        let holds = futures::stream::iter(asked).buffer_unordered(8);
        holds.try_fold(Hold::default(), |all, one| async move { Ok(all.and(one)) }).await
    }

    /// What keeps a session from being removed: its data, its manifest, its unified archive.
    ///
    /// # Errors
    /// When the store does not say.
    pub async fn hold_of(&self, entry: &SessionEntry) -> Result<Hold> {
        let unified = self.unified(entry).await?;
        let volumes = entry.named(unified.as_ref());
        let mut keys: Vec<Key> = volumes.map(|volume| volume.key.clone()).collect();
        for file in ["manifest.json", "manifest.json.minisig", "unified.json"] {
            if entry.has(file) {
                keys.push(session_key(entry.id, file)?);
            }
        }
        self.hold(&keys).await
    }

    /// Removes one left-over, unless the store still holds it.
    ///
    /// # Errors
    /// When the store refuses; what is left goes with the next clean-up.
    pub async fn clear(&self, leftover: &Leftover, now: DateTime<Utc>) -> Result<Removed> {
        let hold = self.hold(&leftover.keys).await?;
        if hold.holds() {
            return Ok(Removed::Stays(hold.to_string()));
        }
        match leftover.kind {
            LeftoverKind::DeadRun => {
                self.remove_dead(leftover.session, &leftover.keys, leftover.bytes, now).await
            }
            LeftoverKind::UnfinishedRemoval => {
                self.finish_removal(leftover.session, &leftover.keys).await?;
                Ok(Removed::Gone(leftover.bytes))
            }
            LeftoverKind::Unnamed => {
                self.delete_all(&leftover.keys).await?;
                self.forget_unified(leftover).await?;
                Ok(Removed::Gone(leftover.bytes))
            }
        }
    }

    /// A run that was taken for dead may have named its archive while we removed it: it looks after it has named it, we look
    /// after we have removed it, and so one of us takes the name away.
    async fn forget_unified(&self, leftover: &Leftover) -> Result<()> {
        let key = session_key(leftover.session, "unified.json")?;
        let named: UnifiedRecord = match read_json(&self.store, &key).await {
            Ok(named) => named,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        match named.volumes.iter().any(|volume| leftover.keys.contains(&volume.key)) {
            true => self.store.delete(&key).await,
            false => Ok(()),
        }
    }

    /// Removes a run that died, unless it commits after all.
    async fn remove_dead(
        &self,
        session: SessionId,
        keys: &[Key],
        bytes: u64,
        now: DateTime<Utc>,
    ) -> Result<Removed> {
        let reason = "its run died";
        let nonce = self.announce(session, reason, now).await?;
        if self.session_files(session).await?.iter().any(|file| file == "manifest.json") {
            self.withdraw(session, &nonce).await?;
            return Ok(Removed::Stays("it was committed after all".to_owned()));
        }
        self.purge(session, nonce, reason, (Value::Null, Vec::new()), now).await?;
        self.finish_removal(session, keys).await?;
        Ok(Removed::Gone(bytes))
    }

    /// Gives up our own run: nothing of it stays that could look done.
    ///
    /// # Errors
    /// When the store refuses; the next clean-up does it then.
    pub async fn abandon(&self, session: SessionId, now: DateTime<Utc>) -> Result<()> {
        let objects = self.objects_by_session().await?.remove(&session).unwrap_or_default();
        let keys: Vec<Key> = objects.into_iter().map(|meta| meta.key).collect();
        if self.hold(&keys).await?.holds() {
            return Ok(());
        }
        self.remove_dead(session, &keys, 0, now).await.map(drop)
    }

    /// Removes a good session by retention's decision.
    ///
    /// # Errors
    /// When the store refuses; what is left goes with the next clean-up.
    pub async fn remove(&self, entry: &SessionEntry, reason: &str, now: DateTime<Utc>) -> Result<Removed> {
        let session = entry.id;
        if entry.state != SessionState::Committed {
            return Ok(Removed::Stays("it is not committed".to_owned()));
        }
        let nonce = self.announce(session, reason, now).await?;
        let again = self.session(session, now).await?;
        if again.pinned {
            self.withdraw(session, &nonce).await?;
            return Ok(Removed::Stays("it was pinned".to_owned()));
        }
        let report = match read_json(&self.store, &session_key(session, "report.json")?).await {
            Ok(report) => report,
            // There is none to keep, or none that anybody could read.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Corrupt) => Value::Null,
            Err(error) => return Err(error),
        };
        let drills = self.drill_reports(session, &again.files).await?;
        self.purge(session, nonce, reason, (report, drills), now).await?;
        let objects = self.objects_by_session().await?.remove(&session).unwrap_or_default();
        let bytes = objects.iter().map(|meta| meta.size).sum();
        let mut keys: Vec<Key> = objects.into_iter().map(|meta| meta.key).collect();
        // What was adopted does not stand under its session's stamp.
        let unified = self.unified(entry).await?;
        keys.extend(entry.named(unified.as_ref()).map(|volume| volume.key.clone()));
        self.finish_removal(session, &keys).await?;
        Ok(Removed::Gone(bytes))
    }

    async fn announce(&self, session: SessionId, reason: &str, now: DateTime<Utc>) -> Result<String> {
        let nonce = random_id();
        let removal = Removal {
            nonce: nonce.clone(),
            at: now,
            reason: reason.to_owned(),
            report: Value::Null,
            drills: Vec::new(),
        };
        create_own_json(&self.store, &session_key(session, &format!("delete-{nonce}.json"))?, &removal)
            .await?;
        Ok(nonce)
    }

    /// Takes our own announcement back: only we could have purged by it, and we do not.
    async fn withdraw(&self, session: SessionId, nonce: &str) -> Result<()> {
        self.store.delete(&session_key(session, &format!("delete-{nonce}.json"))?).await
    }

    async fn purge(
        &self,
        session: SessionId,
        nonce: String,
        reason: &str,
        (report, drills): (Value, Vec<Value>),
        now: DateTime<Utc>,
    ) -> Result<()> {
        let key = session_key(session, &format!("purge-{nonce}.json"))?;
        let removal = Removal { nonce, at: now, reason: reason.to_owned(), report, drills };
        create_own_json(&self.store, &key, &removal).await.map(drop)
    }

    /// The bytes go, then what describes them, the manifest last; claim, announcement and purge stay.
    async fn finish_removal(&self, session: SessionId, keys: &[Key]) -> Result<()> {
        self.delete_all(keys).await?;
        let stays = |file: &str| {
            file == "begin.json"
                || file == "manifest.json"
                || file.starts_with("delete-")
                || file.starts_with("purge-")
        };
        for file in self.session_files(session).await?.iter().filter(|file| !stays(file)) {
            self.store.delete(&session_key(session, file)?).await?;
        }
        self.store.delete(&session_key(session, "manifest.json")?).await
    }

    async fn delete_all(&self, keys: &[Key]) -> Result<()> {
        let removals: Vec<_> = keys.iter().map(|key| self.store.delete(key)).collect();
        let mut results = futures::stream::iter(removals).buffer_unordered(8);
        let mut first_error = None;
        while let Some(result) = results.next().await {
            first_error = first_error.or(result.err());
        }
        first_error.map_or(Ok(()), Err)
    }

    /// Forgets removals that were finished long ago.
    ///
    /// # Errors
    /// When the store refuses.
    pub async fn forget_old_removals(&self, sessions: &[SessionEntry], now: DateTime<Utc>) -> Result<u64> {
        let (mut forgotten, mut objects) = (0, None);
        for entry in sessions {
            let finished = entry.state == SessionState::Purged && !entry.has("manifest.json");
            if !finished
                || now - entry.id.time() < PURGE_STAYS
                || self.purged_since(entry, now).await? < PURGE_STAYS
            {
                continue;
            }
            // A writer that was paused for long may have left something since: that goes first.
            let objects = match &objects {
                Some(objects) => objects,
                None => objects.insert(self.objects_by_session().await?),
            };
            if objects.contains_key(&entry.id) {
                continue;
            }
            // The purge goes last: without it the rest would look like a dead run.
            let (purges, others): (Vec<_>, Vec<_>) =
                entry.files.iter().partition(|file| file.starts_with("purge-"));
            for file in others.into_iter().chain(purges) {
                self.store.delete(&session_key(entry.id, file)?).await?;
            }
            forgotten += 1;
        }
        Ok(forgotten)
    }

    /// When and why the session was purged in this store; none when it was not.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn purge_of(&self, session: SessionId) -> Result<Option<(DateTime<Utc>, String)>> {
        let files = self.session_files(session).await?;
        let Some(file) = files.iter().find(|file| file.starts_with("purge-")) else { return Ok(None) };
        match read_json::<Removal>(&self.store, &session_key(session, file)?).await {
            Ok(removal) => Ok(Some((removal.at, removal.reason))),
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                Ok(Some((session.time(), format!("{file} says nothing that we wrote"))))
            }
            Err(error) => Err(error),
        }
    }

    /// What the removal of a session wrote down of it: its report and its drills; nulls and none for one that has none.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn removed_report(&self, entry: &SessionEntry) -> Result<(Value, Vec<DrillRecord>)> {
        for file in entry.files.iter().filter(|file| file.starts_with("purge-")) {
            match read_json::<Removal>(&self.store, &session_key(entry.id, file)?).await {
                Ok(removal) if !removal.report.is_null() => {
                    let drills = removal.drills.into_iter();
                    let read = drills.filter_map(|drill| serde_json::from_value::<DrillReport>(drill).ok());
                    return Ok((removal.report, read.map(DrillRecord::from).collect()));
                }
                Ok(_) => {}
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Corrupt) => {}
                Err(error) => return Err(error),
            }
        }
        Ok((Value::Null, Vec::new()))
    }

    async fn purged_since(&self, entry: &SessionEntry, now: DateTime<Utc>) -> Result<TimeDelta> {
        let mut newest = TimeDelta::MAX;
        for file in entry.files.iter().filter(|file| file.starts_with("purge-")) {
            let age = match read_json::<Removal>(&self.store, &session_key(entry.id, file)?).await {
                Ok(removal) => now - removal.at,
                Err(error) if error.kind() == ErrorKind::Corrupt => TimeDelta::zero(),
                Err(error) => return Err(error),
            };
            newest = newest.min(age);
        }
        Ok(newest)
    }

    /// After our commit: fails when somebody announced a removal meanwhile, for then it may be under way.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] with who did what.
    pub(crate) async fn look_for_removals(&self, session: SessionId) -> Result<()> {
        let files = self.session_files(session).await?;
        match files.iter().find(|file| file.starts_with("delete-") || file.starts_with("purge-")) {
            None => Ok(()),
            Some(file) => Err(Error::new(ErrorKind::Conflict, "commit", session.to_string())
                .detail(format!("another run took this one for dead and announced its removal ({file})"))
                .hint("were clocks wrong, or was this host asleep? Run the backup again")),
        }
    }
}

//! What is known besides what the store says.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use backup_core::{
    engine::Report,
    pipeline::Keyring,
    policy::RetentionPolicy,
    repository::{Manifest, SessionEntry, SessionState, Status},
    traits::Store,
    words::{Error, Key, Result, SessionId, SessionType},
};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use super::{Rule, Violation, look::Look};

/// How tidy a store has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Something may have died: what it left can be found.
    LeftOvers,
    /// Runs ended normally, and every claim of one that did not is dead: nothing is left.
    Tidy,
}

/// What a good session was when it was seen.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) job: String,
    pub(super) session_type: SessionType,
    /// Its good components.
    pub(super) good: BTreeSet<String>,
}

/// What runs reported, what was pinned and what was planted: the checker compares a store with it. Check while no run is at
/// work, and at least once a day of the tested time.
#[derive(Clone, Debug)]
pub struct Ledger {
    pub(super) policy: RetentionPolicy,
    pub(super) zone: Tz,
    pub(super) keys: Keyring,
    pub(super) known: BTreeMap<SessionId, Known>,
    pub(super) pinned: BTreeSet<SessionId>,
    reported: BTreeSet<SessionId>,
    foreign: BTreeMap<Key, Bytes>,
    whole: BTreeSet<SessionId>,
}

impl Ledger {
    /// Of a repository whose retention is `policy`, reckoned in `zone`.
    pub fn new(policy: RetentionPolicy, zone: Tz) -> Self {
        Self {
            policy,
            zone,
            keys: Keyring::default(),
            known: BTreeMap::new(),
            pinned: BTreeSet::new(),
            reported: BTreeSet::new(),
            foreign: BTreeMap::new(),
            whole: BTreeSet::new(),
        }
    }

    /// Opens encrypted sessions with these.
    #[must_use]
    pub fn with_keys(mut self, keys: Keyring) -> Self {
        self.keys = keys;
        self
    }

    /// A run said this.
    pub fn report(&mut self, report: &Report) {
        if report.status != Status::Failed {
            self.reported.insert(report.session_id);
        }
    }

    /// The session is pinned from now on.
    pub fn pin(&mut self, session: SessionId) {
        self.pinned.insert(session);
    }

    /// Puts something into the store that is not ours.
    ///
    /// # Errors
    /// When the store refuses.
    pub async fn plant(&mut self, store: &dyn Store, key: Key, body: Bytes) -> Result<()> {
        store.put(&key, body.clone()).await?;
        self.foreign.insert(key, body);
        Ok(())
    }

    pub(super) fn is_foreign(&self, key: &Key) -> bool {
        self.foreign.contains_key(key)
    }

    /// Everything that is broken in the store. Bytes of a session are read when it is seen first, and again with
    /// [`forget_bytes`](Self::forget_bytes).
    pub async fn check(
        &mut self,
        store: &Arc<dyn Store>,
        now: DateTime<Utc>,
        expect: Expect,
    ) -> Vec<Violation> {
        let look = match Look::at(store, now).await {
            Ok(look) => look,
            Err(error) => return vec![unreadable(&error)],
        };
        let mut broken = look.half_sessions();
        for entry in look.committed() {
            self.learn(entry);
            let bytes = self.whole.insert(entry.id);
            broken.extend(look.incomplete(entry, bytes, &self.keys).await);
        }
        for session in self.reported.union(&self.known.keys().copied().collect()) {
            if look.entry(*session).is_none_or(|entry| entry.state != SessionState::Committed) {
                let purged = look.purged_at(*session).await;
                broken.extend(self.lost(*session, purged, now));
            }
        }
        for (key, body) in &self.foreign {
            broken.extend(look.changed(key, body).await);
        }
        broken.extend(look.unfindable(|key| self.is_foreign(key)));
        if expect == Expect::Tidy {
            broken.extend(look.untidy(|key| self.is_foreign(key)).await);
        }
        broken
    }

    /// Reads the bytes of every session again at the next check.
    pub fn forget_bytes(&mut self) {
        self.whole.clear();
    }

    fn learn(&mut self, entry: &SessionEntry) {
        let Some(manifest) = entry.manifest.as_ref().filter(|manifest| manifest.status != Status::Failed)
        else {
            return;
        };
        self.known.entry(entry.id).or_insert_with(|| Known::of(manifest));
    }
}

impl Known {
    fn of(manifest: &Manifest) -> Self {
        let good = manifest.components.iter().filter(|component| component.is_good());
        Self {
            job: manifest.job.clone(),
            session_type: manifest.session_type,
            good: good.map(|component| component.name.clone()).collect(),
        }
    }
}

fn unreadable(error: &Error) -> Violation {
    Violation { rule: Rule::Readable, subject: "the store".to_owned(), found: error.chain() }
}

//! What lies in a store without counting: found by comparing listings, purely.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{SessionEntry, SessionState, UnifiedRecord};
use crate::{
    traits::Meta,
    words::{Key, SessionId},
};

/// Why it may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LeftoverKind {
    /// A run died.
    DeadRun,
    /// A removal was decided and not finished.
    UnfinishedRemoval,
    /// Objects under a session's stamp that it does not name: an attempt that failed, an archive that was not finished.
    Unnamed,
}

/// Objects that may go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Leftover {
    /// Under this session's stamp.
    pub session: SessionId,
    /// Why.
    pub kind: LeftoverKind,
    /// Which.
    pub keys: Vec<Key>,
    /// Their bytes.
    pub bytes: u64,
}

/// A session with what clean-up must know besides its entry.
#[derive(Clone, Debug)]
pub struct Surveyed {
    /// The session.
    pub entry: SessionEntry,
    /// Its unified archive in this store.
    pub unified: Option<UnifiedRecord>,
    /// Whether a run may still be at it.
    pub claimed: bool,
}

/// Finds what may go. Objects under no known session's stamp are left alone, and so is everything of a session that a run may
/// still be at or that cannot be read.
pub fn find_leftovers(sessions: &[Surveyed], objects: &BTreeMap<SessionId, Vec<Meta>>) -> Vec<Leftover> {
    sessions.iter().filter_map(|session| leftover_of(session, objects.get(&session.entry.id))).collect()
}

fn leftover_of(session: &Surveyed, objects: Option<&Vec<Meta>>) -> Option<Leftover> {
    let objects = objects.map(Vec::as_slice).unwrap_or_default();
    let entry = &session.entry;
    let under_stamp = || objects.iter().map(|meta| (meta.key.clone(), meta.size));
    let named: BTreeMap<Key, u64> =
        entry.named(session.unified.as_ref()).map(|v| (v.key.clone(), v.stored.size)).collect();
    let (kind, going): (_, BTreeMap<Key, u64>) = match entry.state {
        // Its home decides on it; what is here may be the begin of a copy.
        SessionState::Dead if entry.is_from_elsewhere() => return None,
        SessionState::Dead => (LeftoverKind::DeadRun, under_stamp().collect()),
        SessionState::Purged if objects.is_empty() && !entry.has("manifest.json") => return None,
        // What was adopted does not stand under its session's stamp.
        SessionState::Purged => (LeftoverKind::UnfinishedRemoval, under_stamp().chain(named).collect()),
        SessionState::Committed if !session.claimed => {
            let unnamed: BTreeMap<Key, u64> =
                under_stamp().filter(|(key, _)| !named.contains_key(key)).collect();
            if unnamed.is_empty() {
                return None;
            }
            (LeftoverKind::Unnamed, unnamed)
        }
        SessionState::Committed | SessionState::Running | SessionState::Unreadable => return None,
    };
    Some(Leftover { session: entry.id, kind, bytes: going.values().sum(), keys: going.into_keys().collect() })
}

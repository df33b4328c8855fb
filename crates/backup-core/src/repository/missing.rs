//! Which copies are missing: found by comparing what the stores hold, purely.

use std::collections::{BTreeMap, BTreeSet};

use super::{SessionEntry, SessionState};
use crate::words::SessionId;

/// How a session stands in one store, as far as copies go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It has a manifest with this nonce, and no purge.
    Held(String),
    /// It was begun under this nonce and has no manifest: nothing of it is there, or half a copy. None for a claim that says
    /// nothing.
    Begun(Option<String>),
    /// It was removed there, for ever.
    Purged,
    /// Its manifest cannot be read: it is left alone.
    Closed,
}

impl Standing {
    /// How `entry` stands in its store.
    pub fn of(entry: &SessionEntry) -> Self {
        match (entry.state, &entry.manifest) {
            (SessionState::Committed, Some(manifest)) => Self::Held(manifest.nonce.clone()),
            (SessionState::Purged, _) => Self::Purged,
            (SessionState::Running | SessionState::Dead, _) => {
                Self::Begun(entry.begin.as_ref().map(|begin| begin.nonce.clone()))
            }
            (SessionState::Unreadable | SessionState::Committed, _) => Self::Closed,
        }
    }
}

/// What one store holds.
pub type Holdings = BTreeMap<SessionId, Standing>;

/// A session that a store does not hold and another does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Which.
    pub session: SessionId,
    /// The stores that it can be copied from, by their place in the list.
    pub from: Vec<usize>,
    /// True when another run's session has the id in the store: it cannot be copied there.
    pub taken: bool,
}

/// The sessions that the store at `target` lacks, oldest first. One that it has purged, or that cannot be read there, is not
/// missing. Whether its retention would keep them is for the caller to ask.
pub fn missing_copies(stores: &[Holdings], target: usize) -> Vec<Missing> {
    let ids: BTreeSet<SessionId> = stores.iter().flat_map(|store| store.keys().copied()).collect();
    ids.into_iter().filter_map(|id| missing_one(stores, target, id)).collect()
}

fn missing_one(stores: &[Holdings], target: usize, session: SessionId) -> Option<Missing> {
    let held = |at: usize| match stores[at].get(&session) {
        Some(Standing::Held(nonce)) => Some((at, nonce.as_str())),
        _ => None,
    };
    let holders: Vec<(usize, &str)> = (0..stores.len()).filter(|at| *at != target).filter_map(held).collect();
    let (_, nonce) = *holders.first()?;
    let taken = match stores[target].get(&session) {
        None => false,
        Some(Standing::Purged | Standing::Closed) => return None,
        Some(Standing::Held(here)) if here == nonce => return None,
        Some(Standing::Held(_)) => true,
        Some(Standing::Begun(here)) => here.as_deref() != Some(nonce),
    };
    let from = holders.iter().filter(|(_, other)| *other == nonce).map(|(at, _)| *at).collect();
    Some(Missing { session, from, taken })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(second: u32) -> SessionId {
        format!("backup_20260101_0000{second:02}").parse().unwrap()
    }

    fn standing() -> impl Strategy<Value = Standing> {
        let nonce = || prop_oneof![3 => Just("a".to_owned()), 1 => Just("b".to_owned())];
        prop_oneof![
            4 => nonce().prop_map(Standing::Held),
            2 => proptest::option::of(nonce()).prop_map(Standing::Begun),
            1 => Just(Standing::Purged),
            1 => Just(Standing::Closed),
        ]
    }

    fn stores() -> impl Strategy<Value = Vec<Holdings>> {
        let store = proptest::collection::btree_map((0_u32..6).prop_map(id), standing(), 0..6);
        proptest::collection::vec(store, 1..4)
    }

    proptest! {
        #[test]
        fn copying_all_that_is_missing_leaves_nothing_missing_and_changes_nothing_else(stores in stores()) {
            for target in 0..stores.len() {
                let missing = missing_copies(&stores, target);
                let mut after = stores.clone();
                for one in missing.iter().filter(|one| !one.taken) {
                    prop_assert!(!one.from.is_empty() && !one.from.contains(&target));
                    let source = stores[one.from[0]][&one.session].clone();
                    prop_assert!(one.from.iter().all(|from| stores[*from][&one.session] == source));
                    let before = after[target].insert(one.session, source.clone());
                    // Nothing that counts is replaced: at most the begin of the same run.
                    if let Some(before) = before {
                        let Standing::Held(nonce) = source else { panic!("only what is held is copied") };
                        prop_assert_eq!(before, Standing::Begun(Some(nonce)));
                    }
                }
                let left = missing_copies(&after, target);
                prop_assert!(left.iter().all(|one| one.taken), "{left:?}");
            }
        }

        #[test]
        fn what_a_store_has_purged_or_holds_is_never_copied_to_it(stores in stores()) {
            for target in 0..stores.len() {
                for one in missing_copies(&stores, target) {
                    let here = stores[target].get(&one.session);
                    prop_assert!(!matches!(here, Some(Standing::Purged | Standing::Closed)));
                    prop_assert!(one.taken || !matches!(here, Some(Standing::Held(_))));
                }
            }
        }

        #[test]
        fn whatever_any_other_store_holds_is_held_missing_purged_or_closed(stores in stores()) {
            for target in 0..stores.len() {
                let missing = missing_copies(&stores, target);
                let others = stores.iter().enumerate().filter(|(at, _)| *at != target);
                for (session, _) in others.flat_map(|(_, s)| s).filter(|(_, how)| matches!(how, Standing::Held(_))) {
                    let known = matches!(
                        stores[target].get(session),
                        Some(Standing::Held(_) | Standing::Purged | Standing::Closed)
                    );
                    prop_assert!(known || missing.iter().any(|one| one.session == *session));
                }
            }
        }
    }
}

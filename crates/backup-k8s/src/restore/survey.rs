//! The look at one kind: each object of the backup beside the one in the cluster, and what is to be done with it.

use std::collections::BTreeSet;

use backup_core::{traits::Context, words::Result};
use futures::{Stream, StreamExt};

use super::{
    backup::{Backup, Key},
    decide::{Decision, Live, Rules, State, decide},
    diff::{Difference, compare},
    live,
    normal::{fingerprint, normalise},
    prepare::{Prepared, Wanted, Wish, prepare},
    retry::Patience,
};
use crate::cluster::{Cluster, ResourceKind};

/// How many objects are asked for one by one at a time.
const AT_ONCE: usize = 8;

/// What both the plan and its steps work with.
pub(super) struct Ground<'a> {
    pub(super) cx: &'a Context,
    pub(super) cluster: &'a Cluster,
    pub(super) backup: Backup<'a>,
    pub(super) wish: Wish,
    /// Namespaces that this restore makes.
    pub(super) fresh: BTreeSet<String>,
    /// Namespaces that are not there and that the backup can't make.
    pub(super) missing: BTreeSet<String>,
    /// Definitions that this restore creates or updates: their kinds may not be served yet.
    pub(super) coming: BTreeSet<String>,
}

/// What is in the cluster of a kind.
#[derive(Default)]
pub(super) struct There {
    pub(super) map: live::Map,
    /// Why nothing of the kind can be restored.
    unserved: Option<String>,
}

/// One object of the backup.
pub(super) enum Item {
    /// What is to be done with it.
    Seen(Box<Seen>),
    /// It is not restored.
    Left {
        /// `NAMESPACE/NAME` in the backup.
        key: Key,
        /// Why.
        why: String,
    },
    /// The options don't choose it.
    Unchosen,
}

/// An object and what is to be done with it.
pub(super) struct Seen {
    pub(super) wanted: Wanted,
    pub(super) live: Option<Live>,
    pub(super) difference: Option<Difference>,
    pub(super) decision: Decision,
}

impl<'a> Ground<'a> {
    /// How long the API server is asked.
    pub(super) fn patience(&self) -> Patience<'a> {
        Patience { cx: self.cx, cluster: self.cluster }
    }

    /// The namespaces that are restored into.
    pub(super) fn targets(&self) -> Vec<&str> {
        let mapping = &self.wish.mapping;
        let chosen = self.backup.namespaces.iter().filter(|name| mapping.takes(name));
        chosen.map(|name| mapping.target(name)).collect()
    }

    /// What is in the cluster of a kind.
    pub(super) async fn there(&self, kind: &ResourceKind) -> Result<There> {
        let read = live::read(self.cluster, kind, &self.targets(), self.patience()).await?;
        Ok(match read {
            Some(map) => There { map, unserved: None },
            None if self.coming.contains(&kind.resource()) => There::default(),
            None => There { map: live::Map::new(), unserved: Some(live::unserved(self.cluster, kind).await) },
        })
    }

    /// Looks at every object of a kind, in the order of the backup.
    pub(super) async fn look<'g>(
        &'g self,
        kind: &'g ResourceKind,
        there: &'g There,
    ) -> Result<impl Stream<Item = Result<Item>> + Send + 'g> {
        let objects = self.backup.objects(kind).await?;
        Ok(objects
            .map(move |object| async move {
                match prepare(&self.wish, &self.backup, kind, object?).await? {
                    Prepared::Unchosen => Ok(Item::Unchosen),
                    Prepared::Left { key, why } => Ok(Item::Left { key, why }),
                    Prepared::Wanted(wanted) => {
                        Ok(Item::Seen(Box::new(self.see(kind, *wanted, there).await?)))
                    }
                }
            })
            .buffered(AT_ONCE))
    }

    async fn see(&self, kind: &ResourceKind, wanted: Wanted, around: &There) -> Result<Seen> {
        let there = around.map.get(&wanted.key);
        let mut wanted_now = wanted.object.clone();
        normalise(&mut wanted_now);
        let state = match there {
            None => State::Absent,
            Some(there) if there.print == fingerprint(&wanted_now) => State::Same,
            Some(_) => self.difference(kind, &wanted.key, &wanted_now).await?,
        };
        let rebind = there.and_then(|there| there.claim.as_deref()).is_some_and(|claim| {
            let part = |name: &str| wanted.object.pointer(name).and_then(|part| part.as_str()).unwrap_or("");
            let own = format!("{}/{}", part("/spec/claimRef/namespace"), part("/spec/claimRef/name"));
            claim.released && claim.key == own
        });
        let rules = Rules {
            existing: self.wish.options.existing,
            fresh: wanted.namespace().is_some_and(|namespace| self.fresh.contains(namespace)),
            leave: wanted.leave,
            rebind,
        };
        let decision = match (&around.unserved, wanted.namespace()) {
            (Some(why), _) => Decision::Conflict(why.clone()),
            (None, Some(namespace)) if self.missing.contains(namespace) => {
                Decision::Conflict(format!("namespace {namespace} is missing, and is not restored"))
            }
            _ => decide(rules, there, &state),
        };
        let difference = match state {
            State::Other(difference) => Some(difference),
            State::Absent | State::Same => None,
        };
        Ok(Seen { wanted, live: there.cloned(), difference, decision })
    }

    /// Asks for the object itself: only its fingerprint was kept.
    async fn difference(&self, kind: &ResourceKind, key: &str, wanted: &serde_json::Value) -> Result<State> {
        let get = || live::get(self.cluster, kind, key);
        let Some(mut there) = self.patience().keep("look at", get).await? else { return Ok(State::Absent) };
        live::comparable(&mut there);
        let difference = compare(wanted, &there);
        // The order of a list's elements may be all that differs.
        Ok(if difference == Difference::default() { State::Same } else { State::Other(difference) })
    }
}

//! One view of the sessions of all stores.

use std::{collections::BTreeMap, pin::Pin};

use futures::{
    StreamExt,
    future::join_all,
    stream::{self, BoxStream, Peekable},
};
use serde::Serialize;

use super::{
    Away, Engine,
    stores::{Reached, Site},
};
use crate::{
    repository::{Evidence, Holdings, SessionEntry, SessionState, Standing},
    traits::Context,
    words::{Error, Result, SessionId},
};

/// How a session stands in one store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CopyState {
    /// Whole: it has its manifest.
    Held,
    /// A run, or a copy, is at it or died at it: it does not count there.
    Begun,
    /// It was removed there.
    Purged,
    /// Its manifest cannot be read there.
    Unreadable,
    /// Another run's session has the same id there.
    Other,
    /// Nothing of it is there.
    Missing,
}

/// A session in one store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StoreCopy {
    /// The store.
    pub store: String,
    /// How it stands there.
    pub state: CopyState,
    /// Verifications of the bytes there, oldest first.
    pub verifications: Vec<Evidence>,
}

/// A session over all stores that answer.
#[derive(Clone, Debug)]
pub struct Session {
    /// As the first store has it that holds it whole; verifications and pins of all stores are in it.
    pub entry: SessionEntry,
    /// How it stands in each store that answers, in their order.
    pub copies: Vec<StoreCopy>,
}

impl Session {
    /// The stores that hold it whole.
    pub fn held_in(&self) -> impl Iterator<Item = &str> {
        let held = self.copies.iter().filter(|copy| copy.state == CopyState::Held);
        held.map(|copy| copy.store.as_str())
    }
}

/// All sessions, and the stores that did not answer.
#[derive(Clone, Debug)]
pub struct Catalogue {
    /// Oldest first, those that were removed included.
    pub sessions: Vec<Session>,
    /// Stores that could not be looked at: sessions that only they hold are not shown.
    pub away: Vec<Away>,
}

/// What each store shows, by its place among those that answered.
#[derive(Debug, Default)]
pub(super) struct Views(pub(super) Vec<Vec<SessionEntry>>);

impl Views {
    /// What each store holds, for the comparison of copies.
    pub(super) fn holdings(&self) -> Vec<Holdings> {
        let of = |entries: &Vec<SessionEntry>| entries.iter().map(|e| (e.id, Standing::of(e))).collect();
        self.0.iter().map(of).collect()
    }

    pub(super) fn entry(&self, at: usize, id: SessionId) -> Option<&SessionEntry> {
        let entries = &self.0[at];
        entries.binary_search_by_key(&id, |entry| entry.id).ok().map(|found| &entries[found])
    }

    /// All sessions, each once.
    pub(super) fn union(self, sites: &[Site]) -> Vec<Session> {
        let mut by_id: BTreeMap<SessionId, Entries> = BTreeMap::new();
        for (at, entries) in self.0.into_iter().enumerate() {
            for entry in entries {
                by_id.entry(entry.id).or_default().push((at, entry));
            }
        }
        by_id.into_values().filter_map(|entries| merge(entries, sites)).collect()
    }
}

/// One session out of what the stores show of it. None when no store that answers is its home and none holds it: what is left
/// of it are claims, which say nothing.
pub(super) fn merge(mut entries: Entries, sites: &[Site]) -> Option<Session> {
    let nearest = |rank: u8| entries.iter().position(|(_, entry)| self::rank(entry) == rank);
    let chosen = (0..=LAST_RANK).find_map(nearest)?;
    let nonce = entries[chosen].1.manifest.as_ref().map(|manifest| manifest.nonce.clone());
    let copy = |(at, site): (usize, &Site)| {
        let entry = entries.iter().find(|(place, _)| *place == at).map(|(_, entry)| entry);
        StoreCopy {
            store: site.name().to_owned(),
            state: entry.map_or(CopyState::Missing, |entry| copy_state(entry, nonce.as_deref())),
            verifications: entry.map(|entry| entry.evidence.clone()).unwrap_or_default(),
        }
    };
    let copies = sites.iter().enumerate().map(copy).collect();
    let (_, mut entry) = entries.remove(chosen);
    let same = |other: &SessionEntry| match Standing::of(other) {
        Standing::Held(here) => Some(here) == nonce,
        _ => false,
    };
    for (_, other) in entries.iter().filter(|(_, other)| same(other)) {
        entry.evidence.extend(other.evidence.iter().cloned());
        entry.pinned |= other.pinned;
        for drill in &other.drills {
            if !entry.drills.contains(drill) {
                entry.drills.push(drill.clone());
            }
        }
    }
    entry.evidence.sort_by_key(|evidence| evidence.at);
    entry.drills.sort_by_key(|drill| drill.at);
    Some(Session { entry, copies })
}

const LAST_RANK: u8 = 5;

/// Which of several entries says most of a session; [`LAST_RANK`] and below count. What its home says of a run stands above the
/// claims that the run left elsewhere.
fn rank(entry: &SessionEntry) -> u8 {
    match entry.state {
        SessionState::Committed => 0,
        SessionState::Unreadable => 1,
        SessionState::Running if !entry.is_from_elsewhere() => 2,
        SessionState::Purged => 3,
        SessionState::Dead if !entry.is_from_elsewhere() => 4,
        SessionState::Running => LAST_RANK,
        SessionState::Dead => LAST_RANK + 1,
    }
}

fn copy_state(entry: &SessionEntry, nonce: Option<&str>) -> CopyState {
    match Standing::of(entry) {
        Standing::Held(here) if Some(here.as_str()) == nonce => CopyState::Held,
        Standing::Held(_) => CopyState::Other,
        Standing::Begun(Some(here)) if nonce.is_some_and(|nonce| nonce != here) => CopyState::Other,
        Standing::Begun(_) => CopyState::Begun,
        Standing::Purged => CopyState::Purged,
        Standing::Closed => CopyState::Unreadable,
    }
}

impl Engine {
    /// All sessions of all stores that answer, oldest first, those that were removed included.
    ///
    /// # Errors
    /// When no store can be read.
    pub async fn catalogue(&self, cx: &Context) -> Result<Catalogue> {
        let mut sessions = Vec::new();
        let away = self.each_session(cx, |session| sessions.push(session)).await?;
        Ok(Catalogue { sessions, away })
    }

    /// Looks at the sessions of [`catalogue`](Self::catalogue) one after the other: memory holds a few of them, however many
    /// there are. The stores that did not answer are told in the end.
    ///
    /// # Errors
    /// When no store can be read.
    pub async fn each_session(&self, cx: &Context, mut look: impl FnMut(Session)) -> Result<Vec<Away>> {
        let reached = self.reach(cx).await?;
        let sites = &reached.sites;
        let merged = |entries: Entries, lost: &[bool]| {
            if let Some(mut session) = merge(entries, sites) {
                let mut lost = lost.iter();
                session.copies.retain(|_| !lost.next().copied().unwrap_or_default());
                look(session);
            }
        };
        let lost = each_group(cx, &reached, merged).await?;
        Ok(reached.away.into_iter().chain(lost).collect())
    }

    /// What each store shows, with all claims, which say whether what a session left lives; stores that cannot be read are lost.
    pub(super) async fn views(&self, cx: &Context, reached: &mut Reached) -> Result<Views> {
        let now = cx.now();
        let reading = reached.sites.iter().map(|site| site.repository.sessions(now));
        let read = cx.or_cancelled("read the sessions", async { Ok(join_all(reading).await) }).await?;
        let (mut views, mut at) = (Vec::new(), 0);
        let mut last = None;
        for outcome in read {
            match outcome {
                Ok(entries) => {
                    views.push(entries);
                    at += 1;
                }
                Err(error) => {
                    reached.lose(at, &error);
                    last = Some(error);
                }
            }
        }
        match last {
            Some(error) if views.is_empty() => Err(error),
            _ => Ok(Views(views)),
        }
    }
}

/// Hands on what the stores show of each session, oldest first, and which of the stores were lost by then. Claims of committed
/// sessions are not read. The stores that were lost on the way are told in the end.
///
/// # Errors
/// When no store can be read.
pub(super) async fn each_group(
    cx: &Context,
    reached: &Reached,
    mut look: impl FnMut(Entries, &[bool]),
) -> Result<Vec<Away>> {
    const WHAT: &str = "read the sessions";
    let (sites, mut away) = (&reached.sites, Vec::new());
    let mut lost = vec![false; sites.len()];
    let mut lose = |lost: &mut Vec<bool>, at: usize, error: Error| {
        lost[at] = true;
        away.push(Away::new(&sites[at].settings, &error));
        if lost.iter().all(|lost| *lost) { Err(error) } else { Ok(()) }
    };
    let surveying = sites.iter().map(|site| site.repository.survey(cx.now()));
    let surveys = cx.or_cancelled(WHAT, async { Ok(join_all(surveying).await) }).await?;
    let mut streams = Vec::new();
    for (at, survey) in surveys.into_iter().enumerate() {
        streams.push(match survey {
            Ok(survey) => survey.sessions,
            Err(error) => {
                lose(&mut lost, at, error)?;
                stream::empty().boxed()
            }
        });
    }
    let mut sessions = side_by_side(streams);
    while let Some(entries) = cx.or_cancelled(WHAT, async { Ok(sessions.next().await) }).await? {
        match entries {
            Ok(entries) => look(entries, &lost),
            Err((at, error)) => lose(&mut lost, at, error)?,
        }
    }
    Ok(away)
}

/// One session's entries, each with the place of its store.
pub(super) type Entries = Vec<(usize, SessionEntry)>;

/// What several stores show, session by session: each item holds the entries of one, by the store's place. A store that fails
/// is told of once, and has no more then. Memory does not grow with the number of sessions.
pub(super) fn side_by_side<'s>(
    streams: Vec<BoxStream<'s, Result<SessionEntry>>>,
) -> BoxStream<'s, Result<Entries, (usize, Error)>> {
    let streams: Vec<Peekable<_>> = streams.into_iter().map(StreamExt::peekable).collect();
    stream::unfold(streams, |mut streams| async move {
        let mut smallest: Option<SessionId> = None;
        for (at, stream) in streams.iter_mut().enumerate() {
            match Pin::new(&mut *stream).peek().await {
                None => {}
                Some(Ok(entry)) => smallest = Some(smallest.map_or(entry.id, |id| id.min(entry.id))),
                Some(Err(_)) => {
                    let failed = stream.next().await;
                    *stream = stream::empty().boxed().peekable();
                    let Some(Err(error)) = failed else { return None };
                    return Some((Err((at, error)), streams));
                }
            }
        }
        let smallest = smallest?;
        let mut entries = Vec::new();
        for (at, stream) in streams.iter_mut().enumerate() {
            let is_it = |entry: &Result<SessionEntry>| entry.as_ref().is_ok_and(|entry| entry.id == smallest);
            if let Some(Ok(entry)) = Pin::new(stream).next_if(is_it).await {
                entries.push((at, entry));
            }
        }
        Some((Ok(entries), streams))
    })
    .boxed()
}

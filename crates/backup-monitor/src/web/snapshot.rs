//! All sessions at one time, as much of each as lists and plots need.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use backup_core::{
    engine::{Away, Engine, HealthReport, Session},
    repository::{Evidence, SessionState, Status},
    traits::Context,
    words::{Result, SessionId, SessionType},
};
use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{
    Installation,
    forecast::{Forecast, forecast},
    series::{self, Series},
    space::SpaceBook,
};

/// How the stores were.
#[derive(Debug)]
pub(super) struct Snapshot {
    /// When it was begun.
    pub(super) at: DateTime<Utc>,
    /// How long it took.
    pub(super) took: Duration,
    /// Newest first; none that was removed.
    pub(super) rows: Vec<Row>,
    /// By component.
    pub(super) series: BTreeMap<String, Series>,
    /// Stores that answered.
    pub(super) stores: Vec<StoreUse>,
    /// Stores that did not.
    pub(super) away: Vec<Away>,
    /// Every check.
    pub(super) health: HealthReport,
    /// What `status --json` prints.
    pub(super) status: Value,
}

/// A session in a list.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) id: SessionId,
    pub(super) state: SessionState,
    pub(super) session_type: Option<SessionType>,
    pub(super) status: Option<Status>,
    pub(super) job: Option<String>,
    pub(super) seconds: Option<f64>,
    pub(super) stored: Option<u64>,
    /// Names, and whether each is good.
    pub(super) components: Vec<(String, bool)>,
    pub(super) verified: Option<Evidence>,
    pub(super) pinned: bool,
    pub(super) stores: Vec<String>,
    pub(super) problem: Option<String>,
    /// What `list --json` prints of it.
    pub(super) listed: String,
}

/// How full a store is.
#[derive(Debug)]
pub(super) struct StoreUse {
    pub(super) name: String,
    pub(super) sessions: usize,
    /// Bytes of the sessions that it holds whole.
    pub(super) stored: u64,
    /// Free bytes, and bytes in all, where the store says it.
    pub(super) space: Option<(u64, u64)>,
    pub(super) forecast: Option<Forecast>,
}

impl Row {
    fn of(session: &Session, listed: String) -> Self {
        let entry = &session.entry;
        let manifest = entry.manifest.as_ref();
        let job = manifest.map(|manifest| manifest.job.clone());
        let components = manifest.into_iter().flat_map(|manifest| &manifest.components);
        Self {
            id: entry.id,
            state: entry.state,
            session_type: manifest.map(|manifest| manifest.session_type),
            status: manifest.map(|manifest| manifest.status),
            job: job.or_else(|| entry.begin.as_ref().map(|begin| begin.job.clone())),
            seconds: manifest.map(|m| (m.end - m.start).num_milliseconds() as f64 / 1000.0),
            stored: manifest.map(|manifest| manifest.stored_bytes()),
            components: components.map(|c| (c.name.clone(), c.is_good())).collect(),
            verified: entry.evidence.iter().max_by_key(|evidence| evidence.at).cloned(),
            pinned: entry.pinned,
            stores: session.held_in().map(str::to_owned).collect(),
            problem: entry.problem.clone(),
            listed,
        }
    }

    /// As filters and people name it.
    pub(super) fn status_word(&self) -> &'static str {
        match (self.state, self.status) {
            (SessionState::Committed, Some(Status::Success)) => "SUCCESS",
            (SessionState::Committed, Some(Status::Partial)) => "PARTIAL",
            (SessionState::Committed, Some(Status::Failed)) => "FAILED",
            (SessionState::Committed | SessionState::Unreadable, _) => "UNREADABLE",
            (SessionState::Running, _) => "RUNNING",
            (SessionState::Dead, _) => "DEAD",
            (SessionState::Purged, _) => "REMOVED",
        }
    }
}

/// What is gathered of each store on the way.
#[derive(Default)]
struct Held {
    sessions: usize,
    stored: u64,
    /// Whether anything was ever removed there: what is left then tells no history.
    removed: bool,
    /// When each session came, and what it took.
    came: Vec<(DateTime<Utc>, u64)>,
}

impl Snapshot {
    /// Looks at all sessions of all stores, and at their health.
    ///
    /// # Errors
    /// When no store can be read.
    pub(super) async fn take(
        installation: &dyn Installation,
        book: &SpaceBook,
        cx: &Context,
    ) -> Result<Self> {
        let (at, begun) = (cx.now(), Instant::now());
        let engine = installation.engine();
        let (mut rows, mut all) = (Vec::new(), BTreeMap::new());
        let mut held: BTreeMap<String, Held> = BTreeMap::new();
        let mut status = installation.begin_status();
        let look = |session: Session| {
            status.take(&session);
            series::take(&mut all, &session);
            count(&mut held, &session);
            if session.entry.state != SessionState::Purged {
                rows.push(Row::of(&session, installation.listed(&session).to_string()));
            }
        };
        let away = engine.each_session(cx, look).await?;
        rows.reverse();
        let known: Vec<&str> = engine.component_names().collect();
        all.retain(|name, series| known.contains(&name.as_str()) || !series.points.is_empty());
        let stores = stores(engine, &mut held, &away, book, at).await;
        let status = status.finish(&away, at).await?;
        let health = installation.health(cx).await?;
        Ok(Self { at, took: begun.elapsed(), rows, series: all, stores, away, health, status })
    }

    /// Sessions that a run is at.
    pub(super) fn running(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| row.state == SessionState::Running)
    }
}

fn count(held: &mut BTreeMap<String, Held>, session: &Session) {
    use backup_core::engine::CopyState;
    let bytes = session.entry.manifest.as_ref().map_or(0, |manifest| manifest.stored_bytes());
    for copy in &session.copies {
        let held = held.entry(copy.store.clone()).or_default();
        match copy.state {
            CopyState::Held => {
                held.sessions += 1;
                held.stored += bytes;
                held.came.push((session.entry.id.time(), held.stored));
            }
            CopyState::Purged => held.removed = true,
            _ => {}
        }
    }
}

async fn stores(
    engine: &Engine,
    held: &mut BTreeMap<String, Held>,
    away: &[Away],
    book: &SpaceBook,
    now: DateTime<Utc>,
) -> Vec<StoreUse> {
    let mut stores = Vec::new();
    for settings in engine.stores().iter().filter(|s| !away.iter().any(|away| away.store == s.name)) {
        let space = match settings.store.space() {
            Some(space) => space.space().await.ok(),
            None => None,
        };
        let held = held.remove(&settings.name).unwrap_or_default();
        let forecast = space.map(|(free, capacity)| {
            let mut measured = book.enter(&settings.name, now, capacity.saturating_sub(free));
            // Where nothing was removed yet, the sessions themselves say how it grew.
            if !held.removed && matches!(forecast(now, free, &measured), Forecast::NotEnoughHistory) {
                measured.clone_from(&held.came);
            }
            forecast(now, free, &measured)
        });
        stores.push(StoreUse {
            name: settings.name.clone(),
            sessions: held.sessions,
            stored: held.stored,
            space,
            forecast,
        });
    }
    stores
}

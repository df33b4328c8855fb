//! `status`: how the backups stand, at a glance.

mod past;
mod text;
mod watch;

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use backup_core::{
    engine::{Away, Engine, Session},
    repository::SessionState,
    words::{Error, ErrorKind, Result},
};
use backup_monitor::web::StatusLook;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;

use super::{
    App,
    drill_text::{LastDrill, all_of},
    installation::Installation,
    list::Line,
    schedule::{ShownRun, next_runs},
    tell,
};
use crate::{
    args::StatusArgs,
    config::Config,
    exit::{Exit, Failure},
};
use past::{ComponentPast, Past, Problem, Recent};

/// So many runs to come are shown.
const NEXT_RUNS: usize = 5;

#[derive(Debug, Serialize)]
struct Status {
    name: String,
    store: String,
    free_bytes: Option<u64>,
    capacity_bytes: Option<u64>,
    stores: Vec<StoreStatus>,
    away: Vec<Away>,
    sessions: usize,
    stored_bytes: u64,
    running: Vec<Line>,
    jobs: Vec<JobStatus>,
    /// Committed sessions by type.
    types: BTreeMap<String, usize>,
    components: Vec<ComponentPast>,
    /// The newest sessions that are not SUCCESS, newest first.
    problems: Vec<Problem>,
    next_runs: Vec<ShownRun>,
    /// The last drill of each component that had any.
    drills: Vec<LastDrill>,
    /// Notifiers that do not get their messages out.
    failing_notifiers: Vec<NotifierStatus>,
}

#[derive(Debug, Serialize)]
struct NotifierStatus {
    notifier: String,
    since: DateTime<Utc>,
    error: String,
}

/// A store that answers.
#[derive(Debug, Serialize)]
struct StoreStatus {
    store: String,
    sessions: usize,
    /// Of the sessions that it holds, without unified archives.
    stored_bytes: u64,
    free_bytes: Option<u64>,
    capacity_bytes: Option<u64>,
}

#[derive(Debug, Serialize)]
struct JobStatus {
    job: String,
    /// The newest that ended, well or badly.
    newest: Option<Line>,
    /// The newest good one.
    newest_good: Option<Line>,
    age_seconds: Option<i64>,
    /// The last good ones.
    recent: Recent,
}

/// What is seen of the sessions, one by one: memory holds what is shown and not them.
#[derive(Debug, Default)]
struct Seen {
    sessions: usize,
    stored_bytes: u64,
    running: Vec<Line>,
    /// By job.
    newest: BTreeMap<String, Line>,
    newest_good: BTreeMap<String, Line>,
    /// By component.
    drills: BTreeMap<String, LastDrill>,
    /// How many each store holds, and their bytes.
    held: BTreeMap<String, (usize, u64)>,
    past: Past,
}

impl Seen {
    /// The next one; the oldest comes first.
    fn take(&mut self, session: &Session) {
        let entry = &session.entry;
        let bytes = entry.manifest.as_ref().map_or(0, |manifest| manifest.stored_bytes());
        for store in session.held_in() {
            let (sessions, stored) = self.held.entry(store.to_owned()).or_default();
            *sessions += 1;
            *stored += bytes;
        }
        self.past.take(session);
        for drill in all_of(entry) {
            match self.drills.get(&drill.component) {
                Some(last) if last.at > drill.at => {}
                _ => drop(self.drills.insert(drill.component.clone(), drill)),
            }
        }
        match (entry.state, &entry.manifest) {
            (SessionState::Running, _) => self.running.push(Line::of(session)),
            (SessionState::Committed, Some(manifest)) => {
                self.sessions += 1;
                self.stored_bytes += manifest.stored_bytes();
                self.newest.insert(manifest.job.clone(), Line::of(session));
                if entry.is_good() {
                    self.newest_good.insert(manifest.job.clone(), Line::of(session));
                }
            }
            _ => {}
        }
    }

    fn job(&mut self, job: &str, now: DateTime<Utc>) -> JobStatus {
        let newest_good = self.newest_good.remove(job);
        JobStatus {
            job: job.to_owned(),
            newest: self.newest.remove(job),
            age_seconds: newest_good.as_ref().map(|good| (now - good.start).num_seconds()),
            newest_good,
            recent: self.past.jobs.remove(job).unwrap_or_default(),
        }
    }
}

/// Makes the document, from every session once.
#[derive(Debug)]
pub(super) struct StatusOf {
    installation: Arc<Installation>,
    seen: Seen,
}

impl StatusOf {
    pub(super) fn new(installation: Arc<Installation>) -> Self {
        Self { installation, seen: Seen::default() }
    }
}

#[async_trait]
impl StatusLook for StatusOf {
    fn take(&mut self, session: &Session) {
        self.seen.take(session);
    }

    async fn finish(self: Box<Self>, away: &[Away], now: DateTime<Utc>) -> Result<Value> {
        let status = status(&self.installation, self.seen, away.to_vec(), now).await?;
        serde_json::to_value(status)
            .map_err(|e| Error::new(ErrorKind::Internal, "write", "the status").because(e))
    }
}

pub(crate) async fn run(app: &mut App, args: StatusArgs) -> std::result::Result<Exit, Failure> {
    if let Some(seconds) = args.watch {
        return watch::run(app, seconds).await;
    }
    let status = look(app).await?;
    app.answer(&status, || text::text(&status, app.cx.now()))?;
    Ok(Exit::Good)
}

/// Looks through all sessions once.
async fn look(app: &mut App) -> std::result::Result<Status, Failure> {
    let installation = app.installation().await?;
    let mut seen = Seen::default();
    let looked = installation.engine.each_session(&app.cx, |session| seen.take(&session));
    let away = looked.await.map_err(Failure::looking)?;
    Ok(status(&installation, seen, away, app.cx.now()).await?)
}

/// What the sessions say, and how full the stores are.
async fn status(
    installation: &Installation,
    mut seen: Seen,
    away: Vec<Away>,
    now: DateTime<Utc>,
) -> Result<Status> {
    let (engine, config) = (&installation.engine, &installation.config);
    let stores = store_status(engine, &seen.held, &away).await;
    let first = stores.first();
    let jobs = engine.jobs().iter().map(|job| (job.optional, seen.job(&job.name, now)));
    let jobs = jobs.filter(|(optional, status)| !optional || status.newest.is_some());
    Ok(Status {
        name: config.name.clone(),
        store: config.stores[0].section.name.clone(),
        free_bytes: first.and_then(|store| store.free_bytes),
        capacity_bytes: first.and_then(|store| store.capacity_bytes),
        jobs: jobs.map(|(_, status)| status).collect(),
        types: std::mem::take(&mut seen.past.types),
        components: seen.past.components(&engine.watched(), now),
        problems: seen.past.problems.into_iter().rev().collect(),
        next_runs: next_runs(config, now, NEXT_RUNS),
        drills: engine.component_names().filter_map(|name| seen.drills.remove(name)).collect(),
        sessions: seen.sessions,
        stored_bytes: seen.stored_bytes,
        running: seen.running,
        stores,
        away,
        failing_notifiers: failing_notifiers(config)?,
    })
}

fn failing_notifiers(config: &Config) -> Result<Vec<NotifierStatus>> {
    let records = tell::teller(config)?.map(|teller| teller.records()).unwrap_or_default();
    let failing = records.into_iter().filter_map(|(notifier, record)| {
        let failing = record?.failing?;
        Some(NotifierStatus { notifier, since: failing.since, error: failing.error })
    });
    Ok(failing.collect())
}

async fn store_status(
    engine: &Engine,
    held: &BTreeMap<String, (usize, u64)>,
    away: &[Away],
) -> Vec<StoreStatus> {
    let mut stores = Vec::new();
    for settings in engine.stores().iter().filter(|s| !away.iter().any(|away| away.store == s.name)) {
        let space = match settings.store.space() {
            Some(space) => space.space().await.ok(),
            None => None,
        };
        let (sessions, stored_bytes) = held.get(&settings.name).copied().unwrap_or_default();
        stores.push(StoreStatus {
            store: settings.name.clone(),
            sessions,
            stored_bytes,
            free_bytes: space.map(|(free, _)| free),
            capacity_bytes: space.map(|(_, all)| all),
        });
    }
    stores
}

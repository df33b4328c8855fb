//! `status`: how the backups stand, at a glance.

use std::{collections::BTreeMap, fmt::Write, sync::Arc};

use async_trait::async_trait;
use backup_core::{
    engine::{Away, Engine, Session},
    repository::SessionState,
    words::{Error, ErrorKind, Result, human_bytes},
};
use backup_monitor::web::StatusLook;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;

use super::{
    App,
    drill_text::{LastDrill, all_of},
    installation::Installation,
    list::{Line, verified_words},
    tell,
};
use crate::{
    config::Config,
    exit::{Exit, Failure},
    render::{ago, count, seconds},
};

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
    /// How many each store holds.
    held: BTreeMap<String, usize>,
}

impl Seen {
    /// The next one; the oldest comes first.
    fn take(&mut self, session: &Session) {
        let entry = &session.entry;
        for store in session.held_in() {
            *self.held.entry(store.to_owned()).or_default() += 1;
        }
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

pub(crate) async fn run(app: &mut App) -> std::result::Result<Exit, Failure> {
    let installation = app.installation().await?;
    let mut seen = Seen::default();
    let looked = installation.engine.each_session(&app.cx, |session| seen.take(&session));
    let away = looked.await.map_err(Failure::looking)?;
    let now = app.cx.now();
    let status = status(&installation, seen, away, now).await?;
    app.answer(&status, || text(&status, now))?;
    Ok(Exit::Good)
}

/// What the sessions say, and how full the stores are.
async fn status(
    installation: &Installation,
    mut seen: Seen,
    away: Vec<Away>,
    now: DateTime<Utc>,
) -> Result<Status> {
    let engine = &installation.engine;
    let stores = store_status(engine, &seen.held, &away).await;
    let first = stores.first();
    let jobs = engine.jobs().iter().map(|job| (job.optional, seen.job(&job.name, now)));
    let jobs = jobs.filter(|(optional, status)| !optional || status.newest.is_some());
    Ok(Status {
        name: installation.config.name.clone(),
        store: installation.config.stores[0].section.name.clone(),
        free_bytes: first.and_then(|store| store.free_bytes),
        capacity_bytes: first.and_then(|store| store.capacity_bytes),
        jobs: jobs.map(|(_, status)| status).collect(),
        drills: engine.component_names().filter_map(|name| seen.drills.remove(name)).collect(),
        sessions: seen.sessions,
        stored_bytes: seen.stored_bytes,
        running: seen.running,
        stores,
        away,
        failing_notifiers: failing_notifiers(&installation.config)?,
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

async fn store_status(engine: &Engine, held: &BTreeMap<String, usize>, away: &[Away]) -> Vec<StoreStatus> {
    let mut stores = Vec::new();
    for settings in engine.stores().iter().filter(|s| !away.iter().any(|away| away.store == s.name)) {
        let space = match settings.store.space() {
            Some(space) => space.space().await.ok(),
            None => None,
        };
        stores.push(StoreStatus {
            store: settings.name.clone(),
            sessions: held.get(&settings.name).copied().unwrap_or_default(),
            free_bytes: space.map(|(free, _)| free),
            capacity_bytes: space.map(|(_, all)| all),
        });
    }
    stores
}

fn text(status: &Status, now: DateTime<Utc>) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write_status(&mut out, status, now);
    out
}

fn write_status(out: &mut String, status: &Status, now: DateTime<Utc>) -> std::fmt::Result {
    write!(
        out,
        "{}: {}, {} stored",
        status.name,
        count(status.sessions, "session"),
        human_bytes(status.stored_bytes)
    )?;
    match status.stores.as_slice() {
        [only] if status.away.is_empty() => writeln!(out, "; store {}{}", only.store, space(only, ": "))?,
        stores => {
            writeln!(out)?;
            for store in stores {
                let sessions = count(store.sessions, "session");
                writeln!(out, "  store {:<12} {sessions}{}", store.store, space(store, ", "))?;
            }
            for away in &status.away {
                writeln!(out, "  store {:<12} could not be looked at: {}", away.store, away.problem)?;
            }
        }
    }
    for running in &status.running {
        let job = running.job.as_deref().unwrap_or("unknown");
        writeln!(
            out,
            "\nrunning now: {} of job {job}, begun {}",
            running.session_id,
            ago(running.start, now)
        )?;
    }
    status.jobs.iter().try_for_each(|job| write_job(out, job, now))?;
    if !status.drills.is_empty() {
        writeln!(out, "\ndrills")?;
    }
    let line = |drill: &LastDrill| writeln!(out, "  {:<12} {}", drill.component, drill.words(now));
    status.drills.iter().try_for_each(line)?;
    for failing in &status.failing_notifiers {
        let since = ago(failing.since, now);
        writeln!(out, "\nnotifier {} fails, first {since}: {}", failing.notifier, failing.error)?;
    }
    Ok(())
}

/// `: 3 GiB of 10 GiB free`, where the store says it.
fn space(store: &StoreStatus, before: &str) -> String {
    match (store.free_bytes, store.capacity_bytes) {
        (Some(free), Some(all)) => format!("{before}{} of {} free", human_bytes(free), human_bytes(all)),
        _ => String::new(),
    }
}

fn write_job(out: &mut String, job: &JobStatus, now: DateTime<Utc>) -> std::fmt::Result {
    writeln!(out, "\njob {}", job.job)?;
    let Some(newest) = &job.newest else { return writeln!(out, "  no session yet") };
    writeln!(
        out,
        "  newest       {}  {}, begun {}",
        newest.session_id,
        newest.status_word(),
        ago(newest.start, now)
    )?;
    if let (Some(took), Some(bytes)) = (newest.duration_seconds, newest.stored_bytes) {
        writeln!(out, "               took {}, {} stored", seconds(took), human_bytes(bytes))?;
    }
    match &job.newest_good {
        None => writeln!(out, "  newest good  none")?,
        Some(good) if good.session_id != newest.session_id => {
            writeln!(out, "  newest good  {}, begun {}", good.session_id, ago(good.start, now))?;
        }
        Some(_) => {}
    }
    match job.newest_good.as_ref().and_then(|good| good.verified.as_ref()) {
        Some(evidence) => writeln!(out, "  verified     {}", verified_words(evidence, now)),
        None => writeln!(out, "  verified     not yet: `ha-backup verify`"),
    }
}

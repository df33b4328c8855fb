//! `status`: how the backups stand, at a glance.

use std::fmt::Write;

use backup_core::{
    repository::{SessionEntry, SessionState},
    words::human_bytes,
};
use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{
    App,
    list::{Line, verified_words},
};
use crate::{
    exit::{Exit, Failure},
    render::{ago, count, seconds},
};

#[derive(Debug, Serialize)]
struct Status {
    name: String,
    store: String,
    free_bytes: Option<u64>,
    capacity_bytes: Option<u64>,
    sessions: usize,
    stored_bytes: u64,
    running: Vec<Line>,
    jobs: Vec<JobStatus>,
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

pub(crate) async fn run(app: &mut App) -> Result<Exit, Failure> {
    let installation = app.installation().await?;
    let sessions = installation.engine.sessions(&app.cx).await.map_err(Failure::looking)?;
    let space = match installation.store.space() {
        Some(space) => space.space().await.ok(),
        None => None,
    };
    let now = app.cx.now();
    let committed = sessions
        .iter()
        .filter_map(|entry| entry.manifest.as_ref().filter(|_| entry.state == SessionState::Committed));
    let status = Status {
        name: installation.config.name.clone(),
        store: installation.config.store.name.clone(),
        free_bytes: space.map(|(free, _)| free),
        capacity_bytes: space.map(|(_, all)| all),
        sessions: committed.clone().count(),
        stored_bytes: committed.map(|manifest| manifest.stored_bytes()).sum(),
        running: sessions.iter().filter(|entry| entry.state == SessionState::Running).map(Line::of).collect(),
        jobs: installation
            .engine
            .jobs()
            .iter()
            .map(|job| (job.optional, job_status(&job.name, &sessions, now)))
            .filter(|(optional, status)| !optional || status.newest.is_some())
            .map(|(_, status)| status)
            .collect(),
    };
    app.answer(&status, || text(&status, now))?;
    Ok(Exit::Good)
}

fn job_status(job: &str, sessions: &[SessionEntry], now: DateTime<Utc>) -> JobStatus {
    let of_job = |entry: &&SessionEntry| {
        entry.state == SessionState::Committed
            && entry.manifest.as_ref().is_some_and(|manifest| manifest.job == job)
    };
    let good = sessions.iter().filter(of_job).rfind(|entry| entry.is_good());
    JobStatus {
        job: job.to_owned(),
        newest: sessions.iter().rfind(of_job).map(Line::of),
        newest_good: good.map(Line::of),
        age_seconds: good.map(|entry| (now - entry.id.time()).num_seconds()),
    }
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
    match (status.free_bytes, status.capacity_bytes) {
        (Some(free), Some(all)) => {
            writeln!(out, "; store {}: {} of {} free", status.store, human_bytes(free), human_bytes(all))?;
        }
        _ => writeln!(out, "; store {}", status.store)?,
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
    status.jobs.iter().try_for_each(|job| write_job(out, job, now))
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

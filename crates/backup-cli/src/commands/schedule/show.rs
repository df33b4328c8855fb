//! `schedule show`.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde::Serialize;

use super::App;
use crate::{
    config::{self, Config},
    exit::{Exit, Failure},
    render::table,
};
use backup_core::words::human_time;

#[derive(Debug, Serialize)]
struct Shown {
    time_zone: String,
    /// True when no job has a schedule, and the usual ones are used.
    usual_schedules: bool,
    jobs: Vec<ShownJob>,
    runs: Vec<ShownRun>,
}

#[derive(Debug, Serialize)]
struct ShownJob {
    job: String,
    run: &'static str,
    /// None for one that only people run.
    schedule: Option<String>,
}

#[derive(Debug, Serialize)]
pub(in super::super) struct ShownRun {
    pub(in super::super) job: String,
    pub(in super::super) run: &'static str,
    pub(in super::super) at: DateTime<Utc>,
    /// In the configured time zone, with its offset.
    local: String,
    #[serde(skip)]
    schedule: String,
    #[serde(skip)]
    pub(in super::super) shown: String,
}

pub(super) fn run(app: &App, count: usize) -> Result<Exit, Failure> {
    let (_, config) = config::load(app.global.config.as_deref())?;
    let now = app.cx.now();
    let shown = Shown {
        time_zone: config.time_zone.name().to_owned(),
        usual_schedules: config.usual_schedules,
        jobs: config
            .entries
            .iter()
            .map(|entry| ShownJob {
                job: entry.name.clone(),
                run: entry.run.as_str(),
                schedule: entry.schedule.as_ref().map(ToString::to_string),
            })
            .collect(),
        runs: next_runs(&config, now, count),
    };
    app.answer(&shown, || text(&shown, now))?;
    Ok(Exit::Good)
}

/// The next runs of all jobs, in order; of those at one moment, in the order of the configuration.
pub(in super::super) fn next_runs(config: &Config, now: DateTime<Utc>, count: usize) -> Vec<ShownRun> {
    let zone: Tz = config.time_zone;
    let jobs = config.entries.iter().filter_map(|entry| Some((entry, entry.schedule.as_ref()?)));
    let mut waiting: Vec<_> =
        jobs.map(|(entry, schedule)| (entry, schedule, schedule.runs_after(now, zone).peekable())).collect();
    let mut runs = Vec::new();
    while runs.len() < count {
        let soonest = waiting
            .iter_mut()
            .enumerate()
            .filter_map(|(index, (_, _, runs))| Some((*runs.peek()?, index)))
            .min();
        let Some((at, index)) = soonest else { break };
        let (entry, schedule, times) = &mut waiting[index];
        times.next();
        let local = at.with_timezone(&zone);
        runs.push(ShownRun {
            job: entry.name.clone(),
            run: entry.run.as_str(),
            at,
            local: local.format("%Y-%m-%dT%H:%M:%S%:z").to_string(),
            schedule: schedule.to_string(),
            shown: local.format("%a %Y-%m-%d %H:%M %Z").to_string(),
        });
    }
    runs
}

fn text(shown: &Shown, now: DateTime<Utc>) -> String {
    let rows = shown.runs.iter().map(|run| {
        vec![
            run.shown.clone(),
            human_time(run.at - now),
            run.job.clone(),
            run.run.to_owned(),
            run.schedule.clone(),
        ]
    });
    let mut text = if shown.runs.is_empty() {
        "No job has a next run.".to_owned()
    } else {
        table(&["NEXT RUN", "IN", "JOB", "RUNS", "SCHEDULE"], &[1], rows)
    };
    let by_hand: Vec<&str> =
        shown.jobs.iter().filter(|job| job.schedule.is_none()).map(|job| job.job.as_str()).collect();
    if shown.usual_schedules {
        text.push_str("\n\nNo job has a `schedule`: these are the usual ones.");
    }
    if !by_hand.is_empty() {
        text.push_str(&format!("\n\nWithout a schedule: {}", by_hand.join(", ")));
    }
    text
}

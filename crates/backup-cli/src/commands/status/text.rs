//! The status in a terminal.

use std::fmt::Write;

use backup_core::words::{human_bytes, human_time};
use chrono::{DateTime, TimeDelta, Utc};

use super::{
    super::{drill_text::LastDrill, list::verified_words},
    JobStatus, Status, StoreStatus,
    past::{ComponentPast, Recent},
};
use crate::render::{ago, bar, count, seconds, sparkline};

/// All of it, without colours.
pub(super) fn text(status: &Status, now: DateTime<Utc>) -> String {
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
                let (sessions, bytes) = (count(store.sessions, "session"), human_bytes(store.stored_bytes));
                writeln!(out, "  store {:<12} {sessions}, {bytes}{}", store.store, space(store, ", "))?;
            }
            for away in &status.away {
                writeln!(out, "  store {:<12} could not be looked at: {}", away.store, away.problem)?;
            }
        }
    }
    if !status.types.is_empty() {
        let types: Vec<String> =
            status.types.iter().map(|(name, number)| format!("{number} {name}")).collect();
        writeln!(out, "  types {}", types.join(", "))?;
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
    if !status.components.is_empty() {
        writeln!(out, "\ncomponents")?;
    }
    status.components.iter().try_for_each(|component| write_component(out, component))?;
    if !status.drills.is_empty() {
        writeln!(out, "\ndrills")?;
    }
    let line = |drill: &LastDrill| writeln!(out, "  {:<12} {}", drill.component, drill.words(now));
    status.drills.iter().try_for_each(line)?;
    for failing in &status.failing_notifiers {
        let since = ago(failing.since, now);
        writeln!(out, "\nnotifier {} fails, first {since}: {}", failing.notifier, failing.error)?;
    }
    if !status.problems.is_empty() {
        writeln!(out, "\nrecent problems")?;
    }
    for problem in &status.problems {
        let (id, word, when) = (problem.session_id, problem.status, ago(problem.start, now));
        writeln!(out, "  {id}  {word}, {when}: {}", problem.problem)?;
    }
    if !status.next_runs.is_empty() {
        writeln!(out, "\nnext runs")?;
    }
    for run in &status.next_runs {
        writeln!(out, "  {}  {} ({}), in {}", run.shown, run.job, run.run, human_time(run.at - now))?;
    }
    Ok(())
}

/// `: 3 GiB of 10 GiB free`, where the store says it.
fn space(store: &StoreStatus, before: &str) -> String {
    match (store.free_bytes, store.capacity_bytes) {
        (Some(free), Some(all)) if all > 0 => {
            let used = all.saturating_sub(free) as f64 / all as f64;
            let (free, all) = (human_bytes(free), human_bytes(all));
            format!("{before}{free} of {all} free {} {:.0} % used", bar(used, 10), used * 100.0)
        }
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
    write_recent(out, &job.recent)?;
    match job.newest_good.as_ref().and_then(|good| good.verified.as_ref()) {
        Some(evidence) => writeln!(out, "  verified     {}", verified_words(evidence, now)),
        None => writeln!(out, "  verified     not yet: `ha-backup verify`"),
    }
}

/// How size and duration went, in the last good sessions.
fn write_recent(out: &mut String, recent: &Recent) -> std::fmt::Result {
    let (Some(bytes), Some(took)) = (recent.stored_bytes.back(), recent.duration_seconds.back()) else {
        return Ok(());
    };
    if recent.stored_bytes.len() < 2 {
        return Ok(());
    }
    let sizes = sparkline(recent.stored_bytes.iter().map(|bytes| *bytes as f64));
    writeln!(out, "  size         {sizes} {}", human_bytes(*bytes))?;
    writeln!(out, "  duration     {} {}", sparkline(recent.duration_seconds.iter().copied()), seconds(*took))
}

fn write_component(out: &mut String, component: &ComponentPast) -> std::fmt::Result {
    let name = &component.component;
    let Some(age) = component.age_seconds else { return writeln!(out, "  {name:<12} no good backup yet") };
    let length = |seconds: i64| TimeDelta::try_seconds(seconds).map(human_time).unwrap_or_default();
    let (age, limit) = (length(age.max(0)), length(component.max_age_seconds));
    let old = if component.too_old { "TOO OLD: " } else { "" };
    write!(out, "  {name:<12} {old}{age} old (at most {limit})")?;
    if let Some(bytes) = component.recent.stored_bytes.back() {
        write!(out, ", {}", human_bytes(*bytes))?;
    }
    writeln!(out)?;
    if component.recent.stored_bytes.len() < 2 {
        return Ok(());
    }
    let sizes = sparkline(component.recent.stored_bytes.iter().map(|bytes| *bytes as f64));
    let times = sparkline(component.recent.duration_seconds.iter().copied());
    writeln!(out, "    size {sizes}  duration {times}")
}

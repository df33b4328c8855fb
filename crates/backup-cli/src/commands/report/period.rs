//! The report of a period in a terminal, and for spreadsheets.

use std::fmt::Write;

use backup_core::{
    policy::{ComponentPeriod, Exposure, JobPeriod, PeriodReport, SessionCounts},
    words::human_bytes,
};
use chrono::{DateTime, Utc};

use crate::render::{count, seconds, table};

/// All but the single runs.
pub(super) fn text(report: &PeriodReport) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write_report(&mut out, report);
    out.trim_end().to_owned()
}

fn write_report(out: &mut String, report: &PeriodReport) -> std::fmt::Result {
    let zone = Zone::of(report);
    let period = &report.period;
    writeln!(out, "Backups of {} in {}", report.installation, period.name)?;
    writeln!(out, "\n  from        {}", zone.moment(period.from))?;
    writeln!(out, "  until       {}", zone.moment(period.to))?;
    writeln!(out, "  sessions    {}", counted(&report.sessions))?;
    let types: Vec<String> = report.types.iter().map(|(name, number)| format!("{number} {name}")).collect();
    if !types.is_empty() {
        writeln!(out, "  types       {}", types.join(", "))?;
    }
    writeln!(out, "  stored      {}", human_bytes(report.stored_bytes))?;
    let verified = report.verifications;
    writeln!(out, "  verified    {} passed, {} failed", verified.passed, verified.failed)?;
    let drills = report.drills;
    writeln!(
        out,
        "  drills      {} passed, {} failed, {} not run",
        drills.passed, drills.failed, drills.not_run
    )?;
    let headings = ["JOB", "GOOD", "NOT GOOD", "STORED", "LONGEST RUN", "RECOVERY POINT", "LIMIT", ""];
    let rows = report.jobs.iter().map(|job| job_row(job, &zone));
    writeln!(out, "\n{}", table(&headings, &[1, 2, 3], rows))?;
    let headings =
        ["COMPONENT", "GOOD", "FAILED", "LAST SIZE", "RECOVERY POINT", "LIMIT", "", "RECOVERY TIME"];
    let rows = report.components.iter().map(|component| component_row(component, &zone));
    writeln!(out, "\n{}", table(&headings, &[1, 2, 3], rows))?;
    if !report.unknown.is_empty() {
        writeln!(out, "\nNot known")?;
    }
    report.unknown.iter().try_for_each(|line| writeln!(out, "  - {line}"))?;
    writeln!(
        out,
        "\nRecovery point: the most that a loss would have cost, from the begin of a good session to the end of the next.\n\
         Recovery time: of drills that passed, the longest. `--json` has everything, `--csv` the single sessions."
    )
}

fn job_row(job: &JobPeriod, zone: &Zone) -> Vec<String> {
    let good = job.sessions.success + job.sessions.partial;
    let mut row = vec![
        job.job.clone(),
        good.to_string(),
        (job.sessions.all - good).to_string(),
        human_bytes(job.stored_bytes),
        job.longest_seconds.map_or_else(dash, |length| seconds(length as f64)),
    ];
    row.extend(reached(job.rpo.as_ref(), zone));
    row
}

fn component_row(component: &ComponentPeriod, zone: &Zone) -> Vec<String> {
    let mut row = vec![
        component.component.clone(),
        component.good.to_string(),
        component.failed.to_string(),
        component.last_bytes.map_or_else(dash, human_bytes),
    ];
    row.extend(reached(component.rpo.as_ref(), zone));
    row.push(component.rto.as_ref().map_or_else(
        || "not measured".to_owned(),
        |rto| format!("{} ({})", seconds(rto.largest_seconds), count(rto.drills as usize, "drill")),
    ));
    row
}

/// How much, the limit, and what that means.
fn reached(rpo: Option<&Exposure>, zone: &Zone) -> [String; 3] {
    match rpo {
        None => [dash(), dash(), String::new()],
        Some(rpo) => {
            let verdict = if rpo.within_limit {
                "kept".to_owned()
            } else {
                format!("MISSED after {}", zone.short(rpo.from))
            };
            [length(rpo.seconds), length(rpo.limit_seconds), verdict]
        }
    }
}

pub(super) fn dash() -> String {
    "-".to_owned()
}

/// "47 min", "48 h", "30 days"; never less than it is.
pub(super) fn length(seconds: u64) -> String {
    match seconds {
        0..=7200 => format!("{} min", seconds.div_ceil(60)),
        7201..1_209_600 => format!("{:.1} h", (seconds as f64 / 360.0).ceil() / 10.0),
        _ => format!("{} days", seconds.div_ceil(86_400)),
    }
}

/// "3: 2 whole, 1 partial".
pub(super) fn counted(counts: &SessionCounts) -> String {
    let parts = [
        (counts.success, "whole"),
        (counts.partial, "partial"),
        (counts.failed, "failed"),
        (counts.died, "died"),
        (counts.running, "running"),
        (counts.unknown, "unknown"),
    ];
    let said: Vec<String> = parts
        .iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, word)| format!("{number} {word}"))
        .collect();
    if said.is_empty() { "none".to_owned() } else { format!("{}: {}", counts.all, said.join(", ")) }
}

/// Times in the time zone of the report.
pub(super) struct Zone(chrono_tz::Tz);

impl Zone {
    pub(super) fn of(report: &PeriodReport) -> Self {
        Self(report.period.time_zone.parse().unwrap_or(chrono_tz::UTC))
    }

    /// `2026-01-08 02:00:00 CET`.
    pub(super) fn moment(&self, at: DateTime<Utc>) -> String {
        at.with_timezone(&self.0).format("%Y-%m-%d %H:%M:%S %Z").to_string()
    }

    /// `2026-01-08 02:00`.
    pub(super) fn short(&self, at: DateTime<Utc>) -> String {
        at.with_timezone(&self.0).format("%Y-%m-%d %H:%M").to_string()
    }
}

/// A line for each run.
pub(super) fn csv(report: &PeriodReport) -> String {
    let mut out = "session,job,start,status,type,duration_seconds,stored_bytes,removed_since\n".to_owned();
    for run in &report.runs {
        let fields = [
            run.session_id.to_string(),
            field(&run.job),
            run.start.to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
            run.status.to_owned(),
            run.session_type.clone().unwrap_or_default(),
            run.duration_seconds.map(|seconds| seconds.to_string()).unwrap_or_default(),
            run.stored_bytes.map(|bytes| bytes.to_string()).unwrap_or_default(),
            run.removed.to_string(),
        ];
        out.push_str(&fields.join(","));
        out.push('\n');
    }
    out
}

/// As RFC 4180 has it; a spreadsheet must not take a name for a formula.
fn field(text: &str) -> String {
    let text = if text.starts_with(['=', '+', '-', '@']) { format!("'{text}") } else { text.to_owned() };
    if text.contains(['"', ',', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

//! A session's report as a page, with the sessions of its job before it.

use std::collections::VecDeque;

use backup_core::{
    engine::{Engine, Report},
    repository::{SessionEntry, SessionState},
    words::{ComponentStatus, SessionId, human_bytes},
};
use chrono::{DateTime, Utc};

use super::{
    App,
    page::{self, Cell},
    period::dash,
    plot::{Point, figure},
};
use crate::{
    commands::drill_text::all_of,
    exit::Failure,
    render::{moment, seconds},
};

/// So many sessions are drawn.
const PAST: usize = 60;

/// A session of the job, for the plots.
#[derive(Debug)]
pub(super) struct Past {
    id: SessionId,
    start: DateTime<Utc>,
    seconds: f64,
    stored_bytes: u64,
    /// Good components, and their stored bytes.
    components: Vec<(String, u64)>,
}

/// The job's newest good sessions up to this one, oldest first.
pub(super) async fn past(app: &App, engine: &Engine, report: &Report) -> Result<VecDeque<Past>, Failure> {
    let mut past = VecDeque::new();
    let looked = engine.each_session(&app.cx, |session| {
        let entry = &session.entry;
        let Some(manifest) =
            entry.manifest.as_ref().filter(|m| m.job == report.job && m.start <= report.start)
        else {
            return;
        };
        if entry.state != SessionState::Committed || !entry.is_good() || manifest.rewrapped_from.is_some() {
            return;
        }
        let good = manifest.components.iter().filter(|record| record.is_good());
        past.push_back(Past {
            id: entry.id,
            start: manifest.start,
            seconds: (manifest.end - manifest.start).num_milliseconds() as f64 / 1000.0,
            stored_bytes: manifest.stored_bytes(),
            components: good.map(|record| (record.name.clone(), record.stored_bytes())).collect(),
        });
        if past.len() > PAST {
            past.pop_front();
        }
    });
    for away in looked.await.map_err(Failure::looking)? {
        app.output.warn(&format!("the store {} could not be looked at: {}", away.store, away.problem));
    }
    Ok(past)
}

/// The whole page.
pub(super) fn page(report: &Report, entry: &SessionEntry, past: &VecDeque<Past>) -> String {
    let status = format!("{:?}", report.status).to_uppercase();
    let mut facts = vec![
        ("Status", status),
        ("Job", report.job.clone()),
        ("Type", format!("{} ({})", report.backup_type, report.type_reason)),
        ("Host", report.host.clone()),
        ("Started", moment(report.start)),
        ("Duration", seconds(report.duration_seconds as f64)),
        ("Stored", human_bytes(report.total_size_bytes)),
    ];
    facts.extend(report.unified_size_bytes.map(|bytes| ("Unified archive", human_bytes(bytes))));
    facts.push(("Skew", format!("{:.3} s between the components' points, at worst", report.skew_seconds)));
    if !report.stores.is_empty() {
        facts.push(("Stores", report.stores.join(", ")));
    }
    if !report.recipients.is_empty() {
        facts.push(("Encrypted for", report.recipients.join(", ")));
    }
    let mut body = page::list(&facts);
    let headings = ["Component", "Status", "Stored", "Plain", "Took", "Point"];
    let rows = report.details.iter().map(|component| {
        vec![
            Cell::text(&component.name),
            Cell::status(&status_word(component.status)),
            Cell::number(human_bytes(component.stored_bytes)),
            Cell::number(human_bytes(component.plain_bytes)),
            Cell::number(seconds(component.duration_seconds)),
            Cell::text(component.point.clone().unwrap_or_else(dash)),
        ]
    });
    body.push_str(&page::table("Components", &headings, rows));
    body.push_str(&page::lines("Errors", &report.errors));
    body.push_str(&page::lines("Warnings", &report.warnings));
    body.push_str(&evidence(entry));
    body.push_str(&plots(report, past));
    body.push_str(&page::lines("By hand, in the store's folder", &report.by_hand));
    page::page(&format!("Backup {}", report.session_id), &body)
}

fn status_word(status: ComponentStatus) -> String {
    format!("{status:?}").to_uppercase()
}

/// Verifications and drills, by their times.
fn evidence(entry: &SessionEntry) -> String {
    let proofs = entry.evidence.iter().map(|proof| {
        format!("{}: {} {}", moment(proof.at), proof.level, if proof.passed { "passed" } else { "FAILED" })
    });
    let drills = all_of(entry).map(|drill| {
        let problem = drill.problem.as_ref().map(|problem| format!(": {problem}")).unwrap_or_default();
        let took = seconds(drill.rto_seconds);
        format!("{}: {} {}{problem}, {took}", moment(drill.at), drill.component, drill.verdict.as_str())
    });
    let mut out = page::lines("Verifications", &proofs.collect::<Vec<_>>());
    out.push_str(&page::lines("Drills", &drills.collect::<Vec<_>>()));
    out
}

fn plots(report: &Report, past: &VecDeque<Past>) -> String {
    let points = |value: &dyn Fn(&Past) -> Option<f64>| -> Vec<Point> {
        let point = |one: &Past| Some(Point { at: one.start, value: value(one)?, of: one.id.to_string() });
        past.iter().filter_map(point).collect()
    };
    let bytes = |value: f64| human_bytes(value as u64);
    let mut out = figure("Stored", &points(&|one| Some(one.stored_bytes as f64)), bytes);
    out.push_str(&figure("Duration", &points(&|one| Some(one.seconds)), seconds));
    if report.details.len() > 1 {
        for component in &report.details {
            let stored = |one: &Past| {
                let found = one.components.iter().find(|(name, _)| *name == component.name)?;
                Some(found.1 as f64)
            };
            out.push_str(&figure(&format!("Stored: {}", component.name), &points(&stored), bytes));
        }
    }
    if out.is_empty() {
        out
    } else {
        format!("<h2>Good sessions of the job {}</h2>\n{out}", page::escape(&report.job))
    }
}

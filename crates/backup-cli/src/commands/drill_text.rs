//! A drill in a terminal: one line for each rung.

use std::fmt::Write;

use backup_core::{
    policy::{ComponentDrill, DrillReport, DrillVerdict, RungOutcome, RungReport},
    repository::SessionEntry,
    words::{SessionId, human_time},
};
use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use crate::render::{ago, seconds};

/// All that the report says.
pub(super) fn text(report: &DrillReport) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write_report(&mut out, report);
    out.trim_end().to_owned()
}

fn write_report(out: &mut String, report: &DrillReport) -> std::fmt::Result {
    let outcome = if report.passed { "drill passed" } else { "drill NOT passed" };
    writeln!(out, "{}  {outcome} in {}", report.session, seconds(report.seconds))?;
    report.components.iter().try_for_each(|component| write_component(out, component))
}

fn write_component(out: &mut String, component: &ComponentDrill) -> std::fmt::Result {
    writeln!(out, "\n{}  {}{}", component.name, component.verdict.as_str(), measured(component))?;
    let together = |a: &RungReport, b: &RungReport| {
        a.outcome == RungOutcome::NotRun && b.outcome == a.outcome && a.said == b.said
    };
    component.rungs.chunk_by(together).try_for_each(|rungs| write_rungs(out, rungs))?;
    for kept in &component.neutralised {
        writeln!(out, "  kept in  {kept}")?;
    }
    Ok(())
}

/// `; restored in 8 s (fetch 1 s, restore 7 s); the point was 3 h old`.
fn measured(component: &ComponentDrill) -> String {
    let mut text = String::new();
    if component.verdict == DrillVerdict::Passed {
        let phases: Vec<String> = component
            .phases
            .iter()
            .map(|phase| format!("{} {}", phase.name, seconds(phase.seconds)))
            .collect();
        text.push_str(&format!("; restored in {} ({})", seconds(component.rto_seconds), phases.join(", ")));
    }
    if let Some(age) = component.rpo_seconds.and_then(TimeDelta::try_seconds) {
        text.push_str(&format!("; its point was {} old", human_time(age.max(TimeDelta::zero()))));
    }
    text
}

/// One rung; or several that were not run for the same reason.
fn write_rungs(out: &mut String, rungs: &[RungReport]) -> std::fmt::Result {
    let Some(first) = rungs.first() else { return Ok(()) };
    let (mark, before) = match first.outcome {
        RungOutcome::Passed => ("ok  ", ""),
        RungOutcome::NotRun => ("-   ", "not run: "),
        RungOutcome::Failed => ("FAIL", ""),
    };
    let names: Vec<&str> = rungs.iter().map(|rung| rung.rung.as_str()).collect();
    writeln!(out, "  {mark}  {:<9}  {before}{}", names.join(", "), first.said)?;
    first.wrong.iter().try_for_each(|wrong| writeln!(out, "          {}: {}", wrong.place, wrong.found))
}

/// The last drill of a component.
#[derive(Clone, Debug, Serialize)]
pub(super) struct LastDrill {
    pub(super) component: String,
    pub(super) session: SessionId,
    pub(super) at: DateTime<Utc>,
    pub(super) verdict: DrillVerdict,
    pub(super) rto_seconds: f64,
    pub(super) problem: Option<String>,
}

impl LastDrill {
    /// `passed 3 h ago, restored in 8 s`.
    pub(super) fn words(&self, now: DateTime<Utc>) -> String {
        let when = ago(self.at, now);
        match (self.verdict, &self.problem) {
            (DrillVerdict::Passed, _) => format!("passed {when}, restored in {}", seconds(self.rto_seconds)),
            (verdict, Some(problem)) => format!("{} {when}: {problem}", verdict.as_str()),
            (verdict, None) => format!("{} {when}", verdict.as_str()),
        }
    }
}

/// All drills of a session, oldest first.
pub(super) fn all_of(entry: &SessionEntry) -> impl Iterator<Item = LastDrill> {
    let of = |drill: &backup_core::repository::DrillRecord| {
        let at = drill.at;
        let one = move |component: backup_core::repository::DrilledComponent| (at, component);
        drill.components.clone().into_iter().map(one)
    };
    entry.drills.iter().flat_map(of).map(|(at, component)| LastDrill {
        component: component.name,
        session: entry.id,
        at,
        verdict: component.verdict,
        rto_seconds: component.rto_seconds,
        problem: component.problem,
    })
}

//! `cleanup`.

use backup_core::{
    engine::{CleanupDecision, CleanupReport, Fate},
    repository::{Leftover, LeftoverKind},
    words::human_bytes,
};

use super::App;
use crate::{
    exit::{Exit, Failure},
    render::{count, table},
};

pub(crate) async fn run(app: &mut App, dry_run: bool) -> Result<Exit, Failure> {
    let engine = app.installation().await?.engine;
    let report = engine.cleanup(&app.cx, dry_run).await.map_err(Failure::looking)?;
    if dry_run {
        app.answer(&report, || text(&report))?;
    } else {
        app.result("cleanup_ended", &report, || text(&report))?;
    }
    Ok(Exit::problems_if(!report.errors.is_empty()))
}

fn text(report: &CleanupReport) -> String {
    let mut blocks = Vec::new();
    if !report.decisions.is_empty() {
        blocks.extend(tables(report));
    }
    if !report.leftovers.is_empty() {
        let title = if report.dry_run { "Would be cleared:" } else { "Cleared:" };
        let lines: Vec<String> = report.leftovers.iter().map(leftover_line).collect();
        blocks.push(format!("{title}\n{}", lines.join("\n")));
    }
    if report.uploads > 0 {
        blocks.push(format!("Uploads dropped that nobody went on with: {}.", report.uploads));
    }
    for error in &report.errors {
        blocks.push(format!("not removed: {error}"));
    }
    for away in &report.away {
        blocks.push(format!(
            "store {} could not be looked at, nothing was done there: {}",
            away.store, away.problem
        ));
    }
    blocks.push(closing(report));
    blocks.join("\n\n")
}

/// One table, or one for each store.
fn tables(report: &CleanupReport) -> Vec<String> {
    let mut stores: Vec<&str> = report.decisions.iter().map(|decision| decision.store.as_str()).collect();
    stores.dedup();
    let several = stores.len() > 1;
    let one = |store: &&str| {
        let decisions = report.decisions.iter().filter(|decision| decision.store == **store);
        let headings = ["SESSION", "JOB", "TYPE", "STORED", "", "WHY"];
        let table = table(&headings, &[3], decisions.map(|decision| row(decision, report.dry_run)));
        if several { format!("Store {store}\n{table}") } else { table }
    };
    stores.iter().map(one).collect()
}

fn row(decision: &CleanupDecision, dry_run: bool) -> Vec<String> {
    let verdict = match (decision.fate, decision.kept) {
        (Fate::Removed, true) if !dry_run => "not removed",
        (Fate::Removed, _) if dry_run => "remove",
        (Fate::Removed, _) => "removed",
        (Fate::Announced, _) => "announced",
        (Fate::Locked, _) => "locked",
        (Fate::Kept, _) => "keep",
    };
    vec![
        decision.session.to_string(),
        decision.job.clone().unwrap_or_else(|| "-".to_owned()),
        decision.session_type.map_or_else(|| "-".to_owned(), |t| t.to_string()),
        human_bytes(decision.bytes),
        verdict.to_owned(),
        decision.reasons.join("\n"),
    ]
}

fn leftover_line(leftover: &Leftover) -> String {
    let what = match leftover.kind {
        LeftoverKind::DeadRun => "a run that died",
        LeftoverKind::UnfinishedRemoval => "a removal that was not finished",
        LeftoverKind::Unnamed => "objects that its manifest does not name",
    };
    let size = human_bytes(leftover.bytes);
    format!("  {}  {what}: {}, {size}", leftover.session, count(leftover.keys.len(), "object"))
}

fn closing(report: &CleanupReport) -> String {
    let removed = report.decisions.iter().filter(|decision| !decision.kept);
    let bytes: u64 = removed.clone().map(|decision| decision.bytes).sum();
    let (kept, gone) = (report.decisions.len() - removed.clone().count(), removed.count());
    let verb = if report.dry_run { "would be removed" } else { "removed" };
    let several = report.decisions.iter().any(|other| other.store != report.decisions[0].store);
    let place = if several { ", counted in each store" } else { "" };
    format!("{} kept, {gone} {verb} ({}){place}.", count(kept, "session"), human_bytes(bytes))
}

//! `copy`: fill or heal a store.

use backup_core::{
    engine::{CopyReport, NotCopied},
    words::human_bytes,
};

use super::App;
use crate::{
    args::CopyArgs,
    exit::{Exit, Failure},
    render::count,
};

pub(crate) async fn run(app: &mut App, args: CopyArgs) -> Result<Exit, Failure> {
    let engine = app.installation().await?.engine;
    let which = if args.all { None } else { Some(args.session.as_str()) };
    let report = engine.copy(&app.cx, which, &args.to).await.map_err(Failure::looking)?;
    app.result("copy_ended", &report, || text(&report, args.all))?;
    // One that was asked for by its name and is not there is not what was wanted.
    let wanting = !args.all && report.copied.is_empty() && !report.was_there;
    Ok(Exit::problems_if(!report.failed.is_empty() || wanting))
}

fn text(report: &CopyReport, all: bool) -> String {
    let mut lines = Vec::new();
    for copied in &report.copied {
        let found = match copied.found {
            0 => String::new(),
            found => format!(", {found} more had been there"),
        };
        let objects = count(usize::try_from(copied.objects).unwrap_or(usize::MAX), "object");
        lines.push(format!("{}  copied: {objects}, {}{found}", copied.session, human_bytes(copied.bytes)));
    }
    let not = |word: &str, not: &NotCopied| format!("{}  {word}: {}", not.session, not.why);
    lines.extend(report.failed.iter().map(|failed| not("NOT COPIED", failed)));
    if !all {
        lines.extend(report.left.iter().map(|left| not("left as it is", left)));
    }
    if report.was_there && report.copied.is_empty() && report.failed.is_empty() {
        lines.push(format!(
            "{} has it already, no object is missing; `ha-backup verify --store {}` looks at the bytes.",
            report.store, report.store
        ));
    }
    for away in &report.away {
        lines.push(format!("store {} could not be looked at: {}", away.store, away.problem));
    }
    if all {
        lines.push(closing(report));
    }
    lines.join("\n")
}

fn closing(report: &CopyReport) -> String {
    let bytes: u64 = report.copied.iter().map(|copied| copied.bytes).sum();
    let left = match report.left.len() {
        0 => String::new(),
        left => format!(", {} that its retention would not keep", count(left, "session")),
    };
    match (report.copied.len(), report.failed.len()) {
        (0, 0) => format!("{} lacks nothing that it would keep.", report.store),
        (copied, 0) => {
            format!("{} copied to {} ({}){left}.", count(copied, "session"), report.store, human_bytes(bytes))
        }
        (copied, failed) => format!(
            "{} copied to {} ({}), {failed} still missing{left}.",
            count(copied, "session"),
            report.store,
            human_bytes(bytes)
        ),
    }
}

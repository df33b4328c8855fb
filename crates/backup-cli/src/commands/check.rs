//! `check`.

use backup_core::{
    engine::{CheckReport, Checked},
    traits::{Finding, Severity},
};

use super::App;
use crate::{
    exit::{Exit, Failure},
    render::count,
};

pub(crate) async fn run(app: &mut App) -> Result<Exit, Failure> {
    let engine = app.installation().await?.engine;
    let report = engine.check(&app.cx).await;
    app.cx.check_cancelled("check")?;
    let document = serde_json::json!({ "worst": report.worst(), "checked": report.checked });
    app.answer(&document, || text(&report))?;
    Ok(Exit::problems_if(report.worst() == Severity::Error))
}

fn text(report: &CheckReport) -> String {
    let mut blocks: Vec<String> = report.checked.iter().map(block).collect();
    let number = |severity| {
        report.checked.iter().flat_map(|checked| &checked.findings).filter(|f| f.severity == severity).count()
    };
    blocks.push(match (number(Severity::Error), number(Severity::Warning)) {
        (0, 0) => "All is well.".to_owned(),
        (errors, warnings) => format!("{}, {}.", count(errors, "error"), count(warnings, "warning")),
    });
    blocks.join("\n\n")
}

fn block(checked: &Checked) -> String {
    let title = if checked.kind == checked.name {
        checked.name.clone()
    } else {
        format!("{} ({})", checked.name, checked.kind)
    };
    let findings = if checked.findings.is_empty() {
        vec!["  ok       nothing to say".to_owned()]
    } else {
        finding_lines(checked.findings.iter())
    };
    format!("{title}\n{}", findings.join("\n"))
}

/// One line for each finding, with its subject in a column of its own, and the hints below.
pub(crate) fn finding_lines<'f>(findings: impl Iterator<Item = &'f Finding> + Clone) -> Vec<String> {
    const WIDEST: usize = 40;
    let width = findings
        .clone()
        .map(|f| f.subject.chars().count())
        .filter(|width| *width <= WIDEST)
        .max()
        .unwrap_or(0);
    let mut lines = Vec::new();
    for finding in findings {
        let word = match finding.severity {
            Severity::Ok => "ok",
            Severity::Warning => "warning",
            Severity::Error => "ERROR",
        };
        lines.push(format!("  {word:<8} {:<width$}  {}", finding.subject, finding.message));
        if let Some(hint) = &finding.hint {
            lines.push(format!("  {:<8} {:<width$}  hint: {hint}", "", ""));
        }
    }
    lines
}

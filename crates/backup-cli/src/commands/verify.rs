//! `verify`.

use backup_core::{
    engine::{Engine, Level, VerifyReport},
    repository::SessionState,
    traits::Severity,
    words::{ErrorKind, Result, human_bytes},
};

use super::{App, check::finding_lines};
use crate::{
    args::{LevelArg, VerifyArgs},
    exit::{Exit, Failure},
    render::count,
};

pub(crate) async fn run(app: &mut App, args: VerifyArgs) -> Result<Exit, Failure> {
    let mut engine = app.installation_with(args.removed).await?.engine;
    if let Some(store) = &args.store {
        engine = engine.only(store).map_err(Failure::looking)?;
    }
    let level = match args.level {
        LevelArg::Size => Level::Size,
        LevelArg::Checksum => Level::Checksum,
        LevelArg::Content => Level::Content,
    };
    if args.all {
        return all(app, &engine, level).await;
    }
    let session = app.session(&engine, &args.session).await?;
    session.committed().map_err(Failure::looking)?;
    let passed = one(app, &engine, &session.id.to_string(), level, true).await?;
    Ok(Exit::problems_if(!passed))
}

/// The newest good session of each of `components`, each session once. A component without any is a problem.
pub(super) async fn newest(app: &mut App, components: &[String], level: Level) -> Result<Exit, Failure> {
    let engine = app.installation().await?.engine;
    let newest = engine.newest_good(&app.cx, components).await.map_err(Failure::looking)?;
    let mut good = true;
    for (component, _) in newest.iter().filter(|(_, session)| session.is_none()) {
        good = false;
        let problem = format!("there is no good session of {component}");
        let document = serde_json::json!({ "component": component, "passed": false, "problem": problem });
        app.result("verified", &document, || problem.clone())?;
    }
    let sessions: std::collections::BTreeSet<_> =
        newest.into_iter().filter_map(|(_, session)| session).collect();
    for session in sessions {
        good &= one(app, &engine, &session.to_string(), level, false).await?;
    }
    Ok(Exit::problems_if(!good))
}

/// Every session; one that cannot be read, opened or verified does not keep the others from being looked at.
async fn all(app: &App, engine: &Engine, level: Level) -> Result<Exit, Failure> {
    let sessions = engine.sessions(&app.cx).await.map_err(Failure::looking)?;
    let mut good = true;
    let mut closed = None;
    for entry in &sessions {
        match entry.state {
            SessionState::Committed => match one(app, engine, &entry.id.to_string(), level, false).await {
                Ok(passed) => good &= passed,
                Err(error) if error.kind() == ErrorKind::WrongKey => {
                    let problem = error.chain();
                    let document =
                        serde_json::json!({ "session": entry.id, "passed": null, "problem": problem });
                    app.result("verified", &document, || format!("{}  not verified: {problem}", entry.id))?;
                    closed = closed.or(Some(error));
                }
                Err(error) => return Err(error.into()),
            },
            SessionState::Unreadable => {
                good = false;
                let problem = entry.problem.clone().unwrap_or_default();
                let document =
                    serde_json::json!({ "session": entry.id, "passed": false, "problem": problem });
                app.result("verified", &document, || format!("{}  cannot be read: {problem}", entry.id))?;
            }
            SessionState::Running | SessionState::Dead | SessionState::Purged => {}
        }
    }
    match closed {
        // Damage is the worse news.
        Some(error) if good => Err(error.into()),
        _ => Ok(Exit::problems_if(!good)),
    }
}

/// Verifies a session and says what was found; true when it passed.
pub(super) async fn one(
    app: &App,
    engine: &Engine,
    session: &str,
    level: Level,
    verbose: bool,
) -> Result<bool> {
    let report = engine.verify(&app.cx, session, level).await?;
    if report.passed && app.silent_when_good {
        return Ok(true);
    }
    let several = engine.stores().len() > 1;
    app.result("verified", &report, || text(&report, several, verbose || app.global.verbose > 0))?;
    Ok(report.passed)
}

fn text(report: &VerifyReport, several: bool, verbose: bool) -> String {
    let outcome = if report.passed { "passed" } else { "FAILED" };
    let read =
        if report.bytes == 0 { String::new() } else { format!(", {} read", human_bytes(report.bytes)) };
    let objects = count(usize::try_from(report.objects).unwrap_or(usize::MAX), "object");
    let place = if several { format!(" in {}", report.store) } else { String::new() };
    let mut lines =
        vec![format!("{}  {} {outcome}{place}: {objects}{read}", report.session, report.level.as_str())];
    let shown = report.findings.iter().filter(|(_, finding)| verbose || finding.severity != Severity::Ok);
    let findings: Vec<_> = shown
        .map(|(component, finding)| {
            let mut finding = finding.clone();
            finding.subject = format!("{component}: {}", finding.subject);
            finding
        })
        .collect();
    lines.extend(finding_lines(findings.iter()));
    lines.join("\n")
}

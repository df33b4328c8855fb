//! `verify`.

use backup_core::{
    engine::{Engine, Level, VerifyReport},
    repository::SessionState,
    traits::Severity,
    words::{ErrorKind, Result, human_bytes},
};

use backup_monitor::Kind;

use super::{
    App,
    check::finding_lines,
    tell::{self, Ended},
};
use crate::{
    args::{LevelArg, VerifyArgs},
    exit::{Exit, Failure},
    render::count,
};

pub(crate) async fn run(app: &mut App, args: VerifyArgs) -> Result<Exit, Failure> {
    let config = app.config()?;
    let subject = if args.all { "all" } else { &args.session };
    let telling = tell::without_job(&config, Kind::Verify, subject)?;
    let done = by_hand(app, &args).await;
    telling.end(app, done.map(Ended::problems)).await
}

/// What is wrong, a line for each session.
async fn by_hand(app: &mut App, args: &VerifyArgs) -> Result<Vec<String>, Failure> {
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
    Ok(one(app, &engine, &session.id.to_string(), level, true).await?.into_iter().collect())
}

/// The newest good session of each of `components`, each session once. A component without any is a problem.
pub(super) async fn newest(
    app: &mut App,
    components: &[String],
    level: Level,
) -> Result<Vec<String>, Failure> {
    let engine = app.installation().await?.engine;
    let newest = engine.newest_good(&app.cx, components).await.map_err(Failure::looking)?;
    let mut wrong = Vec::new();
    for (component, _) in newest.iter().filter(|(_, session)| session.is_none()) {
        let problem = format!("there is no good session of {component}");
        let document = serde_json::json!({ "component": component, "passed": false, "problem": problem });
        app.result("verified", &document, || problem.clone())?;
        wrong.push(problem);
    }
    let sessions: std::collections::BTreeSet<_> =
        newest.into_iter().filter_map(|(_, session)| session).collect();
    for session in sessions {
        wrong.extend(one(app, &engine, &session.to_string(), level, false).await?);
    }
    Ok(wrong)
}

/// Every session; one that cannot be read, opened or verified does not keep the others from being looked at.
async fn all(app: &App, engine: &Engine, level: Level) -> Result<Vec<String>, Failure> {
    let sessions = engine.sessions(&app.cx).await.map_err(Failure::looking)?;
    let mut wrong = Vec::new();
    let mut closed = None;
    for entry in &sessions {
        match entry.state {
            SessionState::Committed => match one(app, engine, &entry.id.to_string(), level, false).await {
                Ok(found) => wrong.extend(found),
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
                let problem = entry.problem.clone().unwrap_or_default();
                let document =
                    serde_json::json!({ "session": entry.id, "passed": false, "problem": problem });
                let line = format!("{}  cannot be read: {problem}", entry.id);
                app.result("verified", &document, || line.clone())?;
                wrong.push(line);
            }
            SessionState::Running | SessionState::Dead | SessionState::Purged => {}
        }
    }
    match closed {
        // Damage is the worse news.
        Some(error) if wrong.is_empty() => Err(error.into()),
        _ => Ok(wrong),
    }
}

/// Verifies a session and says what was found; what is wrong with it, if anything.
pub(super) async fn one(
    app: &App,
    engine: &Engine,
    session: &str,
    level: Level,
    verbose: bool,
) -> Result<Option<String>> {
    let report = engine.verify(&app.cx, session, level).await?;
    if report.passed && app.silent_when_good {
        return Ok(None);
    }
    let several = engine.stores().len() > 1;
    app.result("verified", &report, || text(&report, several, verbose || app.global.verbose > 0))?;
    Ok((!report.passed).then(|| text(&report, several, false)))
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

//! `drill`: a session is restored for real into a throwaway place, and looked at.

use std::path::Path;

use backup_core::{
    engine::{DrillCheck, Engine},
    policy::{DrillReport, DrillVerdict},
    repository::DrillRecord,
    words::{Error, ErrorKind, Result},
};

use backup_monitor::Kind;

use super::{
    App,
    check::finding_lines,
    drill_junit, drill_text,
    tell::{self, Ended},
};
use crate::{
    args::DrillArgs,
    exit::{Exit, Failure},
};

pub(crate) async fn run(app: &mut App, args: DrillArgs) -> Result<Exit, Failure> {
    let engine = app.installation().await?.engine;
    if let Some(file) = &args.check {
        return check(app, &engine, file).await;
    }
    let telling = tell::without_job(&app.config()?, Kind::Drill, &args.session)?;
    let done = by_hand(app, &engine, args).await;
    telling.end(app, done.map(Ended::problems)).await
}

/// What is wrong, a line for each component.
async fn by_hand(app: &App, engine: &Engine, args: DrillArgs) -> Result<Vec<String>, Failure> {
    let session = app.session(engine, &args.session).await?;
    session.committed().map_err(Failure::looking)?;
    let components: Vec<String> = args.component.into_iter().filter(|name| name != "all").collect();
    let report =
        engine.drill(&app.cx, &session.id.to_string(), &components).await.map_err(Failure::looking)?;
    if let Some(file) = &args.junit {
        write(file, &drill_junit::document(std::slice::from_ref(&report)))?;
    }
    say(app, &report)?;
    Ok(problems(&report))
}

fn problems(report: &DrillReport) -> Vec<String> {
    let session = report.session;
    let record = DrillRecord::from(report.clone());
    let wrong = record.components.into_iter().filter(|component| component.verdict != DrillVerdict::Passed);
    wrong
        .map(|component| {
            let problem = component.problem.unwrap_or_default();
            format!("drill of {} of {session}: {problem}", component.name)
        })
        .collect()
}

/// What a job drills: of each of `components` the newest good session, and one older by chance. A component without any
/// session is a problem.
pub(super) async fn sampled(app: &mut App, components: &[String]) -> Result<Vec<String>, Failure> {
    let engine = app.installation().await?.engine;
    let picks = engine.drill_sample(&app.cx, components).await.map_err(Failure::looking)?;
    let mut wrong = Vec::new();
    let drilled = |name: &String| picks.iter().any(|pick| pick.components.contains(name));
    for component in components.iter().filter(|name| !drilled(name)) {
        let problem = format!("there is no good session of {component}");
        let document = serde_json::json!({ "component": component, "passed": false, "problem": problem });
        app.result("drilled", &document, || problem.clone())?;
        wrong.push(problem);
    }
    for pick in &picks {
        let report = engine.drill(&app.cx, &pick.session.to_string(), &pick.components).await?;
        say(app, &report)?;
        wrong.extend(problems(&report));
    }
    Ok(wrong)
}

fn say(app: &App, report: &DrillReport) -> Result<()> {
    if report.passed && app.silent_when_good {
        return Ok(());
    }
    app.result("drilled", report, || drill_text::text(report))
}

async fn check(app: &App, engine: &Engine, file: &Path) -> Result<Exit, Failure> {
    let read =
        |path: &Path| std::fs::read(path).map_err(|e| Error::io("read", path.display().to_string(), e));
    let body = read(file)?;
    let mut beside = file.as_os_str().to_owned();
    beside.push(".minisig");
    let signature = match read(Path::new(&beside)) {
        Ok(signature) => Some(signature.into()),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(error.into()),
    };
    let checked = engine.check_drill(&app.cx, body.into(), signature).await?;
    app.answer(&checked, || check_text(&checked, file))?;
    Ok(Exit::problems_if(!checked.good))
}

fn check_text(checked: &DrillCheck, file: &Path) -> String {
    let outcome = if checked.good { "good" } else { "NOT good" };
    let mut lines = vec![format!("{}  {outcome}", file.display())];
    lines.extend(finding_lines(checked.findings.iter()));
    if let Some(report) = &checked.report {
        lines.push(String::new());
        lines.push(drill_text::text(report));
    }
    lines.join("\n")
}

fn write(file: &Path, text: &str) -> Result<()> {
    std::fs::write(file, text).map_err(|e| Error::io("write", file.display().to_string(), e))
}

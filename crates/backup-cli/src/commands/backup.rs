//! `backup` and its short forms.

use std::time::Duration;

use backup_core::{
    engine::{BackupOutcome, BackupPlan, BackupRequest},
    repository::Status,
    words::ComponentStatus,
};
use backup_monitor::Kind;
use serde_json::json;

use super::{
    App,
    report::write_beside,
    tell::{self, Ended},
};
use crate::{
    args::BackupArgs,
    exit::{Exit, Failure},
};

/// How long `--wait` waits.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);

pub(crate) async fn run(app: &mut App, args: BackupArgs) -> Result<Exit, Failure> {
    let config = app.config()?;
    let job = config.job(args.run.job.as_deref())?.name.clone();
    args.run.components.iter().try_for_each(|name| config.check_component(name))?;
    let mut request = BackupRequest::new(&job);
    request.components = args.run.components;
    request.session_type = args.session_type.fixed();
    request.wait = if args.run.wait { PATIENCE } else { Duration::ZERO };
    if args.run.dry_run {
        let engine = app.installation().await?.engine;
        let plan = engine.plan_backup(&app.cx, &request).await.map_err(Failure::looking)?;
        app.answer(&plan, || plan_text(&plan))?;
        return Ok(Exit::Good);
    }
    let telling = tell::begin(app, &config, Kind::Backup, &job).await?;
    let done = back_up(app, &request).await;
    telling.end(app, done).await
}

async fn back_up(app: &mut App, request: &BackupRequest) -> Result<Ended, Failure> {
    let installation = app.installation().await?;
    let outcome = installation.engine.backup(&app.cx, request).await.map_err(Failure::looking)?;
    let mut ended = ended(&outcome);
    if let Some(section) = &installation.config.report
        && let Err(error) = write_beside(&section.folder, &outcome.report)
    {
        // The store has it: the backup is as good as it was.
        app.output.warn(&error.chain());
        ended.warnings.push(error.chain());
    }
    if ended.exit == Exit::Good && app.silent_when_good {
        return Ok(ended);
    }
    let mut document = ended.report.clone();
    document["problems"] = json!(outcome.problems);
    app.result("backup_ended", &document, || outcome.report.summary())?;
    outcome.problems.iter().for_each(|problem| app.output.warn(problem));
    Ok(ended)
}

/// For those who are told, and for hooks.
fn ended(outcome: &BackupOutcome) -> Ended {
    let (exit, report) = (exit_of(outcome), &outcome.report);
    let failed = report.details.iter().filter(|component| component.status == ComponentStatus::Failed);
    let failed: Vec<&str> = failed.map(|component| component.name.as_str()).collect();
    let status = match report.status {
        Status::Failed => "FAILED",
        Status::Partial => "PARTIAL",
        Status::Success if exit == Exit::Good => "SUCCESS",
        Status::Success => "PROBLEMS",
    };
    // The report's texts have the problems in part.
    let mut errors = report.errors.clone();
    errors.extend(outcome.problems.iter().filter(|problem| !report.errors.contains(problem)).cloned());
    let warnings = report.warnings.iter().filter(|warning| !errors.contains(warning)).cloned().collect();
    Ended {
        session: Some(report.session_id.to_string()),
        errors,
        warnings,
        aspect: format!("{status} {}", failed.join(",")),
        report: serde_json::to_value(report).unwrap_or_default(),
        ..Ended::new(exit, status)
    }
}

fn exit_of(outcome: &BackupOutcome) -> Exit {
    match outcome.report.status {
        Status::Failed => Exit::Failed,
        Status::Partial => Exit::Problems,
        Status::Success => Exit::problems_if(!outcome.problems.is_empty()),
    }
}

fn plan_text(plan: &BackupPlan) -> String {
    let mut text = format!(
        "A run of the job {} now would make a {} session ({}).\n\n  components  {}\n  unified     {}\n  store       {}",
        plan.job,
        plan.session_type,
        plan.type_reason,
        plan.components.join(", "),
        if plan.unified { "yes" } else { "no" },
        plan.store,
    );
    if !plan.copies.is_empty() {
        text.push_str(&format!("\n  copied to   {}", plan.copies.join(", ")));
    }
    if let Some(running) = plan.running {
        text.push_str(&format!("\n\nIt would have to wait: {running} is under way."));
    }
    text
}

//! `backup` and its short forms.

use std::time::Duration;

use backup_core::{
    engine::{BackupOutcome, BackupPlan, BackupRequest},
    repository::Status,
};
use serde_json::json;

use super::App;
use crate::{
    args::BackupArgs,
    exit::{Exit, Failure},
};

/// How long `--wait` waits.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);

pub(crate) async fn run(app: &mut App, args: BackupArgs) -> Result<Exit, Failure> {
    let installation = app.installation().await?;
    args.run.components.iter().try_for_each(|name| installation.config.check_component(name))?;
    let mut request = BackupRequest::new(&installation.config.job(args.run.job.as_deref())?.name);
    request.components = args.run.components;
    request.session_type = args.session_type.fixed();
    request.wait = if args.run.wait { PATIENCE } else { Duration::ZERO };
    if args.run.dry_run {
        let plan = installation.engine.plan_backup(&app.cx, &request).await.map_err(Failure::looking)?;
        app.answer(&plan, || plan_text(&plan))?;
        return Ok(Exit::Good);
    }
    let outcome = installation.engine.backup(&app.cx, &request).await.map_err(Failure::looking)?;
    let exit = exit_of(&outcome);
    if exit == Exit::Good && app.silent_when_good {
        return Ok(exit);
    }
    let mut document = serde_json::to_value(&outcome.report).unwrap_or_default();
    document["problems"] = json!(outcome.problems);
    app.result("backup_ended", &document, || outcome.report.summary())?;
    outcome.problems.iter().for_each(|problem| app.output.warn(problem));
    Ok(exit)
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

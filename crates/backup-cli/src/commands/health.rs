//! `health`.

use backup_core::{engine::HealthReport, policy::HealthState};

use super::{App, health_text as text};
use crate::{
    args::HealthArgs,
    exit::{Exit, Failure},
    render,
};

pub(crate) async fn run(app: &mut App, args: HealthArgs) -> Result<Exit, Failure> {
    if args.nagios {
        return for_nagios(app).await;
    }
    let report = look(app).await?;
    if app.output.quiet && !app.output.json {
        // For cron: nothing to say is nothing said.
        let problems = text::problems(&report);
        if !problems.is_empty() {
            app.answer(&report, || problems)?;
        }
    } else {
        app.answer(&report, || text::lines(&report))?;
    }
    Ok(match report.unreachable {
        Some(error) => Failure::looking(error).exit,
        None => Exit::problems_if(report.state != HealthState::Ok),
    })
}

async fn look(app: &mut App) -> Result<HealthReport, Failure> {
    let engine = app.installation().await?.engine;
    Ok(engine.health(&app.cx).await?)
}

/// A monitoring plugin has an answer for everything: what keeps it from looking is UNKNOWN, on standard output.
async fn for_nagios(app: &mut App) -> Result<Exit, Failure> {
    let (state, answer) = match look(app).await {
        Ok(report) => (report.state, text::nagios(&report, app.output.quiet)),
        Err(failure) => (HealthState::Unknown, text::nagios_unknown(&failure.error.chain())),
    };
    app.reporter.settle();
    if app.output.plain(&answer).is_err() {
        render::eprintln_quietly(&answer);
    }
    Ok(nagios_exit(state))
}

/// The numbers of monitoring plugins: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN. They mean something else elsewhere.
pub(crate) fn nagios_exit(state: HealthState) -> Exit {
    match state {
        HealthState::Ok => Exit::Good,
        HealthState::Warning => Exit::Failed,
        HealthState::Critical => Exit::Usage,
        HealthState::Unknown => Exit::Problems,
    }
}

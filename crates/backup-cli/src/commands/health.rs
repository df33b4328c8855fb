//! `health`.

use backup_core::{
    engine::HealthReport,
    policy::{HealthCheck, HealthState, Scope},
    traits::Context,
    words::Error,
};
use backup_monitor::{Failing, Kind, NotifierRecord};
use chrono::{DateTime, Utc};

use super::{
    App, health_text as text,
    installation::Installation,
    tell::{self, Ended},
};
use crate::{
    args::HealthArgs,
    exit::{Exit, Failure},
    render::{self, ago, moment},
};

pub(crate) async fn run(app: &mut App, args: HealthArgs) -> Result<Exit, Failure> {
    if args.nagios {
        return for_nagios(app).await;
    }
    let config = app.config()?;
    let telling = tell::without_job(&config, Kind::Health, "by hand")?;
    let done = look_and_say(app).await;
    telling.end(app, done).await
}

/// Looks, prints, and returns what is to be told.
pub(super) async fn look_and_say(app: &mut App) -> Result<Ended, Failure> {
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
    let wrong = text::problems(&report);
    let mut ended = Ended::problems(wrong.lines().map(str::to_owned).collect());
    ended.look = tell::health_look(&report);
    ended.report = serde_json::to_value(&report).unwrap_or_default();
    if let Some(error) = report.unreachable {
        ended.exit = Failure::looking(error).exit;
    }
    Ok(ended)
}

/// What the stores say, and how the notifiers do: what is wrong could be wrong unheard.
async fn look(app: &mut App) -> Result<HealthReport, Failure> {
    let installation = app.installation().await?;
    Ok(of(&installation, &app.cx).await?)
}

/// The same of an installation.
///
/// # Errors
/// When it was cancelled, or what people were told cannot be read.
pub(super) async fn of(installation: &Installation, cx: &Context) -> Result<HealthReport, Error> {
    let mut report = installation.engine.health(cx).await?;
    for (name, record) in
        tell::teller(&installation.config)?.map(|teller| teller.records()).unwrap_or_default()
    {
        report.checks.push(notifier(&name, record.as_ref(), report.at));
    }
    report.state = report.checks.iter().map(|check| check.state).max().unwrap_or(report.state);
    Ok(report)
}

fn notifier(name: &str, record: Option<&NotifierRecord>, now: DateTime<Utc>) -> HealthCheck {
    let check = |state, message: &str| HealthCheck::new(Scope::Notifier, name, "sends", state, message);
    match record {
        Some(NotifierRecord { failing: Some(Failing { since, error }), .. }) => {
            let message = format!("nothing got out since {}: {error}", moment(*since));
            check(HealthState::Warning, &message).hint(format!("`ha-backup alert test {name}` tries it"))
        }
        Some(NotifierRecord { last_sent: Some(at), .. }) => {
            check(HealthState::Ok, &format!("the last message got out {}", ago(*at, now)))
        }
        _ => check(HealthState::Ok, "nothing was to be told yet"),
    }
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

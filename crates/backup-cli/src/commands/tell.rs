//! What surrounds every run: its hooks, its pings, and telling people how it ended. A command calls [`begin`] before its work and
//! [`Telling::end`] with what came of it; nothing here changes how a run that began ends.

use std::time::Duration;

use backup_core::{
    engine::HealthReport,
    policy::{HealthCheck, HealthState, Scope},
    repository::ProcessIdentity,
    words::{Error, ErrorKind, Result as CoreResult},
};
use backup_monitor::{
    Kind, Look, Observation, Phase, Problem, Severity, Signal, StateFile, Teller,
    hooks::{Hooks, Moment},
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{App, installation::make_private};
use crate::{
    config::Config,
    exit::{Exit, Failure},
};

/// A run waits no longer for those who hear of its begin.
const BEGIN: Duration = Duration::from_secs(15);
/// Nor for those who hear of its end.
const END: Duration = Duration::from_secs(60);
/// Somebody wants us to end.
const INTERRUPTED: Duration = Duration::from_secs(10);

/// What a run did, for those who are told and for hooks.
#[derive(Debug)]
pub(crate) struct Ended {
    /// How the command ends.
    pub(crate) exit: Exit,
    /// SUCCESS, PARTIAL, FAILED, or PROBLEMS: good, but not all around it.
    pub(crate) status: &'static str,
    pub(crate) session: Option<String>,
    /// What is wrong, a line each.
    pub(crate) errors: Vec<String>,
    /// What should be looked at, a line each.
    pub(crate) warnings: Vec<String>,
    /// What of it is wrong, without numbers and times: as long as it stays the same, it is not told anew.
    pub(crate) aspect: String,
    /// Its report as JSON, where it has one.
    pub(crate) report: Value,
    /// What else was seen.
    pub(crate) look: Look,
}

impl Ended {
    /// A run that ended so, with nothing to say.
    pub(crate) fn new(exit: Exit, status: &'static str) -> Self {
        Self {
            exit,
            status,
            session: None,
            errors: Vec::new(),
            warnings: Vec::new(),
            aspect: String::new(),
            report: Value::Null,
            look: Look::default(),
        }
    }

    /// Of something whose exit code says it all.
    pub(crate) fn by_exit(exit: Exit) -> Self {
        Self::new(exit, if exit == Exit::Good { "SUCCESS" } else { "FAILED" })
    }

    /// Of something that is good or not, with what is wrong.
    pub(crate) fn problems(errors: Vec<String>) -> Self {
        let exit = Exit::problems_if(!errors.is_empty());
        Self { errors, ..Self::new(exit, if exit == Exit::Good { "SUCCESS" } else { "FAILED" }) }
    }
}

/// A run that began.
#[derive(Debug)]
pub(crate) struct Telling {
    teller: Option<Teller>,
    hooks: Vec<Hooks>,
    kind: Kind,
    job: Option<String>,
    /// What the run is called, such as `full`: its job, or what was asked for.
    subject: String,
    name: String,
    host: String,
    run: String,
}

/// The notifiers of a configuration; none when nobody is told.
///
/// # Errors
/// When the state's folder cannot be made.
pub(crate) fn teller(config: &Config) -> CoreResult<Option<Teller>> {
    let (Some(alerts), Some(folder)) = (&config.alerts, &config.state_dir) else { return Ok(None) };
    make_private(folder)?;
    Ok(Some(Teller {
        name: config.name.clone(),
        host: ProcessIdentity::current().host,
        channels: alerts.channels.clone(),
        pace: alerts.pace,
        state: StateFile::new(folder),
    }))
}

/// Says that the job `job` begins, and runs the hooks before it.
///
/// # Errors
/// When a hook fails: the run must not begin then. It is told already.
pub(crate) async fn begin(app: &App, config: &Config, kind: Kind, job: &str) -> Result<Telling, Failure> {
    let mut telling = without_job(config, kind, job)?;
    telling.job = Some(job.to_owned());
    telling.hooks = config.hooks.around(job, kind == Kind::Backup);
    let signal = telling.signal(Phase::Started, "begins");
    telling.tell(app, &Look::default(), signal.as_ref(), BEGIN).await;
    let outcome = json!({ "hook": Moment::Before.as_str() });
    for at in 0..telling.hooks.len() {
        let document = telling.document(&outcome);
        let failed = telling.hooks[at].run(&app.cx, Moment::Before, &document).await;
        if let Some(error) = failed.into_iter().next() {
            // Those inside never began.
            telling.hooks.truncate(at + 1);
            let failure = Err(not_begun(error, job));
            return Err(telling.end(app, failure).await.err().unwrap_or_else(unexpected));
        }
    }
    Ok(telling)
}

/// For what was asked for by hand and belongs to no job: it has neither hooks nor pings.
///
/// # Errors
/// When the state's folder cannot be made.
pub(crate) fn without_job(config: &Config, kind: Kind, subject: &str) -> Result<Telling, Failure> {
    Ok(Telling {
        teller: teller(config)?,
        hooks: Vec::new(),
        kind,
        job: None,
        subject: subject.to_owned(),
        name: config.name.clone(),
        host: ProcessIdentity::current().host,
        run: Signal::new_run(),
    })
}

fn not_begun(error: Error, job: &str) -> Failure {
    if error.kind() == ErrorKind::Cancelled {
        return error.into();
    }
    let kind = error.kind();
    let error = Error::new(kind, "begin the job", job).detail("a hook before it failed").because(error);
    Failure { error, exit: Exit::Failed }
}

fn unexpected() -> Failure {
    Error::new(ErrorKind::Internal, "begin", "the job").into()
}

impl Telling {
    /// Runs the hooks after it, tells how it ended, and returns just that.
    ///
    /// # Errors
    /// The failure that the run ended with.
    pub(crate) async fn end(self, app: &App, done: Result<Ended, Failure>) -> Result<Exit, Failure> {
        let (exit, skipped) = match &done {
            Ok(ended) => (ended.exit, false),
            Err(failure) => (failure.exit, failure.exit == Exit::Locked),
        };
        let outcome = outcome(&done, exit);
        if !skipped {
            let moment = if exit == Exit::Good { Moment::After } else { Moment::OnFailure };
            self.run_hooks(app, moment, &outcome).await;
        }
        self.run_hooks(app, Moment::Finally, &outcome).await;
        let phase = if skipped { Phase::Noted } else { Phase::Ended(exit as u8) };
        let look = self.look(&done);
        let signal = self.signal(phase, &outcome_text(&outcome));
        let limit = if app.cx.cancel.is_cancelled() { INTERRUPTED } else { END };
        self.tell(app, &look, signal.as_ref(), limit).await;
        done.map(|ended| ended.exit)
    }

    /// The inner ones first.
    async fn run_hooks(&self, app: &App, moment: Moment, outcome: &Value) {
        let mut outcome = outcome.clone();
        outcome["hook"] = json!(moment.as_str());
        let document = self.document(&outcome);
        for hooks in self.hooks.iter().rev() {
            for error in hooks.run(&app.cx, moment, &document).await {
                app.output.warn(&error.chain());
            }
        }
    }

    /// "backup full"; a job that is called what it does is not said twice.
    fn what(&self) -> String {
        match self.kind.as_str() {
            kind if kind == self.subject => kind.to_owned(),
            kind => format!("{kind} {}", self.subject),
        }
    }

    /// What a hook reads.
    fn document(&self, outcome: &Value) -> Value {
        let mut document = json!({
            "name": self.name,
            "host": self.host,
            "job": self.subject,
            "run": self.kind.as_str(),
        });
        for (key, value) in outcome.as_object().into_iter().flatten() {
            document[key] = value.clone();
        }
        document
    }

    fn signal(&self, phase: Phase, text: &str) -> Option<Signal> {
        let (kind, job, run) = (self.kind, self.job.clone()?, self.run.clone());
        let text = format!("{} on {}: {} {text}", self.name, self.host, self.what());
        Some(Signal { kind, job, run, phase, text })
    }

    async fn tell(&self, app: &App, look: &Look, signal: Option<&Signal>, limit: Duration) {
        let Some(teller) = &self.teller else { return };
        // Whoever interrupts the run wants it told all the same.
        let cx = app.cx.clone().with_cancel(CancellationToken::new());
        for failed in teller.tell(&cx, look, signal, limit).await {
            let hint = failed.error.advice().map(|hint| format!(" (hint: {hint})")).unwrap_or_default();
            app.output.warn(&format!("{}{hint}", failed.error.chain()));
        }
    }

    /// What is seen by the way it ended.
    fn look(&self, done: &Result<Ended, Failure>) -> Look {
        let what = self.what();
        let mut look = match done {
            Ok(ended) => ended.look.clone(),
            Err(_) => Look::default(),
        };
        let problem = match done {
            Ok(ended) if ended.exit == Exit::Good => {
                let note = Problem::new(self.kind, Severity::Info, format!("{what} ended well"));
                look.notes.push(self.filled(note, ended));
                None
            }
            // Its findings are told one by one.
            Ok(_) if self.kind == Kind::Health => None,
            Ok(ended) => {
                let severity = if ended.status == "FAILED" { Severity::Critical } else { Severity::Warning };
                let words = match ended.status {
                    "FAILED" => "failed",
                    "PARTIAL" => "is partial",
                    _ => "ended with problems",
                };
                Some(self.filled(Problem::new(self.kind, severity, format!("{what} {words}")), ended))
            }
            Err(failure) if failure.exit == Exit::Locked => {
                let mut note = Problem::new(self.kind, Severity::Info, format!("{what} did not run"));
                note.lines.push(failure.error.chain());
                note.job.clone_from(&self.job);
                look.notes.push(note);
                return look;
            }
            Err(failure) => Some(self.failed(&what, &failure.error)),
        };
        let fingerprint = format!("{}/{}", self.kind.as_str(), self.subject);
        look.observations.push(Observation { fingerprint, problem });
        look
    }

    fn filled(&self, mut problem: Problem, ended: &Ended) -> Problem {
        problem.lines = ended.errors.iter().chain(&ended.warnings).cloned().collect();
        problem.job.clone_from(&self.job);
        problem.session.clone_from(&ended.session);
        problem.lines.extend(ended.session.iter().map(|session| format!("session {session}")));
        problem.aspect.clone_from(&ended.aspect);
        problem
    }

    fn failed(&self, what: &str, error: &Error) -> Problem {
        let (severity, words) = match error.kind() {
            ErrorKind::Cancelled => (Severity::Warning, "was interrupted"),
            _ => (Severity::Critical, "failed"),
        };
        let mut problem = Problem::new(self.kind, severity, format!("{what} {words}"));
        problem.lines.push(error.chain());
        problem.hint = error.advice().map(str::to_owned);
        problem.job.clone_from(&self.job);
        problem.aspect = format!("{:?}", error.kind());
        problem
    }
}

/// How it ended, as JSON.
fn outcome(done: &Result<Ended, Failure>, exit: Exit) -> Value {
    match done {
        Ok(ended) => json!({
            "status": ended.status,
            "exit_code": exit as u8,
            "session": ended.session,
            "errors": ended.errors,
            "warnings": ended.warnings,
            "report": ended.report,
        }),
        Err(failure) => json!({
            "status": match exit {
                Exit::Locked => "SKIPPED",
                Exit::Interrupted => "INTERRUPTED",
                _ => "FAILED",
            },
            "exit_code": exit as u8,
            "session": null,
            "errors": [failure.error.chain()],
            "warnings": [],
            "report": null,
        }),
    }
}

/// The same for people.
fn outcome_text(outcome: &Value) -> String {
    let mut text = format!("ended: {}", outcome["status"].as_str().unwrap_or_default());
    for line in ["errors", "warnings"].iter().filter_map(|key| outcome[key].as_array()).flatten() {
        text.push_str(&format!("\n{}", line.as_str().unwrap_or_default()));
    }
    text
}

/// The checks of `health` as what was seen; those about notifiers are told as they happen.
pub(crate) fn health_look(report: &HealthReport) -> Look {
    let checks = report.checks.iter().filter(|check| check.scope != Scope::Notifier);
    let observations: Vec<Observation> = checks.map(observation).collect();
    // Where something could not be looked at, what is missing is not over.
    let blind = report.unreachable.is_some()
        || report.checks.iter().any(|check| {
            check.state == HealthState::Unknown
                || (check.check == "reachable" && check.state != HealthState::Ok)
        });
    Look { observations, covers: (!blind).then(|| "health/".to_owned()), notes: Vec::new() }
}

fn observation(check: &HealthCheck) -> Observation {
    let subject = [check.scope.as_str(), &check.name].join(" ");
    let severity = match check.state {
        HealthState::Ok => None,
        HealthState::Warning | HealthState::Unknown => Some(Severity::Warning),
        HealthState::Critical => Some(Severity::Critical),
    };
    let problem = severity.map(|severity| {
        let title = format!("{} {}: {}", subject.trim_end(), check.check, check.message);
        let mut problem = Problem::new(Kind::Health, severity, title);
        problem.hint.clone_from(&check.hint);
        problem.job = (check.scope == Scope::Job).then(|| check.name.clone());
        problem
    });
    let fingerprint = format!("health/{}/{}/{}", check.scope.as_str(), check.name, check.check);
    Observation { fingerprint, problem }
}

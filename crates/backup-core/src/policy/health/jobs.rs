//! Whether jobs run and components are fresh, proven and without alarms.

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    HealthCheck, HealthLimits, HealthState, History, Limit, Measure, RunStatus, Scope, Unit, Watched,
    WatchedJob,
    history::{ComponentPast, JobPast, Run},
    limit_seconds, seconds_since,
};
use crate::words::{SessionId, human_time};

const CHECK: &str = "`ha-backup check` says what does not work";

pub(super) fn job_checks(now: DateTime<Utc>, job: &WatchedJob, history: &History) -> Vec<HealthCheck> {
    let Some(past) = history.jobs.get(&job.name) else { return Vec::new() };
    let seen = past.last.is_some() || past.dead.is_some() || past.running.is_some();
    if job.optional && !seen {
        return Vec::new();
    }
    vec![age(now, Scope::Job, &job.name, past.newest_good, job.max_age), last_run(now, job, past)]
}

/// How old the newest good session is.
fn age(
    now: DateTime<Utc>,
    scope: Scope,
    name: &str,
    newest: Option<SessionId>,
    max_age: TimeDelta,
) -> HealthCheck {
    let limit = human_time(max_age);
    let check = |state, message: &str| HealthCheck::new(scope, name, "age", state, message);
    let Some(newest) = newest else {
        return check(HealthState::Critical, "there is no good session").hint(CHECK);
    };
    let seconds = seconds_since(newest.time(), now);
    let said = human_time((now - newest.time()).max(TimeDelta::zero()));
    let measure = Measure::new(seconds, Unit::Seconds).critical(Limit::AtMost(limit_seconds(max_age)));
    let message = format!("newest good session is {said} old (at most {limit}): {newest}");
    if now - newest.time() > max_age {
        check(HealthState::Critical, &message).hint(CHECK).measure(measure)
    } else {
        check(HealthState::Ok, &message).measure(measure)
    }
}

/// How the newest run ended, if it did.
fn last_run(now: DateTime<Utc>, job: &WatchedJob, past: &JobPast) -> HealthCheck {
    let check = |state, message: &str| HealthCheck::new(Scope::Job, &job.name, "last run", state, message);
    let ago = |id: SessionId| human_time((now - id.time()).max(TimeDelta::zero()));
    if let Some(running) = past.running.filter(|id| now - id.time() > job.max_age) {
        let message = format!("{running} began {} ago and is still under way", ago(running));
        return check(HealthState::Warning, &message).hint("does it wait for something?");
    }
    let ended = past.last.as_ref().map(|run| run.id);
    if let Some(dead) = past.dead.filter(|dead| Some(*dead) > ended && Some(*dead) > past.running) {
        let message = format!("{dead} began {} ago and did not come to an end", ago(dead));
        return check(HealthState::Critical, &message).hint("the next run clears it");
    }
    let under_way = past.running.map(|id| format!("; {id} is under way")).unwrap_or_default();
    let Some(last) = &past.last else {
        return match past.running {
            Some(running) => check(HealthState::Ok, &format!("the first, {running}, is under way")),
            None => check(HealthState::Critical, "there was none"),
        };
    };
    let (state, word) = match last.status {
        RunStatus::Success => (HealthState::Ok, "SUCCESS"),
        RunStatus::Partial => (HealthState::Warning, "PARTIAL"),
        RunStatus::Failed => (HealthState::Critical, "FAILED"),
    };
    let when = ago(last.id);
    let message = format!("{word} {when} ago{}{}{under_way}", because(last), failures(past));
    let made = check(state, &message);
    if state == HealthState::Ok { made } else { made.hint(format!("`ha-backup report {}`", last.id)) }
}

fn because(run: &Run) -> String {
    run.problem.as_ref().map(|problem| format!(": {problem}")).unwrap_or_default()
}

fn failures(past: &JobPast) -> String {
    let failed = past.failed.iter().filter(|failed| **failed).count();
    match failed {
        0 => String::new(),
        _ => format!(" ({failed} of the last {} failed)", past.failed.len()),
    }
}

/// How old the newest session with this component is, whatever became of the others.
pub(super) fn component_age(
    now: DateTime<Utc>,
    watched: &Watched,
    component: &str,
    history: &History,
) -> HealthCheck {
    let jobs = watched.jobs.iter().filter(|job| job.components.iter().any(|name| name == component));
    let limit = jobs.clone().filter(|job| !job.optional).map(|job| job.max_age).min();
    let newest = history.components.get(component).and_then(ComponentPast::newest);
    let mut check = age(now, Scope::Component, component, newest, limit.unwrap_or(watched.limits.max_age));
    if jobs.count() == 0 {
        check.state = check.state.max(HealthState::Warning);
        check.message.push_str("; no job has this component");
        check.hint = Some("add it to the components of a job".to_owned());
    }
    check
}

/// When a session with this component was last verified.
pub(super) fn component_verified(
    now: DateTime<Utc>,
    limits: &HealthLimits,
    component: &str,
    history: &History,
) -> HealthCheck {
    let check =
        |state, message: &str| HealthCheck::new(Scope::Component, component, "verified", state, message);
    let limit = human_time(limits.verify_max_age);
    let past = history.components.get(component);
    let Some((proof, session)) = past.and_then(|past| past.verified.as_ref()) else {
        let first = past.and_then(|past| past.first_good);
        return match first {
            Some(first) if now - first.time() > limits.verify_max_age => {
                let message = format!("never, in {}", human_time(now - first.time()));
                check(HealthState::Warning, &message)
                    .hint("`ha-backup verify`, or a job with run = \"verify\"")
            }
            Some(_) => check(HealthState::Ok, &format!("not yet; due within {limit} of the first session")),
            None => check(HealthState::Ok, "there is no session to verify"),
        };
    };
    let message =
        format!("{} of {session} passed {} ago (at most {limit})", proof.level, human_time(now - proof.at));
    let seconds = seconds_since(proof.at, now);
    let measure =
        Measure::new(seconds, Unit::Seconds).warning(Limit::AtMost(limit_seconds(limits.verify_max_age)));
    if now - proof.at > limits.verify_max_age {
        let hint = "`ha-backup verify`, or a job with run = \"verify\"";
        check(HealthState::Warning, &message).hint(hint).measure(measure)
    } else {
        check(HealthState::Ok, &message).measure(measure)
    }
}

/// What the component itself warned of when it was last backed up: an alarm of etcd, a tool that does not fit.
pub(super) fn component_warnings(limits: &HealthLimits, component: &str, history: &History) -> HealthCheck {
    let check =
        |state, message: &str| HealthCheck::new(Scope::Component, component, "warnings", state, message);
    let Some(past) = history.components.get(component) else {
        return check(HealthState::Ok, "none");
    };
    let accepted =
        |warning: &&String| limits.accepted_warnings.iter().any(|known| warning.contains(known.as_str()));
    let open: Vec<&String> = past.warnings.iter().filter(|warning| !accepted(warning)).collect();
    let number = (open.len() + past.more_warnings) as u64;
    let measure = Measure::new(number, Unit::Count).warning(Limit::AtMost(0));
    let said = match (open.first(), number) {
        (None, 0) if past.warnings.is_empty() => {
            return check(HealthState::Ok, "none").measure(measure);
        }
        (None, 0) => {
            let message = format!("{}, all accepted", past.warnings.len());
            return check(HealthState::Ok, &message).measure(measure);
        }
        (Some(first), 1) => (*first).clone(),
        (Some(first), _) => format!("{first}; and {} more", number - 1),
        (None, _) => format!("{number} more than could be looked at"),
    };
    check(HealthState::Warning, &said)
        .hint("mend it, or name it in accepted_warnings of [health]")
        .measure(measure)
}

impl ComponentPast {
    /// The newest good session.
    pub(super) fn newest(&self) -> Option<SessionId> {
        self.samples.back().map(|sample| sample.id)
    }
}

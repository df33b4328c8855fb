//! What is to be said of the sessions altogether.

use chrono::{DateTime, TimeDelta, Utc};

use super::{HealthCheck, HealthState, History, Scope, history::Several};
use crate::words::human_time;

/// How far clocks may lie apart before it is worth a word.
pub(super) const CLOCK_SLACK: TimeDelta = TimeDelta::minutes(5);

pub(super) fn checks(now: DateTime<Utc>, history: &History) -> Vec<HealthCheck> {
    vec![readable(history), ended(history), sound(history), clock(now, history)]
}

fn check(name: &str, state: HealthState, message: &str) -> HealthCheck {
    HealthCheck::new(Scope::Sessions, "", name, state, message)
}

fn readable(history: &History) -> HealthCheck {
    let Several { number, newest } = &history.unreadable;
    match newest.front() {
        None => check("readable", HealthState::Ok, &format!("{} in the store", history.sessions)),
        Some((_, why)) => {
            let message = format!("{number} cannot be read: {}: {why}", history.unreadable.names());
            check("readable", HealthState::Critical, &message).hint("they are left as they are")
        }
    }
}

fn ended(history: &History) -> HealthCheck {
    match history.dead.number {
        0 => check("ended", HealthState::Ok, "no run died"),
        _ => {
            let message = format!("runs that did not come to an end: {}", history.dead.names());
            check("ended", HealthState::Warning, &message)
                .hint("the next run, or `ha-backup cleanup`, clears what they left")
        }
    }
}

fn sound(history: &History) -> HealthCheck {
    match history.damaged.newest.front() {
        None => check("sound", HealthState::Ok, "no verification failed"),
        Some((_, level)) => {
            let message = format!("verification ({level}) failed: {}", history.damaged.names());
            check("sound", HealthState::Critical, &message)
                .hint("`ha-backup verify SESSION` says which bytes are wrong")
        }
    }
}

fn clock(now: DateTime<Utc>, history: &History) -> HealthCheck {
    match history.future.newest.front() {
        None => check("clock", HealthState::Ok, "no session begins in the future"),
        Some((newest, _)) => {
            let ahead = human_time(newest.time() - now);
            let message = format!("in the future by up to {ahead}: {}", history.future.names());
            check("clock", HealthState::Warning, &message).hint(
                "one host's clock is wrong: look at its time service; until then such sessions do not count",
            )
        }
    }
}

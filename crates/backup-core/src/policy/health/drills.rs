//! When a component was last restored in a drill, and how that went.

use chrono::{DateTime, Utc};

use super::{
    HealthCheck, HealthLimits, HealthState, History, Limit, Measure, Scope, Unit, limit_seconds,
    seconds_since,
};
use crate::{policy::DrillVerdict, words::human_time};

const HINT: &str = "`ha-backup drill`, or a job with run = \"drill\"";

/// Nothing where drills are not awaited and there was none: nobody has asked for them.
pub(super) fn component_drilled(
    now: DateTime<Utc>,
    limits: &HealthLimits,
    component: &str,
    history: &History,
) -> Option<HealthCheck> {
    let check =
        |state, message: &str| HealthCheck::new(Scope::Component, component, "drilled", state, message);
    let past = history.components.get(component)?;
    let limit = limits.drill_max_age;
    let Some((last, session)) = &past.drilled else {
        let (limit, first) = (limit?, past.first_good?);
        let since = now - first.time();
        return Some(if since > limit {
            check(HealthState::Warning, &format!("never, in {}", human_time(since))).hint(HINT)
        } else {
            check(HealthState::Ok, &format!("not yet; due within {} of the first session", human_time(limit)))
        });
    };
    let ago = human_time(now - last.at);
    let problem = last.problem.as_ref().map(|problem| format!(": {problem}")).unwrap_or_default();
    let state = match last.verdict {
        DrillVerdict::Passed => HealthState::Ok,
        DrillVerdict::NotRun => HealthState::Warning,
        DrillVerdict::Failed => HealthState::Critical,
    };
    let mut message = format!("{} {ago} ago, of {session}{problem}", last.verdict.as_str());
    if last.verdict == DrillVerdict::Passed {
        message.push_str(&format!(", restored in {} s", last.rto_seconds));
    }
    let Some(limit) = limit else {
        let made = check(state, &message);
        return Some(if state == HealthState::Ok { made } else { made.hint(HINT) });
    };
    message.push_str(&format!(" (at most {})", human_time(limit)));
    let old = past.drill_passed.is_none_or(|passed| now - passed > limit);
    let state = if old { state.max(HealthState::Warning) } else { state };
    let mut made = check(state, &message);
    if let Some(passed) = past.drill_passed {
        let seconds = seconds_since(passed, now);
        made =
            made.measure(Measure::new(seconds, Unit::Seconds).warning(Limit::AtMost(limit_seconds(limit))));
    }
    Some(if state == HealthState::Ok { made } else { made.hint(HINT) })
}

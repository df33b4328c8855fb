//! How full stores are, what they lack, and whether their clocks agree with ours.

use chrono::{DateTime, Utc};

use super::{
    HealthCheck, HealthLimits, HealthState, History, Limit, Measure, Scope, Unit, sessions::CLOCK_SLACK,
};
use crate::words::{SessionId, human_bytes, human_time};

/// From here on a store is as good as full, whatever the limit.
const FULL_PERCENT: u64 = 95;

/// What a store says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreFacts {
    /// Its name.
    pub name: String,
    /// The repository's id.
    pub repository: String,
    /// Bytes free and bytes in all, or why it did not say; none for a store that cannot say.
    pub space: Option<Result<(u64, u64), String>>,
    /// Copies that it lacks, where there are several stores.
    pub copies: Option<CopyFacts>,
    /// When the newest object of a session was written, on the store's clock.
    pub newest_object: Option<DateTime<Utc>>,
}

/// What a store lacks of what others hold and it would keep.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CopyFacts {
    /// Whether every session must be there.
    pub required: bool,
    /// Sessions that it holds.
    pub held: usize,
    /// Sessions that are missing, oldest first.
    pub missing: Vec<SessionId>,
}

/// A store that could not be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwayFacts {
    /// Its name.
    pub name: String,
    /// Whether every session must be there.
    pub required: bool,
    /// Why.
    pub why: String,
}

/// What is said of it: the sessions that only it holds were not looked at either.
pub(super) fn away(store: &AwayFacts) -> HealthCheck {
    let state = if store.required { HealthState::Critical } else { HealthState::Warning };
    HealthCheck::new(Scope::Store, &store.name, "reachable", state, &store.why)
        .hint("`ha-backup check` says what is wrong; what it misses meanwhile is copied by a later run, or by `ha-backup copy --all`")
}

fn copies(store: &StoreFacts, copies: &CopyFacts) -> HealthCheck {
    let measure = Measure::new(copies.missing.len() as u64, Unit::Count);
    let measure = match copies.required {
        true => measure.critical(Limit::AtMost(0)),
        false => measure.warning(Limit::AtMost(0)),
    };
    let Some(newest) = copies.missing.last() else {
        let message = format!("none is missing, {} there", copies.held);
        return check(store, "copies", HealthState::Ok, &message).measure(measure);
    };
    let state = if copies.required { HealthState::Critical } else { HealthState::Warning };
    let message = format!("{} missing, the newest of {newest}", copies.missing.len());
    check(store, "copies", state, &message)
        .hint(format!("`ha-backup copy --all --to {}`", store.name))
        .measure(measure)
}

pub(super) fn checks(
    now: DateTime<Utc>,
    limits: &HealthLimits,
    stores: &[StoreFacts],
    history: &History,
) -> Vec<HealthCheck> {
    let mut checks = Vec::new();
    for store in stores {
        let reached = format!("reached; repository {}", store.repository);
        checks.push(check(store, "reachable", HealthState::Ok, &reached));
        checks.extend(store.space.as_ref().map(|space| self::space(store, space, limits, history)));
        checks.extend(store.copies.as_ref().map(|facts| copies(store, facts)));
        checks.extend(clock(now, store));
    }
    checks
}

fn check(store: &StoreFacts, name: &str, state: HealthState, message: &str) -> HealthCheck {
    HealthCheck::new(Scope::Store, &store.name, name, state, message)
}

fn space(
    store: &StoreFacts,
    space: &Result<(u64, u64), String>,
    limits: &HealthLimits,
    history: &History,
) -> HealthCheck {
    let (free, total) = match space {
        Ok(space) => *space,
        Err(why) => return check(store, "space", HealthState::Unknown, &format!("cannot be told: {why}")),
    };
    let used = used_percent(free, total);
    let limit = u64::from(limits.disk_limit_percent);
    let full = limit.max(FULL_PERCENT);
    let largest = history.jobs.values().map(|job| job.stored_bytes).max().unwrap_or(0);
    let said =
        format!("{used} % used (at most {limit} %), {} of {} free", human_bytes(free), human_bytes(total));
    let measure =
        Measure::new(used, Unit::Percent).warning(Limit::AtMost(limit)).critical(Limit::AtMost(full));
    let made = if free < largest {
        let message = format!("{said}: less than the last session took ({})", human_bytes(largest));
        check(store, "space", HealthState::Critical, &message)
    } else if used > full {
        check(store, "space", HealthState::Critical, &said)
    } else if used > limit {
        check(store, "space", HealthState::Warning, &said)
    } else {
        return check(store, "space", HealthState::Ok, &said).measure(measure);
    };
    made.hint("free space, or keep fewer sessions (`ha-backup cleanup --dry-run` shows what would go)")
        .measure(measure)
}

/// Rounded up: 85.1 % is above 85 %.
fn used_percent(free: u64, total: u64) -> u64 {
    let used = u128::from(total.saturating_sub(free)) * 100;
    match total {
        0 => 100,
        _ => u64::try_from(used.div_ceil(u128::from(total))).unwrap_or(100),
    }
}

/// Only said where it is wrong: a store whose clock is behind cannot be told from one that was not written to.
fn clock(now: DateTime<Utc>, store: &StoreFacts) -> Option<HealthCheck> {
    let newest = store.newest_object.filter(|at| *at > now + CLOCK_SLACK)?;
    let message = format!("it wrote an object {} in the future", human_time(newest - now));
    let hint = "its clock or ours is wrong: look at both hosts' time service";
    Some(check(store, "clock", HealthState::Warning, &message).hint(hint))
}

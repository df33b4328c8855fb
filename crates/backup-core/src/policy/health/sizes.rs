//! Whether a component's newest session is as large as it should be.

use std::collections::BTreeSet;

use super::{
    HealthCheck, HealthLimits, HealthState, History, Limit, Measure, Scope, Unit,
    history::{ComponentPast, Sample},
};
use crate::words::human_bytes;

/// Sizes that differ by less are the same: small files change by much in percent.
const SIZE_SLACK: u64 = 64 << 10;
/// As many rows more or fewer say nothing.
const COUNT_SLACK: u64 = 10;
/// As many rows more are no growth to speak of.
const GROWTH_SLACK: u64 = 1000;
/// Sessions that must be there before growth is spoken of: the first ones grow.
const GROWTH_NEEDS: usize = 3;
/// Whoever loses as many percent of the counted has lost data.
const LOST_PERCENT: u64 = 50;

/// How a number stands to those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moved {
    Steady,
    /// By so many percent.
    Shrunk(u64),
    /// By so many percent.
    Grown(u64),
}

pub(super) fn checks(limits: &HealthLimits, component: &str, history: &History) -> Vec<HealthCheck> {
    let Some(past) = history.components.get(component) else { return Vec::new() };
    let Some((newest, earlier)) = split(past) else { return Vec::new() };
    let mut checks = vec![size(limits, component, newest, &earlier)];
    // What was counted before and is not any more has shrunk to nothing.
    let whats: BTreeSet<&String> =
        past.samples.iter().flat_map(|sample| sample.counts.keys().map(|(what, _)| what)).collect();
    checks.extend(whats.into_iter().map(|what| counted(limits, component, what, newest, &earlier)));
    checks
}

fn split(past: &ComponentPast) -> Option<(&Sample, Vec<&Sample>)> {
    let mut samples: Vec<&Sample> = past.samples.iter().collect();
    let newest = samples.pop()?;
    Some((newest, samples))
}

fn size(limits: &HealthLimits, component: &str, newest: &Sample, earlier: &[&Sample]) -> HealthCheck {
    let check = |state, message: &str| HealthCheck::new(Scope::Component, component, "size", state, message);
    let mut measure = Measure::new(newest.stored_bytes, Unit::Bytes);
    let stored = format!("{} stored", human_bytes(newest.stored_bytes));
    if let Some(least) = limits.min_size.get(component) {
        measure = measure.critical(Limit::AtLeast(*least));
        if newest.stored_bytes < *least {
            let message = format!("{stored}, at least {} are expected: {}", human_bytes(*least), newest.id);
            return check(HealthState::Critical, &message)
                .hint("look into the source: is it all there?")
                .measure(measure);
        }
    }
    // Plain bytes: another compression is no change of the data.
    let plain: Vec<u64> = earlier.iter().map(|sample| sample.plain_bytes).collect();
    let median = median(&plain);
    let plain_said = format!("{} plain", human_bytes(newest.plain_bytes));
    let usual = median.map(|median| before(plain.len(), &human_bytes(median)));
    let message = format!("{stored}, {plain_said}{}", usual.unwrap_or_default());
    match moved(limits, newest.plain_bytes, &plain, SIZE_SLACK, SIZE_SLACK) {
        Moved::Steady => check(HealthState::Ok, &message).measure(measure),
        Moved::Shrunk(percent) => {
            check(HealthState::Warning, &format!("{percent} % smaller: {message}")).measure(measure)
        }
        Moved::Grown(percent) => {
            check(HealthState::Warning, &format!("{percent} % larger: {message}")).measure(measure)
        }
    }
}

/// All of the source, and each of its parts.
fn counted(
    limits: &HealthLimits,
    component: &str,
    what: &str,
    newest: &Sample,
    earlier: &[&Sample],
) -> HealthCheck {
    let check = |state, message: &str| HealthCheck::new(Scope::Component, component, what, state, message);
    let parts: BTreeSet<&String> = earlier
        .iter()
        .copied()
        .chain([newest])
        .flat_map(|sample| sample.counts.keys().filter(|(name, _)| name == what).map(|(_, part)| part))
        .collect();
    // Of equals the last one is taken: backwards, so that the whole goes before its parts.
    let shrunk = parts.into_iter().rev().filter_map(|part| part_shrunk(limits, what, part, newest, earlier));
    let worst = shrunk.max_by_key(|(percent, _)| *percent);
    let all = (what.to_owned(), String::new());
    let now = newest.counts.get(&all).copied();
    let earlier_all: Vec<u64> =
        earlier.iter().filter_map(|sample| sample.counts.get(&all)).copied().collect();
    let measure = Measure::new(now.unwrap_or(0), Unit::Count);
    if let Some((percent, message)) = worst {
        let state = if percent >= LOST_PERCENT { HealthState::Critical } else { HealthState::Warning };
        return check(state, &format!("{message}, in {}", newest.id))
            .hint("was something deleted? The sessions before still have it")
            .measure(measure);
    }
    let now = now.unwrap_or(0);
    let usual = median(&earlier_all).map(|median| before(earlier_all.len(), &median.to_string()));
    let message = format!("{now}{}", usual.unwrap_or_default());
    match moved(limits, now, &earlier_all, COUNT_SLACK, GROWTH_SLACK) {
        Moved::Grown(percent) => {
            check(HealthState::Warning, &format!("{percent} % more: {message}")).measure(measure)
        }
        _ => check(HealthState::Ok, &message).measure(measure),
    }
}

/// By how many percent one part has shrunk, and that in words.
fn part_shrunk(
    limits: &HealthLimits,
    what: &str,
    part: &str,
    newest: &Sample,
    earlier: &[&Sample],
) -> Option<(u64, String)> {
    let key = (what.to_owned(), part.to_owned());
    let past: Vec<u64> = earlier.iter().filter_map(|sample| sample.counts.get(&key)).copied().collect();
    let now = match newest.counts.get(&key) {
        Some(now) => *now,
        // Too many parts to know, or one that came and went.
        None if newest.cut || past.len() * 2 <= earlier.len() => return None,
        None => 0,
    };
    match moved(limits, now, &past, COUNT_SLACK, GROWTH_SLACK) {
        Moved::Shrunk(percent) => {
            let place = if part.is_empty() { String::new() } else { format!(" of {part}") };
            let usual = before(past.len(), &median(&past).unwrap_or(0).to_string());
            Some((percent, format!("{percent} % fewer {what}{place}: {now}{usual}")))
        }
        Moved::Steady | Moved::Grown(_) => None,
    }
}

/// What was usual before.
fn before(sessions: usize, median: &str) -> String {
    match sessions {
        1 => format!("; the one before: {median}"),
        _ => format!("; median of the {sessions} before: {median}"),
    }
}

/// How `newest` stands to the median of `earlier`. Differences below the slack are none, but all of it gone always is one.
fn moved(limits: &HealthLimits, newest: u64, earlier: &[u64], shrink_slack: u64, growth_slack: u64) -> Moved {
    let Some(median) = median(earlier).filter(|median| *median > 0) else { return Moved::Steady };
    let percent = |difference: u64| {
        u64::try_from(u128::from(difference) * 100 / u128::from(median)).unwrap_or(u64::MAX)
    };
    if newest < median {
        let lost = median - newest;
        let much = lost >= shrink_slack || newest == 0;
        if much && percent(lost) >= u64::from(limits.shrink_percent) {
            return Moved::Shrunk(percent(lost));
        }
    } else if earlier.len() >= GROWTH_NEEDS {
        let more = newest - median;
        if more >= growth_slack && percent(more) > u64::from(limits.growth_percent) {
            return Moved::Grown(percent(more));
        }
    }
    Moved::Steady
}

/// The middle one, or the mean of both in the middle.
fn median(values: &[u64]) -> Option<u64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let upper = *sorted.get(sorted.len() / 2)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    Some(sorted[sorted.len() / 2 - 1].midpoint(upper))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn judged(newest: u64, earlier: &[u64]) -> Moved {
        moved(&HealthLimits::default(), newest, earlier, COUNT_SLACK, GROWTH_SLACK)
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[5]), Some(5));
        assert_eq!(median(&[9, 1]), Some(5));
        assert_eq!(median(&[9, 1, 2]), Some(2));
        assert_eq!(median(&[u64::MAX, u64::MAX]), Some(u64::MAX));
    }

    #[test]
    fn half_of_it_gone_is_seen_on_the_first_day() {
        assert_eq!(judged(500, &[1000]), Moved::Shrunk(50));
        assert_eq!(judged(500, &[1000; 10]), Moved::Shrunk(50));
        assert_eq!(judged(701, &[1000; 10]), Moved::Steady);
        assert_eq!(judged(0, &[3]), Moved::Shrunk(100));
        assert_eq!(judged(1, &[3]), Moved::Steady);
    }

    #[test]
    fn growth_needs_some_sessions_before_it() {
        assert_eq!(judged(9000, &[1000, 1000]), Moved::Steady);
        assert_eq!(judged(9000, &[1000; 3]), Moved::Grown(800));
        assert_eq!(judged(2000, &[1000; 3]), Moved::Steady);
        assert_eq!(judged(900, &[100; 3]), Moved::Steady);
        assert_eq!(judged(5, &[]), Moved::Steady);
    }

    proptest! {
        /// Whatever the numbers: less never looks better than more, below the median there is no growth, above it no loss.
        #[test]
        fn a_smaller_number_is_never_judged_better(
            earlier in prop::collection::vec(any::<u64>(), 1..11),
            a in any::<u64>(),
            b in any::<u64>(),
        ) {
            let median = median(&earlier).unwrap();
            let lost = |n| match judged(n, &earlier) { Moved::Shrunk(percent) => percent, _ => 0 };
            prop_assert!(lost(a.min(b)) >= lost(a.max(b)));
            for n in [a, b] {
                match judged(n, &earlier) {
                    Moved::Shrunk(percent) => prop_assert!(n < median && (30..=100).contains(&percent)),
                    Moved::Grown(percent) => prop_assert!(n > median && percent > 100),
                    Moved::Steady => {}
                }
            }
        }

        /// Losing half of ten or more things or half of anything down to nothing is always seen.
        #[test]
        fn half_lost_is_always_seen(usual in 20u64..u64::MAX / 2, sessions in 1usize..11) {
            prop_assert!(matches!(judged(usual / 2, &vec![usual; sessions]), Moved::Shrunk(_)));
            prop_assert_eq!(judged(0, &vec![usual; sessions]), Moved::Shrunk(100));
        }
    }
}

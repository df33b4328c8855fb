//! When is a store full? Pure: measurements in, an answer or the reason for none out.

use chrono::{DateTime, TimeDelta, Utc};

/// With less history, or fewer measurements, a trend would be a guess.
const SHORTEST: TimeDelta = TimeDelta::days(7);
const FEWEST: usize = 7;
/// Older measurements say nothing of how it grows now.
const RECENT: TimeDelta = TimeDelta::days(90);
/// Beyond that nobody knows.
const HORIZON_DAYS: f64 = 5.0 * 365.0;
/// So many measurements are compared, each with each.
const COMPARED: usize = 200;

/// When a store is full, by how it grew.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Forecast {
    /// There is too little to go by.
    NotEnoughHistory,
    /// It does not grow.
    NotGrowing,
    /// It grows, but is not full within five years.
    Far {
        /// Growth in bytes a day.
        bytes_per_day: f64,
    },
    /// It is full around then.
    Full {
        /// By the trend.
        at: DateTime<Utc>,
        /// By the faster half of what was measured.
        earliest: DateTime<Utc>,
        /// Growth in bytes a day.
        bytes_per_day: f64,
    },
}

/// When the store has no `free` bytes left, by measurements of what is used (in any order): the median of the slopes between all
/// pairs of the last 90 days (Theil-Sen), which a single clean-up or a huge session does not bend.
pub fn forecast(now: DateTime<Utc>, free: u64, used: &[(DateTime<Utc>, u64)]) -> Forecast {
    let mut recent: Vec<(f64, f64)> = used
        .iter()
        .filter(|(at, _)| *at <= now && now - *at <= RECENT)
        .map(|(at, bytes)| ((*at - now).num_seconds() as f64 / 86_400.0, *bytes as f64))
        .collect();
    recent.sort_by(|a, b| a.0.total_cmp(&b.0));
    let span = match (recent.first(), recent.last()) {
        (Some(first), Some(last)) => last.0 - first.0,
        _ => 0.0,
    };
    if recent.len() < FEWEST || span < SHORTEST.num_days() as f64 {
        return Forecast::NotEnoughHistory;
    }
    let slopes = slopes(&thinned(&recent));
    let Some(bytes_per_day) = quantile(&slopes, 0.5) else { return Forecast::NotEnoughHistory };
    // Less than a part in a hundred million a day is noise.
    if bytes_per_day <= (free as f64) * 1e-8 || bytes_per_day <= 0.0 {
        return Forecast::NotGrowing;
    }
    let faster = quantile(&slopes, 0.75).unwrap_or(bytes_per_day).max(bytes_per_day);
    match (after(now, free, bytes_per_day), after(now, free, faster)) {
        (Some(at), Some(earliest)) => Forecast::Full { at, earliest, bytes_per_day },
        _ => Forecast::Far { bytes_per_day },
    }
}

/// At most [`COMPARED`] of them, evenly.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let step = points.len().div_ceil(COMPARED).max(1);
    points.iter().rev().step_by(step).copied().collect()
}

fn slopes(points: &[(f64, f64)]) -> Vec<f64> {
    let mut slopes = Vec::new();
    for (index, a) in points.iter().enumerate() {
        for b in &points[index + 1..] {
            let days = b.0 - a.0;
            if days.abs() > 0.01 {
                slopes.push((b.1 - a.1) / days);
            }
        }
    }
    slopes.sort_by(f64::total_cmp);
    slopes
}

fn quantile(sorted: &[f64], part: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    sorted.get((last as f64 * part).round() as usize).copied()
}

/// When so many bytes are used up at that pace; none beyond the horizon.
fn after(now: DateTime<Utc>, free: u64, bytes_per_day: f64) -> Option<DateTime<Utc>> {
    let days = free as f64 / bytes_per_day;
    (days <= HORIZON_DAYS).then(|| now + TimeDelta::seconds((days * 86_400.0) as i64))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn now() -> DateTime<Utc> {
        "2026-03-01T12:00:00Z".parse().unwrap()
    }

    fn days(values: impl IntoIterator<Item = u64>) -> Vec<(DateTime<Utc>, u64)> {
        let values: Vec<u64> = values.into_iter().collect();
        let count = values.len();
        let at = |index: usize| now() - TimeDelta::days((count - 1 - index) as i64);
        values.into_iter().enumerate().map(|(index, bytes)| (at(index), bytes)).collect()
    }

    const GIB: u64 = 1 << 30;

    proptest! {
        /// A steady growth is continued to the day, whatever single days say.
        #[test]
        fn steady_growth_is_continued(
            count in 14_usize..120,
            growth in 1_u64..50,
            left in 1_u64..1000,
            odd in prop::collection::vec((0_usize..120, 0_u64..10_000), 0..3),
        ) {
            let mut used = days((0..count as u64).map(|day| (100 + day * growth) * GIB));
            for (day, value) in odd {
                used[day % count].1 = value * GIB;
            }
            let expected = left as f64 / growth as f64;
            match forecast(now(), left * GIB, &used) {
                Forecast::Full { at, earliest, .. } => {
                    let days = (at - now()).num_seconds() as f64 / 86_400.0;
                    prop_assert!((days - expected).abs() <= 0.15 * expected + 0.1, "{days} for {expected}");
                    prop_assert!(now() <= earliest && earliest <= at);
                }
                other => prop_assert!(false, "{:?} for {} days", other, expected),
            }
        }

        /// It never panics, and never promises a day in the past.
        #[test]
        fn any_measurements_have_an_answer(
            free in any::<u64>(),
            used in prop::collection::vec((-200_i64..20, any::<u64>()), 0..60),
        ) {
            let used: Vec<_> = used.iter().map(|(day, b)| (now() + TimeDelta::days(*day), *b)).collect();
            if let Forecast::Full { at, earliest, bytes_per_day } = forecast(now(), free, &used) {
                prop_assert!(earliest >= now() && at >= earliest && bytes_per_day > 0.0);
            }
        }

        /// The order of the measurements says nothing.
        #[test]
        fn order_says_nothing(values in prop::collection::vec(0_u64..1_000_000, 0..60)) {
            let used = days(values);
            let mut turned = used.clone();
            turned.reverse();
            prop_assert_eq!(forecast(now(), GIB, &used), forecast(now(), GIB, &turned));
        }

        #[test]
        fn what_shrinks_or_stays_is_never_full(start in 0_u64..1000, count in 8_u64..90) {
            let used = days((0..count).map(|day| (start + 1000 - day) * GIB));
            prop_assert_eq!(forecast(now(), 10 * GIB, &used), Forecast::NotGrowing);
            let level = days((0..count).map(|_| start * GIB));
            prop_assert_eq!(forecast(now(), 10 * GIB, &level), Forecast::NotGrowing);
        }
    }

    #[test]
    fn a_few_days_are_no_history() {
        assert_eq!(forecast(now(), GIB, &[]), Forecast::NotEnoughHistory);
        assert_eq!(forecast(now(), GIB, &days((0..7).map(|day| day * GIB))), Forecast::NotEnoughHistory);
        let hourly: Vec<_> = (0..100).map(|hour| (now() - TimeDelta::hours(hour), GIB)).collect();
        assert_eq!(forecast(now(), GIB, &hourly), Forecast::NotEnoughHistory);
        let long_ago: Vec<_> = (100..200).map(|day| (now() - TimeDelta::days(day), GIB)).collect();
        assert_eq!(forecast(now(), GIB, &long_ago), Forecast::NotEnoughHistory);
    }

    /// A week's steps up and a clean-up's step down: what counts is the whole.
    #[test]
    fn weekly_clean_ups_do_not_hide_that_it_grows() {
        let used = days((0..84).map(|day| (100 + day % 7 * 10 + day / 7 * 14) * GIB));
        match forecast(now(), 200 * GIB, &used) {
            Forecast::Full { bytes_per_day, .. } => {
                let daily = bytes_per_day / GIB as f64;
                assert!((1.5..2.6).contains(&daily), "{daily}");
            }
            other => panic!("{other:?}"),
        }
    }
}

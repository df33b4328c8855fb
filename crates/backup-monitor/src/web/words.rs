//! Numbers and times for people.

use std::fmt::Display;

use backup_core::words::human_time;
use chrono::{DateTime, TimeDelta, Utc};

/// A length of time: `0.3 s`, `12 s`, `3 min 5 s`, `2 h 10 min`.
pub(super) fn seconds(seconds: f64) -> String {
    let whole = seconds.round().max(0.0) as u64;
    match whole {
        _ if seconds < 10.0 => format!("{seconds:.1} s"),
        0..60 => format!("{whole} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

/// `5 min ago`, `3 h ago`.
pub(super) fn ago(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    if now - at < TimeDelta::minutes(1) {
        "just now".to_owned()
    } else {
        format!("{} ago", human_time(now - at))
    }
}

/// `<time>` with the moment for machines, and on pointing.
pub(super) fn time(at: DateTime<Utc>, shown: impl Display) -> String {
    let exact = at.format("%Y-%m-%dT%H:%M:%SZ");
    let title = at.format("%Y-%m-%d %H:%M:%S UTC");
    format!("<time datetime=\"{exact}\" title=\"{title}\">{}</time>", crate::markup::Text(shown))
}

/// How long ago, as `<time>`.
pub(super) fn time_ago(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    time(at, ago(at, now))
}

/// `2026-01-08 02:00`, as `<time>`; UTC.
pub(super) fn moment(at: DateTime<Utc>) -> String {
    time(at, at.format("%Y-%m-%d %H:%M"))
}

/// `1 session`, `2 sessions`.
pub(super) fn count(number: usize, thing: &str) -> String {
    if number == 1 { format!("1 {thing}") } else { format!("{number} {thing}s") }
}

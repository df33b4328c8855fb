//! Numbers and times for people.

use std::fmt::Display;

use backup_core::words::human_time;
pub(super) use backup_core::words::{human_count as count, human_seconds as seconds};
use chrono::{DateTime, TimeDelta, Utc};

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

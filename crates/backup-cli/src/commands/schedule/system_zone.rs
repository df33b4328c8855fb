//! The time zone that cron goes by: the system's.

use std::path::Path;

use chrono::{DateTime, Offset, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;

const LOCALTIME: &str = "/etc/localtime";
const ZONES: &str = "/usr/share/zoneinfo";

/// The name of the system's zone, as far as it can be told.
pub(super) fn name() -> Option<String> {
    if let Ok(link) = std::fs::read_link(LOCALTIME)
        && let Some((_, name)) = link.to_str().and_then(|link| link.split_once("zoneinfo/"))
    {
        return Some(name.trim_start_matches("posix/").to_owned());
    }
    if !Path::new(LOCALTIME).exists() {
        // localtime(5): without it, UTC.
        return Some("UTC".to_owned());
    }
    std::fs::read_to_string("/etc/timezone").ok().map(|name| name.trim().to_owned())
}

/// Whether the system's clock always shows what `zone` shows.
pub(super) fn is(zone: Tz, now: DateTime<Utc>) -> bool {
    match name().and_then(|name| name.parse::<Tz>().ok()) {
        Some(system) => agree(zone, system, now),
        // A file of its own: it may be a copy.
        None => match (std::fs::read(LOCALTIME), std::fs::read(Path::new(ZONES).join(zone.name()))) {
            (Ok(system), Ok(zone)) => system == zone,
            _ => false,
        },
    }
}

/// Whether two zones show the same for the next five years.
fn agree(one: Tz, other: Tz, now: DateTime<Utc>) -> bool {
    const HOURS: i64 = 5 * 366 * 24;
    let offset = |zone: Tz, at: DateTime<Utc>| zone.offset_from_utc_datetime(&at.naive_utc()).fix();
    one == other
        || (0..HOURS).map(|hour| now + TimeDelta::hours(hour)).all(|at| offset(one, at) == offset(other, at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_agree_when_their_clocks_do() {
        let now = "2026-11-24T00:00:00Z".parse().unwrap();
        assert!(agree(Tz::UTC, Tz::Etc__UTC, now));
        assert!(agree(Tz::Europe__Berlin, Tz::Europe__Vienna, now));
        assert!(!agree(Tz::Europe__Berlin, Tz::Africa__Lagos, now), "the same in winter only");
        assert!(!agree(Tz::UTC, Tz::Europe__London, now));
    }
}

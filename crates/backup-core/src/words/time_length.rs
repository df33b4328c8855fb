//! Lengths of time as people write them: `90s`, `30min`, `25h`, `8d`, `2w`.

use std::{fmt, str::FromStr};

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use super::{Error, ErrorKind, Result};

/// A length of time of whole seconds, written as a number with a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimeLength(pub TimeDelta);

const UNITS: [(&str, i64); 6] =
    [("s", 1), ("m", 60), ("min", 60), ("h", 3600), ("d", 86_400), ("w", 7 * 86_400)];

impl FromStr for TimeLength {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bad = || {
            Error::new(ErrorKind::Config, "read the length of time", text)
                .hint("write a whole number with a unit: 90s, 30min, 25h, 8d, 2w")
        };
        let text = text.trim();
        let split = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
        let number: i64 = text[..split].parse().map_err(|_| bad())?;
        let unit = text[split..].trim();
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(bad)?;
        let seconds = number.checked_mul(*factor).ok_or_else(bad)?;
        TimeDelta::try_seconds(seconds).map(Self).ok_or_else(bad)
    }
}

impl fmt::Display for TimeLength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&human_time(self.0))
    }
}

impl Serialize for TimeLength {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format!("{}s", self.0.num_seconds()))
    }
}

impl<'de> Deserialize<'de> for TimeLength {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl schemars::JsonSchema for TimeLength {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "TimeLength".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "pattern": "^ *[0-9]+ *(s|m|min|h|d|w) *$",
            "description": "a length of time: 90s, 30min, 25h, 8d, 2w"
        })
    }
}

/// `length` for people, in the unit that fits: "45 s", "30 min", "25 h", "8 days".
pub fn human_time(length: TimeDelta) -> String {
    let seconds = length.num_seconds();
    match seconds.unsigned_abs() {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// What took that long, for people: `0.3 s`, `12 s`, `3 min 5 s`, `2 h 10 min`.
pub fn human_seconds(seconds: f64) -> String {
    let whole = seconds.round().max(0.0) as u64;
    match whole {
        _ if seconds < 10.0 => format!("{seconds:.1} s"),
        0..60 => format!("{whole} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

/// So many of a thing: `1 session`, `2 sessions`.
pub fn human_count(number: usize, thing: &str) -> String {
    if number == 1 { format!("1 {thing}") } else { format!("{number} {thing}s") }
}

#[cfg(test)]
mod tests {
    #[test]
    fn seconds_are_said_in_the_unit_that_fits() {
        assert_eq!(super::human_seconds(0.26), "0.3 s");
        assert_eq!(super::human_seconds(59.4), "59 s");
        assert_eq!(super::human_seconds(185.0), "3 min 5 s");
        assert_eq!(super::human_seconds(7800.0), "2 h 10 min");
    }

    use super::*;

    #[test]
    fn every_unit_is_read_and_said() {
        for (text, seconds, said) in [
            ("90s", 90, "90 s"),
            ("30min", 1800, "30 min"),
            ("30 m", 1800, "30 min"),
            (" 25h ", 90_000, "25 h"),
            ("8d", 691_200, "8 days"),
            ("2w", 1_209_600, "14 days"),
        ] {
            let length: TimeLength = text.parse().unwrap();
            assert_eq!((length.0.num_seconds(), length.to_string().as_str()), (seconds, said));
            assert_eq!(
                serde_json::from_value::<TimeLength>(serde_json::to_value(length).unwrap()).unwrap(),
                length
            );
        }
    }

    #[test]
    fn what_is_no_length_is_refused() {
        for bad in
            ["", "25", "h", "-1h", "1.5h", "25 hours", "1M", "99999999999999999999s", "9999999999999999w"]
        {
            assert_eq!(bad.parse::<TimeLength>().unwrap_err().kind(), ErrorKind::Config, "{bad}");
        }
    }
}

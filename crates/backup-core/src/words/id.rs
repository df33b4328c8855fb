//! Session identifiers, types and names.

use std::{fmt, str::FromStr};

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::{Error, ErrorKind, Result};

const STAMP: &str = "%Y%m%d_%H%M%S";
const PREFIX: &str = "backup_";

/// `backup_YYYYMMDD_HHMMSS` in UTC: names one run and the recovery point it made. Orders by time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(NaiveDateTime);

impl SessionId {
    /// The identifier of a run begun at `at`; fractions of a second are dropped.
    pub fn at(at: DateTime<Utc>) -> Self {
        let naive = at.naive_utc();
        Self(chrono::Timelike::with_nanosecond(&naive, 0).unwrap_or(naive))
    }

    /// The identifier one second later, for when this one is taken.
    pub fn next(self) -> Self {
        Self(self.0 + TimeDelta::seconds(1))
    }

    /// When the run began.
    pub fn time(self) -> DateTime<Utc> {
        self.0.and_utc()
    }

    /// `YYYYMMDD_HHMMSS`: the part of the identifier that stands in file names.
    pub fn stamp(self) -> String {
        self.0.format(STAMP).to_string()
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", self.0.format(STAMP))
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for SessionId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        text.strip_prefix(PREFIX)
            .filter(|stamp| stamp.len() == 15)
            .and_then(|stamp| NaiveDateTime::parse_from_str(stamp, STAMP).ok())
            .map(Self)
            .ok_or_else(|| {
                Error::new(ErrorKind::Config, "read the session id", text)
                    .hint("a session id looks like backup_20260108_020000; `ha-backup list` shows them")
            })
    }
}

impl Serialize for SessionId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SessionId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// How long a session is meant to be kept. Orders from daily (shortest) to yearly (longest).
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum SessionType {
    /// One of the last days.
    Daily,
    /// One of the last weeks.
    Weekly,
    /// One of the last months.
    Monthly,
    /// One of the last years.
    Yearly,
}

impl SessionType {
    /// All types, shortest first.
    pub const ALL: [Self; 4] = [Self::Daily, Self::Weekly, Self::Monthly, Self::Yearly];

    /// The type's name, which is also its folder.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Daily => "daily",
            Self::Weekly => "weekly",
            Self::Monthly => "monthly",
            Self::Yearly => "yearly",
        }
    }
}

impl fmt::Display for SessionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The kind of a component ("etcd") and the number of its own format.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kind {
    /// The name under which the factory is registered.
    pub name: String,
    /// Raised when artifacts change so that an older reader would misread them.
    pub format: u32,
}

/// What a plug-in says of an artifact's name; the engine composes the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArtifactName {
    /// Tells several artifacts of one component apart ("config"); none for the only one.
    pub suffix: Option<String>,
    /// The plain file's extension ("db", "sql", "tar").
    pub extension: String,
}

const RESERVED: [&str; 8] =
    ["unified", "sessions", "log", "repository", "daily", "weekly", "monthly", "yearly"];

/// Checks a component's name: it is a folder in every store, so lower-case letters, digits, `-` and `_` only.
///
/// # Errors
/// [`ErrorKind::Config`] when the name is empty, too long, holds other characters or is reserved.
pub fn check_component_name(name: &str) -> Result<()> {
    let fits = !name.is_empty()
        && name.len() <= 63
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
        && name.as_bytes()[0].is_ascii_alphanumeric();
    if !fits {
        return Err(Error::new(ErrorKind::Config, "name the component", name).hint(
            "use lower-case letters, digits, `-` and `_`, beginning with a letter or digit, 63 at most",
        ));
    }
    if RESERVED.contains(&name) {
        return Err(Error::new(ErrorKind::Config, "name the component", name)
            .detail("the name is reserved")
            .hint("choose another name"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_back_as_written_and_order_by_time() {
        let id: SessionId = "backup_20250108_120000".parse().unwrap();
        assert_eq!(id.to_string(), "backup_20250108_120000");
        assert_eq!(id.next().to_string(), "backup_20250108_120001");
        assert!(id < id.next());
        for bad in ["backup_2025018_120000", "backup_20251308_120000", "x", "backup_20250108_120000x"] {
            assert!(bad.parse::<SessionId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn names_that_would_collide_with_the_layout_are_refused() {
        for bad in ["", "unified", "daily", "a/b", "..", "Upper", "-x"] {
            assert!(check_component_name(bad).is_err(), "{bad}");
        }
        check_component_name("supabase-2").unwrap();
    }
}

//! Versions of etcd, as far as formats care: major and minor.

use std::{fmt, str::FromStr};

use backup_core::words::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

/// A minor line of etcd: 3.5 for 3.5.30.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// The first number.
    pub major: u32,
    /// The second number.
    pub minor: u32,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl FromStr for Version {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut numbers = text.trim_start_matches('v').split('.').map(str::parse);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(major)), Some(Ok(minor))) => Ok(Self { major, minor }),
            _ => Err(Error::new(ErrorKind::Config, "read the etcd version", text).hint("write it as 3.5")),
        }
    }
}

impl Serialize for Version {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patch_levels_do_not_matter() {
        assert_eq!("v3.6.0-rc.1".parse::<Version>().unwrap(), Version { major: 3, minor: 6 });
        assert!("3".parse::<Version>().is_err());
    }
}

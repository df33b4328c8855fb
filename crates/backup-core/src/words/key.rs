//! Keys of objects in a store.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Error, ErrorKind, Result};

/// A path inside a store: parts joined by `/`, none empty, none `.` or `..`, no control characters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Key(String);

impl Key {
    /// Checks and wraps `text`; the empty key is the root, good for listing only.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] when the key could leave the store.
    pub fn new(text: impl Into<String>) -> Result<Self> {
        let text = text.into();
        let bad = |part: &str| {
            part.is_empty()
                || part == "."
                || part == ".."
                || part.chars().any(|c| c.is_control() || c == '\\')
        };
        if !text.is_empty() && text.split('/').any(bad) {
            return Err(Error::new(ErrorKind::Refused, "use the key", format!("{text:?}"))
                .detail("a key is a plain relative path"));
        }
        Ok(Self(text))
    }

    /// The root of the store.
    pub fn root() -> Self {
        Self(String::new())
    }

    /// This key with one more part or relative path.
    ///
    /// # Errors
    /// As [`Key::new`].
    pub fn join(&self, rest: &str) -> Result<Self> {
        if self.0.is_empty() { Self::new(rest) } else { Self::new(format!("{}/{rest}", self.0)) }
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part after the last `/`.
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or("")
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_leaves_its_store() {
        for bad in ["/a", "a/", "a//b", "../a", "a/./b", "a\nb", "a\\b"] {
            assert!(Key::new(bad).is_err(), "{bad:?}");
        }
        assert_eq!(Key::root().join("daily").unwrap().join("etcd/x.db").unwrap().as_str(), "daily/etcd/x.db");
    }
}

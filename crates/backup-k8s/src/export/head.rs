//! The little of an object that is looked at while it goes by.

use std::{borrow::Cow, collections::BTreeMap};

use backup_core::words::{Error, ErrorKind, Result};
use serde::Deserialize;

/// An object's name and labels; the rest is skipped.
#[derive(Debug, Deserialize)]
pub(crate) struct Head<'a> {
    #[serde(borrow)]
    pub(crate) metadata: Metadata<'a>,
}

/// Of an object.
#[derive(Debug, Deserialize)]
pub(crate) struct Metadata<'a> {
    #[serde(borrow)]
    pub(crate) name: Cow<'a, str>,
    #[serde(default)]
    pub(crate) labels: Option<BTreeMap<String, String>>,
}

impl<'a> Head<'a> {
    /// From the raw JSON.
    pub(crate) fn read(object: &'a [u8]) -> Result<Self> {
        serde_json::from_slice(object).map_err(|e| {
            Error::new(ErrorKind::Corrupt, "understand", "an object of the API server").because(e)
        })
    }

    /// Its labels.
    pub(crate) fn labels(&self) -> Cow<'_, BTreeMap<String, String>> {
        self.metadata.labels.as_ref().map_or_else(|| Cow::Owned(BTreeMap::new()), Cow::Borrowed)
    }
}

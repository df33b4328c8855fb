//! What is said of a capture besides its bytes. Lists are cut: a tree may have millions of members to speak of.

use super::exclude::Exclude;
use crate::{archive::shown, words::Coverage};

const MOST: usize = 50;

/// The first of many, and how many more there were.
#[derive(Debug, Default)]
pub(super) struct Listed {
    first: Vec<(String, String)>,
    more: u64,
}

impl Listed {
    /// Adds a path and what is to be said of it.
    pub(super) fn push(&mut self, path: &[u8], why: impl Into<String>) {
        if self.first.len() < MOST {
            self.first.push((shown(path), why.into()));
        } else {
            self.more += 1;
        }
    }

    /// One line for each, "PATH: WHY".
    pub(super) fn lines(self) -> Vec<String> {
        let more = (self.more > 0).then(|| format!("and {} more like these", self.more));
        self.first.into_iter().map(|(path, why)| format!("{path}: {why}")).chain(more).collect()
    }

    fn coverage(self, missing: bool) -> impl Iterator<Item = Coverage> {
        let more = (self.more > 0).then(|| (format!("{} more", self.more), "as those before".to_owned()));
        self.first.into_iter().chain(more).map(move |(what, why)| Coverage { what, why, missing })
    }
}

/// What is not, or not surely, as it was.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// Should be in the archive and is not, or not whole.
    pub(super) missing: Listed,
    /// Is not in the archive, and that is right.
    pub(super) left_out: Listed,
    /// Is in the archive, and should be looked at.
    pub(super) warnings: Listed,
    /// How many members each pattern left out.
    pub(super) excluded: Vec<u64>,
}

impl Report {
    /// What was left out, and what should be looked at.
    pub(super) fn said(self, exclude: &Exclude) -> (Vec<Coverage>, Vec<String>) {
        let patterns = exclude.written().zip(self.excluded).filter(|(_, count)| *count > 0);
        let excluded = patterns.map(|(pattern, count)| Coverage {
            what: pattern.to_owned(),
            why: format!("excluded by the configuration: {count} with what is in them"),
            missing: false,
        });
        let coverage =
            self.missing.coverage(true).chain(self.left_out.coverage(false)).chain(excluded).collect();
        (coverage, self.warnings.lines())
    }
}

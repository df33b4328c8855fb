//! What is broken, named.

use std::fmt;

/// Something that must always hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// Every artifact of a committed session is there with its size and SHA-256, and decodes.
    Complete,
    /// A session is shown as good only with a manifest and without a purge.
    NoHalfSession,
    /// A session that was good stays until retention may remove it.
    NothingLost,
    /// The newest good session of a component stays, whatever retention says.
    NewestStays,
    /// What is pinned stays.
    PinnedStays,
    /// What is not ours is as it was.
    ForeignUntouched,
    /// What is left over can be found by a clean-up.
    Bounded,
    /// After a normal run nothing dead is left behind.
    Tidy,
    /// Runs of one job exclude each other.
    OneAtATime,
    /// The store can be read.
    Readable,
}

impl Rule {
    fn text(self) -> &'static str {
        match self {
            Self::Complete => "a committed session is complete",
            Self::NoHalfSession => "no half session is shown as good",
            Self::NothingLost => "no good session is lost unless retention allows it",
            Self::NewestStays => "the newest good session of a component stays",
            Self::PinnedStays => "what is pinned stays",
            Self::ForeignUntouched => "what is not ours is not touched",
            Self::Bounded => "left-overs are bounded",
            Self::Tidy => "nothing dead is left behind",
            Self::OneAtATime => "runs of one job exclude each other",
            Self::Readable => "the store can be read",
        }
    }
}

/// A rule that is broken: which, on what, and how.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    /// Which rule.
    pub rule: Rule,
    /// A session or a key.
    pub subject: String,
    /// What was found.
    pub found: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}]: {}", self.rule.text(), self.subject, self.found)
    }
}

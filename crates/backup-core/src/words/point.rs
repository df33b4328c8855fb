//! Where in a source's history a backup stands.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// An order inside one history: (cluster id, revision), (system id / timeline, LSN), (tree, capture number).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Positions compare only within the same lineage.
    pub lineage: String,
    /// Grows with time.
    pub at: u64,
    /// The position as people of that field write it ("0/3000148"), where it differs from the number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
}

/// A bracket of time on the engine's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// Not before.
    pub from: DateTime<Utc>,
    /// Not after.
    pub to: DateTime<Utc>,
}

impl Span {
    /// The bracket that holds both.
    #[must_use]
    pub fn join(self, other: Self) -> Self {
        Self { from: self.from.min(other.from), to: self.to.max(other.to) }
    }

    /// Its length in seconds.
    pub fn seconds(self) -> f64 {
        (self.to - self.from).num_milliseconds() as f64 / 1000.0
    }
}

/// What was pinned: the state that a capture holds, whatever happens to the source meanwhile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Point {
    /// Where in the source's history, when it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<Position>,
    /// The pinned state was current at some moment in this bracket.
    pub pinned: Span,
}

impl Point {
    /// A point pinned inside `pinned`, without a position.
    pub fn pinned(pinned: Span) -> Self {
        Self { position: None, pinned }
    }

    /// The same point with its position.
    #[must_use]
    pub fn at(mut self, position: Position) -> Self {
        self.position = Some(position);
        self
    }
}

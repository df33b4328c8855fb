//! What was asked of stores, in order, for people.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{Call, Op};

/// Lines about operations of one or several stores, in the order in which they came. Clones share them.
#[derive(Clone, Default)]
pub struct Trace {
    lines: Arc<Mutex<Vec<String>>>,
}

impl Trace {
    /// Adds a line of somebody's own ("day 3, host b: backup of etcd").
    pub fn note(&self, line: impl Into<String>) {
        self.lines().push(line.into());
    }

    /// The lines so far.
    pub fn text(&self) -> String {
        self.lines().join("\n")
    }

    pub(super) fn op(&self, who: &str, op: &Op<'_>, outcome: &str) {
        let Op { number, call, key } = op;
        self.note(format!(
            "{number:>6} {who} {call:<13} {key}{}{outcome}",
            if outcome.is_empty() { "" } else { ": " }
        ));
    }

    fn lines(&self) -> MutexGuard<'_, Vec<String>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Trace of {} lines", self.lines().len())
    }
}

/// How often each kind of operation came.
pub(super) type Counts = BTreeMap<Call, u64>;

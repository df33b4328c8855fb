//! What is kept of many sessions for plots: the last points of each component.

use std::collections::{BTreeMap, VecDeque};

use backup_core::{
    engine::Session,
    repository::{DrilledComponent, Evidence, SessionState},
    words::SessionId,
};
use chrono::{DateTime, Utc};

/// So many of the newest sessions are plotted.
const POINTS: usize = 60;

/// A component over the sessions.
#[derive(Debug, Default)]
pub(super) struct Series {
    /// Its kind.
    pub(super) kind: String,
    /// Oldest first; good ones only.
    pub(super) points: VecDeque<Point>,
    /// The newest session that has it, good or bad.
    pub(super) newest: Option<(SessionId, bool)>,
    /// The newest verification of a session that has it.
    pub(super) verified: Option<Evidence>,
    /// Its newest drill.
    pub(super) drilled: Option<(DateTime<Utc>, DrilledComponent)>,
}

/// A component in one session.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point {
    pub(super) session: SessionId,
    pub(super) stored: u64,
    pub(super) seconds: f64,
}

impl Series {
    /// The newest session in which it is good.
    pub(super) fn newest_good(&self) -> Option<&Point> {
        self.points.back()
    }
}

/// Adds what a session says; the oldest comes first.
pub(super) fn take(all: &mut BTreeMap<String, Series>, session: &Session) {
    let entry = &session.entry;
    for drill in &entry.drills {
        for component in &drill.components {
            let series = all.entry(component.name.clone()).or_default();
            if series.drilled.as_ref().is_none_or(|(at, _)| *at <= drill.at) {
                series.drilled = Some((drill.at, component.clone()));
            }
        }
    }
    let Some(manifest) = entry.manifest.as_ref().filter(|_| entry.state == SessionState::Committed) else {
        return;
    };
    for record in &manifest.components {
        let series = all.entry(record.name.clone()).or_default();
        series.kind.clone_from(&record.kind.name);
        series.newest = Some((entry.id, record.is_good()));
        if let Some(evidence) = entry.evidence.iter().max_by_key(|evidence| evidence.at)
            && series.verified.as_ref().is_none_or(|last| last.at <= evidence.at)
        {
            series.verified = Some(evidence.clone());
        }
        if record.is_good() {
            let (stored, seconds) = (record.stored_bytes(), record.duration_seconds);
            series.points.push_back(Point { session: entry.id, stored, seconds });
            if series.points.len() > POINTS {
                series.points.pop_front();
            }
        }
    }
}

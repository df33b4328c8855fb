//! What a drill says: a ladder of rungs for each component, and what follows from them. Pure.
//!
//! A rung has passed, failed, or was not run, and says so with words. What nobody reported was not run: nothing passes by
//! silence.

mod ladder;
mod sample;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

pub use ladder::Ladder;
pub use sample::{DrillCandidate, DrillPick, sample};

use crate::words::SessionId;

/// The steps of a drill, from the bytes to the running system. Later ones mean more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rung {
    /// Every stored byte was read and has its SHA-256.
    Fetched,
    /// It was decrypted and unpacked to the bytes that the manifest names.
    Decrypted,
    /// It was restored for real: the format is whole and its system took it.
    Structure,
    /// As much is there as the manifest says: tables and rows, keys, files.
    Volume,
    /// What is there is what was there.
    Content,
    /// Its inner rules hold: indexes, constraints, hashes.
    Integrity,
    /// It works: a write and a read, the user's own questions.
    Smoke,
}

impl Rung {
    /// All of them, the first one first.
    pub const ALL: [Self; 7] = [
        Self::Fetched,
        Self::Decrypted,
        Self::Structure,
        Self::Volume,
        Self::Content,
        Self::Integrity,
        Self::Smoke,
    ];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fetched => "fetched",
            Self::Decrypted => "decrypted",
            Self::Structure => "structure",
            Self::Volume => "volume",
            Self::Content => "content",
            Self::Integrity => "integrity",
            Self::Smoke => "smoke",
        }
    }

    /// True for the rungs that the component itself climbs: the first two are the engine's, and mean no restore.
    pub fn is_restored(self) -> bool {
        self >= Self::Structure
    }
}

/// How a rung came out; the worst is the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RungOutcome {
    /// Looked at and right.
    Passed,
    /// Not looked at; never a pass.
    NotRun,
    /// Wrong.
    Failed,
}

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wrong {
    /// Where: "table public.orders of crm".
    pub place: String,
    /// What was found there.
    pub found: String,
}

impl Wrong {
    /// `found` at `place`.
    pub fn new(place: impl Into<String>, found: impl Into<String>) -> Self {
        Self { place: place.into(), found: found.into() }
    }
}

/// One rung of one component.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RungReport {
    /// Which.
    pub rung: Rung,
    /// How it came out.
    pub outcome: RungOutcome,
    /// What was looked at and how it is; for one that was not run, the reason.
    pub said: String,
    /// What is wrong; the first of it, where it is much.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub wrong: Vec<Wrong>,
}

/// A measured part of a component's drill.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DrillPhase {
    /// "fetch", "prepare", "restore", "look".
    pub name: String,
    /// How long it took.
    pub seconds: f64,
    /// Plain bytes that it moved; 0 where it moved none.
    pub bytes: u64,
}

/// Looking at what was restored: not part of the time that a restore takes.
pub const LOOK: &str = "look";

/// What follows from a component's rungs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DrillVerdict {
    /// No rung failed, and one at least that means a restore passed.
    Passed,
    /// Nothing failed, but nothing was restored.
    NotRun,
    /// A rung failed.
    Failed,
}

impl DrillVerdict {
    /// What follows from `rungs`.
    pub fn of(rungs: &[RungReport]) -> Self {
        let any = |outcome| rungs.iter().any(|rung: &RungReport| rung.outcome == outcome);
        let restored = |rung: &RungReport| rung.rung.is_restored() && rung.outcome == RungOutcome::Passed;
        if any(RungOutcome::Failed) {
            Self::Failed
        } else if rungs.iter().any(restored) {
            Self::Passed
        } else {
            Self::NotRun
        }
    }

    /// In words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::NotRun => "not run",
            Self::Failed => "FAILED",
        }
    }
}

/// One component's drill.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ComponentDrill {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// What follows from the rungs.
    pub verdict: DrillVerdict,
    /// All rungs, the first one first.
    pub rungs: Vec<RungReport>,
    /// What took how long.
    pub phases: Vec<DrillPhase>,
    /// Seconds from the first byte fetched until it was restored (the measured recovery time).
    pub rto_seconds: f64,
    /// How old the point was that it was restored to (what a loss at that moment would have cost), where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rpo_seconds: Option<i64>,
    /// Plain bytes of its artifacts.
    pub bytes: u64,
    /// Programs that were used, and their versions.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tools: BTreeMap<String, String>,
    /// What could have reached out, and how it was kept from it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub neutralised: Vec<String>,
}

/// `drill-STAMP.json`: what a drill found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DrillReport {
    /// [`DrillReport::FORMAT`].
    pub format: u32,
    /// The repository's id.
    pub repository: String,
    /// The session that was restored.
    pub session: SessionId,
    /// SHA-256 of its `manifest.json`.
    pub manifest_sha256: String,
    /// The store that was read first.
    pub store: String,
    /// When the drill began.
    pub at: DateTime<Utc>,
    /// Where it was.
    pub host: String,
    /// "ha-backup 0.1.0".
    pub tool: String,
    /// Whether every component passed.
    pub passed: bool,
    /// How long all of it took.
    pub seconds: f64,
    /// The components.
    pub components: Vec<ComponentDrill>,
}

impl DrillReport {
    /// The report's format number.
    pub const FORMAT: u32 = 1;

    /// What makes no sense in it, as a report that was written by hand might have it; empty for a whole one.
    pub fn contradictions(&self) -> Vec<String> {
        let mut found = Vec::new();
        if self.format != Self::FORMAT {
            found.push(format!("its format is {}, this version knows {}", self.format, Self::FORMAT));
        }
        if self.components.is_empty() {
            found.push("it has no component".to_owned());
        }
        for component in &self.components {
            let rungs: Vec<Rung> = component.rungs.iter().map(|rung| rung.rung).collect();
            if rungs != Rung::ALL {
                found.push(format!("{}: its rungs are not the seven in their order", component.name));
            }
            if component.verdict != DrillVerdict::of(&component.rungs) {
                found.push(format!("{}: its verdict does not follow from its rungs", component.name));
            }
        }
        if self.passed != self.all_passed() {
            found.push("its result does not follow from its components".to_owned());
        }
        found
    }

    /// Whether there are components, and each passed.
    pub fn all_passed(&self) -> bool {
        !self.components.is_empty() && self.components.iter().all(|c| c.verdict == DrillVerdict::Passed)
    }
}

//! Drills that are recorded beside a session: `drill-STAMP.json`.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{
    Repository,
    layout::session_key,
    objects::{read_json, read_small},
};
use crate::{
    policy::{DrillReport, DrillVerdict, RungOutcome},
    words::{ErrorKind, Result, SessionId},
};

/// The file of the drill that began at `at`.
pub(crate) fn drill_file(at: DateTime<Utc>) -> String {
    format!("drill-{}.json", at.format("%Y%m%d_%H%M%S"))
}

/// Whether the file is a drill's report.
pub(super) fn is_drill(file: &str) -> bool {
    file.starts_with("drill-") && file.ends_with(".json")
}

/// What the catalogue keeps of a drill.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DrillRecord {
    /// When it began.
    pub at: DateTime<Utc>,
    /// What became of each component.
    pub components: Vec<DrilledComponent>,
}

/// What the catalogue keeps of a component's drill.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DrilledComponent {
    /// Which.
    pub name: String,
    /// How it came out.
    pub verdict: DrillVerdict,
    /// The measured recovery time.
    pub rto_seconds: f64,
    /// What failed first, or why it was not run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

impl From<DrillReport> for DrillRecord {
    fn from(report: DrillReport) -> Self {
        let component = |c: crate::policy::ComponentDrill| {
            let blamed = match c.verdict {
                DrillVerdict::Passed => None,
                DrillVerdict::NotRun => Some(RungOutcome::NotRun),
                DrillVerdict::Failed => Some(RungOutcome::Failed),
            };
            let first = c.rungs.iter().find(|rung| Some(rung.outcome) == blamed);
            DrilledComponent {
                verdict: c.verdict,
                rto_seconds: c.rto_seconds,
                problem: first.map(|rung| format!("{}: {}", rung.rung.as_str(), rung.said)),
                name: c.name,
            }
        };
        Self { at: report.at, components: report.components.into_iter().map(component).collect() }
    }
}

impl Repository {
    /// The drills among a session's files, oldest first. One that cannot be understood is none.
    pub(super) async fn drills(&self, session: SessionId, files: &[String]) -> Result<Vec<DrillRecord>> {
        let mut drills = Vec::new();
        for file in files.iter().filter(|file| is_drill(file)) {
            match read_json::<DrillReport>(&self.store, &session_key(session, file)?).await {
                Ok(report) if report.session == session && report.contradictions().is_empty() => {
                    drills.push(report.into());
                }
                Ok(_) => {}
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Corrupt) => {}
                Err(error) => return Err(error),
            }
        }
        drills.sort_by_key(|drill: &DrillRecord| drill.at);
        Ok(drills)
    }

    /// The drills' reports as they were written, for what outlives a session. One that nobody could read is left out.
    pub(super) async fn drill_reports(
        &self,
        session: SessionId,
        files: &[String],
    ) -> Result<Vec<serde_json::Value>> {
        let mut reports = Vec::new();
        for file in files.iter().filter(|file| is_drill(file)) {
            match read_small(&self.store, &session_key(session, file)?).await {
                Ok(body) => reports.extend(serde_json::from_slice::<serde_json::Value>(&body)),
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Corrupt) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(reports)
    }
}

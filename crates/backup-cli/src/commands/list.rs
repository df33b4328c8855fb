//! `list`.

use backup_core::{
    engine::Level,
    repository::{Evidence, SessionEntry, SessionState, Status},
    words::{SessionId, SessionType, human_bytes},
};
use chrono::{DateTime, Utc};
use serde::Serialize;

use super::App;
use crate::{
    exit::{Exit, Failure},
    render::{ago, seconds, table},
};

/// What `list` says of a session.
#[derive(Debug, Serialize)]
pub(crate) struct Line {
    pub(crate) session_id: SessionId,
    pub(crate) state: SessionState,
    /// None unless it is committed.
    #[serde(rename = "type")]
    pub(crate) session_type: Option<SessionType>,
    pub(crate) status: Option<Status>,
    pub(crate) job: Option<String>,
    pub(crate) start: DateTime<Utc>,
    pub(crate) duration_seconds: Option<f64>,
    pub(crate) stored_bytes: Option<u64>,
    /// Good ones.
    pub(crate) components: Vec<String>,
    pub(crate) failed_components: Vec<String>,
    /// The newest verification.
    pub(crate) verified: Option<Evidence>,
    /// Public keys of those who can read it; none when it is not encrypted.
    pub(crate) recipients: Vec<String>,
    pub(crate) pinned: bool,
    /// When retention removes it, where that is announced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) removal_due: Option<DateTime<Utc>>,
    /// Why it cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) problem: Option<String>,
}

impl Line {
    pub(crate) fn of(entry: &SessionEntry) -> Self {
        let manifest = entry.manifest.as_ref();
        let names = |good: bool| {
            let components = manifest.into_iter().flat_map(|manifest| &manifest.components);
            components.filter(|c| c.is_good() == good).map(|c| c.name.clone()).collect()
        };
        Self {
            session_id: entry.id,
            state: entry.state,
            session_type: manifest.map(|manifest| manifest.session_type),
            status: manifest.map(|manifest| manifest.status),
            job: manifest
                .map(|manifest| manifest.job.clone())
                .or_else(|| entry.begin.as_ref().map(|begin| begin.job.clone())),
            start: entry.id.time(),
            duration_seconds: manifest.map(|m| (m.end - m.start).num_milliseconds() as f64 / 1000.0),
            stored_bytes: manifest.map(|manifest| manifest.stored_bytes()),
            components: names(true),
            failed_components: names(false),
            verified: newest(&entry.evidence).cloned(),
            recipients: manifest.map(|manifest| manifest.recipients()).unwrap_or_default(),
            pinned: entry.pinned,
            removal_due: removal_due(entry),
            problem: entry.problem.clone(),
        }
    }

    /// `SUCCESS`, or why there is no status.
    pub(crate) fn status_word(&self) -> String {
        match (self.state, self.status) {
            (SessionState::Committed, Some(status)) => status_word(status).to_owned(),
            (state, _) => format!("({})", format!("{state:?}").to_lowercase()),
        }
    }

    fn row(&self, now: DateTime<Utc>, encryption: bool) -> Vec<String> {
        let dash = || "-".to_owned();
        let mut components = self.components.clone();
        components.extend(self.failed_components.iter().map(|name| format!("{name} (failed)")));
        let mut status = self.status_word();
        if self.pinned {
            status.push_str(", pinned");
        }
        if self.removal_due.is_some() {
            status.push_str(", to be removed");
        }
        let mut row = vec![
            self.session_id.to_string(),
            self.session_type.map_or_else(dash, |t| t.to_string()),
            status,
            ago(self.start, now),
            self.duration_seconds.map_or_else(dash, seconds),
            self.stored_bytes.map_or_else(dash, human_bytes),
            self.verified.as_ref().map_or_else(dash, |evidence| verified_words(evidence, now)),
        ];
        if encryption {
            row.push(if self.recipients.is_empty() { dash() } else { readers(&self.recipients) });
        }
        row.push(if components.is_empty() { dash() } else { components.join(", ") });
        row
    }
}

/// When it goes; none for one that is pinned or gone.
pub(crate) fn removal_due(entry: &SessionEntry) -> Option<DateTime<Utc>> {
    entry.notice.filter(|_| entry.state == SessionState::Committed && !entry.pinned)
}

/// Public keys, as much of each as tells them apart: `age1ql3z7hjy..., age1t7rxyev2...`.
fn readers(recipients: &[String]) -> String {
    let short = |key: &String| format!("{}...", key.chars().take(12).collect::<String>());
    recipients.iter().map(short).collect::<Vec<_>>().join(", ")
}

/// The newest verification; of several in one second, the most thorough.
fn newest(evidence: &[Evidence]) -> Option<&Evidence> {
    let depth = |evidence: &Evidence| evidence.level.parse::<Level>().ok();
    evidence.iter().max_by_key(|evidence| (evidence.at, depth(evidence)))
}

/// The status as reports write it.
pub(crate) fn status_word(status: Status) -> &'static str {
    match status {
        Status::Success => "SUCCESS",
        Status::Partial => "PARTIAL",
        Status::Failed => "FAILED",
    }
}

/// `checksum, 2 h ago`, or `checksum FAILED, 2 h ago`.
pub(crate) fn verified_words(evidence: &Evidence, now: DateTime<Utc>) -> String {
    let outcome = if evidence.passed { "" } else { " FAILED" };
    format!("{}{outcome}, {}", evidence.level, ago(evidence.at, now))
}

pub(crate) async fn run(app: &mut App) -> Result<Exit, Failure> {
    let engine = app.installation().await?.engine;
    let sessions = engine.sessions(&app.cx).await.map_err(Failure::looking)?;
    let all = app.global.verbose > 0;
    let lines: Vec<Line> =
        sessions.iter().filter(|entry| all || entry.state != SessionState::Purged).map(Line::of).collect();
    app.answer(&serde_json::json!({ "sessions": lines }), || text(&lines, app.cx.now()))?;
    Ok(Exit::Good)
}

fn text(lines: &[Line], now: DateTime<Utc>) -> String {
    if lines.is_empty() {
        return "No sessions yet: `ha-backup backup` makes the first.".to_owned();
    }
    let encryption = lines.iter().any(|line| !line.recipients.is_empty());
    let mut headings = vec!["SESSION", "TYPE", "STATUS", "BEGUN", "TOOK", "STORED", "VERIFIED", "COMPONENTS"];
    if encryption {
        headings.insert(headings.len() - 1, "ENCRYPTED FOR");
    }
    table(&headings, &[4, 5], lines.iter().map(|line| line.row(now, encryption)))
}

//! `list`.

use backup_core::{
    engine::{Away, CopyState, Level, Session, StoreCopy},
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
    /// How it stands in each store.
    pub(crate) stores: Vec<StoreCopy>,
    /// When retention removes it, where that is announced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) removal_due: Option<DateTime<Utc>>,
    /// Why it cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) problem: Option<String>,
}

impl Line {
    pub(crate) fn of(session: &Session) -> Self {
        let entry = &session.entry;
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
            stores: session.copies.clone(),
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

    fn row(&self, now: DateTime<Utc>, columns: Columns) -> Vec<String> {
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
        if columns.stores {
            row.push(self.places());
        }
        if columns.encryption {
            row.push(if self.recipients.is_empty() { dash() } else { readers(&self.recipients) });
        }
        row.push(if components.is_empty() { dash() } else { components.join(", ") });
        row
    }
}

impl Line {
    /// `local, offsite`: where it is whole, and what is to be known of the others.
    fn places(&self) -> String {
        let place = |copy: &StoreCopy| match copy.state {
            CopyState::Held => Some(copy.store.clone()),
            CopyState::Begun if self.status.is_some() => Some(format!("({}: not yet)", copy.store)),
            CopyState::Unreadable => Some(format!("({}: cannot be read)", copy.store)),
            CopyState::Other => Some(format!("({}: another of this id)", copy.store)),
            CopyState::Begun | CopyState::Purged | CopyState::Missing => None,
        };
        let places: Vec<String> = self.stores.iter().filter_map(place).collect();
        if places.is_empty() { "-".to_owned() } else { places.join(", ") }
    }
}

/// Columns that are not always there.
#[derive(Clone, Copy, Debug)]
struct Columns {
    stores: bool,
    encryption: bool,
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
pub(crate) fn newest(evidence: &[Evidence]) -> Option<&Evidence> {
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
    let all = app.global.verbose > 0;
    let mut lines = Vec::new();
    let shown = |session: &Session| all || session.entry.state != SessionState::Purged;
    let looked =
        engine.each_session(&app.cx, |session| lines.extend(shown(&session).then(|| Line::of(&session))));
    let away = looked.await.map_err(Failure::looking)?;
    let document = serde_json::json!({ "sessions": lines, "away": away });
    let columns = Columns {
        stores: engine.stores().len() > 1,
        encryption: lines.iter().any(|line| !line.recipients.is_empty()),
    };
    app.answer(&document, || {
        let mut blocks = vec![text(&lines, columns, app.cx.now())];
        blocks.extend(away_lines(&away));
        blocks.join("\n\n")
    })?;
    Ok(Exit::Good)
}

/// What to say of stores that did not answer; none when all did.
pub(crate) fn away_lines(away: &[Away]) -> Option<String> {
    let line = |away: &Away| {
        format!(
            "The store {} could not be looked at, what only it holds is not shown: {}",
            away.store, away.problem
        )
    };
    (!away.is_empty()).then(|| away.iter().map(line).collect::<Vec<_>>().join("\n"))
}

fn text(lines: &[Line], columns: Columns, now: DateTime<Utc>) -> String {
    if lines.is_empty() {
        return "No sessions yet: `ha-backup backup` makes the first.".to_owned();
    }
    let mut headings = vec!["SESSION", "TYPE", "STATUS", "BEGUN", "TOOK", "STORED", "VERIFIED"];
    if columns.stores {
        headings.push("STORES");
    }
    if columns.encryption {
        headings.push("ENCRYPTED FOR");
    }
    headings.push("COMPONENTS");
    table(&headings, &[4, 5], lines.iter().map(|line| line.row(now, columns)))
}

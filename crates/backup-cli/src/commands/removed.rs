//! `list --removed`.

use backup_core::{
    engine::{Gone, Remains, RemovedSession},
    words::human_bytes,
};
use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{App, list::Line};
use crate::{
    exit::{Exit, Failure},
    render::{ago, count, table},
};

/// What `list --removed` says of a session.
#[derive(Debug, Serialize)]
struct RemovedLine {
    #[serde(flatten)]
    line: Line,
    #[serde(flatten)]
    gone: Gone,
    whole: bool,
    remains: Vec<Remains>,
}

impl RemovedLine {
    fn of(removed: RemovedSession) -> Self {
        Self {
            line: Line::of(&removed.session),
            whole: removed.is_whole(),
            gone: removed.gone,
            remains: removed.remains,
        }
    }

    fn row(&self, now: DateTime<Utc>) -> Vec<String> {
        let gone = match &self.gone {
            Gone::Purged { at, reason } => format!("purged {}: {reason}", ago(*at, now)),
            Gone::Hidden => "hidden: its manifest was removed".to_owned(),
            Gone::Replaced => "its manifest was written over".to_owned(),
        };
        vec![
            self.line.session_id.to_string(),
            self.line.session_type.map_or_else(|| "-".to_owned(), |t| t.to_string()),
            self.line.status_word(),
            ago(self.line.start, now),
            self.line.stored_bytes.map_or_else(|| "-".to_owned(), human_bytes),
            self.remains.iter().map(bytes).collect::<Vec<_>>().join(", "),
            gone,
        ]
    }
}

/// `offsite: all`, or `local: 2 of 5 objects`.
fn bytes(remains: &Remains) -> String {
    let left = remains.objects - remains.missing.len();
    match remains.missing.len() {
        0 => format!("{}: all", remains.store),
        _ => format!("{}: {left} of {}", remains.store, count(remains.objects, "object")),
    }
}

pub(crate) async fn run(app: &mut App) -> Result<Exit, Failure> {
    let engine = app.installation().await?.engine;
    let removed = engine.removed(&app.cx).await.map_err(Failure::looking)?;
    let lines: Vec<RemovedLine> = removed.into_iter().map(RemovedLine::of).collect();
    app.answer(&serde_json::json!({ "removed": lines }), || text(&lines, app.cx.now()))?;
    Ok(Exit::Good)
}

fn text(lines: &[RemovedLine], now: DateTime<Utc>) -> String {
    if lines.is_empty() {
        return "No session that was removed has left anything that could be read.".to_owned();
    }
    let headings = ["SESSION", "TYPE", "STATUS", "BEGUN", "STORED", "STILL THERE", "GONE"];
    let mut out = table(&headings, &[4], lines.iter().map(|line| line.row(now)));
    if lines.iter().any(|line| line.whole) {
        out.push_str(
            "\n\n`ha-backup restore SESSION COMPONENT --removed` takes one that is all there, after verifying it whole;\n\
             `verify` and `extract` take --removed too.",
        );
    }
    out
}

//! What runs, on the first page.

use std::fmt::Write;

use backup_core::words::human_bytes;
use chrono::{DateTime, Utc};

use super::super::{
    LiveRun,
    snapshot::{Row, Snapshot},
    words::time_ago,
};
use crate::markup::Text;

/// What runs: in this process, with its progress, and elsewhere, by its claim.
pub(super) fn running(live: &[LiveRun], snapshot: &Snapshot, now: DateTime<Utc>) -> String {
    let mut out = "<section aria-labelledby=\"now\" id=\"live\"><h2 id=\"now\">Running now</h2>\
                   <p id=\"live-word\" role=\"status\" class=\"unseen\"></p><div id=\"live-runs\">"
        .to_owned();
    live.iter().for_each(|run| out.push_str(&live_run(run)));
    out.push_str("</div>");
    let ours = |id| live.iter().any(|run| run.session == Some(id));
    let line = |row: &Row| {
        format!(
            "<li><a href=\"/sessions/{0}\">{0}</a> of job {1}, begun {2}</li>",
            row.id,
            Text(row.job.as_deref().unwrap_or("unknown")),
            time_ago(row.id.time(), now)
        )
    };
    let others: String = snapshot.running().filter(|row| !ours(row.id)).map(line).collect();
    if others.is_empty() {
        // The script shows it when the last run has ended.
        let hidden = if live.is_empty() { "" } else { " hidden" };
        let _ = write!(out, "<p id=\"live-none\"{hidden}>Nothing.</p>");
    } else {
        let _ = write!(out, "<ul>{others}</ul>");
    }
    out.push_str("</section>");
    out
}

fn live_run(run: &LiveRun) -> String {
    let session = run.session.map(|id| format!(", {id}")).unwrap_or_default();
    let mut out =
        format!("<article class=\"run\"><h3>{}{session}: {}</h3><ul>", Text(&run.job), Text(&run.phase));
    for (name, component) in &run.components {
        let of = component.expected.map(|all| format!(" of {}", human_bytes(all))).unwrap_or_default();
        let _ = write!(
            out,
            "<li>{}: {}, {}{of}</li>",
            Text(name),
            Text(&component.state),
            human_bytes(component.bytes)
        );
    }
    out.push_str("</ul></article>");
    out
}

//! The parts of a session's page.

use std::fmt::Write;

use backup_core::{
    engine::{CopyState, Session},
    repository::{Pin, SessionEntry, SessionState, Status},
    words::{Artifact, ComponentRecord, ComponentStatus, human_bytes},
};
use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{
    super::words::{moment, seconds, time_ago},
    look::{badge, status_badge, table},
};
use crate::markup::Text;

/// So much of a fact is shown.
const FACT: usize = 200;

/// What it is.
pub(super) fn summary(session: &Session, pin: Option<&Pin>, now: DateTime<Utc>) -> String {
    let entry = &session.entry;
    let mut out = "<section aria-label=\"Summary\"><dl class=\"facts\">".to_owned();
    let mut fact = |name: &str, html: String| {
        // Writing to a string cannot fail.
        let _ = write!(out, "<div><dt>{name}</dt><dd>{html}</dd></div>");
    };
    fact("Status", status_badge(status_word(entry)));
    fact("Begun", format!("{} UTC, {}", moment(entry.id.time()), time_ago(entry.id.time(), now)));
    if let Some(manifest) = &entry.manifest {
        fact("Took", seconds((manifest.end - manifest.start).num_milliseconds() as f64 / 1000.0));
        fact("Job", Text(&manifest.job).to_string());
        let reason = format!("{} ({})", manifest.session_type, manifest.type_reason);
        fact("Type", Text(reason).to_string());
        fact("Stored", human_bytes(manifest.stored_bytes()));
        fact("Host", Text(format!("{}, {}", manifest.host, manifest.tool)).to_string());
        if manifest.components.len() > 1 {
            fact("Skew", format!("{:.3} s between the components' points, at worst", manifest.skew_seconds));
        }
        let recipients = manifest.recipients();
        if !recipients.is_empty() {
            let keys: Vec<String> = recipients.iter().map(|key| Text(key).to_string()).collect();
            fact("Encrypted for", format!("<code>{}</code>", keys.join("</code>, <code>")));
        }
        if let Some(from) = manifest.rewrapped_from {
            fact("Rewrapped", format!("from <a href=\"/sessions/{from}\">{from}</a>"));
        }
    }
    if entry.has("manifest.json.minisig") {
        fact("Signed", "yes; <code>ha-backup verify</code> holds it against the trusted keys".to_owned());
    }
    if let Some(pin) = pin {
        let why = pin.reason.as_deref().unwrap_or("retention keeps it");
        fact("Pinned", format!("{} on {}: {}", moment(pin.at), Text(&pin.host), Text(why)));
    } else if let Some(due) = entry.notice.filter(|_| entry.state == SessionState::Committed) {
        fact("Removal", format!("announced: it goes after {}", moment(due)));
    }
    out.push_str("</dl></section>");
    out
}

fn status_word(entry: &SessionEntry) -> &'static str {
    match (entry.state, entry.manifest.as_ref().map(|manifest| manifest.status)) {
        (SessionState::Committed, Some(Status::Success)) => "SUCCESS",
        (SessionState::Committed, Some(Status::Partial)) => "PARTIAL",
        (SessionState::Committed, Some(Status::Failed)) => "FAILED",
        (SessionState::Running, _) => "RUNNING",
        (SessionState::Dead, _) => "DEAD",
        (SessionState::Purged, _) => "REMOVED",
        (SessionState::Committed | SessionState::Unreadable, _) => "UNREADABLE",
    }
}

/// All that went wrong, and what should be looked at.
pub(super) fn problems(entry: &SessionEntry) -> String {
    let mut lines = String::new();
    if let Some(problem) = &entry.problem {
        let _ = write!(lines, "<li>{} {}</li>", badge("bad", "UNREADABLE"), Text(problem));
    }
    if entry.state == SessionState::Dead {
        let _ = write!(
            lines,
            "<li>{} Its run died before it was committed: nothing of it counts.</li>",
            badge("bad", "DEAD")
        );
    }
    for record in entry.manifest.iter().flat_map(|manifest| &manifest.components) {
        let mut line = |class: &str, word: &str, text: &str| {
            let _ = write!(
                lines,
                "<li>{} <strong>{}</strong>: {}</li>",
                badge(class, word),
                Text(&record.name),
                Text(text)
            );
        };
        record.errors.iter().for_each(|text| line("bad", "ERROR", text));
        record.warnings.iter().for_each(|text| line("warn", "WARNING", text));
    }
    if lines.is_empty() {
        return String::new();
    }
    format!(
        "<section aria-labelledby=\"problems\"><h2 id=\"problems\">Problems</h2><ul class=\"problems\">{lines}</ul></section>"
    )
}

/// What it holds.
pub(super) fn components(entry: &SessionEntry) -> String {
    let Some(manifest) = &entry.manifest else { return String::new() };
    let mut out = "<section aria-labelledby=\"components\"><h2 id=\"components\">Components</h2>".to_owned();
    manifest.components.iter().for_each(|record| out.push_str(&component(record)));
    out.push_str("</section>");
    out
}

fn component(record: &ComponentRecord) -> String {
    let (class, word) = match record.status {
        ComponentStatus::Success => ("good", "SUCCESS"),
        ComponentStatus::Partial => ("warn", "PARTIAL"),
        ComponentStatus::Failed => ("bad", "FAILED"),
    };
    let mut out = format!(
        "<article class=\"card\"><h3>{} {}</h3><p>Kind {}; {} stored in {}.",
        Text(&record.name),
        badge(class, word),
        Text(&record.kind.name),
        human_bytes(record.stored_bytes()),
        seconds(record.duration_seconds),
    );
    if let Some(point) = &record.point {
        let _ = write!(out, " As of {} UTC", moment(point.pinned.to));
        if let Some(position) = &point.position {
            let at = position.label.clone().unwrap_or_else(|| position.at.to_string());
            let _ = write!(out, ", point <code>{}</code> of {}", Text(at), Text(&position.lineage));
        }
        out.push('.');
    }
    out.push_str("</p>");
    if !record.artifacts.is_empty() {
        let rows: String = record.artifacts.iter().map(artifact).collect();
        let caption = format!("Artifacts of {}", record.name);
        out.push_str(&table(
            &caption,
            &["Artifact", "#Stored", "#Plain", "-Volumes", "-Parts", "-SHA-256"],
            &rows,
        ));
    }
    if !record.coverage.is_empty() {
        out.push_str("<h4>Left out</h4><ul>");
        for left_out in &record.coverage {
            let missing = if left_out.missing { badge("bad", "MISSING") + " " } else { String::new() };
            let _ = write!(out, "<li>{missing}{}: {}</li>", Text(&left_out.what), Text(&left_out.why));
        }
        out.push_str("</ul>");
    }
    if !record.facts.is_empty() {
        out.push_str("<details><summary>Facts</summary><dl class=\"facts\">");
        for (name, value) in &record.facts {
            let name = name.replace('_', " ");
            let _ = write!(out, "<div><dt>{}</dt><dd>{}</dd></div>", Text(&name), Text(fact(&name, value)));
        }
        out.push_str("</dl></details>");
    }
    out.push_str("</article>");
    out
}

fn artifact(artifact: &Artifact) -> String {
    let key = artifact.volumes.first().map_or(artifact.name.as_str(), |volume| volume.key.as_str());
    format!(
        "<tr><th scope=\"row\" class=\"key\">{}</th><td class=\"number\">{}</td><td class=\"number\">{}</td>\
         <td class=\"wide\">{}</td><td class=\"wide\">{}</td><td class=\"wide\"><code>{}</code></td></tr>\n",
        Text(key),
        human_bytes(artifact.stored_bytes()),
        human_bytes(artifact.plain.size),
        artifact.volumes.len(),
        artifact.parts.len(),
        Text(&artifact.plain.sha256),
    )
}

fn fact(name: &str, value: &Value) -> String {
    match value {
        Value::String(text) => short(text),
        Value::Number(number) if name.ends_with("bytes") => {
            number.as_u64().map_or_else(|| number.to_string(), human_bytes)
        }
        Value::Array(items) if items.is_empty() => "none".to_owned(),
        other => short(&other.to_string()),
    }
}

fn short(text: &str) -> String {
    match text.char_indices().nth(FACT) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

/// How it stands in each store.
pub(super) fn copies(session: &Session, stores: &[&str], now: DateTime<Utc>) -> String {
    let row = |store: &&str| {
        let copy = session.copies.iter().find(|copy| copy.store == **store);
        let committed = session.entry.manifest.is_some();
        let (class, word) = match copy.map(|copy| copy.state) {
            None => ("warn", "could not be looked at"),
            Some(CopyState::Held) => ("good", "whole"),
            Some(CopyState::Begun) if committed => ("warn", "not whole"),
            Some(CopyState::Begun) => ("info", "claimed"),
            Some(CopyState::Purged) => ("dull", "removed there"),
            Some(CopyState::Unreadable) => ("bad", "its manifest cannot be read"),
            Some(CopyState::Other) => ("bad", "another run's session has this id"),
            Some(CopyState::Missing) => ("warn", "not there"),
        };
        let verified = copy.and_then(|copy| copy.verifications.iter().max_by_key(|evidence| evidence.at));
        let verified = verified.map_or("not yet".to_owned(), |evidence| {
            let outcome = if evidence.passed { "passed" } else { "FAILED" };
            format!("{} {outcome}, {}", Text(&evidence.level), time_ago(evidence.at, now))
        });
        format!(
            "<tr><th scope=\"row\">{}</th><td>{}</td><td>{verified}</td></tr>\n",
            Text(store),
            badge(class, word)
        )
    };
    let rows: String = stores.iter().map(row).collect();
    format!(
        "<section aria-labelledby=\"copies\"><h2 id=\"copies\">Copies</h2>{}</section>",
        table("Copies", &["Store", "State", "Verified there"], &rows)
    )
}

/// What proves that it can be restored.
pub(super) fn proofs(session: &Session, now: DateTime<Utc>) -> String {
    let mut rows: Vec<(DateTime<Utc>, String)> = Vec::new();
    let outcome = |passed: bool| if passed { badge("good", "passed") } else { badge("bad", "failed") };
    for copy in &session.copies {
        for evidence in &copy.verifications {
            let what = format!("verification in {}, {}", copy.store, evidence.level);
            rows.push((evidence.at, proof(evidence.at, now, &what, &outcome(evidence.passed), "")));
        }
    }
    for drill in &session.entry.drills {
        for component in &drill.components {
            let passed = component.verdict == backup_core::policy::DrillVerdict::Passed;
            let words = match &component.problem {
                _ if passed => format!("restored in {}", seconds(component.rto_seconds)),
                Some(problem) => problem.clone(),
                None => String::new(),
            };
            let verdict = if passed { outcome(true) } else { badge("bad", component.verdict.as_str()) };
            let what = format!("drill of {}", component.name);
            rows.push((drill.at, proof(drill.at, now, &what, &verdict, &words)));
        }
    }
    rows.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    let body = if rows.is_empty() {
        "<p>None yet: it was neither verified nor drilled.</p>".to_owned()
    } else {
        let rows: String = rows.into_iter().map(|(_, row)| row).collect();
        table("Evidence", &["What", "When", "Outcome", "Found"], &rows)
    };
    format!("<section aria-labelledby=\"evidence\"><h2 id=\"evidence\">Evidence</h2>{body}</section>")
}

fn proof(at: DateTime<Utc>, now: DateTime<Utc>, what: &str, outcome: &str, words: &str) -> String {
    format!(
        "<tr><th scope=\"row\" class=\"key\">{}</th><td class=\"nowrap\">{}</td><td>{outcome}</td><td>{}</td></tr>\n",
        Text(what),
        time_ago(at, now),
        Text(words)
    )
}

/// What to type to get it back.
pub(super) fn commands(entry: &SessionEntry, by_hand: &[String]) -> String {
    if entry.state != SessionState::Committed {
        return String::new();
    }
    let id = entry.id;
    let mut out =
        "<section aria-labelledby=\"restore\"><h2 id=\"restore\">How to get it back</h2>".to_owned();
    let mut command = |what: &str, text: &str| {
        let _ = write!(out, "<p>{}</p><pre tabindex=\"0\"><code>{}</code></pre>", Text(what), Text(text));
    };
    command(
        "Look at the plan of a restore; nothing is changed:",
        &format!("ha-backup restore {id} all --plan"),
    );
    command(
        "Restore all components in the right order; it asks first:",
        &format!("ha-backup restore {id} all"),
    );
    let records = entry.manifest.iter().flat_map(|manifest| &manifest.components);
    let one: Vec<String> = records
        .filter(|record| record.is_good())
        .map(|record| format!("ha-backup restore {id} {}", record.name))
        .collect();
    if one.len() > 1 {
        command("Restore one component:", &one.join("\n"));
    }
    command("Write the plain files into a folder:", &format!("ha-backup extract {id} --to ./{id}"));
    command(
        "Prove that it can be restored:",
        &format!("ha-backup verify {id} --level content\nha-backup drill {id}"),
    );
    if !by_hand.is_empty() {
        command("Without ha-backup, in the store's folder:", &by_hand.join("\n"));
    }
    out.push_str("</section>");
    out
}

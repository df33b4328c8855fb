//! `show`.

use std::{cmp::Reverse, fmt::Write};

use backup_core::{
    engine::{CopyState, Session, StoreCopy},
    repository::{Manifest, Pin},
    words::{Artifact, ComponentRecord, human_bytes},
};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{
    App,
    drill_text::all_of,
    list::{Line, newest, removal_due, verified_words},
};
use crate::{
    exit::{Exit, Failure},
    render::{moment, seconds},
};

pub(crate) async fn show(app: &mut App, session: &str) -> Result<Exit, Failure> {
    let engine = app.installation().await?.engine;
    let session = engine.find(&app.cx, session).await.map_err(Failure::looking)?;
    let stores: Vec<&str> = engine.stores().iter().map(|settings| settings.name.as_str()).collect();
    let entry = &session.entry;
    let pin = engine.pin_of(&app.cx, entry).await?;
    app.answer(&document(&session, pin.as_ref()), || text(&session, pin.as_ref(), &stores, app.cx.now()))?;
    Ok(Exit::Good)
}

/// All that is known of a session.
pub(super) fn document(session: &Session, pin: Option<&Pin>) -> Value {
    let entry = &session.entry;
    json!({
        "session_id": entry.id,
        "state": entry.state,
        "pinned": entry.pinned,
        "pin": pin,
        "removal_due": removal_due(entry),
        "problem": entry.problem,
        "verifications": entry.evidence,
        "drills": entry.drills,
        "files": entry.files,
        "manifest": entry.manifest,
        "stores": session.copies,
    })
}

/// All that the manifest says.
fn text(session: &Session, pin: Option<&Pin>, stores: &[&str], now: DateTime<Utc>) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write_session(&mut out, session, pin, stores, now);
    out
}

fn write_session(
    out: &mut String,
    session: &Session,
    pin: Option<&Pin>,
    stores: &[&str],
    now: DateTime<Utc>,
) -> std::fmt::Result {
    let (line, entry) = (Line::of(session), &session.entry);
    writeln!(out, "{}  {}", entry.id, line.status_word())?;
    if let Some(problem) = &entry.problem {
        writeln!(out, "\n  cannot be read: {problem}")?;
    }
    match &entry.manifest {
        Some(manifest) => write_manifest(out, manifest)?,
        None => writeln!(out, "\n  begun       {}", moment(entry.id.time()))?,
    }
    if stores.len() > 1 {
        write_copies(out, session, stores, now)?;
    } else {
        for evidence in &entry.evidence {
            writeln!(out, "  verified    {}", verified_words(evidence, now))?;
        }
    }
    for drill in all_of(entry) {
        writeln!(out, "  drilled     {}: {}", drill.component, drill.words(now))?;
    }
    if entry.has("manifest.json.minisig") {
        writeln!(out, "  signed      yes; `ha-backup verify` holds it against the trusted keys")?;
    }
    match pin {
        Some(pin) => {
            let why = pin.reason.as_deref().unwrap_or("retention keeps it");
            writeln!(out, "  pinned      {} on {}: {why}", moment(pin.at), pin.host)?;
        }
        None if entry.pinned => writeln!(out, "  pinned      retention keeps it")?,
        None => {}
    }
    if let Some(due) = removal_due(entry) {
        writeln!(out, "  removal     announced: it goes after {}; `ha-backup pin` keeps it", moment(due))?;
    }
    for component in entry.manifest.iter().flat_map(|manifest| &manifest.components) {
        writeln!(out)?;
        write_component(out, component)?;
    }
    Ok(())
}

/// One line for each store: how the session stands there, and when its bytes there were looked at.
fn write_copies(
    out: &mut String,
    session: &Session,
    stores: &[&str],
    now: DateTime<Utc>,
) -> std::fmt::Result {
    let width = stores.iter().map(|store| store.chars().count()).max().unwrap_or(0);
    for (index, store) in stores.iter().enumerate() {
        let title = if index == 0 { "stores" } else { "" };
        let how = match session.copies.iter().find(|copy| copy.store == *store) {
            Some(copy) => standing(copy, session.entry.manifest.is_some(), now),
            None => "could not be looked at".to_owned(),
        };
        writeln!(out, "  {title:<12}{store:<width$}  {how}")?;
    }
    Ok(())
}

fn standing(copy: &StoreCopy, committed: bool, now: DateTime<Utc>) -> String {
    match copy.state {
        CopyState::Held => match newest(&copy.verifications) {
            Some(evidence) => format!("whole; verified: {}", verified_words(evidence, now)),
            None => "whole; not verified there yet".to_owned(),
        },
        CopyState::Begun if committed => format!("not whole: `ha-backup copy --to {}`", copy.store),
        CopyState::Begun => "claimed".to_owned(),
        CopyState::Purged => "removed there".to_owned(),
        CopyState::Unreadable => "its manifest cannot be read there".to_owned(),
        CopyState::Other => "another run's session has this id there".to_owned(),
        CopyState::Missing => "not there".to_owned(),
    }
}

fn write_manifest(out: &mut String, manifest: &Manifest) -> std::fmt::Result {
    let took = (manifest.end - manifest.start).num_milliseconds() as f64 / 1000.0;
    writeln!(out)?;
    writeln!(out, "  job         {}", manifest.job)?;
    writeln!(out, "  type        {} ({})", manifest.session_type, manifest.type_reason)?;
    writeln!(out, "  host        {}, {}", manifest.host, manifest.tool)?;
    writeln!(out, "  begun       {}, took {}", moment(manifest.start), seconds(took))?;
    writeln!(out, "  stored      {}", human_bytes(manifest.stored_bytes()))?;
    for (index, recipient) in manifest.recipients().iter().enumerate() {
        writeln!(out, "  {:<12}{recipient}", if index == 0 { "encrypted" } else { "" })?;
    }
    if let Some(from) = manifest.rewrapped_from {
        writeln!(out, "  rewrapped   from {from}")?;
    }
    if manifest.components.len() < 2 {
        return Ok(());
    }
    writeln!(out, "  skew        {:.3} s between the components' points, at worst", manifest.skew_seconds)
}

fn write_component(out: &mut String, record: &ComponentRecord) -> std::fmt::Result {
    let status = format!("{:?}", record.status).to_uppercase();
    let kind =
        if record.kind.name == record.name { String::new() } else { format!(" ({})", record.kind.name) };
    writeln!(out, "{}{kind}  {status}", record.name)?;
    if let Some(point) = &record.point {
        if let Some(position) = &point.position {
            let at = position.label.clone().unwrap_or_else(|| position.at.to_string());
            writeln!(out, "  {:<22}{at} of {}", "point", position.lineage)?;
        }
        writeln!(out, "  {:<22}{}", "as of", moment(point.pinned.to))?;
    }
    for (name, value) in &record.facts {
        write_fact(out, name, value)?;
    }
    for artifact in &record.artifacts {
        write_artifact(out, artifact)?;
    }
    for left_out in &record.coverage {
        let word = if left_out.missing { "missing" } else { "left out" };
        writeln!(out, "  {word:<22}{}: {}", left_out.what, left_out.why)?;
    }
    for warning in &record.warnings {
        writeln!(out, "  {:<22}{warning}", "warning")?;
    }
    for error in &record.errors {
        writeln!(out, "  {:<22}{error}", "error")?;
    }
    Ok(())
}

/// How many entries of a fact that is a table or a list are shown.
const SHOWN: usize = 8;

fn write_fact(out: &mut String, name: &str, value: &Value) -> std::fmt::Result {
    let name = name.replace('_', " ");
    let many = |out: &mut String, count: usize, shown: Vec<String>| {
        writeln!(out, "  {name:<22}{count}")?;
        for line in &shown {
            writeln!(out, "    {line}")?;
        }
        if count > shown.len() {
            writeln!(out, "    and {} more (--json has all)", count - shown.len())
        } else {
            Ok(())
        }
    };
    match value {
        Value::Object(table) => {
            let mut entries: Vec<_> = table.iter().collect();
            // Of counts the largest say most.
            entries.sort_by_key(|(_, value)| Reverse(value.as_u64()));
            let shown = entries.iter().take(SHOWN).map(|(k, v)| format!("{k:<20}{}", short(v)));
            many(out, table.len(), shown.collect())
        }
        Value::Array(items) if items.iter().any(|item| item.is_object() || item.is_array()) => {
            many(out, items.len(), items.iter().take(SHOWN).map(short).collect())
        }
        value => match value.as_u64() {
            Some(bytes) if name.ends_with("bytes") => writeln!(out, "  {name:<22}{}", human_bytes(bytes)),
            _ => writeln!(out, "  {name:<22}{}", short(value)),
        },
    }
}

/// A value on one line, without JSON's quotes; of what stands inside a table's values only the number is said.
fn short(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) if items.is_empty() => "none".to_owned(),
        Value::Array(items) => items.iter().map(short).collect::<Vec<_>>().join(", "),
        Value::Object(table) => {
            table.iter().filter_map(|(key, value)| entry(key, value)).collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    }
}

/// One entry of a table inside a line; none for what is empty.
fn entry(key: &str, value: &Value) -> Option<String> {
    let name = key.replace('_', " ");
    match value {
        Value::Null => None,
        Value::Array(items) if items.is_empty() => None,
        Value::Object(table) if table.is_empty() => None,
        Value::Object(table) => Some(format!("{} {name}", table.len())),
        Value::Number(number) => Some(match (number.as_u64(), name.strip_suffix(" bytes")) {
            (Some(bytes), Some(what)) => format!("{what} {}", human_bytes(bytes)),
            _ if name.ends_with('s') => format!("{number} {name}"),
            _ => format!("{name} {number}"),
        }),
        value => Some(format!("{name} {}", short(value))),
    }
}

fn write_artifact(out: &mut String, artifact: &Artifact) -> std::fmt::Result {
    let key = artifact.volumes.first().map_or(artifact.name.as_str(), |volume| volume.key.as_str());
    let (plain, stored) = (human_bytes(artifact.plain.size), human_bytes(artifact.stored_bytes()));
    writeln!(out, "  {:<22}{key}: {stored} stored, {plain} plain", "artifact")?;
    if artifact.volumes.len() > 1 {
        writeln!(out, "    in {} volumes", artifact.volumes.len())?;
    }
    for part in &artifact.parts {
        writeln!(out, "    part {:<30} {:>10}", part.name, human_bytes(part.plain.size))?;
    }
    Ok(())
}

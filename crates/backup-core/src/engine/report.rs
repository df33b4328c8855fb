//! `report.json` and `summary.txt`.

use std::fmt::Write;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::by_hand;
use crate::{
    repository::{Manifest, Status, UnifiedRecord},
    words::{ComponentRecord, ComponentStatus, SessionId, SessionType, human_bytes},
};

/// A session's report; the first fields are those that the scripts wrote.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The session.
    pub session_id: SessionId,
    /// How long it is meant to be kept.
    pub backup_type: SessionType,
    /// From start to the last byte stored, in seconds.
    pub duration_seconds: u64,
    /// Stored bytes without the unified archive.
    pub total_size_bytes: u64,
    /// "etcd:50MB": MB of 1,048,576 bytes as in the scripts.
    pub components: Vec<String>,
    /// How it ended.
    pub status: Status,
    /// What failed.
    pub errors: Vec<String>,
    /// What should be looked at.
    pub warnings: Vec<String>,
    /// The job.
    pub job: String,
    /// The host that ran it.
    pub host: String,
    /// When it began.
    pub start: DateTime<Utc>,
    /// When its last byte was stored.
    pub end: DateTime<Utc>,
    /// Why it has its type.
    pub type_reason: String,
    /// Seconds between the components' points, at worst.
    pub skew_seconds: f64,
    /// Bytes of the unified archive in the store, when there is one.
    pub unified_size_bytes: Option<u64>,
    /// The stores that held it when the run ended, its home first.
    #[serde(default)]
    pub stores: Vec<String>,
    /// Sessions that retention removed after the run.
    pub removed: Vec<SessionId>,
    /// Public keys of those who can read it; empty when it is not encrypted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recipients: Vec<String>,
    /// Commands that open what is encrypted, in the store's folder, with an identity in `key.txt`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub by_hand: Vec<String>,
    /// More on each component.
    pub details: Vec<ComponentReport>,
}

/// More on one component.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ComponentReport {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// Whether it was captured.
    pub status: ComponentStatus,
    /// Bytes before compression.
    pub plain_bytes: u64,
    /// Bytes in the store.
    pub stored_bytes: u64,
    /// From open to the last byte.
    pub duration_seconds: f64,
    /// What it is a backup of, in words.
    pub point: Option<String>,
}

impl Report {
    pub(super) fn of(manifest: &Manifest, unified: Option<&UnifiedRecord>) -> Self {
        let named = |texts: fn(&ComponentRecord) -> &Vec<String>| -> Vec<String> {
            let each = |c: &ComponentRecord| {
                texts(c).iter().map(|text| format!("{}: {text}", c.name)).collect::<Vec<_>>()
            };
            manifest.components.iter().flat_map(each).collect()
        };
        Self {
            session_id: manifest.session,
            backup_type: manifest.session_type,
            duration_seconds: u64::try_from((manifest.end - manifest.start).num_seconds()).unwrap_or(0),
            total_size_bytes: manifest.stored_bytes(),
            components: manifest
                .components
                .iter()
                .filter(|c| c.is_good())
                .map(|c| format!("{}:{}MB", c.name, c.stored_bytes() >> 20))
                .collect(),
            status: manifest.status,
            errors: named(|c| &c.errors),
            warnings: named(|c| &c.warnings),
            job: manifest.job.clone(),
            host: manifest.host.clone(),
            start: manifest.start,
            end: manifest.end,
            type_reason: manifest.type_reason.clone(),
            skew_seconds: manifest.skew_seconds,
            unified_size_bytes: unified.map(|u| u.volumes.iter().map(|volume| volume.stored.size).sum()),
            stores: Vec::new(),
            removed: Vec::new(),
            recipients: manifest.recipients(),
            by_hand: by_hand::opening(manifest, unified),
            details: manifest.components.iter().map(ComponentReport::of).collect(),
        }
    }

    /// The report as plain text.
    pub fn summary(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = self.write_summary(&mut text);
        text
    }

    fn write_summary(&self, out: &mut String) -> std::fmt::Result {
        let status = format!("{:?}", self.status).to_uppercase();
        writeln!(out, "Backup {}: {status}", self.session_id)?;
        writeln!(out)?;
        writeln!(out, "  job        {}", self.job)?;
        writeln!(out, "  type       {} ({})", self.backup_type, self.type_reason)?;
        writeln!(out, "  host       {}", self.host)?;
        writeln!(out, "  started    {}", self.start.format("%Y-%m-%d %H:%M:%S UTC"))?;
        writeln!(out, "  duration   {} s", self.duration_seconds)?;
        writeln!(out, "  size       {}", human_bytes(self.total_size_bytes))?;
        if let Some(unified) = self.unified_size_bytes {
            writeln!(out, "  unified    {}", human_bytes(unified))?;
        }
        if self.stores.len() > 1 {
            writeln!(out, "  stores     {}", self.stores.join(", "))?;
        }
        if !self.recipients.is_empty() {
            writeln!(out, "  encrypted  for {}", self.recipients.join(", "))?;
        }
        if self.details.len() > 1 {
            writeln!(
                out,
                "  skew       {:.3} s between the components' points, at worst",
                self.skew_seconds
            )?;
        }
        writeln!(out, "\nComponents")?;
        for component in &self.details {
            component.write_summary(out)?;
        }
        if !self.by_hand.is_empty() {
            writeln!(
                out,
                "\nBy hand, in the store's folder, with the identity file of one of these recipients"
            )?;
            self.by_hand.iter().try_for_each(|command| writeln!(out, "  $ {command}"))?;
        }
        for (title, lines) in [("Errors", &self.errors), ("Warnings", &self.warnings)] {
            if !lines.is_empty() {
                writeln!(out, "\n{title}")?;
            }
            for line in lines {
                writeln!(out, "  - {line}")?;
            }
        }
        Ok(())
    }
}

impl ComponentReport {
    fn of(record: &ComponentRecord) -> Self {
        let position = record.point.as_ref().and_then(|point| point.position.as_ref());
        Self {
            name: record.name.clone(),
            kind: record.kind.name.clone(),
            status: record.status,
            plain_bytes: record.artifacts.iter().map(|artifact| artifact.plain.size).sum(),
            stored_bytes: record.stored_bytes(),
            duration_seconds: record.duration_seconds,
            point: position
                .map(|p| format!("{} of {}", p.label.clone().unwrap_or_else(|| p.at.to_string()), p.lineage)),
        }
    }

    fn write_summary(&self, out: &mut String) -> std::fmt::Result {
        let status = format!("{:?}", self.status).to_uppercase();
        write!(out, "  {:<12} {status:<8} {:>10} stored", self.name, human_bytes(self.stored_bytes))?;
        write!(out, ", {} plain, {:.1} s", human_bytes(self.plain_bytes), self.duration_seconds)?;
        match &self.point {
            Some(point) => writeln!(out, ", at {point}"),
            None => writeln!(out),
        }
    }
}

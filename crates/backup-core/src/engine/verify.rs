//! Verification at three levels, and the evidence that it leaves.

use std::str::FromStr;

use chrono::{DateTime, Utc};
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use tracing::Instrument;

use super::{Engine, commit::check_sizes, keys::RunKeys};
use crate::{
    pipeline::{Keyring, hash_object},
    repository::{Evidence, Manifest, Repository, SessionEntry, create_own_json, session_key},
    traits::{Context, Event, Finding, Selection, Severity, Source},
    words::{ComponentRecord, Error, ErrorKind, Result, SessionId, Volume},
};

/// How thoroughly to look.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Every object is there with its size.
    Size,
    /// Every object's bytes have their SHA-256.
    Checksum,
    /// Every artifact is unpacked, its plain bytes have their SHA-256, and its format is whole.
    Content,
}

impl Level {
    /// The level's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Size => "size",
            Self::Checksum => "checksum",
            Self::Content => "content",
        }
    }
}

impl FromStr for Level {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        [Self::Size, Self::Checksum, Self::Content]
            .into_iter()
            .find(|level| level.as_str() == text)
            .ok_or_else(|| {
                Error::new(ErrorKind::Config, "read the level", text).hint("size, checksum or content")
            })
    }
}

/// What a verification found; kept beside the session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VerifyReport {
    /// The session.
    pub session: SessionId,
    /// The store whose bytes were looked at.
    #[serde(default)]
    pub store: String,
    /// How thoroughly it was looked at.
    pub level: Level,
    /// When.
    pub at: DateTime<Utc>,
    /// Whether all was right.
    pub passed: bool,
    /// Objects that were looked at.
    pub objects: u64,
    /// Stored bytes that were read.
    pub bytes: u64,
    /// What was found, by component; "unified" for the archive.
    pub findings: Vec<(String, Finding)>,
}

impl Engine {
    /// Looks at a session's bytes in the nearest store that holds it and writes the evidence beside it; [`only`](Self::only)
    /// chooses another store. Content that is encrypted takes an identity: without any,
    /// checksums are compared instead, and the report says so.
    ///
    /// # Errors
    /// When the session cannot be looked at; what is wrong with its bytes is in the report.
    /// [`ErrorKind::WrongKey`] when there are identities and none opens it.
    pub async fn verify(&self, cx: &Context, which: &str, level: Level) -> Result<VerifyReport> {
        if self.stores.len() == 1 {
            return self.verify_here(cx, which, level).await;
        }
        let near = self.near_copy(cx, which, false).await?;
        near.site.engine.verify_here(cx, &near.entry.id.to_string(), level).await
    }

    async fn verify_here(&self, cx: &Context, which: &str, level: Level) -> Result<VerifyReport> {
        let repository = self.repository().await?;
        let entry = self.session(cx, which).await?;
        let span = tracing::info_span!("session", session = %entry.id);
        let report = self.verify_found(cx, &repository, &entry, level).instrument(span).await?;
        tracing::info!(session = %report.session, level = report.level.as_str(), passed = report.passed, "verified");
        Ok(report)
    }

    async fn verify_found(
        &self,
        cx: &Context,
        repository: &Repository,
        entry: &SessionEntry,
        level: Level,
    ) -> Result<VerifyReport> {
        let manifest = entry.committed()?;
        if level < Level::Content {
            return self.verify_entry(cx, repository, entry, level, &Keyring::default()).await;
        }
        if !manifest.recipients().is_empty() && !self.identities.are_given() {
            let mut report =
                self.look_at(cx, repository, entry, Level::Checksum, &Keyring::default()).await?;
            report.findings.push(("encryption".to_owned(), content_is_closed(manifest)));
            self.keep_evidence(&report).await?;
            return Ok(report);
        }
        let keys = self.keys_for(manifest.components.iter()).await?;
        self.verify_entry(cx, repository, entry, level, &keys).await
    }

    /// Looks at what a run has just written, where its job says so; what is wrong.
    pub(super) async fn verify_run(
        &self,
        cx: &Context,
        repository: &Repository,
        manifest: &Manifest,
        run: &RunKeys,
    ) -> Vec<String> {
        match self.job(&manifest.job).ok().and_then(|job| job.verify) {
            Some(level) => self.verify_session(cx, repository, manifest, run, level).await,
            None => Vec::new(),
        }
    }

    /// Looks at what has just been written, with the run's own key; what is wrong.
    pub(super) async fn verify_session(
        &self,
        cx: &Context,
        repository: &Repository,
        manifest: &Manifest,
        run: &RunKeys,
        level: Level,
    ) -> Vec<String> {
        let looked = async {
            let entry = repository.session(manifest.session, cx.now()).await?;
            self.verify_entry(cx, repository, &entry, level, &run.keys).await
        };
        match looked.await {
            Ok(report) => {
                let wrong = report.findings.iter().filter(|(_, f)| f.severity == Severity::Error);
                wrong
                    .map(|(name, f)| format!("verification of {name}: {}: {}", f.subject, f.message))
                    .collect()
            }
            Err(error) => vec![format!("verification: {}", error.chain())],
        }
    }

    async fn verify_entry(
        &self,
        cx: &Context,
        repository: &Repository,
        entry: &SessionEntry,
        level: Level,
        keys: &Keyring,
    ) -> Result<VerifyReport> {
        let report = self.look_at(cx, repository, entry, level, keys).await?;
        self.keep_evidence(&report).await?;
        Ok(report)
    }

    async fn look_at(
        &self,
        cx: &Context,
        repository: &Repository,
        entry: &SessionEntry,
        level: Level,
        keys: &Keyring,
    ) -> Result<VerifyReport> {
        let manifest = entry.committed()?;
        let mut report = VerifyReport {
            session: entry.id,
            store: self.store_name.clone(),
            level,
            at: cx.now(),
            passed: true,
            objects: 0,
            bytes: 0,
            findings: Vec::new(),
        };
        report.findings.extend(self.verify_signature(repository, entry).await?);
        for record in &manifest.components {
            cx.observer.event(Event::Phase { name: format!("verify {}", record.name) });
            let findings = self.verify_component(cx, record, level, keys, &mut report).await?;
            report.findings.extend(findings.into_iter().map(|finding| (record.name.clone(), finding)));
        }
        let unified = self.verify_unified(cx, repository, entry, level, &mut report).await?;
        report.findings.extend(unified.into_iter().map(|finding| ("unified".to_owned(), finding)));
        report.passed = report.findings.iter().all(|(_, finding)| finding.severity != Severity::Error);
        Ok(report)
    }

    async fn verify_component(
        &self,
        cx: &Context,
        record: &ComponentRecord,
        level: Level,
        keys: &Keyring,
        report: &mut VerifyReport,
    ) -> Result<Vec<Finding>> {
        let mut findings = Vec::new();
        for artifact in &record.artifacts {
            let checked = match level {
                Level::Size | Level::Checksum => {
                    self.verify_and_count(cx, &artifact.volumes, level, report).await
                }
                Level::Content => {
                    report.objects += artifact.volumes.len() as u64;
                    report.bytes += artifact.stored_bytes();
                    self.read_whole(cx, record, artifact, keys).await
                }
            };
            match checked {
                Ok(()) => findings.push(Finding::ok(&artifact.name, format!("{} is right", level.as_str()))),
                Err(error) if error.kind() == ErrorKind::Cancelled => return Err(error),
                Err(error) => findings.push(Finding::from_error(&artifact.name, &error)),
            }
        }
        let sound = findings.iter().all(|finding| finding.severity == Severity::Ok);
        // Bytes that are wrong already need no look at their format.
        if level == Level::Content && sound && record.is_good() {
            findings.extend(self.verify_format(cx, record, keys).await?);
        }
        Ok(findings)
    }

    async fn verify_format(
        &self,
        cx: &Context,
        record: &ComponentRecord,
        keys: &Keyring,
    ) -> Result<Vec<Finding>> {
        let Ok(component) = self.component(&record.name) else {
            let message = "the component is not configured here: its format was not looked at";
            return Ok(vec![Finding::warning(&record.name, message)]);
        };
        if component.kind().name != record.kind.name {
            let message = format!("it is of kind {}: its format was not looked at", record.kind.name);
            return Ok(vec![Finding::warning(&record.name, message)]);
        }
        let source = self.source(record, keys);
        match cx.or_cancelled("verify", component.verify(cx, &source)).await {
            Ok(findings) => Ok(findings),
            Err(error) if error.kind() == ErrorKind::Cancelled => Err(error),
            Err(error) => Ok(vec![Finding::from_error(&record.name, &error)]),
        }
    }

    async fn verify_and_count(
        &self,
        cx: &Context,
        volumes: &[Volume],
        level: Level,
        report: &mut VerifyReport,
    ) -> Result<()> {
        report.objects += volumes.len() as u64;
        report.bytes += self.verify_volumes(cx, volumes, level).await?;
        Ok(())
    }

    /// Looks at objects, not deeper than their checksums; the bytes that were read.
    async fn verify_volumes(&self, cx: &Context, volumes: &[Volume], level: Level) -> Result<u64> {
        check_sizes(&*self.store, volumes.to_vec()).await?;
        if level == Level::Size {
            return Ok(0);
        }
        let mut bytes = 0;
        for volume in volumes {
            let found = hash_object(cx, &self.store, &volume.key).await?;
            bytes += found.size;
            crate::pipeline::same_digest(volume.key.as_str(), &volume.stored, &found)?;
        }
        Ok(bytes)
    }

    /// Unpacks an artifact to nowhere: the source checks stored and plain bytes as they go by.
    async fn read_whole(
        &self,
        cx: &Context,
        record: &ComponentRecord,
        artifact: &crate::words::Artifact,
        keys: &Keyring,
    ) -> Result<()> {
        let source = self.source(record, keys);
        let mut bytes = source.read(artifact, Selection::Whole).await?;
        while cx.or_cancelled("verify", async { bytes.next().await.transpose() }).await?.is_some() {}
        Ok(())
    }

    async fn verify_unified(
        &self,
        cx: &Context,
        repository: &Repository,
        entry: &SessionEntry,
        level: Level,
        report: &mut VerifyReport,
    ) -> Result<Vec<Finding>> {
        let Some(unified) = repository.unified(entry).await? else { return Ok(Vec::new()) };
        // It is made of the artifacts' own members: its checksum says all that its content could.
        let level = level.min(Level::Checksum);
        Ok(vec![match self.verify_and_count(cx, &unified.volumes, level, report).await {
            Ok(()) => Finding::ok(&unified.name, format!("{} is right", level.as_str())),
            Err(error) if error.kind() == ErrorKind::Cancelled => return Err(error),
            Err(error) => Finding::from_error(&unified.name, &error),
        }])
    }

    async fn keep_evidence(&self, report: &VerifyReport) -> Result<()> {
        let evidence =
            Evidence { at: report.at, level: report.level.as_str().to_owned(), passed: report.passed };
        let key = session_key(report.session, &evidence.file_name())?;
        create_own_json(&self.store, &key, report).await.map(drop)
    }
}

fn content_is_closed(manifest: &Manifest) -> Finding {
    let readers = manifest.recipients().join(", ");
    let message = format!(
        "content was not read, for there is no identity: checksums were compared; it can be read by {readers}"
    );
    Finding::warning("content", message)
        .hint("give the identity file of one of them: --identity FILE, or `identity` in [encryption]")
}

//! The unified archive of a committed session, and the report beside it.

use bytes::Bytes;
use serde_json::json;

use super::{Engine, Report, by_hand, commit::check_sizes, keys::RunKeys};
use crate::{
    pipeline::{ArchiveEntry, ArchivePlan, Destination, Seal, concatenate, stored_name},
    repository::{Manifest, Repository, UnifiedRecord, create_own, create_own_json, session_key},
    traits::Context,
    words::{Artifact, ComponentRecord, Error, ErrorKind, Key, Result},
};

impl Engine {
    /// Joins the session's artifacts into one archive. A second, sequential pass over what is committed.
    pub(super) async fn make_unified(
        &self,
        cx: &Context,
        repository: &Repository,
        manifest: &Manifest,
        run: &RunKeys,
    ) -> Result<UnifiedRecord> {
        let plain_name = format!("{}_unified_backup_{}.tar", self.name, manifest.session.stamp());
        let file = stored_name(&plain_name, self.compression.codec, run.seal.is_some());
        let key = Key::new(format!("{}/unified/{file}", manifest.session_type))?;
        let destination = Destination { store: self.store.clone(), key, volume_bytes: self.volume_bytes };
        let entries = self.archive_entries(manifest)?;
        let archive = ArchivePlan {
            from: self.store.clone(),
            keys: run.keys.clone(),
            compression: self.compression,
            modified: manifest.start,
            seal: run.seal.clone(),
        };
        let volumes = concatenate(cx, &archive, &entries, destination).await?;
        let recipients = run.seal.as_ref().map(Seal::recipients).unwrap_or_default();
        let record = UnifiedRecord { name: plain_name, recipients, volumes };
        let name = session_key(manifest.session, "unified.json")?;
        create_own_json(&self.store, &name, &record).await?;
        // Whoever took this run for dead may have removed what nothing named yet.
        if let Err(gone) = check_sizes(&*self.store, record.volumes.clone()).await {
            if gone.kind() == ErrorKind::NotFound {
                self.store.delete(&name).await?;
            }
            return Err(gone);
        }
        repository.look_for_removals(manifest.session).await?;
        Ok(record)
    }

    fn archive_entries(&self, manifest: &Manifest) -> Result<Vec<ArchiveEntry>> {
        let mut entries = vec![
            ArchiveEntry::Text("RESTORE.txt".to_owned(), self.restore_text(manifest)),
            ArchiveEntry::Text("contents.json".to_owned(), contents(manifest)?),
        ];
        for component in &manifest.components {
            for artifact in &component.artifacts {
                let path = format!("{}/{}", component.name, artifact.name);
                entries.push(ArchiveEntry::Artifact(path, Box::new(artifact.clone())));
            }
        }
        Ok(entries)
    }

    /// How a person restores the session without the product: lines that begin with `$ ` are commands for a shell in the
    /// folder that the archive was unpacked in.
    fn restore_text(&self, manifest: &Manifest) -> String {
        let mut text = format!(
            "How to restore {} by hand\n\nThis archive holds plain files; ha-backup is not needed. Lines that begin with $ are \
             commands, to be\ngiven in the folder of this file.\n\nFirst see that the files are whole: this compares them with the \
             list below.\n  $ grep -E '^[0-9a-f]{{64}}  ' RESTORE.txt | sha256sum -c\n\n",
            manifest.session
        );
        for (component, artifact) in artifacts(manifest) {
            text.push_str(&format!("{}  {}/{}\n", artifact.plain.sha256, component.name, artifact.name));
        }
        if !manifest.recipients().is_empty() {
            text.push_str(&format!(
                "\nIn the store this archive and each file are encrypted for {}.\nWith an identity file (key.txt) of one of them, in the \
                 store's folder:\n",
                manifest.recipients().join(", ")
            ));
            for command in by_hand::opening(manifest, None) {
                text.push_str(&format!("    {command}\n"));
            }
        }
        for component in manifest.components.iter().filter(|component| component.is_good()) {
            text.push_str(&format!("\n{} ({})\n", component.name, component.kind.name));
            let mut steps =
                self.component(&component.name).map_or_else(|_| Vec::new(), |known| known.by_hand(component));
            if steps.is_empty() {
                let files = component
                    .artifacts
                    .iter()
                    .map(|artifact| format!("{}/{}", component.name, artifact.name));
                steps.push(format!("The files are {}.", files.collect::<Vec<_>>().join(", ")));
            }
            for step in steps {
                text.push_str(&format!("  {step}\n"));
            }
        }
        text
    }

    /// Writes `report.json` and `summary.txt`; a session has one of each.
    pub(super) async fn write_report(&self, repository: &Repository, report: &Report) -> Result<()> {
        let session = report.session_id;
        create_own_json(&repository.store, &session_key(session, "report.json")?, report).await?;
        let summary = Bytes::from(report.summary());
        create_own(&repository.store, &session_key(session, "summary.txt")?, summary).await.map(drop)
    }
}

fn artifacts(manifest: &Manifest) -> impl Iterator<Item = (&ComponentRecord, &Artifact)> {
    let of = |component| move |artifact| (component, artifact);
    manifest
        .components
        .iter()
        .flat_map(move |component: &ComponentRecord| component.artifacts.iter().map(of(component)))
}

fn contents(manifest: &Manifest) -> Result<String> {
    let files: Vec<_> = artifacts(manifest)
        .map(|(component, artifact)| {
            json!({
                "path": format!("{}/{}", component.name, artifact.name),
                "size": artifact.plain.size,
                "sha256": artifact.plain.sha256,
                "media_type": artifact.media_type,
            })
        })
        .collect();
    let contents = json!({ "session": manifest.session, "tool": manifest.tool, "files": files });
    serde_json::to_string_pretty(&contents)
        .map_err(|e| Error::new(ErrorKind::Internal, "write", "contents.json").because(e))
}

//! From a folder to the artifact.

use std::{os::fd::OwnedFd, path::PathBuf};

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{bridge, config::FilesConfig, exclude::Exclude, pack, tree};
use crate::{
    traits::{ArtifactSpec, Capture, Captured, Context, EndEvidence, Sink},
    words::{Point, Result, Span},
};

/// An open folder. Files cannot be pinned: the point's bracket is from now to the last byte.
#[derive(Debug)]
pub(super) struct FilesCapture {
    root: OwnedFd,
    path: PathBuf,
    exclude: Exclude,
    one_file_system: bool,
    opened: DateTime<Utc>,
}

impl FilesCapture {
    pub(super) fn open(cx: &Context, config: &FilesConfig) -> Result<Self> {
        Ok(Self {
            opened: cx.now(),
            root: tree::open_root(&config.path)?,
            path: config.path.clone(),
            exclude: Exclude::new(&config.exclude)?,
            one_file_system: config.one_file_system,
        })
    }
}

#[async_trait]
impl Capture for FilesCapture {
    async fn run(self: Box<Self>, cx: &Context, sink: &dyn Sink) -> Result<Captured> {
        let mut writer = sink.create(ArtifactSpec::new("tar", "application/x-tar")).await?;
        let (root, exclude, one_file_system) = (self.root, self.exclude.clone(), self.one_file_system);
        let packed = bridge::write_blocking(cx, &mut *writer, move |to| {
            pack::pack(&root, &exclude, one_file_system, to)
        })
        .await;
        let packed = match packed {
            Ok(packed) => packed,
            Err(e) => {
                writer.abort().await;
                return Err(e);
            }
        };
        let evidence = EndEvidence::new(format!(
            "the walk of the folder came to its end after {} entries",
            packed.tally.entries()
        ))
        .and("the two empty blocks that end a tar were written")
        .bytes(packed.bytes);
        let receipt = writer.finish(evidence).await?;
        let point = Point::pinned(Span { from: self.opened, to: cx.now() });
        let mut captured = Captured::new(point, vec![receipt]).fact("path", self.path.display().to_string());
        for (name, value) in packed.tally.facts() {
            captured = captured.fact(name, value);
        }
        (captured.coverage, captured.warnings) = packed.report.said(&self.exclude);
        Ok(captured)
    }
}

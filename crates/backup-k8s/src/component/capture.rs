//! A pinned state, and what comes of it.

use std::collections::BTreeMap;

use async_trait::async_trait;
use backup_core::{
    traits::{Capture, Captured, Context, Receipt, Sink},
    words::{Coverage, Result, Retry},
};
use futures::FutureExt;
use serde_json::Value;

use crate::{
    KubernetesConfig,
    cluster::{Cluster, is_lost},
    export::Export,
    files, root_key,
};

/// What one part of a capture yields: the objects, or files of pods.
#[derive(Debug, Default)]
pub(crate) struct Piece {
    pub(crate) keep: Vec<Receipt>,
    pub(crate) facts: BTreeMap<String, Value>,
    pub(crate) coverage: Vec<Coverage>,
    pub(crate) warnings: Vec<String>,
}

impl Piece {
    fn add_to(self, captured: &mut Captured) {
        captured.keep.extend(self.keep);
        captured.facts.extend(self.facts);
        captured.coverage.extend(self.coverage);
        captured.warnings.extend(self.warnings);
    }
}

/// A pinned state of the namespaces.
#[derive(Debug)]
pub(super) struct KubernetesCapture {
    pub(super) export: Export,
    pub(super) files: Files,
}

/// What is needed to read files, which nothing can pin.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) cluster: Cluster,
    pub(super) config: KubernetesConfig,
    pub(super) namespaces: Vec<String>,
}

#[async_trait]
impl Capture for KubernetesCapture {
    async fn run(self: Box<Self>, cx: &Context, sink: &dyn Sink) -> Result<Captured> {
        let mut captured = Captured::new(self.export.pinned.point(), Vec::new());
        let Files { cluster, config, namespaces } = &self.files;
        let pieces = tokio::try_join!(
            cx.or_cancelled("export from Kubernetes", self.export.run(cx, sink)),
            files::capture(cx, cluster, config, namespaces, sink),
        );
        // It was waited for, and did not come back: another time, another point.
        let (objects, files) = pieces.map_err(|e| if is_lost(&e) { e.retry(Retry::Reopen) } else { e })?;
        objects.add_to(&mut captured);
        files.add_to(&mut captured);
        if let Some(key) = &config.root_key {
            let look = root_key::look(cluster, key, namespaces, &self.export.choice, &mut captured);
            cx.or_cancelled("look for the root key", look.map(Ok)).await?;
        }
        Ok(captured)
    }
}

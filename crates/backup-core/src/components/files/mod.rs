//! The component `files`: a folder of the host as one tar.
//!
//! The archive is POSIX pax (`man 5 tar`), so that GNU tar restores all of it by hand: `tar --xattrs -xf`. Modes, owners, times
//! to the nanosecond, symbolic and hard links, extended attributes, devices and the holes of sparse files are in it.
//! What changed, vanished or could not be read meanwhile is said, and content that could not be read makes the component
//! partial.

mod attributes;
mod bridge;
mod capture;
mod check;
mod config;
mod drill;
mod exclude;
mod extract;
mod holes;
mod owners;
mod pack;
mod pickle;
mod report;
mod restore;
mod spill;
mod tally;
#[cfg(test)]
mod tests;
mod tree;
mod verify;

use std::sync::Arc;

use async_trait::async_trait;

pub use config::{Existing, FilesConfig, FilesRestore, Owners};
pub use drill::ArchiveDrill;

use crate::{
    traits::{
        Capture, CaptureAsk, Component, ComponentFactory, Context, Deps, Drill, Finding, Journal, Node, Plan,
        Restored, Source, Step, Target,
    },
    words::{Artifact, ComponentRecord, Kind, Result},
};

/// The kind's name in a config file.
pub const KIND: &str = "files";

const FORMAT: u32 = 1;

/// A folder of the host.
#[derive(Clone, Debug)]
pub struct Files {
    config: FilesConfig,
}

impl Files {
    /// A component for the folder that `config` names.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::words::ErrorKind) when the path is not absolute or a pattern is wrong.
    pub fn new(config: FilesConfig) -> Result<Self> {
        config.check()?;
        Ok(Self { config })
    }
}

#[async_trait]
impl Component for Files {
    fn kind(&self) -> Kind {
        Kind { name: KIND.to_owned(), format: FORMAT }
    }

    async fn check(&self, cx: &Context) -> Result<Vec<Finding>> {
        check::check(cx, &self.config).await
    }

    async fn open(&self, cx: &Context, _: &CaptureAsk) -> Result<Box<dyn Capture>> {
        Ok(Box::new(capture::FilesCapture::open(cx, &self.config)?))
    }

    async fn verify(&self, cx: &Context, from: &dyn Source) -> Result<Vec<Finding>> {
        verify::verify(cx, from).await
    }

    fn by_hand(&self, record: &ComponentRecord) -> Vec<String> {
        let command = |artifact: &Artifact| {
            let (name, file) = (&record.name, &artifact.name);
            format!(
                "$ mkdir -p restored/{name} && tar --xattrs --xattrs-include='*' -xpf {name}/{file} -C restored/{name}"
            )
        };
        let mut lines = vec![format!(
            "The files of {}. As root they get their owners back; look at them, then move them to their place.",
            self.config.path.display()
        )];
        lines.extend(record.artifacts.iter().map(command));
        lines
    }

    fn drill(&self) -> Option<&dyn Drill> {
        Some(self)
    }

    async fn plan(&self, cx: &Context, target: &Target, from: &dyn Source) -> Result<Plan> {
        restore::plan(cx, &self.config, target, from)
    }

    async fn apply(
        &self,
        cx: &Context,
        plan: &Plan,
        step: &Step,
        from: &dyn Source,
        journal: &dyn Journal,
    ) -> Result<Restored> {
        restore::apply(cx, plan, step, from, journal).await
    }
}

/// Makes [`Files`] from config sections.
#[derive(Clone, Copy, Debug, Default)]
pub struct FilesFactory;

#[async_trait]
impl ComponentFactory for FilesFactory {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn schema(&self) -> serde_json::Value {
        schemars::schema_for!(FilesConfig).to_value()
    }

    fn restore_schema(&self) -> serde_json::Value {
        schemars::schema_for!(FilesRestore).to_value()
    }

    fn example(&self) -> &'static str {
        config::EXAMPLE
    }

    async fn build(&self, _: &str, config: &Node, _: &Deps) -> Result<Arc<dyn Component>> {
        let section: FilesConfig = config.parse()?;
        section.check().map_err(|e| config.error("", e.to_string()))?;
        Ok(Arc::new(Files { config: section }))
    }
}

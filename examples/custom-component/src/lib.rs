//! A kind of component of your own: one file of a program that replaces it as a whole, put back by a rename.

use std::{path::PathBuf, sync::Arc};

use async_trait::async_trait;
use backup_core::{traits::*, words::*};
use futures::TryStreamExt;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::{
    fs::{self, File},
    io::{AsyncReadExt, AsyncWriteExt},
};

/// Its section of the configuration, and the component itself.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OneFile {
    path: PathBuf,
}

/// The file as it was when it was opened.
#[derive(Debug)]
struct Opened(File, Span);

/// Makes the component from its section.
pub fn factory() -> Arc<dyn ComponentFactory> {
    let example = "[[component]]\nkind = \"one-file\"\npath = \"/var/lib/app/state\"\n";
    component_factory("one-file", example, |_, file: OneFile| Ok(Arc::new(file)))
}

#[async_trait]
impl Component for OneFile {
    fn kind(&self) -> Kind {
        Kind { name: "one-file".to_owned(), format: 1 }
    }

    async fn open(&self, cx: &Context, _: &CaptureAsk) -> Result<Box<dyn Capture>> {
        let from = cx.now();
        let file = File::open(&self.path).await.map_err(|e| Error::io("open", "the file", e))?;
        Ok(Box::new(Opened(file, Span { from, to: cx.now() })))
    }

    async fn plan(&self, _: &Context, _: &Target, _: &dyn Source) -> Result<Plan> {
        let step = Step::new("file", Phase::Configuration, "replace", self.path.display().to_string());
        Ok(Plan { steps: vec![step], ..Plan::default() })
    }

    async fn apply(
        &self,
        _: &Context,
        _: &Plan,
        _: &Step,
        from: &dyn Source,
        _: &dyn Journal,
    ) -> Result<Restored> {
        let failed = |e| Error::io("replace", self.path.display().to_string(), e);
        let beside = self.path.with_extension("restored");
        let mut file = File::create(&beside).await.map_err(failed)?;
        let mut bytes = from.read(from.artifact(None)?, Selection::Whole).await?;
        while let Some(chunk) = bytes.try_next().await? {
            file.write_all(&chunk).await.map_err(failed)?;
        }
        file.sync_all().await.map_err(failed)?;
        fs::rename(&beside, &self.path).await.map_err(failed)?;
        Ok(Restored::done(format!("{} is as it was", self.path.display())))
    }
}

#[async_trait]
impl Capture for Opened {
    async fn run(mut self: Box<Self>, _: &Context, sink: &dyn Sink) -> Result<Captured> {
        let mut writer = sink.create(ArtifactSpec::new("bin", "application/octet-stream")).await?;
        loop {
            let mut chunk = Vec::with_capacity(64 << 10);
            match self.0.read_buf(&mut chunk).await.map_err(|e| Error::io("read", "the file", e))? {
                0 => break,
                _ => writer.write(chunk.into()).await?,
            }
        }
        let receipt = writer.finish(EndEvidence::new("the file ended")).await?;
        Ok(Captured::new(Point::pinned(self.1), vec![receipt]))
    }
}

//! A component that does what its script says.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use async_trait::async_trait;
use backup_core::{
    traits::{
        ArtifactSpec, Capture, CaptureAsk, Captured, Component, Context, EndEvidence, Finding, Phase, Plan,
        Restored, Selection, Sink, Source, Step, Target,
    },
    words::{Coverage, Error, ErrorKind, Kind, Point, Result, Retry, Span},
};
use bytes::Bytes;
use futures::StreamExt;
use tokio::sync::Notify;

/// What the component does.
#[derive(Clone, Debug)]
pub enum Act {
    /// Yields these parts (name, bytes) as one artifact.
    Yield(Vec<(String, Bytes)>),
    /// Yields bytes without parts.
    Plain(Bytes),
    /// Fails at `open`.
    FailOpen,
    /// Fails after these bytes.
    FailAfter(Bytes),
    /// Fails so often and asks to be opened again, then yields the bytes.
    ReopenThen(u32, Bytes),
    /// Claims more bytes than it wrote.
    Lie(Bytes),
    /// Panics in mid-stream.
    Panic,
    /// Writes these bytes, tells, and never ends.
    Hang(Bytes, Arc<Notify>),
    /// Yields the bytes and says that something is missing.
    LeaveOut(Bytes),
}

/// A component that does what its script says; counts how often it was opened.
#[derive(Clone, Debug)]
pub struct ScriptedComponent {
    act: Act,
    opened: Arc<AtomicU32>,
}

impl ScriptedComponent {
    /// A component that plays `act`.
    pub fn new(act: Act) -> Self {
        Self { act, opened: Arc::default() }
    }

    /// How often it was opened.
    pub fn opened(&self) -> u32 {
        self.opened.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Component for ScriptedComponent {
    fn kind(&self) -> Kind {
        Kind { name: "scripted".to_owned(), format: 1 }
    }

    async fn open(&self, cx: &Context, ask: &CaptureAsk) -> Result<Box<dyn Capture>> {
        self.opened.fetch_add(1, Ordering::SeqCst);
        if matches!(self.act, Act::FailOpen) {
            return Err(Error::new(ErrorKind::Unreachable, "open", "the script").hint("start it"));
        }
        let now = cx.now();
        Ok(Box::new(ScriptedCapture {
            act: self.act.clone(),
            attempt: ask.attempt,
            pinned: Span { from: now, to: now },
        }))
    }

    async fn verify(&self, _: &Context, from: &dyn Source) -> Result<Vec<Finding>> {
        let mut bytes = from.read(from.artifact(None)?, Selection::Whole).await?;
        let mut size = 0;
        while let Some(chunk) = bytes.next().await.transpose()? {
            size += chunk.len();
        }
        Ok(vec![Finding::ok("the script", format!("{size} bytes"))])
    }

    async fn plan(&self, _: &Context, target: &Target, _: &dyn Source) -> Result<Plan> {
        let steps = vec![
            Step::new("first", Phase::Coordination, "do", "the first thing"),
            Step::new("second", Phase::Database, "do", "the second thing").after("first"),
        ];
        Ok(Plan { steps, options: target.options.clone(), ..Plan::default() })
    }

    async fn apply(
        &self,
        _: &Context,
        plan: &Plan,
        step: &Step,
        _: &dyn Source,
        journal: &dyn backup_core::traits::Journal,
    ) -> Result<Restored> {
        if step.id == "second" && plan.options["wait"] == true && journal.recall("asked").is_none() {
            journal.record("asked", true.into()).await?;
            return Ok(Restored::Waiting { instructions: vec!["start it by hand".to_owned()] });
        }
        if plan.options["fail"] == step.id.as_str() && journal.recall("failed").is_none() {
            journal.record("failed", true.into()).await?;
            return Err(Error::new(ErrorKind::Failed, "apply", "the script"));
        }
        Ok(Restored::done(format!("did the {} thing", step.id)))
    }
}

#[derive(Debug)]
struct ScriptedCapture {
    act: Act,
    attempt: u32,
    pinned: Span,
}

#[async_trait]
impl Capture for ScriptedCapture {
    async fn run(self: Box<Self>, _: &Context, sink: &dyn Sink) -> Result<Captured> {
        let mut writer = sink.create(ArtifactSpec::new("bin", "application/octet-stream")).await?;
        let broken = || Error::new(ErrorKind::Failed, "stream", "the script");
        let end = EndEvidence::new("the script ended");
        let receipt = match &self.act {
            Act::Yield(parts) => {
                for (name, bytes) in parts {
                    writer.part(name).await?;
                    writer.write(bytes.clone()).await?;
                }
                writer.finish(end).await?
            }
            Act::Plain(bytes) | Act::LeaveOut(bytes) => {
                writer.write(bytes.clone()).await?;
                writer.finish(end.bytes(bytes.len() as u64)).await?
            }
            Act::FailOpen => return Err(broken()),
            Act::FailAfter(bytes) => {
                writer.write(bytes.clone()).await?;
                return Err(broken());
            }
            Act::ReopenThen(times, bytes) => {
                writer.write(bytes.clone()).await?;
                if self.attempt <= *times {
                    // Finished, but not handed back: it must not count.
                    writer.finish(end).await?;
                    return Err(broken().retry(Retry::Reopen));
                }
                writer.finish(end).await?
            }
            Act::Lie(bytes) => {
                writer.write(bytes.clone()).await?;
                writer.finish(end.bytes(bytes.len() as u64 + 1)).await?
            }
            Act::Panic => panic!("the script panics"),
            Act::Hang(bytes, reached) => {
                writer.write(bytes.clone()).await?;
                reached.notify_one();
                std::future::pending::<()>().await;
                return Err(broken());
            }
        };
        let mut captured =
            Captured::new(Point::pinned(self.pinned), vec![receipt]).fact("attempt", self.attempt);
        if matches!(self.act, Act::LeaveOut(_)) {
            captured.coverage.push(Coverage {
                what: "a row".into(),
                why: "the script says so".into(),
                missing: true,
            });
        }
        Ok(captured)
    }
}

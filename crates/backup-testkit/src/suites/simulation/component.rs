//! A component of a few bytes that works, or does not.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use backup_core::{
    traits::{
        ArtifactSpec, Capture, CaptureAsk, Captured, Component, Context, EndEvidence, Finding, Journal, Plan,
        Restored, Sink, Source, Step, Target,
    },
    words::{Error, ErrorKind, Kind, Point, Result, Retry, Span},
};
use bytes::Bytes;

/// How it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    Well,
    FailsToOpen,
    BreaksOff,
    StartsAgain,
}

/// How many captures are under way, over all hosts, and whether there ever were two.
#[derive(Debug, Default)]
pub(super) struct Busy {
    now: AtomicU32,
    two: AtomicU32,
}

impl Busy {
    /// True when two were under way at once since the last call.
    pub(super) fn were_two(&self) -> bool {
        self.two.swap(0, Ordering::SeqCst) > 0
    }

    fn enter(self: &Arc<Self>) -> Inside {
        if self.now.fetch_add(1, Ordering::SeqCst) > 0 {
            self.two.store(1, Ordering::SeqCst);
        }
        Inside(self.clone())
    }
}

#[derive(Debug)]
struct Inside(Arc<Busy>);

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Yields a few bytes; clones share mood and count.
#[derive(Clone, Debug)]
pub(super) struct Tiny {
    mood: Arc<Mutex<Mood>>,
    busy: Arc<Busy>,
}

impl Tiny {
    pub(super) fn new(busy: &Arc<Busy>) -> Self {
        Self { mood: Arc::new(Mutex::new(Mood::Well)), busy: busy.clone() }
    }

    pub(super) fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap_or_else(PoisonError::into_inner) = mood;
    }

    fn mood(&self) -> Mood {
        *self.mood.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn broken() -> Error {
    Error::new(ErrorKind::Failed, "capture", "the simulation")
}

#[async_trait]
impl Component for Tiny {
    fn kind(&self) -> Kind {
        Kind { name: "simulated".to_owned(), format: 1 }
    }

    async fn open(&self, cx: &Context, ask: &CaptureAsk) -> Result<Box<dyn Capture>> {
        if self.mood() == Mood::FailsToOpen {
            return Err(broken());
        }
        let mood = if self.mood() == Mood::StartsAgain && ask.attempt > 1 { Mood::Well } else { self.mood() };
        let now = cx.now();
        Ok(Box::new(TinyCapture { mood, pinned: Span { from: now, to: now }, inside: self.busy.enter() }))
    }

    async fn verify(&self, _: &Context, _: &dyn Source) -> Result<Vec<Finding>> {
        Ok(Vec::new())
    }

    async fn plan(&self, _: &Context, _: &Target, _: &dyn Source) -> Result<Plan> {
        Ok(Plan::default())
    }

    async fn apply(
        &self,
        _: &Context,
        _: &Plan,
        _: &Step,
        _: &dyn Source,
        _: &dyn Journal,
    ) -> Result<Restored> {
        Ok(Restored::done("nothing"))
    }
}

#[derive(Debug)]
struct TinyCapture {
    mood: Mood,
    pinned: Span,
    inside: Inside,
}

#[async_trait]
impl Capture for TinyCapture {
    async fn run(self: Box<Self>, _: &Context, sink: &dyn Sink) -> Result<Captured> {
        let _inside = &self.inside;
        let mut writer = sink.create(ArtifactSpec::new("bin", "application/octet-stream")).await?;
        writer.write(Bytes::from_static(b"a few bytes")).await?;
        match self.mood {
            Mood::Well | Mood::FailsToOpen => {
                let receipt = writer.finish(EndEvidence::new("the simulation ended")).await?;
                Ok(Captured::new(Point::pinned(self.pinned), vec![receipt]))
            }
            Mood::BreaksOff => {
                // Until what was written is on its way: whether the threads that compress were done must not matter.
                tokio::time::sleep(Duration::from_secs(3)).await;
                Err(broken())
            }
            Mood::StartsAgain => {
                writer.finish(EndEvidence::new("the simulation ended")).await?;
                Err(broken().retry(Retry::Reopen))
            }
        }
    }
}

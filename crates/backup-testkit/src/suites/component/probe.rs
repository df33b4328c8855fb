//! A component between the engine and the one that is tried: it plays tricks on the sink and remembers what was said.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use backup_core::{
    traits::{
        ArtifactSpec, Capture, CaptureAsk, Captured, Component, Context, EndEvidence, Finding, Journal, Plan,
        Receipt, Restored, Sink, Source, Step, Target, Writer,
    },
    words::{ComponentRecord, Count, Error, ErrorKind, Kind, Point, Result},
};
use bytes::Bytes;
use tokio::sync::Notify;

/// What happens to a capture's sink.
#[derive(Clone, Debug)]
pub(super) enum Trick {
    /// Nothing.
    None,
    /// Each write takes so long, up to the hundredth.
    Slow(Duration),
    /// No artifact can be begun.
    FailCreate,
    /// The write of this number (the first has 1) fails, and every later one.
    FailWrite(u64),
    /// No artifact can be finished.
    FailFinish,
    /// The first write never ends; it tells that it has begun.
    Stall(Arc<Notify>),
}

/// How a capture ended.
#[derive(Clone, Debug)]
pub(super) enum Said {
    /// Well, with so many artifacts and this point.
    Done(usize, Point),
    /// With this error.
    Failed(ErrorKind),
}

#[derive(Debug, Default)]
pub(super) struct Seen {
    writes: AtomicU64,
    tricks: AtomicU64,
    said: Mutex<Option<Said>>,
}

impl Seen {
    /// How often the trick was played.
    pub(super) fn tricks(&self) -> u64 {
        self.tricks.load(Ordering::SeqCst)
    }

    /// What the last capture said; none when it did not come to its end.
    pub(super) fn said(&self) -> Option<Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The component with a trick.
#[derive(Clone, Debug)]
pub(super) struct Probe {
    inner: Arc<dyn Component>,
    trick: Trick,
    pub(super) seen: Arc<Seen>,
}

impl Probe {
    pub(super) fn new(inner: &Arc<dyn Component>, trick: Trick) -> Self {
        Self { inner: inner.clone(), trick, seen: Arc::default() }
    }
}

fn refused(what: &str) -> Error {
    Error::new(ErrorKind::NoSpace, what, "the conformance suite's store")
}

#[async_trait]
impl Component for Probe {
    fn kind(&self) -> Kind {
        self.inner.kind()
    }

    fn stem(&self, name: &str) -> String {
        self.inner.stem(name)
    }

    async fn check(&self, cx: &Context) -> Result<Vec<Finding>> {
        self.inner.check(cx).await
    }

    async fn open(&self, cx: &Context, ask: &CaptureAsk) -> Result<Box<dyn Capture>> {
        let inner = self.inner.open(cx, ask).await?;
        Ok(Box::new(Probed { inner, trick: self.trick.clone(), seen: self.seen.clone() }))
    }

    async fn verify(&self, cx: &Context, from: &dyn Source) -> Result<Vec<Finding>> {
        self.inner.verify(cx, from).await
    }

    fn by_hand(&self, record: &ComponentRecord) -> Vec<String> {
        self.inner.by_hand(record)
    }

    fn counts(&self, record: &ComponentRecord) -> Vec<Count> {
        self.inner.counts(record)
    }

    async fn plan(&self, cx: &Context, target: &Target, from: &dyn Source) -> Result<Plan> {
        self.inner.plan(cx, target, from).await
    }

    async fn apply(
        &self,
        cx: &Context,
        plan: &Plan,
        step: &Step,
        from: &dyn Source,
        journal: &dyn Journal,
    ) -> Result<Restored> {
        self.inner.apply(cx, plan, step, from, journal).await
    }
}

#[derive(Debug)]
struct Probed {
    inner: Box<dyn Capture>,
    trick: Trick,
    seen: Arc<Seen>,
}

#[async_trait]
impl Capture for Probed {
    async fn run(self: Box<Self>, cx: &Context, sink: &dyn Sink) -> Result<Captured> {
        let Self { inner, trick, seen } = *self;
        let outcome = inner.run(cx, &TrickySink { sink, trick, seen: seen.clone() }).await;
        let said = match &outcome {
            Ok(captured) => Said::Done(captured.keep.len(), captured.point.clone()),
            Err(error) => Said::Failed(error.kind()),
        };
        *seen.said.lock().unwrap_or_else(PoisonError::into_inner) = Some(said);
        outcome
    }
}

struct TrickySink<'s> {
    sink: &'s dyn Sink,
    trick: Trick,
    seen: Arc<Seen>,
}

#[async_trait]
impl Sink for TrickySink<'_> {
    async fn create(&self, spec: ArtifactSpec) -> Result<Box<dyn Writer>> {
        if matches!(self.trick, Trick::FailCreate) {
            self.seen.tricks.fetch_add(1, Ordering::SeqCst);
            return Err(refused("begin the artifact"));
        }
        let inner = self.sink.create(spec).await?;
        Ok(Box::new(TrickyWriter { inner, trick: self.trick.clone(), seen: self.seen.clone() }))
    }
}

struct TrickyWriter {
    inner: Box<dyn Writer>,
    trick: Trick,
    seen: Arc<Seen>,
}

#[async_trait]
impl Writer for TrickyWriter {
    async fn write(&mut self, chunk: Bytes) -> Result<()> {
        let number = self.seen.writes.fetch_add(1, Ordering::SeqCst) + 1;
        match &self.trick {
            Trick::FailWrite(from) if number >= *from => {
                self.seen.tricks.fetch_add(1, Ordering::SeqCst);
                return Err(refused("write"));
            }
            Trick::Slow(time) if number <= 100 => {
                self.seen.tricks.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(*time).await;
            }
            Trick::Stall(begun) => {
                self.seen.tricks.fetch_add(1, Ordering::SeqCst);
                begun.notify_one();
                std::future::pending::<()>().await;
            }
            _ => {}
        }
        self.inner.write(chunk).await
    }

    async fn part(&mut self, name: &str) -> Result<()> {
        self.inner.part(name).await
    }

    async fn finish(self: Box<Self>, end: EndEvidence) -> Result<Receipt> {
        if matches!(self.trick, Trick::FailFinish) {
            self.seen.tricks.fetch_add(1, Ordering::SeqCst);
            self.inner.abort().await;
            return Err(refused("finish the artifact"));
        }
        self.inner.finish(end).await
    }

    async fn abort(self: Box<Self>) {
        self.inner.abort().await;
    }
}

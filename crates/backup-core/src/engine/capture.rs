//! One component's part of a run: open, stream, and again when the source asks for it.

use std::{sync::Arc, time::Duration};

use futures::FutureExt;

use super::Engine;
use crate::{
    pipeline::{CodecPool, KeyComposer, Seal, SessionSink},
    traits::{Capture, CaptureAsk, Captured, Component, Context, Event, Sink, Store},
    words::{
        Artifact, ComponentRecord, ComponentStatus, Error, ErrorKind, Result, Retry, SessionId, SessionType,
        Span,
    },
};

/// How long a component may take to pin its point.
const OPEN_DEADLINE: Duration = Duration::from_secs(180);
/// How often it may start again.
const ATTEMPTS: u32 = 4;
/// How long a store may take to undo the uploads of a capture that ended early.
const SETTLING: Duration = Duration::from_secs(10);

/// A component in a run.
pub(super) struct Capturing {
    pub(super) name: String,
    pub(super) component: Arc<dyn Component>,
    session: SessionId,
    session_type: SessionType,
    store: Arc<dyn Store>,
    volume_bytes: u64,
    pool: CodecPool,
    seal: Option<Seal>,
    begun: tokio::time::Instant,
}

/// A capture whose point is pinned, and when that was.
pub(super) type Opened = (Box<dyn Capture>, Span);

impl Capturing {
    pub(super) fn new(
        engine: &Engine,
        store: &Arc<dyn Store>,
        name: &str,
        component: &Arc<dyn Component>,
        (session, session_type): (SessionId, SessionType),
        pool: &CodecPool,
        seal: Option<&Seal>,
    ) -> Self {
        Self {
            name: name.to_owned(),
            component: component.clone(),
            session,
            session_type,
            store: store.clone(),
            volume_bytes: engine.volume_bytes,
            pool: pool.clone(),
            seal: seal.cloned(),
            begun: tokio::time::Instant::now(),
        }
    }

    /// Pins the component's point, within the deadline.
    pub(super) async fn open(&self, cx: &Context, attempt: u32) -> Result<Opened> {
        let mut ask = CaptureAsk::new(self.session);
        ask.attempt = attempt;
        let from = cx.now();
        let opening = tokio::time::timeout(OPEN_DEADLINE, self.component.open(cx, &ask));
        let opened = cx
            .or_cancelled("open", async {
                opening.await.unwrap_or_else(|_| {
                    Err(Error::new(ErrorKind::TimedOut, "open", self.name.clone())
                        .detail(format!("no answer in {} s", OPEN_DEADLINE.as_secs())))
                })
            })
            .await?;
        cx.observer.event(Event::Opened { component: self.name.clone() });
        Ok((opened, Span { from, to: cx.now() }))
    }

    /// Streams what was opened, opening again where that can help, and says how it went.
    pub(super) async fn run(self, cx: Context, first: Result<Opened>) -> ComponentRecord {
        let mut warnings = Vec::new();
        let result = self.attempts(&cx, first, &mut warnings).await;
        let record = match result {
            Ok((captured, artifacts)) => self.record(captured, artifacts, warnings),
            Err(error) => self.failed(&error, warnings),
        };
        cx.observer.event(Event::ComponentEnded {
            component: self.name.clone(),
            status: record.status,
            error: record.errors.first().cloned(),
        });
        record
    }

    async fn attempts(
        &self,
        cx: &Context,
        first: Result<Opened>,
        warnings: &mut Vec<String>,
    ) -> Result<(Captured, Vec<Artifact>)> {
        let mut opened = first;
        let mut attempt = 1;
        loop {
            let error = match opened {
                Ok(opened) => match self.stream(cx, opened, attempt).await {
                    Ok(done) => return Ok(done),
                    Err(error) => error,
                },
                Err(error) => error,
            };
            let again =
                error.retry_class() == Retry::Reopen && attempt < ATTEMPTS && !cx.cancel.is_cancelled();
            if !again {
                return Err(error);
            }
            attempt += 1;
            let reason = error.chain();
            tracing::warn!(component = %self.name, %reason, attempt, "starting again");
            warnings.push(format!("attempt {} failed and was repeated: {reason}", attempt - 1));
            cx.observer.event(Event::Reopened { component: self.name.clone(), reason });
            opened = self.open(cx, attempt).await;
        }
    }

    async fn stream(&self, cx: &Context, opened: Opened, attempt: u32) -> Result<(Captured, Vec<Artifact>)> {
        let (capture, bracket) = opened;
        let composer = KeyComposer {
            session: self.session,
            session_type: self.session_type,
            component: self.name.clone(),
            stem: self.component.stem(&self.name),
            attempt,
        };
        let sink = SessionSink::new(
            self.store.clone(),
            composer,
            self.pool.clone(),
            cx.observer.clone(),
            self.volume_bytes,
        )
        .sealed(self.seal.clone());
        // A plug-in's panic fails its component, not the run.
        let running = std::panic::AssertUnwindSafe(capture.run(cx, &sink as &dyn Sink)).catch_unwind();
        let result = cx
            .or_cancelled("stream", running.map(|done| done.unwrap_or_else(|_| Err(self.panicked()))))
            .await;
        let kept: Vec<Artifact> = match &result {
            Ok(captured) => captured.keep.iter().map(|receipt| receipt.artifact().clone()).collect(),
            Err(_) => Vec::new(),
        };
        // A store that does not answer may hold up the end no longer.
        if tokio::time::timeout(SETTLING, sink.settled()).await.is_err() {
            tracing::warn!(component = %self.name, "the store is still at what no longer counts");
        }
        self.remove_garbage(&sink, &kept).await;
        let mut captured = result?;
        if kept.is_empty() {
            return Err(Error::new(ErrorKind::Internal, "capture", self.name.clone()).detail(
                "the component says that it is done and handed back nothing; this is a defect of its kind",
            ));
        }
        // What the component says of its point is held inside what the engine saw.
        captured.point.pinned.from = captured.point.pinned.from.max(bracket.from);
        if captured.point.pinned.to < captured.point.pinned.from {
            captured.point.pinned.to = bracket.to;
        }
        Ok((captured, kept))
    }

    fn panicked(&self) -> Error {
        Error::new(ErrorKind::Internal, "capture", self.name.clone())
            .detail("the component panicked; this is a defect")
    }

    /// Finished artifacts that do not count go at once; should that fail, the next clean-up does it.
    async fn remove_garbage(&self, sink: &SessionSink, kept: &[Artifact]) {
        for artifact in sink.finished().iter().filter(|artifact| !kept.contains(artifact)) {
            for volume in &artifact.volumes {
                if let Err(error) = self.store.delete(&volume.key).await {
                    tracing::warn!(key = %volume.key, error = %error.chain(), "could not remove what does not count");
                }
            }
        }
    }

    fn record(
        &self,
        captured: Captured,
        artifacts: Vec<Artifact>,
        mut warnings: Vec<String>,
    ) -> ComponentRecord {
        let missing: Vec<String> = captured
            .coverage
            .iter()
            .filter(|c| c.missing)
            .map(|c| format!("{} is missing: {}", c.what, c.why))
            .collect();
        warnings.extend(captured.warnings);
        ComponentRecord {
            name: self.name.clone(),
            kind: self.component.kind(),
            status: if missing.is_empty() { ComponentStatus::Success } else { ComponentStatus::Partial },
            point: Some(captured.point),
            facts: captured.facts,
            duration_seconds: self.begun.elapsed().as_secs_f64(),
            errors: missing,
            warnings,
            coverage: captured.coverage,
            artifacts,
        }
    }

    fn failed(&self, error: &Error, warnings: Vec<String>) -> ComponentRecord {
        let advice = error.advice().map(|hint| format!(" ({hint})")).unwrap_or_default();
        ComponentRecord {
            name: self.name.clone(),
            kind: self.component.kind(),
            status: ComponentStatus::Failed,
            point: None,
            facts: Default::default(),
            duration_seconds: self.begun.elapsed().as_secs_f64(),
            errors: vec![format!("{}{advice}", error.chain())],
            warnings,
            coverage: Vec::new(),
            artifacts: Vec::new(),
        }
    }
}

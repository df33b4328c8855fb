//! The suites for components, tried on components that break one promise each.

use std::{
    any::Any,
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use async_trait::async_trait;
use backup_core::{
    traits::{
        ArtifactSpec, Capture, CaptureAsk, Captured, Component, Context, EndEvidence, Finding, Journal,
        Phase, Plan, Restored, Sink, Source, Step, Target,
    },
    words::{Error, ErrorKind, Kind, Point, Result, Span},
};
use backup_testkit::suites::{component_conformance, restore_conformance};
use chrono::TimeDelta;
use futures::FutureExt;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    None,
    BadName,
    CheckComplains,
    VerifyComplains,
    NoReceipt,
    PointAhead,
    SwallowsErrors,
    HidesReasons,
    KeepsItsSource,
    OneAtATime,
    PlansDiffer,
    TwinSteps,
    UnknownStep,
    SilentStep,
    NoSteps,
    NeverDone,
}

/// Keeps every promise but one.
#[derive(Clone, Debug)]
struct Double {
    flaw: Flaw,
    taken: Arc<AtomicBool>,
    planned: Arc<AtomicU32>,
}

impl Double {
    fn with(flaw: Flaw) -> Arc<dyn Component> {
        Arc::new(Self { flaw, taken: Arc::default(), planned: Arc::default() })
    }

    fn has(&self, flaw: Flaw) -> bool {
        self.flaw == flaw
    }
}

#[async_trait]
impl Component for Double {
    fn kind(&self) -> Kind {
        let name = if self.has(Flaw::BadName) { "My Kind" } else { "double" };
        Kind { name: name.to_owned(), format: 1 }
    }

    async fn check(&self, _: &Context) -> Result<Vec<Finding>> {
        Ok(self.has(Flaw::CheckComplains).then(|| Finding::error("it", "is not well")).into_iter().collect())
    }

    async fn open(&self, cx: &Context, _: &CaptureAsk) -> Result<Box<dyn Capture>> {
        if matches!(self.flaw, Flaw::KeepsItsSource | Flaw::OneAtATime)
            && self.taken.swap(true, Ordering::SeqCst)
        {
            return Err(Error::new(ErrorKind::Locked, "open", "the source"));
        }
        let now = cx.now();
        let to = if self.has(Flaw::PointAhead) { now + TimeDelta::hours(1) } else { now };
        Ok(Box::new(Pinned { double: self.clone(), pinned: Span { from: now, to } }))
    }

    async fn verify(&self, _: &Context, _: &dyn Source) -> Result<Vec<Finding>> {
        Ok(self
            .has(Flaw::VerifyComplains)
            .then(|| Finding::error("it", "is not whole"))
            .into_iter()
            .collect())
    }

    async fn plan(&self, _: &Context, _: &Target, _: &dyn Source) -> Result<Plan> {
        let planned = self.planned.fetch_add(1, Ordering::SeqCst);
        let id = if self.has(Flaw::PlansDiffer) { format!("first-{planned}") } else { "first".to_owned() };
        let first = Step::new(id, Phase::Database, "write", "the target");
        let second = match self.flaw {
            Flaw::TwinSteps => Step::new("first", Phase::Database, "look at", "the target"),
            Flaw::UnknownStep => {
                Step::new("second", Phase::Database, "look at", "the target").after("zeroth")
            }
            Flaw::SilentStep => Step::new("second", Phase::Database, "", ""),
            Flaw::NoSteps => return Ok(Plan::default()),
            _ => Step::new("second", Phase::Database, "look at", "the target").after(first.id.clone()),
        };
        Ok(Plan { steps: vec![first, second], ..Plan::default() })
    }

    async fn apply(
        &self,
        _: &Context,
        _: &Plan,
        _: &Step,
        _: &dyn Source,
        _: &dyn Journal,
    ) -> Result<Restored> {
        match self.flaw {
            Flaw::NeverDone => Ok(Restored::Waiting { instructions: vec!["wait".to_owned()] }),
            _ => Ok(Restored::done("done")),
        }
    }
}

#[derive(Debug)]
struct Pinned {
    double: Double,
    pinned: Span,
}

impl Drop for Pinned {
    fn drop(&mut self) {
        if self.double.has(Flaw::OneAtATime) {
            self.double.taken.store(false, Ordering::SeqCst);
        }
    }
}

#[async_trait]
impl Capture for Pinned {
    async fn run(self: Box<Self>, cx: &Context, sink: &dyn Sink) -> Result<Captured> {
        let written = self.write(sink).await;
        self.double.taken.store(false, Ordering::SeqCst);
        let nothing = || Ok(Captured::new(Point::pinned(self.pinned), Vec::new()));
        match written {
            Ok(_) if self.double.has(Flaw::NoReceipt) => nothing(),
            Err(_) if self.double.has(Flaw::SwallowsErrors) => nothing(),
            Err(_) if self.double.has(Flaw::HidesReasons) => {
                Err(Error::new(ErrorKind::Internal, "capture", "the source"))
            }
            written => {
                cx.check_cancelled("capture")?;
                written
            }
        }
    }
}

impl Pinned {
    async fn write(&self, sink: &dyn Sink) -> Result<Captured> {
        let mut writer = sink.create(ArtifactSpec::new("txt", "text/plain")).await?;
        for word in ["some ", "bytes ", "and an end"] {
            writer.write(word.into()).await?;
            // Lets the other of two go on.
            tokio::task::yield_now().await;
        }
        let receipt = writer.finish(EndEvidence::new("there is no more").bytes(21)).await?;
        Ok(Captured::new(Point::pinned(self.pinned), vec![receipt]))
    }
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}

#[tokio::test]
async fn a_component_that_keeps_its_promises_passes() {
    component_conformance(Double::with(Flaw::None)).await;
    restore_conformance(Double::with(Flaw::None), serde_json::json!({})).await;
}

#[tokio::test]
async fn each_broken_promise_of_a_capture_is_named() {
    for (flaw, promise) in [
        (Flaw::BadName, "lower-case letters"),
        (Flaw::CheckComplains, "check finds nothing wrong"),
        (Flaw::VerifyComplains, "passes the component's own verification"),
        (Flaw::NoReceipt, "hands back the receipts"),
        (Flaw::PointAhead, "the point was pinned before the capture ended"),
        (Flaw::SwallowsErrors, "a capture fails when an artifact cannot be begun"),
        (Flaw::HidesReasons, "a capture hands on why the sink failed"),
        (Flaw::KeepsItsSource, "the source is free soon after a capture was dropped"),
        (Flaw::OneAtATime, "two captures at once both succeed"),
    ] {
        let trying = AssertUnwindSafe(component_conformance(Double::with(flaw)));
        let broken = trying.catch_unwind().await.expect_err(&format!("{flaw:?} passes"));
        assert!(words(&*broken).contains(promise), "{flaw:?}: {}", words(&*broken));
    }
}

#[tokio::test]
async fn each_broken_promise_of_a_restore_is_named() {
    for (flaw, promise) in [
        (Flaw::PlansDiffer, "two plans of one restore are the same"),
        (Flaw::TwinSteps, "two steps have this id"),
        (Flaw::UnknownStep, "can be planned"),
        (Flaw::SilentStep, "says what it does"),
        (Flaw::NoSteps, "has steps"),
        (Flaw::NeverDone, "is done"),
    ] {
        let trying = AssertUnwindSafe(restore_conformance(Double::with(flaw), serde_json::json!({})));
        let broken = trying.catch_unwind().await.expect_err(&format!("{flaw:?} passes"));
        assert!(words(&*broken).contains(promise), "{flaw:?}: {}", words(&*broken));
    }
}

//! What every component promises, tried on a real source.

mod probe;
mod restore;

pub use restore::restore_conformance;

use std::{sync::Arc, time::Duration};

use backup_core::{
    engine::{BackupOutcome, BackupRequest, Engine, JobSettings, Level},
    repository::Status,
    stores::MemoryStore,
    traits::{CaptureAsk, Component, Context, Severity},
    words::{ErrorKind, Result, SessionId},
};
use tokio::sync::Notify;

use probe::{Probe, Said, Trick};

/// The name under which the component is tried.
const NAME: &str = "tried";
/// How long a capture may go on after it was cancelled.
const CANCELLED_ENDS: Duration = Duration::from_secs(30);
/// How long the source may be held after its capture was dropped.
const FREED: Duration = Duration::from_secs(5);

/// Tries the promises of [`Component`] and [`Capture`](backup_core::traits::Capture) on `component`, whose source must be there
/// and hold something. It is backed up about ten times into memory, so the source should be small; nothing is restored: see
/// [`restore_conformance`].
///
/// # Panics
/// With the promise that was broken.
pub async fn component_conformance(component: Arc<dyn Component>) {
    let suite = Suite { component };
    suite.kind();
    suite.check().await;
    suite.a_good_capture().await;
    suite.failing_sinks().await;
    suite.a_slow_sink().await;
    suite.a_dropped_capture().await;
    suite.cancellation().await;
    suite.two_at_once().await;
}

struct Suite {
    component: Arc<dyn Component>,
}

/// An engine with the component alone, and its store.
pub(super) async fn engine(component: Arc<dyn Component>) -> Engine {
    let engine = Engine::builder("conformance")
        .store("memory", Arc::new(MemoryStore::new()))
        .component(NAME, component)
        .job(JobSettings::new("full"))
        .build()
        .expect("an engine with one component");
    engine.init(&Context::new()).await.expect("a repository in memory");
    engine
}

async fn backup(component: Arc<dyn Component>, cx: &Context) -> (Engine, Result<BackupOutcome>) {
    let engine = engine(component).await;
    let outcome = engine.backup(cx, &BackupRequest::new("full")).await;
    (engine, outcome)
}

impl Suite {
    /// Backs up with a trick; the probe tells what was said.
    async fn tricked(&self, trick: Trick) -> (Probe, Result<BackupOutcome>) {
        let probe = Probe::new(&self.component, trick);
        let (_, outcome) = backup(Arc::new(probe.clone()), &Context::new()).await;
        (probe, outcome)
    }

    fn kind(&self) {
        let kind = self.component.kind();
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
        assert!(
            !kind.name.is_empty() && kind.name.chars().all(plain),
            "the kind's name is lower-case letters, digits, - and _: {:?}",
            kind.name
        );
        assert!(kind.format > 0, "the kind's format number begins with 1");
    }

    async fn check(&self) {
        let findings =
            self.component.check(&Context::new()).await.expect("check looks at a source that is there");
        let wrong: Vec<_> = findings.iter().filter(|f| f.severity == Severity::Error).collect();
        assert!(wrong.is_empty(), "check finds nothing wrong with a source that works: {wrong:?}");
    }

    async fn a_good_capture(&self) {
        let (before, cx) = (chrono::Utc::now(), Context::new());
        let probe = Probe::new(&self.component, Trick::None);
        let (engine, outcome) = backup(Arc::new(probe.clone()), &cx).await;
        let outcome = outcome.expect("a backup of a source that works");
        let Some(Said::Done(kept, point)) = probe.seen.said() else {
            panic!("a capture of a source that works succeeds: {:?}", outcome.report.errors)
        };
        assert!(kept > 0, "a capture that succeeds hands back the receipts of what it wrote");
        assert_ne!(outcome.report.status, Status::Failed, "{:?}", outcome.report.errors);
        assert!(
            point.pinned.from <= point.pinned.to && point.pinned.to <= chrono::Utc::now(),
            "the point was pinned before the capture ended, and its bracket has a beginning before its end: {point:?}"
        );
        assert!(point.pinned.to >= before, "the point is not older than the backup: {point:?}");
        let session = outcome.report.session_id.to_string();
        let verified =
            engine.verify(&cx, &session, Level::Content).await.expect("verify reads what was written");
        assert!(
            verified.passed,
            "what was captured passes the component's own verification: {:?}",
            verified.findings
        );
    }

    async fn failing_sinks(&self) {
        for (trick, what) in [
            (Trick::FailCreate, "an artifact cannot be begun"),
            (Trick::FailWrite(1), "the first write fails"),
            (Trick::FailWrite(2), "a later write fails"),
            (Trick::FailFinish, "an artifact cannot be finished"),
        ] {
            let (probe, outcome) = self.tricked(trick).await;
            if probe.seen.tricks() == 0 {
                continue;
            }
            let said = probe.seen.said();
            assert!(matches!(said, Some(Said::Failed(_))), "a capture fails when {what}; it said {said:?}");
            if let Some(Said::Failed(kind)) = said {
                assert_eq!(kind, ErrorKind::NoSpace, "a capture hands on why the sink failed, when {what}");
            }
            let good = outcome.is_ok_and(|outcome| outcome.report.status == Status::Success);
            assert!(!good, "no session succeeds when {what}");
        }
    }

    async fn a_slow_sink(&self) {
        let (probe, _) = self.tricked(Trick::Slow(Duration::from_millis(5))).await;
        let said = probe.seen.said();
        assert!(matches!(said, Some(Said::Done(..))), "a capture waits for a slow sink; it said {said:?}");
    }

    /// What a capture holds is free when it is dropped, before its first byte and in mid-stream.
    async fn a_dropped_capture(&self) {
        let cx = Context::new();
        let ask = CaptureAsk::new(SessionId::at(chrono::Utc::now()));
        let opened = self.component.open(&cx, &ask).await.expect("open pins a source that is there");
        drop(opened);
        self.works_still("a capture was dropped before its first byte").await;

        let begun = Arc::new(Notify::new());
        let probe = Probe::new(&self.component, Trick::Stall(begun.clone()));
        let running = backup(Arc::new(probe.clone()), &cx);
        tokio::select! {
            _ = running => assert_eq!(probe.seen.tricks(), 0, "a write that never ends is waited for"),
            () = begun.notified() => {}
        }
        self.works_still("a capture was dropped in mid-stream").await;
    }

    async fn cancellation(&self) {
        let (begun, cx) = (Arc::new(Notify::new()), Context::new());
        let probe = Probe::new(&self.component, Trick::Stall(begun.clone()));
        let cancelling = async {
            begun.notified().await;
            cx.cancel.cancel();
            std::future::pending::<()>().await;
        };
        let running = backup(Arc::new(probe), &cx);
        let ended = tokio::time::timeout(CANCELLED_ENDS, async {
            tokio::select! {
                (_, outcome) = running => outcome,
                () = cancelling => unreachable!("it never ends"),
            }
        });
        let outcome = ended.await.expect("a capture that was cancelled ends soon");
        let good = outcome.is_ok_and(|outcome| {
            outcome.report.status == Status::Success && outcome.report.total_size_bytes > 0
        });
        assert!(!good || self.writes_nothing().await, "a run that was cancelled does not succeed");
        self.works_still("a capture was cancelled").await;
    }

    /// A component without a byte never comes to a write that could be stalled.
    async fn writes_nothing(&self) -> bool {
        self.tricked(Trick::FailWrite(1)).await.0.seen.tricks() == 0
    }

    async fn two_at_once(&self) {
        let cx = Context::new();
        let (one, two) =
            tokio::join!(backup(self.component.clone(), &cx), backup(self.component.clone(), &cx));
        for outcome in [one.1, two.1] {
            let report = outcome.expect("two captures at once").report;
            assert_ne!(
                report.status,
                Status::Failed,
                "two captures at once both succeed: {:?}",
                report.errors
            );
        }
    }

    async fn works_still(&self, after: &str) {
        let begun = tokio::time::Instant::now();
        loop {
            let (_, outcome) = backup(self.component.clone(), &Context::new()).await;
            let report = outcome.expect("a backup").report;
            if report.status != Status::Failed {
                return;
            }
            assert!(begun.elapsed() < FREED, "the source is free soon after {after}: {:?}", report.errors);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

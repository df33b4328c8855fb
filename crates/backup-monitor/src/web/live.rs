//! Runs in this process, as they go.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use backup_core::{
    traits::{Event, Observer},
    words::{ComponentStatus, SessionId},
};
use serde::Serialize;
use tokio::sync::watch;

/// The runs in this process; clones are the same.
#[derive(Clone, Debug)]
pub struct Live {
    runs: watch::Sender<Runs>,
    numbers: Arc<AtomicU64>,
}

/// By the number of the run.
pub(super) type Runs = BTreeMap<u64, LiveRun>;

/// A run, as far as it came.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LiveRun {
    /// Its job.
    pub job: String,
    /// Its session, once it has one.
    pub session: Option<SessionId>,
    /// What it is at.
    pub phase: String,
    /// Its components.
    pub components: BTreeMap<String, ComponentProgress>,
}

/// A component, as far as it came.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ComponentProgress {
    /// "waits", "reads", or how it ended.
    pub state: String,
    /// Plain bytes so far.
    pub bytes: u64,
    /// Stored bytes so far.
    pub stored_bytes: u64,
    /// Plain bytes expected, where that is known of all artifacts.
    pub expected: Option<u64>,
    /// What went wrong.
    pub error: Option<String>,
    #[serde(skip)]
    artifacts: BTreeMap<String, (u64, u64, Option<u64>)>,
}

impl Live {
    /// With no run.
    pub fn new() -> Self {
        Self { runs: watch::Sender::new(Runs::new()), numbers: Arc::default() }
    }

    /// A run of `job` begins; it ends when what is returned is dropped. `next` hears of its events too.
    pub fn begin(&self, job: &str, next: Arc<dyn Observer>) -> Running {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let run = LiveRun { job: job.to_owned(), phase: "begins".to_owned(), ..LiveRun::default() };
        self.runs.send_modify(|runs| drop(runs.insert(number, run)));
        Running(Arc::new(Run { live: self.clone(), number, next }))
    }

    /// The runs that are under way.
    pub fn runs(&self) -> Vec<LiveRun> {
        self.runs.borrow().values().cloned().collect()
    }

    pub(super) fn watch(&self) -> watch::Receiver<Runs> {
        self.runs.subscribe()
    }
}

impl Default for Live {
    fn default() -> Self {
        Self::new()
    }
}

/// A run that is under way.
#[derive(Debug)]
pub struct Running(Arc<Run>);

impl Running {
    /// Takes the run's events.
    pub fn observer(&self) -> Arc<dyn Observer> {
        self.0.clone()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.live.runs.send_modify(|runs| drop(runs.remove(&self.0.number)));
    }
}

#[derive(Debug)]
struct Run {
    live: Live,
    number: u64,
    next: Arc<dyn Observer>,
}

impl Observer for Run {
    fn event(&self, event: Event) {
        self.live.runs.send_if_modified(|runs| match runs.get_mut(&self.number) {
            Some(run) => run.take(&event),
            None => false,
        });
        self.next.event(event);
    }
}

impl LiveRun {
    /// Whether the event changes what is shown.
    fn take(&mut self, event: &Event) -> bool {
        match event {
            Event::SessionBegun { session } => self.session = Some(*session),
            Event::Phase { name } => self.phase.clone_from(name),
            Event::Opened { component } => {
                "capture".clone_into(&mut self.phase);
                *self.component(component) = ComponentProgress::reading();
            }
            Event::Reopened { component, .. } => *self.component(component) = ComponentProgress::reading(),
            Event::Progress { component, artifact, bytes, stored_bytes, expected } => {
                let progress = (*bytes, *stored_bytes, *expected);
                let component = self.component(component);
                component.artifacts.insert(artifact.clone(), progress);
                component.add_up();
            }
            Event::ComponentEnded { component, status, error } => {
                let component = self.component(component);
                component.state = match status {
                    ComponentStatus::Success => "done",
                    ComponentStatus::Partial => "partial",
                    ComponentStatus::Failed => "failed",
                }
                .to_owned();
                component.error.clone_from(error);
            }
            Event::Copied { store, .. } => self.phase = format!("copied to {store}"),
            _ => return false,
        }
        true
    }

    fn component(&mut self, name: &str) -> &mut ComponentProgress {
        self.components.entry(name.to_owned()).or_insert_with(ComponentProgress::reading)
    }
}

impl ComponentProgress {
    fn reading() -> Self {
        Self { state: "reads".to_owned(), ..Self::default() }
    }

    fn add_up(&mut self) {
        self.bytes = self.artifacts.values().map(|(bytes, _, _)| bytes).sum();
        self.stored_bytes = self.artifacts.values().map(|(_, stored, _)| stored).sum();
        self.expected = self.artifacts.values().map(|(_, _, expected)| *expected).sum();
    }
}

#[cfg(test)]
mod tests {
    use backup_core::traits::Quiet;

    use super::*;

    fn progress(artifact: &str, bytes: u64) -> Event {
        Event::Progress {
            component: "pg".to_owned(),
            artifact: artifact.to_owned(),
            bytes,
            stored_bytes: bytes / 2,
            expected: Some(100),
        }
    }

    #[test]
    fn runs_side_by_side_are_told_apart_and_gone_when_they_end() {
        let live = Live::new();
        let (full, etcd) = (live.begin("full", Arc::new(Quiet)), live.begin("etcd", Arc::new(Quiet)));
        full.observer().event(Event::Opened { component: "pg".to_owned() });
        for event in [progress("a", 10), progress("b", 20), progress("a", 30)] {
            full.observer().event(event);
        }
        let runs = live.runs();
        assert_eq!(runs.len(), 2);
        let pg = &runs[0].components["pg"];
        assert_eq!((pg.bytes, pg.stored_bytes, pg.expected), (50, 25, Some(200)));
        assert!(runs[1].components.is_empty());
        drop(full);
        assert_eq!(live.runs()[0].job, "etcd");
        drop(etcd);
        assert!(live.runs().is_empty());
    }
}

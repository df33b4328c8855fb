//! What all handles of one faulty store share: the count, the script, the trace, and whether the host is dead.

use std::sync::{Mutex, MutexGuard, PoisonError};

use backup_core::words::{Error, ErrorKind, Result};
use tokio::sync::watch;

use super::{Call, Fault, Op, Script, Trace, trace::Counts};

/// Shared by a store, its uploads and its streams.
pub(super) struct Control {
    name: String,
    trace: Trace,
    state: Mutex<State>,
    dead: watch::Sender<bool>,
}

struct State {
    number: u64,
    counts: Counts,
    script: Box<dyn Script>,
}

/// One operation that was begun.
pub(super) struct Turn {
    number: u64,
    call: Call,
    key: String,
    fault: Option<Fault>,
}

impl Control {
    pub(super) fn new(name: String, trace: Trace, script: Box<dyn Script>) -> Self {
        Self {
            name,
            trace,
            state: Mutex::new(State { number: 0, counts: Counts::new(), script }),
            dead: watch::Sender::new(false),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_script(&self, script: Box<dyn Script>) {
        self.state().script = script;
    }

    pub(super) fn operations(&self) -> u64 {
        self.state().number
    }

    pub(super) fn counts(&self) -> Counts {
        self.state().counts.clone()
    }

    pub(super) fn is_dead(&self) -> bool {
        *self.dead.borrow()
    }

    pub(super) async fn died(&self) {
        let mut dead = self.dead.subscribe();
        // It cannot fail: we hold the sender.
        let _ = dead.wait_for(|dead| *dead).await;
    }

    pub(super) fn die(&self) {
        self.dead.send_replace(true);
    }

    /// What a dead host's calls end with. Whoever waits for the death is woken before.
    pub(super) async fn dead<T>(&self) -> Result<T> {
        tokio::task::yield_now().await;
        Err(Error::new(ErrorKind::Unreachable, "reach the store", self.name.clone())
            .detail("the host is dead"))
    }

    /// Counts an operation and asks the script.
    pub(super) fn turn(&self, call: Call, key: &str) -> Turn {
        let mut state = self.state();
        state.number += 1;
        let number = state.number;
        *state.counts.entry(call).or_default() += 1;
        let fault = state.script.fault(&Op { number, call, key });
        Turn { number, call, key: key.to_owned(), fault }
    }

    /// Runs one operation as the script says. What breaks off midway is the caller's business.
    pub(super) async fn run<T>(&self, turn: &Turn, work: impl Future<Output = Result<T>>) -> Result<T> {
        match turn.fault {
            Some(Fault::Before(kind)) => self.fail(turn, kind, "fails before it is done"),
            Some(Fault::Midway) => self.fail(turn, ErrorKind::Unreachable, "breaks off"),
            Some(Fault::Full) if turn.call.changes() && turn.call != Call::Delete => {
                self.fail(turn, ErrorKind::NoSpace, "finds the disk full")
            }
            Some(Fault::DieBefore) => {
                self.tell(turn, "the host dies before it");
                self.die();
                self.dead().await
            }
            Some(Fault::After) => {
                work.await?;
                self.fail(turn, lost(turn.call), "is done, its answer is lost")
            }
            Some(Fault::DieAfter) => {
                let done = work.await;
                self.tell(turn, if done.is_ok() { "is done, the host dies" } else { "fails, the host dies" });
                self.die();
                self.dead().await
            }
            Some(Fault::Slow(time)) => {
                self.tell(turn, &format!("takes {} ms", time.as_millis()));
                tokio::time::sleep(time).await;
                self.finish(turn, work.await)
            }
            Some(Fault::Short | Fault::Full) | None => self.finish(turn, work.await),
        }
    }

    fn finish<T>(&self, turn: &Turn, outcome: Result<T>) -> Result<T> {
        match &outcome {
            Ok(_) => self.tell(turn, ""),
            Err(error) => self.tell(turn, &format!("{:?}", error.kind())),
        }
        outcome
    }

    fn fail<T>(&self, turn: &Turn, kind: ErrorKind, how: &str) -> Result<T> {
        self.tell(turn, how);
        Err(turn.error(kind, how))
    }

    pub(super) fn tell(&self, turn: &Turn, outcome: &str) {
        let op = Op { number: turn.number, call: turn.call, key: &turn.key };
        self.trace.op(&self.name, &op, outcome);
    }
}

impl Turn {
    pub(super) fn fault(&self) -> Option<Fault> {
        self.fault
    }

    pub(super) fn error(&self, kind: ErrorKind, how: &str) -> Error {
        Error::new(kind, self.call.to_string(), self.key.clone())
            .detail(format!("operation {} {how}: the script says so", self.number))
    }
}

/// What a caller is told when something happened and nobody says so.
fn lost(call: Call) -> ErrorKind {
    match call {
        Call::Create | Call::Finish => ErrorKind::Unknown,
        _ => ErrorKind::TimedOut,
    }
}

//! What a call may take from the world.

use std::{fmt::Debug, path::PathBuf, sync::Arc};

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;

use crate::words::{Error, Result, SessionId};

/// The time. Tests give their own.
pub trait Clock: Send + Sync + Debug {
    /// Now.
    fn now(&self) -> DateTime<Utc>;
}

/// The system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }
}

/// Something that happened in a run.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[serde(tag = "message_type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// The run has its id.
    SessionBegun {
        /// The id.
        session: SessionId,
    },
    /// A component's point is pinned.
    Opened {
        /// Which component.
        component: String,
    },
    /// Bytes went by. Sent at most a few times a second for each artifact.
    Progress {
        /// Which component.
        component: String,
        /// Which artifact.
        artifact: String,
        /// Plain bytes so far.
        bytes: u64,
        /// Stored bytes so far.
        stored_bytes: u64,
        /// Plain bytes expected, when known.
        expected: Option<u64>,
    },
    /// A component starts again from a new point.
    Reopened {
        /// Which component.
        component: String,
        /// Why.
        reason: String,
    },
    /// A component is done, well or badly.
    ComponentEnded {
        /// Which component.
        component: String,
        /// Whether it was captured.
        status: crate::words::ComponentStatus,
        /// Why not, when it was not.
        error: Option<String>,
    },
    /// The run entered a phase ("commit", "unified", "verify").
    Phase {
        /// Its name.
        name: String,
    },
    /// A session is whole in another store.
    Copied {
        /// The session.
        session: SessionId,
        /// Where it was copied to.
        store: String,
        /// Bytes that went over.
        bytes: u64,
    },
    /// A restore's step begins.
    StepBegun {
        /// Which component.
        component: String,
        /// Which step.
        step: String,
        /// What it does.
        action: String,
    },
    /// A restore's step is done.
    StepEnded {
        /// Which component.
        component: String,
        /// Which step.
        step: String,
        /// What was done.
        summary: String,
    },
    /// Something to be looked at.
    Warning {
        /// Which component, when it is about one.
        component: Option<String>,
        /// What.
        message: String,
    },
}

/// Takes events. Must not block.
pub trait Observer: Send + Sync + Debug {
    /// Takes one event.
    fn event(&self, event: Event);
}

/// Takes events and drops them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quiet;

impl Observer for Quiet {
    fn event(&self, _: Event) {}
}

/// Where temporary files are made; they are 0600 and gone when their handle is dropped.
#[derive(Clone, Debug)]
pub struct Scratch {
    folder: PathBuf,
}

impl Scratch {
    /// Temporary files are made in `folder`, which must exist.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// A new empty file, readable and writable by us only. It has no name: it is gone when the handle is.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn file(&self) -> Result<std::fs::File> {
        tempfile::tempfile_in(&self.folder)
            .map_err(|e| Error::io("make a temporary file in", self.folder.display().to_string(), e))
    }

    /// A new empty folder, 0700, removed with all it holds when the handle is dropped.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn folder(&self) -> Result<tempfile::TempDir> {
        tempfile::Builder::new()
            .prefix("ha-backup-")
            .tempdir_in(&self.folder)
            .map_err(|e| Error::io("make a temporary folder in", self.folder.display().to_string(), e))
    }
}

/// All that a call may take from the world.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Context {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Cancelled when the caller wants to stop: calls then end soon with [`ErrorKind::Cancelled`](crate::words::ErrorKind).
    pub cancel: CancellationToken,
    /// Temporary files.
    pub scratch: Scratch,
    /// Takes progress.
    pub observer: Arc<dyn Observer>,
}

impl Context {
    /// The system's clock and temporary folder, never cancelled, nobody listening.
    pub fn new() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            cancel: CancellationToken::new(),
            scratch: Scratch::new(std::env::temp_dir()),
            observer: Arc::new(Quiet),
        }
    }

    /// With another clock.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// With a token that the caller cancels.
    #[must_use]
    pub fn with_cancel(mut self, cancel: CancellationToken) -> Self {
        self.cancel = cancel;
        self
    }

    /// With temporary files elsewhere.
    #[must_use]
    pub fn with_scratch(mut self, scratch: Scratch) -> Self {
        self.scratch = scratch;
        self
    }

    /// With somebody listening.
    #[must_use]
    pub fn with_observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = observer;
        self
    }

    /// Now, on the engine's clock.
    pub fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// Fails when the caller has cancelled.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`](crate::words::ErrorKind).
    pub fn check_cancelled(&self, operation: &str) -> Result<()> {
        if self.cancel.is_cancelled() { Err(Error::cancelled(operation)) } else { Ok(()) }
    }

    /// Runs `work` until it ends or the caller cancels; `work` is dropped then.
    ///
    /// # Errors
    /// What `work` says, or [`ErrorKind::Cancelled`](crate::words::ErrorKind).
    pub async fn or_cancelled<T>(&self, operation: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(Error::cancelled(operation)),
            done = work => done,
        }
    }
}

impl Default for Context {
    fn default() -> Self {
        Self::new()
    }
}

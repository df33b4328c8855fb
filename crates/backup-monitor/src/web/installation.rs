//! What the dashboard shows.

use std::{fmt::Debug, path::PathBuf};

use async_trait::async_trait;
use backup_core::{
    engine::{Away, Engine, HealthReport, Session},
    repository::Pin,
    traits::Context,
    words::Result,
};
use chrono::{DateTime, Utc};
use serde_json::Value;

/// An installation as the dashboard sees it.
#[async_trait]
pub trait Installation: Send + Sync + Debug {
    /// Its engine.
    fn engine(&self) -> &Engine;

    /// The next runs of its jobs, soonest first.
    fn next_runs(&self, now: DateTime<Utc>, count: usize) -> Vec<NextRun>;

    /// How it is.
    ///
    /// # Errors
    /// When that cannot be told.
    async fn health(&self, cx: &Context) -> Result<HealthReport>;

    /// The text for Prometheus: see [`prometheus`](crate::prometheus).
    ///
    /// # Errors
    /// When there are no figures at all.
    async fn metrics(&self, cx: &Context) -> Result<String>;

    /// Begins the document that says how the backups stand: it is shown every session once, the oldest first.
    fn begin_status(&self) -> Box<dyn StatusLook>;

    /// A session in a list, as JSON.
    fn listed(&self, session: &Session) -> Value;

    /// A session with all that is known of it, as JSON.
    fn shown(&self, session: &Session, pin: Option<&Pin>) -> Value;

    /// Where the dashboard may keep what it measures; none for nowhere.
    fn folder(&self) -> Option<PathBuf>;

    /// Somebody looked, or tried to.
    fn noted(&self, access: &Access);
}

/// Makes the document that says how the backups stand.
#[async_trait]
pub trait StatusLook: Send + Debug {
    /// The next session; the oldest comes first.
    fn take(&mut self, session: &Session);

    /// The document, when all were shown.
    ///
    /// # Errors
    /// When it cannot be made.
    async fn finish(self: Box<Self>, away: &[Away], now: DateTime<Utc>) -> Result<Value>;
}

/// A run that is to come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextRun {
    /// The job.
    pub job: String,
    /// What it does.
    pub run: String,
    /// When.
    pub at: DateTime<Utc>,
    /// The same for people, in their time zone.
    pub local: String,
}

/// Who looked at what, for the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// What was done: "view", "login", "logout".
    pub action: &'static str,
    /// On what: a path.
    pub on: String,
    /// What came of it: "good", "refused: ...".
    pub outcome: String,
    /// Who: as the proxy named it, or how it came in.
    pub user: String,
    /// The address that it came from.
    pub from: String,
}

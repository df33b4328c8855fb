//! How the backups stand, in the text format of Prometheus.
//!
//! [`gather`] looks through an [`Engine`] once: every number is of that look, and a store that did not answer is
//! `ha_backup_store_up 0`, with no numbers of its own. [`Figures::exposition`] is pure.

mod page;
mod tally;
mod write;

use backup_core::{
    engine::{Engine, HealthReport},
    policy::Watched,
    traits::Context,
    words::Result,
};
use chrono::{DateTime, Utc};

use crate::NotifierRecord;
use tally::Tally;

/// The media type of [`Figures::exposition`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// When a job runs next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextRun {
    /// The job.
    pub job: String,
    /// What it does: "backup", "verify".
    pub run: String,
    /// When.
    pub at: DateTime<Utc>,
}

/// What the engine does not know.
#[derive(Clone, Debug, Default)]
pub struct Around {
    /// When jobs run next.
    pub next_runs: Vec<NextRun>,
    /// The notifiers, and how they do.
    pub notifiers: Vec<(String, Option<NotifierRecord>)>,
}

/// All numbers of one look.
#[derive(Debug)]
pub struct Figures {
    name: String,
    health: HealthReport,
    /// Every store of the configuration, in its order, and whether a copy must be there.
    stores: Vec<(String, bool)>,
    watched: Watched,
    tally: Tally,
    around: Around,
}

/// Looks at all sessions and stores once.
///
/// # Errors
/// When it was cancelled: a store that cannot be looked at is one of the figures.
pub async fn gather(engine: &Engine, cx: &Context, around: Around) -> Result<Figures> {
    let mut tally = Tally::new(cx.now());
    let health =
        engine.health_with(cx, |session| tally.take(session, |record| engine.counts(record))).await?;
    if health.unreachable.is_some() {
        // What was seen until then is not all there is.
        tally = Tally::new(health.at);
    }
    Ok(Figures {
        name: engine.name().to_owned(),
        health,
        stores: engine.stores().iter().map(|store| (store.name.clone(), store.required)).collect(),
        watched: engine.watched(),
        tally,
        around,
    })
}

impl Figures {
    /// The checks of `health`, as they came out in the same look.
    pub fn health(&self) -> &HealthReport {
        &self.health
    }
}

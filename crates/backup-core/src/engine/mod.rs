//! What a run does, from claim to report; verification, restore, extraction and clean-up.

mod adopt;
mod as_written;
mod backup;
mod builder;
mod by_hand;
mod capture;
mod catalogue;
mod check;
mod check_encryption;
mod check_store;
mod cleanup;
mod cleanup_all;
mod commit;
mod copy;
mod copy_all;
mod daemon;
mod drill;
mod extract;
mod health;
mod journal;
mod keys;
mod nearest;
mod period;
mod pins;
mod removed;
mod report;
mod restore;
mod restore_plan;
mod rewrap;
mod signing;
mod stores;
mod traces;
mod unified;
mod union;
mod verify;
mod watched;

pub use adopt::{ADOPTED, AdoptReport, Adopted, Adoption};
pub use backup::{BackupOutcome, BackupPlan, BackupRequest};
pub use builder::{EngineBuilder, JobSettings};
pub use check::{CheckReport, Checked};
pub use cleanup::{CleanupDecision, CleanupReport, Fate};
pub use copy::Copied;
pub use copy_all::{CopyReport, NotCopied};
pub use daemon::{DaemonCommand, DaemonSettings, DaemonState, Ended, ScheduledJob, Seen, Work, run_daemon};
pub use drill::{DrillCheck, DrillSettings};
pub use extract::Extracted;
pub use health::HealthReport;
pub use pins::{PinChange, PinOutcome};
pub use removed::{Gone, Remains, RemovedSession};
pub use report::{ComponentReport, Report};
pub use restore::{RestoreOutcome, StepOutcome, UnfinishedRestore};
pub use restore_plan::{ComponentPlan, PlannedStep, RestorePlan, RestoreRequest};
pub use rewrap::Rewrapped;
pub use stores::{Away, Joined, StoreSettings};
pub use traces::Traces;
pub use union::{Catalogue, CopyState, Session, StoreCopy};
pub use verify::{Level, VerifyReport};

use std::sync::Arc;

use crate::{
    pipeline::{Compression, Recipient},
    policy::{HealthLimits, RetentionRules},
    repository::{Repository, SigningSource, TrustedKey},
    traits::{Component, Store},
    words::{Error, ErrorKind, Result},
};

/// One installation: its stores, components, jobs. Has no global state; several live in one process.
#[derive(Clone, Debug)]
pub struct Engine {
    name: String,
    /// In the order in which they are tried; at least one.
    stores: Vec<StoreSettings>,
    /// The first of them. What works in one store alone works in this one: see [`only`](Self::only).
    store: Arc<dyn Store>,
    store_name: String,
    /// The largest volume that every configured store takes.
    volume_bytes: u64,
    components: Vec<(String, Arc<dyn Component>)>,
    jobs: Vec<JobSettings>,
    retention: RetentionRules,
    time_zone: chrono_tz::Tz,
    compression: Compression,
    workers: usize,
    health: HealthLimits,
    recipients: Vec<Recipient>,
    identities: keys::Identities,
    signing: Option<SigningSource>,
    trusted: Vec<TrustedKey>,
    drill: DrillSettings,
}

impl Engine {
    /// Begins an engine for the installation called `name`.
    pub fn builder(name: impl Into<String>) -> EngineBuilder {
        EngineBuilder::new(name.into())
    }

    /// The installation's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The time zone that types and periods are reckoned in.
    pub fn time_zone(&self) -> chrono_tz::Tz {
        self.time_zone
    }

    /// The jobs.
    pub fn jobs(&self) -> &[JobSettings] {
        &self.jobs
    }

    /// Names of the components, in the order of the configuration.
    pub fn component_names(&self) -> impl Iterator<Item = &str> {
        self.components.iter().map(|(name, _)| name.as_str())
    }

    async fn repository(&self) -> Result<Repository> {
        Repository::open(self.store.clone()).await
    }

    fn job(&self, name: &str) -> Result<&JobSettings> {
        self.jobs.iter().find(|job| job.name == name).ok_or_else(|| {
            let names: Vec<&str> = self.jobs.iter().map(|job| job.name.as_str()).collect();
            Error::new(ErrorKind::Config, "find the job", name)
                .hint(format!("the jobs are: {}", names.join(", ")))
        })
    }

    fn component(&self, name: &str) -> Result<&Arc<dyn Component>> {
        self.components.iter().find(|(known, _)| known == name).map(|(_, component)| component).ok_or_else(
            || {
                let names: Vec<&str> = self.component_names().collect();
                let error = Error::new(ErrorKind::Config, "find the component", name);
                match names.is_empty() {
                    true => error.hint("the configuration has no component: add [[component]] with its kind"),
                    false => error.hint(format!("the configuration has: {}", names.join(", "))),
                }
            },
        )
    }
}

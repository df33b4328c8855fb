//! The commit: look at every object, create the manifest, look for removals.

use chrono::{DateTime, Utc};
use futures::{FutureExt, StreamExt, TryStreamExt, stream};

use super::{BackupPlan, Engine};
use crate::{
    repository::{Claim, FORMAT, Manifest, Repository, Signer, Status},
    traits::{Context, Reservation, Store},
    words::{ComponentRecord, ComponentStatus, Error, ErrorKind, Result, Volume},
};

/// Kept free for manifest and report, so that a full disk can still be told of.
const RESERVED: u64 = 4 << 20;

/// Writes the manifest of one run.
pub(super) struct Committer<'a> {
    engine: &'a Engine,
    repository: &'a Repository,
    plan: &'a BackupPlan,
    claim: &'a Claim,
    start: DateTime<Utc>,
    reserved: Option<Box<dyn Reservation>>,
}

impl<'a> Committer<'a> {
    /// Reserves the space that the commit will need.
    pub(super) async fn begin(
        engine: &'a Engine,
        repository: &'a Repository,
        plan: &'a BackupPlan,
        claim: &'a Claim,
    ) -> Result<Self> {
        let reserved = match engine.store.space() {
            Some(space) => Some(space.reserve(RESERVED).await?),
            None => None,
        };
        Ok(Self { engine, repository, plan, claim, start: claim.begin.begun, reserved })
    }

    /// Commits what the components yielded. With no good component the manifest says FAILED and names no artifact.
    pub(super) async fn commit(
        mut self,
        cx: &Context,
        mut components: Vec<ComponentRecord>,
        signer: Option<&Signer>,
    ) -> Result<Manifest> {
        for record in &mut components {
            if let Err(error) = self.look_at(record).await {
                record.status = ComponentStatus::Failed;
                record.errors.push(error.chain());
                record.artifacts.clear();
            }
        }
        let status = if components.iter().all(|c| c.status == ComponentStatus::Success) {
            Status::Success
        } else if components.iter().any(ComponentRecord::is_good) {
            Status::Partial
        } else {
            Status::Failed
        };
        let begin = &self.claim.begin;
        let manifest = Manifest {
            format: FORMAT,
            requires: Manifest::abilities_for(&components),
            repository: begin.repository.clone(),
            nonce: begin.nonce.clone(),
            session: begin.session,
            job: begin.job.clone(),
            session_type: self.plan.session_type,
            type_reason: self.plan.type_reason.clone(),
            name: self.engine.name.clone(),
            host: begin.process.host.clone(),
            tool: concat!("ha-backup ", env!("CARGO_PKG_VERSION")).to_owned(),
            status,
            start: self.start,
            end: cx.now(),
            skew_seconds: Manifest::skew(&components),
            rewrapped_from: None,
            components,
        };
        self.reserved = None;
        self.repository.write_manifest(&manifest, signer).await?;
        Ok(manifest)
    }

    /// Every artifact's objects must be in the store with their sizes.
    async fn look_at(&self, record: &ComponentRecord) -> Result<()> {
        let volumes: Vec<Volume> =
            record.artifacts.iter().flat_map(|artifact| artifact.volumes.iter().cloned()).collect();
        check_sizes(&*self.engine.store, volumes).await
    }
}

/// Checks that each object is there with its size.
pub(super) async fn check_sizes(store: &dyn Store, volumes: Vec<Volume>) -> Result<()> {
    let looks: Vec<_> = volumes.into_iter().map(|volume| check_size(store, volume).boxed()).collect();
    stream::iter(looks).buffer_unordered(8).try_collect::<()>().await
}

async fn check_size(store: &dyn Store, volume: Volume) -> Result<()> {
    let found = store.head(&volume.key).await?;
    if found.size == volume.stored.size {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Corrupt, "look at", volume.key.to_string())
        .detail(format!("the store has {} bytes, {} were written", found.size, volume.stored.size)))
}

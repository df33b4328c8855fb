//! One step of a plan.

use std::time::Duration;

use backup_core::{
    traits::{Context, Journal, Plan, Restored, Source, Step},
    words::{Error, ErrorKind, Result},
};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{
    check, globals, load,
    options::{Action, Settled, Work},
    plan::fingerprint,
    switch,
};
use crate::connect::{Leader, Server};

/// What a step works with.
pub(super) struct Job<'a> {
    pub(super) cx: &'a Context,
    pub(super) leader: Leader,
    pub(super) work: Work,
    pub(super) saw: &'a str,
    pub(super) from: &'a dyn Source,
    pub(super) journal: &'a dyn Journal,
}

/// Applies one step.
pub(crate) async fn apply(
    cx: &Context,
    server: &Server,
    plan: &Plan,
    step: &Step,
    from: &dyn Source,
    journal: &dyn Journal,
) -> Result<Restored> {
    let settled: Settled = read(&plan.options, "the options of the plan")?;
    let work: Work = read(&step.arguments, &step.id)?;
    let leader = server.leader(cx, Duration::from_secs(settled.leader_wait_seconds)).await?;
    let action = work.action;
    let job = Job { cx, leader, work, saw: &step.saw, from, journal };
    match action {
        Action::Globals => {
            cx.or_cancelled("restore the globals", globals::apply(&job, settled.globals)).await
        }
        Action::Aside => switch::aside(&job).await,
        Action::Create => cx.or_cancelled("create the database", load::create(&job)).await,
        Action::Load => load::load(&job).await,
        Action::Check => cx.or_cancelled("check the database", check::check(&job)).await,
        Action::Switch => switch::switch(&job).await,
    }
}

impl Job<'_> {
    /// Refuses when the database that the plan looked at is another one now.
    pub(super) async fn refuse_changed(&self) -> Result<()> {
        if self.saw.is_empty() {
            return Ok(());
        }
        let now = fingerprint(&self.leader, &self.work.database).await?;
        if now == self.saw {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Refused, "restore", self.subject(&self.work.database))
            .detail(format!("the plan saw \"{}\", now there is \"{now}\"", self.saw))
            .hint("begin the restore anew: it plans again"))
    }

    /// The name with its server, for errors.
    pub(super) fn subject(&self, name: &str) -> String {
        format!("database {name} on {}", self.leader.address)
    }

    /// The oid of the database that this restore created, as its steps recorded it.
    pub(super) fn created(&self) -> Option<u32> {
        let recorded = |step: &str| {
            let oid = self.journal.recall_from(&format!("{step}:{}", self.work.database), "oid")?;
            u32::try_from(oid.as_u64()?).ok()
        };
        recorded("load").or_else(|| recorded("create"))
    }
}

fn read<T: DeserializeOwned>(value: &Value, what: &str) -> Result<T> {
    serde_json::from_value(value.clone())
        .map_err(|e| Error::new(ErrorKind::Internal, "read", what).because(e))
}

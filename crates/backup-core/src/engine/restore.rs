//! Applying a restore's plan, step by step, with a journal that makes it resumable.

use std::time::Duration;

use serde::Serialize;
use tracing::Instrument;

use super::{
    Engine, PlannedStep, RestorePlan,
    journal::{Book, Entry, StepJournal},
    nearest::NearCopy,
};
use crate::{
    pipeline::{Keyring, StoreSource},
    repository::{Manifest, ProcessIdentity},
    traits::{Context, Event, Restored},
    words::{ComponentRecord, Error, ErrorKind, Result, SessionId},
};

/// How long a cancelled step may take to undo what it had begun.
const UNDO_TIME: Duration = Duration::from_secs(30);

/// What a step did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StepOutcome {
    /// Whose step it was.
    pub component: String,
    /// Which.
    pub step: String,
    /// What was done.
    pub summary: String,
    /// What the operator may want next.
    pub notes: Vec<String>,
    /// True when an earlier, interrupted restore had done it.
    pub before: bool,
}

/// How far a restore came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RestoreOutcome {
    /// From this session.
    pub session: SessionId,
    /// The steps that are done.
    pub steps: Vec<StepOutcome>,
    /// What a person has to do before the same command goes on; empty when the restore is done.
    pub waiting_for: Vec<String>,
}

impl RestoreOutcome {
    /// True when every step is done.
    pub fn is_done(&self) -> bool {
        self.waiting_for.is_empty()
    }
}

/// A restore that was interrupted, failed, or waits for a person.
#[derive(Debug)]
pub struct UnfinishedRestore {
    book: Book,
    plan: RestorePlan,
}

impl UnfinishedRestore {
    /// What it was going to do.
    pub fn plan(&self) -> &RestorePlan {
        &self.plan
    }

    /// True when the step is done.
    pub fn is_done(&self, step: &PlannedStep) -> bool {
        self.book.ended(&step.component, &step.step.id).is_some()
    }
}

impl Engine {
    /// The newest restore of a session that has not come to its end.
    ///
    /// # Errors
    /// When the session or the journal cannot be read.
    pub async fn unfinished_restore(&self, cx: &Context, which: &str) -> Result<Option<UnfinishedRestore>> {
        let session = self.session(cx, which).await?.id;
        // It is kept in the store that was read first, which need not be the same now.
        for site in self.reach(cx).await?.sites {
            if let Some(book) = Book::unfinished(&site.repository, session).await? {
                return Ok(Some(UnfinishedRestore { plan: book.plan()?, book }));
            }
        }
        Ok(None)
    }

    /// Applies a plan from its first step.
    ///
    /// # Errors
    /// When a step failed: what it had begun is undone or kept aside, and the restore can be gone on with.
    pub async fn restore(&self, cx: &Context, plan: &RestorePlan) -> Result<RestoreOutcome> {
        let near = self.near_copy(cx, &plan.session.to_string(), true).await?;
        let keys = self.keys_for(planned_records(&near.manifest, plan)?.into_iter()).await?;
        refuse_damaged(cx, &near, plan).await?;
        let book = Book::begin(near.repository(), plan, cx.now()).await?;
        self.apply_steps(cx, plan, &near, &book, &keys).instrument(span_of(plan)).await
    }

    /// Goes on with a restore from its first step that is not done.
    ///
    /// # Errors
    /// As [`restore`](Self::restore); [`ErrorKind::Locked`] when it still runs.
    pub async fn resume_restore(
        &self,
        cx: &Context,
        unfinished: &UnfinishedRestore,
    ) -> Result<RestoreOutcome> {
        if let Some(holder) = unfinished.book.holder() {
            return Err(Error::new(
                ErrorKind::Locked,
                "go on with the restore of",
                unfinished.plan.session.to_string(),
            )
            .detail(format!("process {} on {} is at it", holder.pid, holder.host))
            .hint("wait for it to end, or end it"));
        }
        let plan = &unfinished.plan;
        let near = self.near_copy(cx, &plan.session.to_string(), true).await?;
        let keys = self.keys_for(planned_records(&near.manifest, plan)?.into_iter()).await?;
        if near.is_elsewhere_too() {
            // What broke it off may have been the bytes of one store.
            refuse_damaged(cx, &near, plan).await?;
        }
        unfinished.book.add(Entry::Resumed { at: cx.now(), process: ProcessIdentity::current() }).await?;
        self.apply_steps(cx, plan, &near, &unfinished.book, &keys).instrument(span_of(plan)).await
    }

    async fn apply_steps(
        &self,
        cx: &Context,
        plan: &RestorePlan,
        near: &NearCopy,
        book: &Book,
        keys: &Keyring,
    ) -> Result<RestoreOutcome> {
        let mut outcome =
            RestoreOutcome { session: plan.session, steps: Vec::new(), waiting_for: Vec::new() };
        for planned in &plan.steps {
            let (component, step) = (planned.component.clone(), planned.step.id.clone());
            if let Some((summary, notes)) = book.ended(&component, &step) {
                outcome.steps.push(StepOutcome { component, step, summary, notes, before: true });
                continue;
            }
            let source = near.source(near.manifest.component(&component)?, keys);
            match self.apply_step(cx, plan, planned, &source, book).await {
                Ok(Restored::Done { summary, notes }) => {
                    let ended = Entry::StepEnded {
                        component: component.clone(),
                        step: step.clone(),
                        summary: summary.clone(),
                        notes: notes.clone(),
                    };
                    book.add(ended).await?;
                    let event = Event::StepEnded {
                        component: component.clone(),
                        step: step.clone(),
                        summary: summary.clone(),
                    };
                    cx.observer.event(event);
                    outcome.steps.push(StepOutcome { component, step, summary, notes, before: false });
                }
                Ok(Restored::Waiting { instructions }) => {
                    book.add(Entry::Waiting { component, step }).await?;
                    outcome.waiting_for = instructions;
                    return Ok(outcome);
                }
                Err(error) => {
                    let failed = Entry::Failed {
                        component: component.clone(),
                        step: step.clone(),
                        error: error.chain(),
                    };
                    if let Err(unwritten) = book.add(failed).await {
                        tracing::warn!(error = %unwritten.chain(), "could not note the failure in the journal");
                    }
                    return Err(Error::new(error.kind(), "restore", format!("{component}, step {step}"))
                        .because(error));
                }
            }
        }
        book.add(Entry::Ended { at: cx.now() }).await?;
        Ok(outcome)
    }

    async fn apply_step(
        &self,
        cx: &Context,
        plan: &RestorePlan,
        planned: &PlannedStep,
        source: &StoreSource,
        book: &Book,
    ) -> Result<Restored> {
        cx.check_cancelled("restore")?;
        let (name, step) = (&planned.component, &planned.step);
        let component = self.component(name)?;
        book.add(Entry::StepBegun { component: name.clone(), step: step.id.clone() }).await?;
        cx.observer.event(Event::StepBegun {
            component: name.clone(),
            step: step.id.clone(),
            action: format!("{} {}", step.action, step.subject),
        });
        let journal = StepJournal { book, component: name, step: &step.id };
        let own = &plan.component(name)?.plan;
        let applying = component.apply(cx, own, step, source, &journal);
        tokio::select! {
            done = applying => done,
            () = patience_ended(cx) => Err(Error::cancelled("restore")),
        }
    }
}

/// No target is touched for bytes that would turn out to be damaged later on, unless another store has them right.
async fn refuse_damaged(cx: &Context, near: &NearCopy, plan: &RestorePlan) -> Result<()> {
    let records = planned_records(&near.manifest, plan)?;
    near.settle(cx, records.into_iter()).await.map_err(|error| match error.kind() {
        ErrorKind::Corrupt | ErrorKind::Truncated | ErrorKind::NotFound => {
            Error::new(error.kind(), "restore from", plan.session.to_string())
                .detail("its stored bytes are damaged, and nothing was touched")
                .hint("restore another session: `ha-backup verify --all` says which are whole")
                .because(error)
        }
        _ => error,
    })
}

fn planned_records<'m>(manifest: &'m Manifest, plan: &RestorePlan) -> Result<Vec<&'m ComponentRecord>> {
    plan.components.iter().map(|component| manifest.component(&component.name)).collect()
}

/// Ends some time after the caller cancelled: a step may first undo what it had begun.
async fn patience_ended(cx: &Context) {
    cx.cancel.cancelled().await;
    tokio::time::sleep(UNDO_TIME).await;
}

/// Lines of the log have the session.
fn span_of(plan: &RestorePlan) -> tracing::Span {
    tracing::info_span!("session", session = %plan.session)
}

//! Applying the objects of a step.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use backup_core::{
    traits::{Journal, Restored, Step},
    words::{Error, ErrorKind, Result},
};
use futures::{StreamExt, TryStreamExt};
use serde_json::Value;

use super::{
    check,
    decide::Decision,
    diff::compare,
    group::Group,
    live,
    normal::normalise,
    options::{Start, Verify},
    report::Report,
    send::{self, How},
    show, stopped,
    survey::{Ground, Item, Seen, There},
    tally::{Ranges, Tally, name},
    wait,
    work::{from_value, to_value},
};
use crate::cluster::ResourceKind;

/// How many objects are written at a time.
const AT_ONCE: usize = 12;
/// What a step's journal keeps: which objects are written.
pub(super) const BEGUN: &str = "begun";

/// The objects of a step.
pub(super) struct Objects<'a> {
    pub(super) ground: &'a Ground<'a>,
    pub(super) step: &'a Step,
    pub(super) group: Group,
    pub(super) kinds: &'a [ResourceKind],
    pub(super) refused: &'a BTreeSet<String>,
    pub(super) journal: &'a dyn Journal,
}

type Writes = BTreeMap<String, Ranges>;

/// Which objects a step writes, as its journal has them; none when it has not begun.
pub(super) fn begun(value: Option<Value>) -> Result<Option<Writes>> {
    value.map(|value| from_value(&value, "the journal")).transpose()
}

impl Objects<'_> {
    /// Creates, updates and replaces them.
    pub(super) async fn apply(&self) -> Result<Restored> {
        let begun_at = Instant::now();
        let mut there = BTreeMap::new();
        for kind in self.kinds {
            there.insert(kind.resource(), self.ground.there(kind).await?);
        }
        let writes = match begun(self.journal.recall(BEGUN))? {
            // What the target is like now is our own doing.
            Some(writes) => writes,
            None => {
                let writes = self.refuse_changed(&there).await?;
                self.journal.record(BEGUN, to_value(&writes)?).await?;
                writes
            }
        };
        let mut report = Report::default();
        for kind in self.kinds.iter().filter(|kind| writes.contains_key(&kind.resource())) {
            self.kind(kind, &writes[&kind.resource()], &there[&kind.resource()], &mut report).await?;
        }
        // What failed is not looked for; the step is taken again.
        if !report.has_failures() {
            wait::after(self.ground, self.group).await?;
            for kind in self.kinds.iter().filter(|kind| writes.contains_key(&kind.resource())) {
                let written = &writes[&kind.resource()];
                check::read_back(self.ground, kind, written, self.refused, &mut report).await?;
            }
        }
        tracing::debug!(step = self.step.id, seconds = begun_at.elapsed().as_secs_f64(), "objects applied");
        report.outcome(self.group)
    }

    /// Looks again and refuses when the plan would have been another one.
    async fn refuse_changed(&self, there: &BTreeMap<String, There>) -> Result<Writes> {
        let mut tally = Tally::default();
        for kind in self.kinds {
            let mut items = std::pin::pin!(self.ground.look(kind, &there[&kind.resource()]).await?);
            let mut number = 0;
            while let Some(item) = items.try_next().await? {
                if let Item::Seen(seen) = item {
                    tally.add(kind, number, &seen);
                }
                number += 1;
            }
        }
        if tally.saw() == self.step.saw {
            return Ok(tally.writes);
        }
        Err(Error::new(ErrorKind::Conflict, "restore", self.group.title())
            .detail(format!("the plan saw \"{}\", now there is \"{}\"", self.step.saw, tally.saw()))
            .hint("the cluster has changed since the plan, and nothing of this step was touched: begin anew with --no-resume, which plans again"))
    }

    /// Writes the objects of a kind, some at a time. One that fails does not keep the others from being written.
    async fn kind(
        &self,
        kind: &ResourceKind,
        writes: &Ranges,
        there: &There,
        report: &mut Report,
    ) -> Result<()> {
        let resource = kind.resource();
        let items = self.ground.look(kind, there).await?;
        let numbered = futures::stream::iter(0_u64..).zip(items);
        let chosen = numbered.filter_map(|(number, item)| {
            std::future::ready(match item {
                Err(error) => Some(Err(error)),
                Ok(Item::Seen(seen)) if writes.has(number) && !self.is_refused(&resource, &seen) => {
                    Some(Ok(seen))
                }
                Ok(_) => None,
            })
        });
        let mut written = std::pin::pin!(
            chosen
                .map(|seen| async {
                    let seen = seen?;
                    let written = self.put(kind, &seen).await;
                    Ok::<_, Error>((seen, written))
                })
                .buffer_unordered(AT_ONCE)
        );
        while let Some((seen, written)) = written.try_next().await? {
            match written {
                Ok(made) => self.compare(kind, &seen, made, report),
                Err(error) if is_fatal(&error) => return Err(self.broken(error, report)),
                Err(error) => report.failed(&name(kind, &seen.wanted.key), &error),
            }
        }
        Ok(())
    }

    fn is_refused(&self, resource: &str, seen: &Seen) -> bool {
        self.refused.contains(&format!("{resource} {}", seen.wanted.key))
    }

    /// Writes one object; what the API server made of it, or none when it is there already.
    async fn put(&self, kind: &ResourceKind, seen: &Seen) -> Result<Option<Value>> {
        let (cluster, wanted) = (self.ground.cluster, &seen.wanted);
        let uid = seen.live.as_ref().map(|live| &*live.uid);
        let wait = self.ground.wish.options.wait();
        let fresh = wanted.namespace().is_some_and(|namespace| self.ground.fresh.contains(namespace));
        let write = || async {
            let how = How { force: fresh, dry: false, uid: None };
            match (&seen.decision, uid) {
                (Decision::Same, _) => return Ok(None),
                (Decision::Update, uid) => {
                    send::apply(cluster, kind, wanted, How { force: true, uid, ..how }).await
                }
                (Decision::Replace, Some(uid)) => send::replace(cluster, kind, wanted, uid, wait).await,
                (Decision::Rebind, Some(uid)) => send::rebind(cluster, kind, &wanted.key, uid).await,
                (Decision::Conflict(why), _) => {
                    Err(Error::new(ErrorKind::Conflict, "restore", name(kind, &wanted.key))
                        .detail(why.clone()))
                }
                // Created, now or before an interruption: nobody's fields are taken from him.
                _ => send::apply(cluster, kind, wanted, how).await,
            }
            .map(Some)
        };
        match self.ground.patience().keep("restore", write).await? {
            Some(made) => self.forget_stop(kind, &wanted.key, made).await.map(Some),
            None => Ok(None),
        }
    }

    /// A workload that was stopped runs as the backup says now.
    async fn forget_stop(&self, kind: &ResourceKind, key: &str, made: Value) -> Result<Value> {
        let before = stopped::before(&made).filter(|_| self.ground.wish.options.start == Start::Yes);
        let Some(before) = before else { return Ok(made) };
        let uid = made.pointer("/metadata/uid").and_then(Value::as_str).unwrap_or_default();
        let forget = || send::patch(self.ground.cluster, kind, key, uid, before.forget());
        self.ground.patience().keep("start", forget).await
    }

    /// Holds what the API server made of an object against what was wanted.
    fn compare(&self, kind: &ResourceKind, seen: &Seen, made: Option<Value>, report: &mut Report) {
        let made = made.filter(|_| seen.decision != Decision::Rebind);
        let difference = made.map(|mut made| {
            let mut wanted = seen.wanted.object.clone();
            normalise(&mut wanted);
            live::comparable(&mut made);
            compare(&wanted, &made)
        });
        match difference.filter(|difference| !difference.is_contained()) {
            None => report.done(&seen.decision),
            Some(difference) => {
                let line = format!(
                    "{} is not as it was sent: {}",
                    name(kind, &seen.wanted.key),
                    show::difference(&kind.kind, &difference, 3).join("; ")
                );
                if self.ground.wish.options.verify == Verify::Strict {
                    report.other(line);
                } else {
                    report.done(&seen.decision);
                    report.note(|| line);
                }
            }
        }
    }

    /// The API server is away, or the caller has cancelled: the rest is not tried.
    fn broken(&self, error: Error, report: &Report) -> Error {
        if error.kind() == ErrorKind::Cancelled {
            return error;
        }
        Error::new(error.kind(), "restore", self.group.title())
            .detail(format!(
                "{} objects were written, then the API server could not be asked any more",
                report.written()
            ))
            .hint("when it answers again, the same command goes on from here")
            .because(error)
    }
}

/// Whether the next object would fare the same.
fn is_fatal(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Cancelled | ErrorKind::Unreachable | ErrorKind::TimedOut | ErrorKind::Throttled
    ) && crate::cluster::refusal(error).is_none_or(|refusal| matches!(refusal.code, 429 | 502..=504))
}

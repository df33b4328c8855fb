//! The look at the objects of one step.

use std::collections::BTreeSet;

use backup_core::{traits::Step, words::Result};
use futures::TryStreamExt;

use super::{
    decide::Decision,
    dry_run,
    group::Group,
    notes::Notes,
    options::Show,
    survey::{Ground, Item, Seen},
    tally::{Lines, Tally},
    work::{Work, to_value},
};
use crate::cluster::ResourceKind;

/// How many updates of a step are tried without being made.
const TRIED: u64 = 200;

/// What is found on the way, over all steps.
#[derive(Default)]
pub(super) struct Found {
    pub(super) notes: Notes,
    /// What is overwritten.
    pub(super) loses: Vec<String>,
    /// How many objects can't be restored as asked.
    pub(super) conflicts: u64,
    /// Claims and workloads that will be there though their pods are not now: `KIND NAMESPACE/NAME`.
    pub(super) makes: BTreeSet<String>,
}

/// The step of a group, none when the backup has nothing for it; and the definitions that it writes.
pub(super) async fn look(
    ground: &Ground<'_>,
    found: &mut Found,
    group: Group,
    kinds: Vec<ResourceKind>,
) -> Result<(Option<Step>, BTreeSet<String>)> {
    let mut look = Look {
        ground,
        found,
        group,
        tally: Tally::default(),
        lines: Lines::new(ground.wish.options.show == Show::All),
        refused: BTreeSet::new(),
        coming: BTreeSet::new(),
        tried: 0,
    };
    for kind in &kinds {
        look.kind(kind).await?;
    }
    let Look { tally, lines, refused, coming, .. } = look;
    if tally.is_empty() {
        return Ok((None, coming));
    }
    let action = if tally.writes() { "restore" } else { "leave" };
    let subject = format!("{}: {}", group.title(), tally.text());
    let mut step = Step::new(group.name(), group.phase(), action, subject)
        .saw(tally.saw())
        .arguments(to_value(&Work::Objects { group, kinds, refused })?);
    step.diff = lines.text();
    Ok((Some(step), coming))
}

struct Look<'g, 'a> {
    ground: &'g Ground<'a>,
    found: &'g mut Found,
    group: Group,
    tally: Tally,
    lines: Lines,
    refused: BTreeSet<String>,
    coming: BTreeSet<String>,
    tried: u64,
}

impl Look<'_, '_> {
    async fn kind(&mut self, kind: &ResourceKind) -> Result<()> {
        let ground = self.ground;
        let there = ground.there(kind).await?;
        let mut items = std::pin::pin!(ground.look(kind, &there).await?);
        let mut number = 0;
        while let Some(item) = items.try_next().await? {
            match item {
                Item::Unchosen => {}
                Item::Left { key, why } => self.found.notes.left(kind, &key, why),
                Item::Seen(seen) => self.seen(kind, number, *seen).await?,
            }
            number += 1;
        }
        Ok(())
    }

    async fn seen(&mut self, kind: &ResourceKind, number: u64, mut seen: Seen) -> Result<()> {
        if self.group == Group::Definitions && seen.decision.writes() {
            self.coming.insert(seen.wanted.name().to_owned());
        }
        // Before the try: a step looks again without it.
        self.tally.add(kind, number, &seen);
        // Only updates are tried: they may touch fields that never change.
        if seen.decision == Decision::Update && self.tried < TRIED {
            self.tried += 1;
            if let Some(why) = dry_run::refusal(self.ground, kind, &seen).await? {
                self.refused.insert(format!("{} {}", kind.resource(), seen.wanted.key));
                seen.decision = Decision::Conflict(why);
            }
        }
        if matches!(self.group, Group::Claims | Group::Workloads) {
            let stopped = seen.live.as_ref().is_some_and(|live| live.stopped);
            if stopped || matches!(seen.decision, Decision::Create | Decision::Replace) {
                self.found.makes.insert(format!("{} {}", kind.kind, seen.wanted.key));
            }
        }
        match seen.decision {
            Decision::Conflict(_) => self.found.conflicts += 1,
            Decision::Replace | Decision::Update => {
                self.found.loses.extend(self.found.notes.overwritten(kind, &seen));
            }
            _ => {}
        }
        self.found.notes.seen(&self.ground.wish.mapping, kind, &seen);
        self.lines.add(kind, &seen);
        Ok(())
    }
}

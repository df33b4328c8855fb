//! What the namespaces lean on, from the cluster at large: first the kinds that look into namespaces, then what is named, then
//! what that names, until nothing new is named.

use std::collections::{BTreeMap, BTreeSet};

use backup_core::words::Result;
use bytes::Bytes;
use futures::{FutureExt, StreamExt, TryStreamExt};

use super::{
    gather::{Ask, Kinds, Reads, SIDE_BY_SIDE},
    head::Head,
    lean::{Leaning, looks_into_namespaces},
    reader::{Outcome, Take},
    refs::Named,
};
use crate::{cluster::ResourceKind, list::Wanted};

/// What has been looked for, and what was found.
#[derive(Default)]
struct Progress {
    rounds: usize,
    asked: Named,
    roles: usize,
    policies: usize,
    /// By kind, names of what was taken.
    taken: BTreeMap<String, BTreeSet<String>>,
    /// Kinds that the server refuses.
    refused: BTreeSet<String>,
}

impl Progress {
    /// Whether a kind has to be listed in this round.
    fn is_due(&self, kind: &ResourceKind, leaning: &Leaning) -> bool {
        let new_names = leaning.named.iter().any(|named| named.0 == kind.kind && !self.asked.contains(named));
        !self.refused.contains(&kind.resource())
            && ((self.rounds == 0 && looks_into_namespaces(kind))
                || new_names
                || (kind.kind == "ClusterRole" && leaning.roles.len() > self.roles)
                || (kind.kind.ends_with("PolicyBinding") && leaning.policies.len() > self.policies))
    }
}

pub(super) async fn read(
    ask: Ask<'_>,
    kinds: &Kinds,
    leaning: &mut Leaning,
    reads: &mut Reads,
) -> Result<()> {
    let (excluded, wide): (Vec<_>, Vec<_>) =
        kinds.wide.iter().partition(|kind| ask.choice.excludes_kind(kind));
    for kind in excluded {
        reads.report.left_out(kind.resource(), "excluded by the configuration");
    }
    let mut progress = Progress::default();
    loop {
        let due: Vec<&ResourceKind> =
            wide.iter().copied().filter(|kind| progress.is_due(kind, leaning)).collect();
        if due.is_empty() {
            return Ok(());
        }
        let of_round = leaning.named.iter().filter(|named| due.iter().any(|kind| kind.kind == named.0));
        progress.asked.extend(of_round.cloned());
        (progress.roles, progress.policies) = (leaning.roles.len(), leaning.policies.len());
        progress.rounds += 1;
        let done = read_round(ask, kinds, leaning, &progress.taken, due).await?;
        for (kind, outcome, found) in done {
            reads.report.excluded(kind, found.excluded);
            if outcome.error.is_some() {
                progress.refused.insert(kind.resource());
            }
            progress.taken.entry(kind.resource()).or_default().extend(found.names);
            leaning.named.extend(found.leaning.named);
            leaning.roles.extend(found.leaning.roles);
            leaning.policies.extend(found.leaning.policies);
            reads.add(kind, None, outcome, kinds.definitions.shares_version(kind));
        }
    }
}

async fn read_round<'a>(
    ask: Ask<'_>,
    kinds: &Kinds,
    leaning: &Leaning,
    taken: &BTreeMap<String, BTreeSet<String>>,
    due: Vec<&'a ResourceKind>,
) -> Result<Vec<(&'a ResourceKind, Outcome, Found)>> {
    let none = BTreeSet::new();
    let mut jobs = Vec::new();
    for kind in due {
        let had = taken.get(&kind.resource()).unwrap_or(&none);
        jobs.push(read_kind(kind, Wide { ask, kinds, kind, leaning, had, found: Found::default() }).boxed());
    }
    futures::stream::iter(jobs).buffered(SIDE_BY_SIDE).try_collect().await
}

async fn read_kind<'a>(
    kind: &'a ResourceKind,
    mut taker: Wide<'_>,
) -> Result<(&'a ResourceKind, Outcome, Found)> {
    let reader = taker.ask.reader;
    let pinned = taker.kinds.definitions.shares_version(kind);
    let outcome = reader.read(Wanted::all(kind), pinned, &mut taker).await?;
    Ok((kind, outcome, taker.found))
}

/// Objects of one kind of the cluster at large.
struct Wide<'a> {
    ask: Ask<'a>,
    kinds: &'a Kinds,
    kind: &'a ResourceKind,
    leaning: &'a Leaning,
    /// Those that earlier rounds took.
    had: &'a BTreeSet<String>,
    found: Found,
}

#[derive(Default)]
struct Found {
    leaning: Leaning,
    names: Vec<String>,
    excluded: u64,
}

impl Take for Wide<'_> {
    fn take(&mut self, object: &Bytes) -> Result<bool> {
        let head = Head::read(object)?;
        let name = &*head.metadata.name;
        if self.had.contains(name) || !self.leaning.wants(self.kind, &head, object)? {
            return Ok(false);
        }
        self.found.names.push(name.to_owned());
        if self.ask.choice.excludes(self.kind, name, &head.labels()) {
            self.found.excluded += 1;
            return Ok(false);
        }
        let of_interest = |kind: &str| self.kinds.is_wide(kind);
        self.found.leaning.took(self.kind, &head, object, &of_interest)?;
        Ok(true)
    }

    fn anew(&mut self) {
        self.found = Found::default();
    }
}

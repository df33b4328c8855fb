//! All that is exported, from the lists into the scratch file.

use std::{collections::BTreeSet, ops::Range};

use backup_core::words::{Error, ErrorKind, Result};
use bytes::Bytes;
use futures::{FutureExt, StreamExt, TryStreamExt};

use super::{
    crds::Definitions,
    head::Head,
    lean::{Leaning, may_be_leant_on, not_json},
    reader::{Outcome, Reader, Take},
    refs::{self, Named},
    report::Report,
    spool::Place,
    wide,
};
use crate::{
    cluster::{Cluster, ResourceKind},
    discover::{Discovery, discover},
    filter::{Choice, Labels},
    list::Wanted,
    order::rank,
};

/// How many lists are read at once.
pub(super) const SIDE_BY_SIDE: usize = 6;

/// What is exported of a kind.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) kind: ResourceKind,
    pub(super) places: Vec<Place>,
    /// The resource version that it was read at, when its server says one.
    pub(super) version: Option<String>,
}

/// All that is exported.
#[derive(Debug)]
pub(super) struct Gathered {
    /// In the order of a restore. Kinds without objects are in it, too.
    pub(super) reads: Vec<Read>,
    pub(super) report: Report,
}

/// Some objects of a kind.
#[derive(Debug)]
pub(super) struct Batch {
    /// Which of the reads.
    pub(super) read: usize,
    /// Which of its places.
    pub(super) places: Range<usize>,
}

impl Gathered {
    /// All objects in pieces of about `bytes`, none of two kinds.
    pub(super) fn batches(&self, bytes: usize) -> Vec<Batch> {
        let mut batches = Vec::new();
        for (read, all) in self.reads.iter().enumerate() {
            let (mut start, mut size) = (0, 0);
            for (number, place) in all.places.iter().enumerate() {
                if number > start && size + place.length() > bytes {
                    batches.push(Batch { read, places: start..number });
                    (start, size) = (number, 0);
                }
                size += place.length();
            }
            if start < all.places.len() {
                batches.push(Batch { read, places: start..all.places.len() });
            }
        }
        batches
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) namespaces: &'a BTreeSet<String>,
    pub(super) choice: &'a Choice,
    pub(super) reader: Reader<'a>,
}

/// The cluster's kinds.
#[derive(Debug)]
pub(super) struct Kinds {
    pub(super) definitions: Definitions,
    /// With objects in namespaces.
    inside: Vec<ResourceKind>,
    /// Of the cluster at large.
    pub(super) wide: Vec<ResourceKind>,
}

impl Kinds {
    async fn of(ask: Ask<'_>, discovery: &Discovery) -> Result<Self> {
        let definitions = Definitions::read(&ask.reader, discovery, ask.choice).await?;
        let (mut inside, mut wide) = (Vec::new(), Vec::new());
        for kind in &discovery.kinds {
            let stored = definitions.as_stored(kind);
            if kind.namespaced {
                inside.push(stored);
            } else if may_be_leant_on(kind) {
                wide.push(stored);
            }
        }
        Ok(Self { definitions, inside, wide })
    }

    /// Whether a name of this kind may be one of the cluster at large.
    pub(super) fn is_wide(&self, kind: &str) -> bool {
        self.wide.iter().any(|wide| wide.kind == kind)
    }
}

/// What was read so far.
#[derive(Debug)]
pub(super) struct Reads {
    reads: Vec<Read>,
    pub(super) report: Report,
}

impl Reads {
    /// The kinds that there are objects of.
    pub(super) fn present(&self) -> Vec<&ResourceKind> {
        self.reads.iter().filter(|read| !read.places.is_empty()).map(|read| &read.kind).collect()
    }

    /// Adds a list's outcome. `place` is the namespace; `pinned` says whether it was asked for at the pinned version.
    pub(super) fn add(&mut self, kind: &ResourceKind, place: Option<&str>, outcome: Outcome, pinned: bool) {
        self.report.outcome(kind, place, &outcome, pinned);
        let Outcome { mut places, ended, .. } = outcome;
        match self.reads.iter_mut().find(|read| read.kind == *kind) {
            Some(read) => {
                read.places.append(&mut places);
                // One of several lists that had to be of another version is enough to say so.
                if ended.version.as_deref().is_some_and(|version| !self.report.is_pinned(version)) {
                    read.version = ended.version;
                }
            }
            None => self.reads.push(Read { kind: kind.clone(), places, version: ended.version }),
        }
    }
}

/// Reads all of it.
pub(super) async fn gather(ask: Ask<'_>) -> Result<Gathered> {
    let discovery = discover(ask.cluster).await?;
    let mut reads = Reads { reads: Vec::new(), report: Report::new(ask.reader.version) };
    reads.report.discovered(&discovery, ask.choice);
    let kinds = Kinds::of(ask, &discovery).await?;
    let mut leaning = read_namespaces(ask, &discovery, &mut reads).await?;
    read_inside(ask, &kinds, &mut leaning, &mut reads).await?;
    wide::read(ask, &kinds, &mut leaning, &mut reads).await?;
    kinds.definitions.add_to(&mut reads, ask.namespaces);
    let Reads { mut reads, mut report } = reads;
    if report.lists == 0 {
        return Err(report.nothing());
    }
    report.end();
    reads.sort_by_cached_key(|read| (rank(&read.kind.group, &read.kind.kind), read.kind.resource()));
    Ok(Gathered { reads, report })
}

/// The namespaces themselves.
async fn read_namespaces(ask: Ask<'_>, discovery: &Discovery, reads: &mut Reads) -> Result<Leaning> {
    let kind = discovery.find("", "namespaces").ok_or_else(|| {
        Error::new(ErrorKind::Unsupported, "export from", ask.cluster.server())
            .detail("it serves no namespaces")
    })?;
    let mut taker = Namespaces { choice: ask.choice, kind, labels: Vec::new(), excluded: 0 };
    for namespace in ask.namespaces {
        let outcome = ask.reader.read(Wanted::all(kind).name(namespace), true, &mut taker).await?;
        reads.add(kind, Some(namespace), outcome, true);
    }
    reads.report.excluded(kind, taker.excluded);
    Ok(Leaning {
        namespaces: ask.namespaces.clone(),
        labels: taker.labels,
        all: ask.choice.includes_all(),
        ..Leaning::default()
    })
}

struct Namespaces<'a> {
    choice: &'a Choice,
    kind: &'a ResourceKind,
    labels: Vec<Labels>,
    excluded: u64,
}

impl Take for Namespaces<'_> {
    fn take(&mut self, object: &Bytes) -> Result<bool> {
        let head = Head::read(object)?;
        self.labels.push(head.labels().into_owned());
        // What is chosen needs its namespace, whatever `include` says.
        let excluded = self.choice.excludes(self.kind, &head.metadata.name, &head.labels());
        self.excluded += u64::from(excluded);
        Ok(!excluded)
    }

    fn anew(&mut self) {
        // It is a list of one.
    }
}

/// The objects of the namespaces, several lists side by side.
async fn read_inside(ask: Ask<'_>, kinds: &Kinds, leaning: &mut Leaning, reads: &mut Reads) -> Result<()> {
    let chosen: Vec<_> = kinds.inside.iter().filter(|kind| reads.report.takes(kind, ask.choice)).collect();
    let mut jobs = Vec::new();
    for kind in chosen {
        for namespace in ask.namespaces {
            jobs.push(read_one(ask, kinds, kind, namespace, jobs.len()).boxed());
        }
    }
    let done = futures::stream::iter(jobs).buffer_unordered(SIDE_BY_SIDE);
    let mut done: Vec<_> = done.try_collect().await?;
    done.sort_by_key(|(number, ..)| *number);
    for (_, kind, namespace, pinned, outcome, found) in done {
        reads.report.excluded(kind, found.excluded);
        leaning.named.extend(found.named);
        let place = |name: String| (namespace.to_owned(), name);
        leaning.accounts.extend(found.accounts.into_iter().map(place));
        leaning.services.extend(found.services.into_iter().map(place));
        reads.add(kind, Some(namespace), outcome, pinned);
    }
    Ok(())
}

/// A list's number among all, what it is of, and what came of it.
type Done<'a> = (usize, &'a ResourceKind, &'a str, bool, Outcome, Found);

async fn read_one<'a>(
    ask: Ask<'a>,
    kinds: &'a Kinds,
    kind: &'a ResourceKind,
    namespace: &'a str,
    number: usize,
) -> Result<Done<'a>> {
    let mut taker = Inside { ask, kinds, kind, found: Found::default() };
    let pinned = kinds.definitions.shares_version(kind);
    let wanted = Wanted::all(kind).namespace(Some(namespace));
    let outcome = ask.reader.read(wanted, pinned, &mut taker).await?;
    Ok((number, kind, namespace, pinned, outcome, taker.found))
}

/// Objects of one kind in one namespace.
struct Inside<'a> {
    ask: Ask<'a>,
    kinds: &'a Kinds,
    kind: &'a ResourceKind,
    found: Found,
}

#[derive(Default)]
struct Found {
    named: Named,
    accounts: BTreeSet<String>,
    services: BTreeSet<String>,
    excluded: u64,
}

impl Take for Inside<'_> {
    fn take(&mut self, object: &Bytes) -> Result<bool> {
        let choice = self.ask.choice;
        let core = if self.kind.group.is_empty() { self.kind.kind.as_str() } else { "" };
        if choice.looks_at_objects()
            || (!choice.includes_all() && matches!(core, "ServiceAccount" | "Service"))
        {
            let head = Head::read(object)?;
            let name = &head.metadata.name;
            if !choice.takes(self.kind, name, &head.labels()) {
                self.found.excluded += 1;
                return Ok(false);
            }
            match core {
                "ServiceAccount" => drop(self.found.accounts.insert(name.to_string())),
                "Service" => drop(self.found.services.insert(name.to_string())),
                _ => {}
            }
        }
        // Payload names nothing.
        if !matches!(core, "Secret" | "ConfigMap") {
            let of_interest = |kind: &str| self.kinds.is_wide(kind);
            refs::gather(object, &of_interest, &mut self.found.named).map_err(|e| not_json(self.kind, e))?;
        }
        Ok(true)
    }

    fn anew(&mut self) {
        self.found = Found::default();
    }
}

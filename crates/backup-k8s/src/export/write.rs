//! From the scratch file into the artifacts, in the order of a restore.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use backup_core::{
    traits::{ArtifactSpec, EndEvidence, Receipt, Sink, Writer},
    words::{Error, ErrorKind, Result},
};
use bytes::Bytes;

use super::{
    gather::{Gathered, Read},
    spool::Spool,
    tidy::{self, Tidied},
};
use crate::cluster::ResourceKind;

/// How much of objects is worked on at once.
const BATCH: usize = 512 << 10;
/// How many batches are worked on side by side.
const SIDE_BY_SIDE: usize = 2;

/// How many objects a warning names.
const FEW: usize = 5;

/// What was written.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) receipts: Vec<Receipt>,
    pub(super) objects: u64,
    /// Documents by file: `crds`, `config`.
    pub(super) documents: BTreeMap<&'static str, u64>,
    /// By kind and reason, how many objects are in no document.
    pub(super) left_out: BTreeMap<(String, String), u64>,
    /// A few objects that kubectl does not apply as they are, and how many there are.
    pub(super) fragile: Vec<String>,
    pub(super) fragile_count: usize,
}

/// Writes the artifacts. `heading` stands at the top of the documents.
pub(super) async fn write(
    sink: &dyn Sink,
    spool: &Spool,
    gathered: &Gathered,
    heading: &str,
) -> Result<Written> {
    let objects =
        File::begin(sink, ArtifactSpec::new("jsonl", "application/x-ndjson").suffix("objects")).await?;
    let mut files = Files { sink, heading, objects, crds: None, config: None, written: Written::default() };
    match files.write_all(spool, gathered).await {
        Ok(()) => files.finish(gathered).await,
        Err(error) => {
            files.abort().await;
            Err(error)
        }
    }
}

/// An artifact in the making.
struct File {
    writer: Box<dyn Writer>,
    bytes: u64,
}

impl File {
    async fn begin(sink: &dyn Sink, spec: ArtifactSpec) -> Result<Self> {
        Ok(Self { writer: sink.create(spec).await?, bytes: 0 })
    }

    async fn add(&mut self, bytes: impl Into<Bytes>) -> Result<()> {
        let bytes = bytes.into();
        self.bytes += bytes.len() as u64;
        self.writer.write(bytes).await
    }
}

struct Files<'a> {
    sink: &'a dyn Sink,
    heading: &'a str,
    objects: File,
    crds: Option<File>,
    config: Option<File>,
    written: Written,
}

impl Files<'_> {
    async fn write_all(&mut self, spool: &Spool, gathered: &Gathered) -> Result<()> {
        let volumes = Arc::new(volumes(spool, gathered).await?);
        let mut batches = gathered.batches(BATCH).into_iter();
        let mut running = VecDeque::new();
        loop {
            while running.len() < SIDE_BY_SIDE
                && let Some(batch) = batches.next()
            {
                let read = &gathered.reads[batch.read];
                let (kind, places) = (read.kind.clone(), read.places[batch.places.clone()].to_vec());
                let (spool, volumes) = (spool.clone(), volumes.clone());
                let work = tokio::task::spawn_blocking(move || tidy::tidy(&spool, &kind, &places, &volumes));
                running.push_back((batch, work));
            }
            let Some((batch, work)) = running.pop_front() else { return Ok(()) };
            let tidied = joined(work.await)?;
            let kind = &gathered.reads[batch.read].kind;
            if batch.places.start == 0 {
                self.objects.writer.part(&kind.resource()).await?;
            }
            self.written.objects += batch.places.len() as u64;
            self.add(kind, tidied).await?;
        }
    }

    async fn add(&mut self, kind: &ResourceKind, tidied: Tidied) -> Result<()> {
        let Tidied { lines, documents, count, left_out, fragile } = tidied;
        self.written.fragile_count += fragile.len();
        let few = fragile.iter().take(FEW.saturating_sub(self.written.fragile.len()));
        self.written.fragile.extend(few.map(|name| format!("{} {name}", kind.kind)));
        for (why, objects) in left_out {
            *self.written.left_out.entry((kind.resource(), why)).or_default() += objects;
        }
        if count == 0 {
            return self.objects.add(lines).await;
        }
        let is_crd = kind.group == "apiextensions.k8s.io";
        let (name, file) = if is_crd { ("crds", &mut self.crds) } else { ("config", &mut self.config) };
        *self.written.documents.entry(name).or_default() += count;
        let file = match file {
            Some(file) => file,
            None => {
                let spec = ArtifactSpec::new("yaml", "application/yaml").suffix(name);
                let file = file.insert(File::begin(self.sink, spec).await?);
                file.add(self.heading.to_owned()).await?;
                file
            }
        };
        futures::try_join!(self.objects.add(lines), file.add(documents))?;
        Ok(())
    }

    async fn finish(self, gathered: &Gathered) -> Result<Written> {
        let mut written = self.written;
        let (lists, announced) = (gathered.report.lists, gathered.report.announced);
        let evidence = EndEvidence::new(format!("the API server ended each of {lists} lists"))
            .and(format!("as many objects came of its longer lists as it had announced: {announced}"))
            .and(format!("{} objects were written", written.objects))
            .bytes(self.objects.bytes);
        written.receipts.push(self.objects.writer.finish(evidence).await?);
        for (name, file) in [("crds", self.crds), ("config", self.config)] {
            let Some(file) = file else { continue };
            let count = written.documents.get(name).copied().unwrap_or_default();
            let evidence = EndEvidence::new(format!("{count} documents, each made of one of the objects"))
                .bytes(file.bytes);
            written.receipts.push(file.writer.finish(evidence).await?);
        }
        Ok(written)
    }

    async fn abort(self) {
        for file in [Some(self.objects), self.crds, self.config].into_iter().flatten() {
            file.writer.abort().await;
        }
    }
}

/// Names of the volumes that come back.
async fn volumes(spool: &Spool, gathered: &Gathered) -> Result<BTreeSet<String>> {
    let is_volume = |read: &&Read| read.kind.group.is_empty() && read.kind.kind == "PersistentVolume";
    let Some(read) = gathered.reads.iter().find(is_volume) else { return Ok(BTreeSet::new()) };
    let (spool, kind, places) = (spool.clone(), read.kind.clone(), read.places.clone());
    joined(tokio::task::spawn_blocking(move || tidy::volumes(&spool, &kind, &places)).await)
}

fn joined<T>(done: Result<Result<T>, tokio::task::JoinError>) -> Result<T> {
    done.unwrap_or_else(
        |e| Err(Error::new(ErrorKind::Internal, "work on", "the exported objects").because(e)),
    )
}

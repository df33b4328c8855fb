//! A sink and a source in memory, a journal, and folders to capture.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use serde_json::Value;

use crate::{
    components::files::{Files, FilesConfig, KIND},
    traits::{
        ArtifactSpec, ByteStream, CaptureAsk, Captured, Component, Context, EndEvidence, Journal, Plan,
        Receipt, Restored, Selection, Sink, Source, Step, Writer,
    },
    words::{Artifact, Codec, ComponentRecord, ComponentStatus, Digest, Error, ErrorKind, Result, SessionId},
};

/// What a sink does when the first chunk comes.
pub(super) type OnFirst = Arc<dyn Fn() -> Result<()> + Send + Sync>;

/// Keeps one artifact.
#[derive(Clone, Default)]
pub(super) struct MemorySink {
    pub(super) bytes: Arc<Mutex<Vec<u8>>>,
    pub(super) on_first: Option<OnFirst>,
    pub(super) aborted: Arc<AtomicBool>,
}

struct MemoryWriter {
    sink: MemorySink,
    spec: ArtifactSpec,
}

#[async_trait]
impl Sink for MemorySink {
    async fn create(&self, spec: ArtifactSpec) -> Result<Box<dyn Writer>> {
        Ok(Box::new(MemoryWriter { sink: self.clone(), spec }))
    }
}

#[async_trait]
impl Writer for MemoryWriter {
    async fn write(&mut self, chunk: Bytes) -> Result<()> {
        if let Some(on_first) = self.sink.on_first.take() {
            on_first()?;
        }
        self.sink.bytes.lock().unwrap().extend_from_slice(&chunk);
        Ok(())
    }

    async fn part(&mut self, _: &str) -> Result<()> {
        Err(Error::new(ErrorKind::Unsupported, "begin a part of", "the artifact"))
    }

    async fn finish(self: Box<Self>, end: EndEvidence) -> Result<Receipt> {
        let bytes = self.sink.bytes.lock().unwrap();
        assert_eq!(end.bytes, Some(bytes.len() as u64), "the evidence says how many bytes there are");
        let artifact = Artifact {
            name: format!("files_backup_20260101_020000.{}", self.spec.name.extension),
            suffix: self.spec.name.suffix,
            media_type: self.spec.media_type,
            plain: Digest::of(&bytes),
            codec: Codec::None,
            recipients: Vec::new(),
            volumes: Vec::new(),
            parts: Vec::new(),
            needs: Vec::new(),
            evidence: end.claims,
        };
        Ok(Receipt { artifact })
    }

    async fn abort(self: Box<Self>) {
        self.sink.aborted.store(true, Ordering::SeqCst);
    }
}

/// One component of a session in memory.
#[derive(Clone, Debug)]
pub(super) struct MemorySource {
    pub(super) record: ComponentRecord,
    pub(super) bytes: Vec<u8>,
    /// Where the stream breaks off with an error, as one with a wrong hash does at its end.
    pub(super) breaks_at: Option<usize>,
}

#[async_trait]
impl Source for MemorySource {
    fn record(&self) -> &ComponentRecord {
        &self.record
    }

    async fn read(&self, _: &Artifact, _: Selection<'_>) -> Result<ByteStream> {
        let end = self.breaks_at.unwrap_or(self.bytes.len());
        let chunks: Vec<Result<Bytes>> =
            self.bytes[..end].chunks(10_000).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
        let broken = self.breaks_at.map(|_| Err(Error::new(ErrorKind::Corrupt, "read", "volume 1")));
        Ok(futures::stream::iter(chunks.into_iter().chain(broken)).boxed())
    }
}

/// Remembers what a step recorded.
#[derive(Debug, Default)]
pub(super) struct MemoryJournal {
    values: Mutex<BTreeMap<String, Value>>,
}

#[async_trait]
impl Journal for MemoryJournal {
    async fn record(&self, name: &str, value: Value) -> Result<()> {
        self.values.lock().unwrap().insert(name.to_owned(), value);
        Ok(())
    }

    fn recall(&self, name: &str) -> Option<Value> {
        self.values.lock().unwrap().get(name).cloned()
    }

    fn recall_from(&self, _: &str, _: &str) -> Option<Value> {
        None
    }
}

/// Captures as `config` says.
pub(super) async fn capture_into(cx: &Context, config: FilesConfig, sink: &MemorySink) -> Result<Captured> {
    let session: SessionId = "backup_20260101_020000".parse().unwrap();
    let capture = Files::new(config)?.open(cx, &CaptureAsk::new(session)).await?;
    capture.run(cx, sink).await
}

/// Captures as `config` says, and hands back what was captured as a source.
pub(super) async fn capture(config: FilesConfig) -> (Captured, MemorySource) {
    capture_and(config, None).await
}

/// The same, with something done when the first chunk has come.
pub(super) async fn capture_and(config: FilesConfig, on_first: Option<OnFirst>) -> (Captured, MemorySource) {
    let sink = MemorySink { on_first, ..MemorySink::default() };
    let captured = capture_into(&Context::new(), config, &sink).await.unwrap();
    let record = ComponentRecord {
        name: KIND.to_owned(),
        kind: crate::words::Kind { name: KIND.to_owned(), format: 1 },
        status: ComponentStatus::Success,
        point: Some(captured.point.clone()),
        facts: captured.facts.clone(),
        duration_seconds: 0.0,
        errors: Vec::new(),
        warnings: captured.warnings.clone(),
        coverage: captured.coverage.clone(),
        artifacts: captured.keep.iter().map(|receipt| receipt.artifact().clone()).collect(),
    };
    let bytes = sink.bytes.lock().unwrap().clone();
    (captured, MemorySource { record, bytes, breaks_at: None })
}

/// Applies all steps of a plan, each with a journal of its own.
pub(super) async fn apply_all(files: &Files, plan: &Plan, from: &MemorySource) -> Result<Vec<String>> {
    let mut said = Vec::new();
    for step in &plan.steps {
        said.extend(notes(apply_step(files, plan, step, from, &MemoryJournal::default()).await?));
    }
    Ok(said)
}

pub(super) async fn apply_step(
    files: &Files,
    plan: &Plan,
    step: &Step,
    from: &MemorySource,
    journal: &MemoryJournal,
) -> Result<Restored> {
    files.apply(&Context::new(), plan, step, from, journal).await
}

fn notes(restored: Restored) -> Vec<String> {
    match restored {
        Restored::Done { notes, .. } => notes,
        Restored::Waiting { instructions } => panic!("nobody has to do anything: {instructions:?}"),
    }
}

/// An empty folder, gone after the test.
pub(super) fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// Runs a program that must succeed, and hands back what it printed.
pub(super) fn run(program: &str, arguments: &[&str], within: &Path) -> String {
    let output = std::process::Command::new(program).args(arguments).current_dir(within).output();
    let output =
        output.unwrap_or_else(|e| panic!("{program}: {e}; `cargo xtask setup` installs what tests need"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {errors}");
    assert!(errors.is_empty(), "{program} {arguments:?}: {errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(super) fn only_child(folder: &Path, starts: &str) -> PathBuf {
    let children = std::fs::read_dir(folder).unwrap().map(|child| child.unwrap().path());
    let mut fitting = children.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with(starts));
    let child = fitting.next().unwrap_or_else(|| panic!("nothing begins with {starts}"));
    assert!(fitting.next().is_none());
    child
}

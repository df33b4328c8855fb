//! From the stream to the artifact: checked by its hash, then opened and counted.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use backup_core::{
    traits::{ArtifactSpec, Capture, Captured, Context, EndEvidence, Sink, Writer},
    words::{Count, Error, ErrorKind, Point, Position, Result, Retry, Span},
};
use bytes::{Bytes, BytesMut};
use tokio::io::AsyncWriteExt;

use super::fetch;
use crate::{
    inspect::Inventory,
    live::{MemberStatus, SnapshotStream},
    snapshot::{Checked, TRAILER, TrailerCheck},
};

/// etcd's messages of 32 KiB are joined to pieces of this size.
const PIECE: usize = 1 << 20;

/// What a snapshot is called.
pub(super) const MEDIA_TYPE: &str = "application/vnd.etcd.snapshot";

/// A pinned snapshot.
#[derive(Debug)]
pub(super) struct EtcdCapture {
    pub(super) stream: SnapshotStream,
    pub(super) member: MemberStatus,
    pub(super) pinned: Span,
    pub(super) warnings: Vec<String>,
    pub(super) namespace: String,
    pub(super) failed: Arc<Mutex<BTreeSet<String>>>,
}

#[async_trait]
impl Capture for EtcdCapture {
    async fn run(mut self: Box<Self>, cx: &Context, sink: &dyn Sink) -> Result<Captured> {
        let expected = self.stream.db_bytes() + TRAILER as u64;
        let spec = ArtifactSpec::new("db", MEDIA_TYPE).expected(expected);
        let mut writer = sink.create(spec).await?;
        let (checked, mut inventory) = match self.stream_and_open(cx, writer.as_mut()).await {
            Ok(done) => done,
            Err(error) => {
                writer.abort().await;
                return Err(error);
            }
        };
        let evidence =
            EndEvidence::new(format!("etcd's SHA-256 at the end of the stream agrees: {}", checked.sha256))
                .and(format!("opened offline: {} keys at revision {}", inventory.keys, inventory.revision))
                .bytes(expected);
        let receipt = writer.finish(evidence).await?;
        self.add_client_urls(&mut inventory).await;
        let cluster_id = format!("{:x}", self.member.cluster_id);
        let position = Position { lineage: cluster_id.clone(), at: inventory.revision, label: None };
        let mut captured = Captured::new(Point::pinned(self.pinned).at(position), vec![receipt])
            .fact("server_version", self.member.version.clone())
            .fact("cluster_id", cluster_id)
            .fact("endpoint", self.member.endpoint.clone())
            .fact("leader", self.member.is_leader)
            .fact("snapshot_sha256", checked.sha256);
        captured.facts.extend(inventory_facts(&inventory)?);
        captured.warnings.append(&mut self.warnings);
        // The members' statuses may not have told what the database holds.
        for alarm in &inventory.alarms {
            if !captured.warnings.iter().any(|warning| warning.contains(alarm.as_str())) {
                captured.warnings.push(format!("etcd has raised the alarm {alarm}"));
            }
        }
        Ok(captured)
    }
}

/// Keys in all and under each prefix, read from a manifest.
pub(super) fn counts(facts: &BTreeMap<String, serde_json::Value>) -> Vec<Count> {
    let prefixes = facts.get("prefixes").and_then(serde_json::Value::as_object).into_iter().flatten();
    let keys = prefixes.filter_map(|(prefix, keys)| Some(Count::of("keys", prefix, keys.as_u64()?)));
    Count::usual(facts).into_iter().chain(keys).collect()
}

fn inventory_facts(inventory: &Inventory) -> Result<serde_json::Map<String, serde_json::Value>> {
    match serde_json::to_value(inventory) {
        Ok(serde_json::Value::Object(facts)) => Ok(facts),
        other => Err(Error::new(ErrorKind::Internal, "write down", "the facts of a snapshot")
            .detail(format!("{other:?}"))),
    }
}

impl EtcdCapture {
    /// Streams into `writer` and a scratch file, compares the hash, and opens the file. What goes wrong with this member may
    /// go well with another.
    async fn stream_and_open(
        &mut self,
        cx: &Context,
        writer: &mut dyn Writer,
    ) -> Result<(Checked, Inventory)> {
        let mut scratch = tokio::fs::File::from_std(cx.scratch.file()?);
        let subject = format!("snapshot of {}", self.stream.endpoint());
        let mut check = TrailerCheck::new();
        while let Some(piece) = self.next_piece().await? {
            check.update(&piece);
            scratch.write_all(&piece).await.map_err(|e| Error::io("write", "a temporary file", e))?;
            writer.write(piece).await?;
        }
        scratch.flush().await.map_err(|e| Error::io("write", "a temporary file", e))?;
        let checked = check.finish(&subject).map_err(|error| self.give_up_on_member(error))?;
        let file = scratch.into_std().await;
        let inventory = fetch::inspect(cx, file, checked.db_bytes, subject, self.namespace.clone())
            .await
            .map_err(|error| self.give_up_on_member(error))?;
        Ok((checked, inventory))
    }

    /// For the commands that start a restored member. They have a default where the members cannot be asked.
    async fn add_client_urls(&mut self, inventory: &mut Inventory) {
        if inventory.members.iter().all(|member| !member.client_urls.is_empty()) {
            return;
        }
        match self.stream.client_urls().await {
            Ok(mut urls) => {
                for member in inventory.members.iter_mut().filter(|member| member.client_urls.is_empty()) {
                    member.client_urls = urls.remove(&member.id).unwrap_or_default();
                }
            }
            Err(error) => tracing::info!(error = %error.chain(), "the members' client URLs stay unknown"),
        }
    }

    async fn next_piece(&mut self) -> Result<Option<Bytes>> {
        let mut piece = BytesMut::with_capacity(PIECE);
        while piece.len() < PIECE {
            match self.stream.next().await {
                Ok(Some(bytes)) => piece.extend_from_slice(&bytes),
                Ok(None) => break,
                Err(error) => return Err(self.give_up_on_member(error)),
            }
        }
        Ok((!piece.is_empty()).then(|| piece.freeze()))
    }

    /// Another attempt takes another member, if there is one.
    fn give_up_on_member(&self, error: Error) -> Error {
        if error.kind() == ErrorKind::Cancelled {
            return error;
        }
        let endpoint = self.stream.endpoint().to_owned();
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).insert(endpoint);
        error.retry(Retry::Reopen)
    }
}

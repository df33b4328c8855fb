//! A member's snapshot as a stream.
//!
//! Source: etcd `api/etcdserverpb/rpc.proto`, `server/etcdserver/api/v3rpc/maintenance.go`. The member pins its database when
//! the call comes, and sends it in pieces, each with how many bytes are left; after the last one comes its SHA-256.

use std::{collections::BTreeMap, time::Duration};

use backup_core::words::{Error, ErrorKind, Result};
use bytes::Bytes;
use etcd_client::{Client, SnapshotStreaming};

use super::{Connector, errors};
use crate::snapshot::TRAILER;

/// A snapshot whose point is pinned.
pub(crate) struct SnapshotStream {
    endpoint: String,
    stream: SnapshotStreaming,
    timeout: Duration,
    /// The first piece: it came when the point was pinned.
    first: Option<Bytes>,
    db_bytes: u64,
    received: u64,
    client: Client,
}

impl std::fmt::Debug for SnapshotStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SnapshotStream")
            .field("endpoint", &self.endpoint)
            .field("db_bytes", &self.db_bytes)
            .finish()
    }
}

const OPERATION: &str = "take a snapshot of";
/// The list needs a quorum; a backup does not.
const LIST_TIMEOUT: Duration = Duration::from_secs(5);

impl SnapshotStream {
    /// Pins a snapshot of the member at `endpoint`: returns when its first piece has come.
    pub(crate) async fn open(connector: &Connector, endpoint: &str) -> Result<Self> {
        let mut client = connector.connect(endpoint).await?;
        let stream = connector
            .in_time(OPERATION, endpoint, client.snapshot())
            .await?
            .map_err(|e| errors::error(OPERATION, endpoint, &e))?;
        let mut snapshot = Self {
            endpoint: endpoint.to_owned(),
            stream,
            timeout: connector.message_timeout(),
            first: None,
            db_bytes: 0,
            received: 0,
            client,
        };
        let Some((first, remaining)) = snapshot.receive().await? else {
            return Err(snapshot.cut("it ended before it began"));
        };
        snapshot.db_bytes = remaining + first.len() as u64;
        snapshot.first = Some(first);
        Ok(snapshot)
    }

    /// The member that sends it.
    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Bytes of the database, as the member announced them; the hash comes on top.
    pub(crate) fn db_bytes(&self) -> u64 {
        self.db_bytes
    }

    /// The next piece; `None` at the end, which is one only when all announced bytes and the hash have come.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>> {
        let piece = match self.first.take() {
            Some(first) => Some(first),
            None => self.receive().await?.map(|(piece, _)| piece),
        };
        let Some(piece) = piece else {
            let expected = self.db_bytes + TRAILER as u64;
            return match self.received == expected {
                true => Ok(None),
                false => Err(self.cut(&format!("{} of {expected} bytes came", self.received))),
            };
        };
        self.received += piece.len() as u64;
        Ok(Some(piece))
    }

    /// Where clients reach each member, by the member's id. Snapshots of etcd 3.5 and older do not have it.
    pub(crate) async fn client_urls(&mut self) -> Result<BTreeMap<u64, Vec<String>>> {
        const OPERATION: &str = "ask for the members of";
        let asked = tokio::time::timeout(LIST_TIMEOUT, self.client.member_list()).await.map_err(|_| {
            Error::new(ErrorKind::TimedOut, OPERATION, format!("etcd at {}", self.endpoint))
                .detail(format!("no answer in {} s", LIST_TIMEOUT.as_secs()))
        })?;
        let list = asked.map_err(|e| errors::error(OPERATION, &self.endpoint, &e))?;
        Ok(list.members().iter().map(|member| (member.id(), member.client_urls().to_vec())).collect())
    }

    async fn receive(&mut self) -> Result<Option<(Bytes, u64)>> {
        let message = tokio::time::timeout(self.timeout, self.stream.message()).await.map_err(|_| {
            Error::new(ErrorKind::TimedOut, OPERATION, format!("etcd at {}", self.endpoint))
                .detail(format!("nothing came for {} s", self.timeout.as_secs()))
        })?;
        let message = message.map_err(|e| errors::error(OPERATION, &self.endpoint, &e))?;
        Ok(message.map(|piece| (Bytes::copy_from_slice(piece.blob()), piece.remaining_bytes())))
    }

    fn cut(&self, detail: &str) -> Error {
        Error::new(ErrorKind::Truncated, OPERATION, format!("etcd at {}", self.endpoint)).detail(detail)
    }
}

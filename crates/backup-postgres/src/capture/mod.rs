//! From a leader to one SQL file.

mod dump;
mod open;

use std::time::Duration;

use async_trait::async_trait;
use backup_core::{
    traits::{ArtifactSpec, Capture, Captured, Context, EndEvidence, Sink},
    words::{Coverage, Error, Point, Result, Retry},
};

pub(crate) use open::open;

use crate::{
    connect::{Leader, Session},
    facts::DatabaseFacts,
    globals::Globals,
    tools::Tool,
};

/// One database, held at one point.
#[derive(Debug)]
struct Pin {
    database: String,
    /// Holds the snapshot open.
    session: Session,
    /// What pg_dump imports.
    snapshot: String,
    facts: DatabaseFacts,
}

/// A cluster, held at one point.
#[derive(Debug)]
pub(crate) struct ClusterCapture {
    leader: Leader,
    pg_dump: Tool,
    globals: Globals,
    pins: Vec<Pin>,
    point: Point,
    lsn: String,
    coverage: Vec<Coverage>,
    warnings: Vec<String>,
}

#[async_trait]
impl Capture for ClusterCapture {
    async fn run(mut self: Box<Self>, cx: &Context, sink: &dyn Sink) -> Result<Captured> {
        // The text is as long as the tables to a first guess; indexes are not in it, but text is wider.
        let expected = self.pins.iter().map(|pin| pin.facts.size_bytes).sum();
        let spec = ArtifactSpec::new("sql", "application/sql").expected(expected);
        let mut writer = sink.create(spec).await?;
        let databases = self.pins.len();
        let dumped = cx.or_cancelled("dump the databases", self.dump(writer.as_mut())).await;
        let (facts, bytes) = match dumped {
            Ok(done) => done,
            Err(error) => {
                writer.abort().await;
                return Err(self.with_cause(error).await);
            }
        };
        let end = EndEvidence::new(format!(
            "pg_dump {} exited 0 for each of {databases} databases and its end marker was the last it wrote",
            self.pg_dump.version
        ))
        .and("pg_dumpall read the same globals before and after the snapshots were taken")
        .bytes(bytes);
        let receipt = writer.finish(end).await?;
        let mut captured = Captured::new(self.point.clone(), vec![receipt]);
        captured.facts = facts.to_map()?;
        captured.coverage = std::mem::take(&mut self.coverage);
        captured.warnings = std::mem::take(&mut self.warnings);
        Ok(captured)
    }
}

impl ClusterCapture {
    /// When the leader is gone, or leads no more, a new one may be asked.
    async fn with_cause(&self, error: Error) -> Error {
        if error.retry_class() == Retry::Reopen || error.kind() == backup_core::words::ErrorKind::Cancelled {
            return error;
        }
        if self.leader.session.leads().await {
            return error;
        }
        Error::new(
            backup_core::words::ErrorKind::Unreachable,
            "dump from the leader",
            self.leader.address.to_string(),
        )
        .detail("it went away or leads no more")
        .hint("the backup starts again on the new leader")
        .retry(Retry::Reopen)
        .because(error)
    }
}

/// How long `open` waits for a leader.
fn leader_wait(leader_wait_seconds: u64) -> Duration {
    Duration::from_secs(leader_wait_seconds)
}

//! From a leader to one SQL file.

mod dump;
mod open;

use async_trait::async_trait;
use backup_core::{
    traits::{ArtifactSpec, Capture, Captured, Context, EndEvidence, Sink},
    words::{Coverage, Error, ErrorKind, Point, Result, Retry},
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

/// What was pinned, and what with it is to be read.
#[derive(Debug)]
struct Pinned {
    pg_dump: Tool,
    globals: Globals,
    /// Whether they were the same before and after the snapshots.
    globals_agree: bool,
    pins: Vec<Pin>,
    point: Point,
    coverage: Vec<Coverage>,
    warnings: Vec<String>,
}

/// A cluster, held at one point.
#[derive(Debug)]
pub(crate) struct ClusterCapture {
    leader: Leader,
    pinned: Pinned,
}

#[async_trait]
impl Capture for ClusterCapture {
    async fn run(mut self: Box<Self>, cx: &Context, sink: &dyn Sink) -> Result<Captured> {
        // The text is as long as the tables to a first guess: indexes are not in it, but text is wider.
        let expected = self.pinned.pins.iter().map(|pin| pin.facts.size_bytes).sum();
        let mut writer = sink.create(ArtifactSpec::new("sql", "application/sql").expected(expected)).await?;
        let databases = self.pinned.pins.len();
        let dumped = cx.or_cancelled("dump the databases", self.dump(writer.as_mut())).await;
        let (facts, bytes) = match dumped {
            Ok(done) => done,
            Err(error) => {
                writer.abort().await;
                return Err(with_cause(&self.leader, error).await);
            }
        };
        let receipt = writer.finish(self.evidence(databases).bytes(bytes)).await?;
        let mut captured = Captured::new(self.pinned.point, vec![receipt]);
        captured.facts = facts.to_map()?;
        captured.coverage = self.pinned.coverage;
        captured.warnings = self.pinned.warnings;
        Ok(captured)
    }
}

impl ClusterCapture {
    fn evidence(&self, databases: usize) -> EndEvidence {
        let end = EndEvidence::new(format!(
            "pg_dump {} exited 0 for each of {databases} databases, and its end marker was the last it wrote",
            self.pinned.pg_dump.version
        ))
        .and("pg_dumpall exited 0 and wrote its end marker");
        if self.pinned.globals_agree {
            end.and("the globals were the same before and after the snapshots were taken")
        } else {
            end
        }
    }
}

/// When the leader is gone, or leads no more, a new one may be asked.
async fn with_cause(leader: &Leader, error: Error) -> Error {
    let known = error.retry_class() == Retry::Reopen || error.kind() == ErrorKind::Cancelled;
    if known || leader.session.leads().await {
        return error;
    }
    Error::new(ErrorKind::Unreachable, "read from the leader", leader.address.to_string())
        .detail("it went away or leads no more")
        .hint("the backup starts again on the new leader; `patronictl list` shows the members")
        .retry(Retry::Reopen)
        .because(error)
}

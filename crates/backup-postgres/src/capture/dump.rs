//! Streaming the pinned databases.

use std::collections::VecDeque;

use backup_core::{
    traits::{Process, Writer, exit_error},
    words::{Error, ErrorKind, Result, Retry},
};
use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::{ClusterCapture, Pin};
use crate::{
    definition::Definition,
    dump::{Scan, Scanner},
    facts::{DatabaseFacts, Facts},
    tools,
};

/// Room for one read.
const READ: usize = 256 << 10;
/// A chunk is handed on when it has this many bytes: a pipe gives 64 KiB at most at a time.
const CHUNK: usize = 128 << 10;

/// How many dumps run side by side. Each takes its locks when it starts, so it shall start soon behind the snapshots; all
/// but one wait then with a full pipe.
const SIDE_BY_SIDE: usize = 8;

/// Locks that the dump of a database takes, and locks that the server has room for (src/backend/storage/lmgr/lock.c).
const LOCKS: &str = "SELECT (SELECT count(*) FROM pg_class WHERE relkind IN ('r', 'p')), \
    current_setting('max_locks_per_transaction')::bigint * (current_setting('max_connections')::bigint \
    + current_setting('max_prepared_transactions')::bigint)";

/// A dump under way.
struct Running {
    pin: Pin,
    process: Box<dyn Process>,
    locks: i64,
}

/// Ordinary tables whose files are not those that the snapshot's catalogue names. `pg_relation_filenode` looks at the
/// present, and is null for what was dropped.
const CHANGED: &str = "SELECT c.oid::regclass::text FROM pg_class c WHERE c.relkind = 'r' \
    AND c.relpersistence <> 't' AND c.relfilenode <> 0 AND pg_relation_filenode(c.oid) IS DISTINCT FROM c.relfilenode";

impl ClusterCapture {
    /// Writes globals and databases; the facts and all bytes written.
    pub(super) async fn dump(&mut self, writer: &mut dyn Writer) -> Result<(Facts, u64)> {
        let mut facts = self.facts();
        let mut waiting: VecDeque<Pin> = std::mem::take(&mut self.pinned.pins).into();
        let mut running = VecDeque::new();
        self.start_some(&mut waiting, &mut running).await?;
        let mut bytes = write_part(writer, "globals", self.pinned.globals.to_part(&self.head())).await?;
        while let Some(next) = running.pop_front() {
            let (database, dumped, length) = self.dump_one(writer, next).await?;
            bytes += length;
            facts.rows += dumped.rows;
            facts.databases.insert(database, dumped);
            self.start_some(&mut waiting, &mut running).await?;
        }
        Ok((facts, bytes))
    }

    /// Starts dumps as long as the server's table of locks has room for theirs; one always.
    async fn start_some(&self, waiting: &mut VecDeque<Pin>, running: &mut VecDeque<Running>) -> Result<()> {
        let mut locks: i64 = running.iter().map(|running| running.locks).sum();
        while running.len() < SIDE_BY_SIDE
            && let Some(pin) = waiting.pop_front()
        {
            let row = pin.session.one(LOCKS, &[]).await?;
            let (needed, room): (i64, i64) = (row.get(0), row.get(1));
            if !running.is_empty() && locks + needed > room / 2 {
                waiting.push_front(pin);
                break;
            }
            locks += needed;
            let process = self.start(&pin).await?;
            running.push_back(Running { pin, process, locks: needed });
        }
        Ok(())
    }

    /// Writes the two parts of one database; its name, facts and bytes.
    async fn dump_one(
        &mut self,
        writer: &mut dyn Writer,
        running: Running,
    ) -> Result<(String, DatabaseFacts, u64)> {
        let Running { mut pin, mut process, .. } = running;
        let database = pin.database.clone();
        let definition = Definition::read(&pin.session).await?;
        describe(&mut pin).await?;
        let head = write_part(writer, &format!("create {database}"), definition.to_part()?).await?;
        writer.part(&format!("database {database}")).await?;
        let (scan, length) = stream(&mut *process, writer, &pin).await?;
        if let Err(error) = self.ended(&mut *process, &database, &scan).await {
            // A table that went away before it was locked is the better reason, and another try helps.
            refuse_changed(&pin).await?;
            return Err(error);
        }
        pin.facts.count(scan, length);
        Ok((database, pin.facts, head + length))
    }

    fn facts(&self) -> Facts {
        Facts {
            server_version: self.leader.version.clone(),
            system_identifier: self.leader.system_id.clone(),
            timeline: self.leader.timeline,
            lsn: self.lsn(),
            leader: self.leader.address.to_string(),
            pg_dump_version: self.pinned.pg_dump.version.clone(),
            roles: self.pinned.globals.roles() as u64,
            tablespaces: self.pinned.globals.tablespaces().len() as u64,
            ..Facts::default()
        }
    }

    fn lsn(&self) -> String {
        let position = self.pinned.point.position.as_ref();
        position.and_then(|position| position.label.clone()).unwrap_or_default()
    }

    /// What stands at the head of the file.
    fn head(&self) -> String {
        format!(
            "--\n-- A whole PostgreSQL cluster, written by ha-backup\n--\n\
             -- PostgreSQL {}, system {}, timeline {}, position {}\n--\n\
             -- A superuser loads it into a fresh cluster: psql -X -f THIS_FILE postgres\n\
             -- It stops at the first error; without the lines that set ON_ERROR_STOP it goes on.\n--\n\n",
            self.leader.version,
            self.leader.system_id,
            self.leader.timeline,
            self.lsn()
        )
    }

    async fn start(&self, pin: &Pin) -> Result<Box<dyn Process>> {
        let config = &self.leader.server().config;
        let command = tools::client(&self.pinned.pg_dump.program, &self.leader, &pin.database)
            .arg(format!("--snapshot={}", pin.snapshot))
            // Large objects; the short option is the one that all versions know.
            .arg("-b")
            .arg(format!("--lock-wait-timeout={}", config.lock_timeout_seconds.saturating_mul(1000)))
            .args(config.exclude_table_data.iter().map(|pattern| format!("--exclude-table-data={pattern}")));
        self.leader.place.run(&command).await
    }

    /// A dump is whole when its program said so and its text ends as it must.
    async fn ended(&mut self, process: &mut dyn Process, database: &str, scan: &Scan) -> Result<()> {
        let exit = process.wait().await?;
        let subject = format!("database {database} of {}", self.leader.address);
        if !exit.success() {
            let cause = exit_error(&self.pinned.pg_dump.program, &exit);
            return Err(Error::new(ErrorKind::Failed, "dump", subject).because(cause));
        }
        if !scan.complete {
            return Err(Error::new(ErrorKind::Truncated, "dump", subject)
                .detail("pg_dump exited 0, but its end marker is not the last it wrote"));
        }
        let said = exit.stderr.lines().filter(|line| line.contains("warning:"));
        self.pinned.warnings.extend(said.map(|line| format!("database {database}: {line}")));
        Ok(())
    }
}

/// What the manifest says beside the rows, as the pinned transaction sees it.
async fn describe(pin: &mut Pin) -> Result<()> {
    let session = &pin.session;
    let row = session.one("SELECT count(*) FROM pg_largeobject_metadata", &[]).await?;
    pin.facts.large_objects = u64::try_from(row.get::<_, i64>(0)).unwrap_or(0);
    let rows = session.query("SELECT extname::text, extversion FROM pg_extension", &[]).await?;
    pin.facts.extensions = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    Ok(())
}

async fn write_part(writer: &mut dyn Writer, name: &str, text: String) -> Result<u64> {
    let text = Bytes::from(text);
    let length = text.len() as u64;
    writer.part(name).await?;
    writer.write(text).await?;
    Ok(length)
}

/// A snapshot does not see that a table was emptied by TRUNCATE or rewritten behind it: such a table would be dumped empty.
/// Called when the dump holds its locks, so that nothing more can happen.
async fn refuse_changed(pin: &Pin) -> Result<()> {
    let rows = pin.session.query(CHANGED, &[]).await?;
    let tables: Vec<String> = rows.iter().take(5).map(|row| row.get(0)).collect();
    if tables.is_empty() {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Conflict, "dump", format!("database {}", pin.database))
        .detail(format!(
            "truncated, rewritten or dropped before the dump had locked it: {}",
            tables.join(", ")
        ))
        .hint("run the backup when no tables are created and dropped, or exclude that database")
        .retry(Retry::Reopen))
}

/// Moves a dump's bytes to the writer, and counts them.
async fn stream(process: &mut dyn Process, writer: &mut dyn Writer, pin: &Pin) -> Result<(Scan, u64)> {
    let failed = |e| Error::io("read the dump of", format!("database {}", pin.database), e);
    let gone = || failed(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
    let mut output = process.stdout().ok_or_else(gone)?;
    let mut scanner = Scanner::new();
    let mut bytes = 0;
    while let Some(chunk) = next_chunk(&mut output).await.map_err(failed)? {
        // The first bytes come when all tables are locked.
        if bytes == 0 {
            refuse_changed(pin).await?;
        }
        scanner.feed(&chunk);
        bytes += chunk.len() as u64;
        writer.write(chunk).await?;
    }
    Ok((scanner.finish(), bytes))
}

/// The next bytes, gathered to a chunk worth handing on; none at the end.
async fn next_chunk(output: &mut (dyn AsyncRead + Send + Unpin)) -> std::io::Result<Option<Bytes>> {
    let mut chunk = BytesMut::with_capacity(READ);
    while chunk.len() < CHUNK {
        if output.read_buf(&mut chunk).await? == 0 {
            break;
        }
    }
    Ok(if chunk.is_empty() { None } else { Some(chunk.freeze()) })
}

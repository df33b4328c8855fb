//! Streaming the pinned databases.

use backup_core::{
    traits::{Process, Writer, exit_error},
    words::{Error, ErrorKind, Result},
};
use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::{ClusterCapture, Pin};
use crate::{
    connect::Session,
    definition::Definition,
    dump::{Scan, Scanner},
    facts::Facts,
    tools,
};

/// Room for one read.
const READ: usize = 256 << 10;
/// A chunk is handed on when it has this many bytes: a pipe gives 64 KiB at most at a time.
const CHUNK: usize = 128 << 10;

impl ClusterCapture {
    /// Writes globals and databases; the facts and all bytes written.
    pub(super) async fn dump(&mut self, writer: &mut dyn Writer) -> Result<(Facts, u64)> {
        let mut facts = self.facts();
        let mut bytes = write_part(writer, "globals", self.globals.to_part(&self.head())).await?;
        let mut pins = std::mem::take(&mut self.pins).into_iter().peekable();
        let mut running = match pins.peek() {
            Some(first) => Some(self.start(first).await?),
            None => None,
        };
        while let (Some(mut pin), Some(mut process)) = (pins.next(), running.take()) {
            // The next one reads its catalogue while this one's rows flow.
            if let Some(next) = pins.peek() {
                running = Some(self.start(next).await?);
            }
            let definition = Definition::read(&pin.session).await?;
            describe(&mut pin).await?;
            bytes += write_part(writer, &format!("create {}", pin.database), definition.to_part()?).await?;
            writer.part(&format!("database {}", pin.database)).await?;
            let (scan, length) = stream(&mut *process, writer, &pin.database).await?;
            self.ended(&mut *process, &pin.database, &scan).await?;
            bytes += length;
            pin.facts.count(scan, length);
            facts.rows += pin.facts.rows;
            facts.databases.insert(pin.database, pin.facts);
        }
        Ok((facts, bytes))
    }

    fn facts(&self) -> Facts {
        Facts {
            server_version: self.leader.version.clone(),
            system_identifier: self.leader.system_id.clone(),
            timeline: self.leader.timeline,
            lsn: self.lsn.clone(),
            leader: self.leader.address.to_string(),
            pg_dump_version: self.pg_dump.version.clone(),
            roles: self.globals.roles() as u64,
            tablespaces: self.globals.tablespaces().len() as u64,
            ..Facts::default()
        }
    }

    /// What stands at the head of the file.
    fn head(&self) -> String {
        format!(
            "--\n-- A whole PostgreSQL cluster, written by ha-backup\n--\n\
             -- PostgreSQL {}, system {}, timeline {}, position {}\n--\n\
             -- A superuser loads it into a fresh cluster: psql -X -f THIS_FILE postgres\n\
             -- It stops at the first error; without the lines that set ON_ERROR_STOP it goes on.\n--\n\n",
            self.leader.version, self.leader.system_id, self.leader.timeline, self.lsn
        )
    }

    async fn start(&self, pin: &Pin) -> Result<Box<dyn Process>> {
        let config = &self.leader.server().config;
        let command = tools::client(&self.pg_dump.program, &self.leader, &pin.database)
            .arg(format!("--snapshot={}", pin.snapshot))
            // Large objects; the short option is the one that all versions know.
            .arg("-b")
            .arg(format!("--lock-wait-timeout={}", config.lock_timeout_seconds.saturating_mul(1000)))
            .args(config.exclude_table_data.iter().map(|pattern| format!("--exclude-table-data={pattern}")));
        self.leader.server().place.run(&command).await
    }

    /// A dump is whole when its program said so and its text ends as it must.
    async fn ended(&mut self, process: &mut dyn Process, database: &str, scan: &Scan) -> Result<()> {
        let exit = process.wait().await?;
        let subject = format!("database {database} of {}", self.leader.address);
        if !exit.success() {
            let cause = exit_error(&self.pg_dump.program, &exit);
            return Err(Error::new(ErrorKind::Failed, "dump", subject).because(cause));
        }
        if !scan.complete {
            return Err(Error::new(ErrorKind::Truncated, "dump", subject)
                .detail("pg_dump exited 0, but its end marker is not the last it wrote"));
        }
        let said = exit.stderr.lines().filter(|line| line.contains("warning:"));
        self.warnings.extend(said.map(|line| format!("database {database}: {line}")));
        Ok(())
    }
}

/// What the manifest says beside the rows, as the pinned transaction sees it.
async fn describe(pin: &mut Pin) -> Result<()> {
    let session: &Session = &pin.session;
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

async fn stream(process: &mut dyn Process, writer: &mut dyn Writer, database: &str) -> Result<(Scan, u64)> {
    let failed = |e| Error::io("read the dump of", format!("database {database}"), e);
    let gone = || failed(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
    let mut output = process.stdout().ok_or_else(gone)?;
    let mut scanner = Scanner::new();
    let mut bytes = 0;
    while let Some(chunk) = next_chunk(&mut output).await.map_err(failed)? {
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

//! Creating the database under its new name, and loading it.

use backup_core::{
    traits::{ByteStream, Command, Place, Restored, Selection, exit_error},
    words::{Error, ErrorKind, Result},
};
use futures::StreamExt;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{
    apply::Job,
    plan::{oid, refuse_existing},
};
use crate::{
    connect::{Leader, Session},
    definition::Definition,
    sql::ident,
    tools::{self, Tool},
    verify::read_text,
};

/// Creates the database. Refuses a name that is taken, unless it was taken by this step before it was interrupted.
pub(super) async fn create(job: &Job<'_>) -> Result<Restored> {
    let name = &job.work.name;
    let there = oid(&job.leader, name).await?;
    let ours = job.journal.recall("oid").and_then(|oid| oid.as_u64());
    if there.is_some() && there.map(u64::from) == ours {
        return Ok(Restored::done(format!("{name} was created before the interruption")));
    }
    job.refuse_changed().await?;
    if there.is_some() {
        if job.journal.recall("creating").is_none() || !is_empty(job).await? {
            refuse_existing(&job.leader, name).await?;
        }
        drop_database(job).await?;
    }
    job.journal.record("creating", true.into()).await?;
    create_now(job).await?;
    Ok(Restored::done(format!("{name} created as the backup's {} was", job.work.database)))
}

/// Loads the database with psql. After an interruption it begins with an empty one again.
pub(super) async fn load(job: &Job<'_>) -> Result<Restored> {
    let name = &job.work.name;
    let begun = job.journal.recall("loading").is_some();
    match (oid(&job.leader, name).await?, job.created()) {
        (Some(there), Some(ours)) if there == ours => {
            if begun {
                drop_database(job).await?;
                create_now(job).await?;
            }
        }
        (None, Some(_)) if begun => create_now(job).await?,
        (None, _) => {
            return Err(Error::new(ErrorKind::NotFound, "load into", job.subject(name))
                .detail("the database that the restore created is gone")
                .hint("begin the restore anew"));
        }
        (Some(_), _) => refuse_existing(&job.leader, name).await?,
    }
    job.journal.record("loading", true.into()).await?;
    match job.cx.or_cancelled("load the database", load_now(job)).await {
        Ok(bytes) => {
            let read = backup_core::words::human_bytes(bytes);
            Ok(Restored::done(format!("{read} of SQL loaded into {name} without an error")))
        }
        Err(error) => Err(undo(job, error).await),
    }
}

/// A half-loaded database is dropped again, and that is said.
async fn undo(job: &Job<'_>, error: Error) -> Error {
    let name = &job.work.name;
    let dropped = drop_database(job).await;
    let left = match &dropped {
        Ok(()) => format!("{name} was dropped again; nothing else was changed"),
        Err(_) => format!("{name} is left half-loaded: the same restore begins it anew, or drop it"),
    };
    let kind = error.kind();
    let hint = match error.advice() {
        Some(advice) => format!("{advice}; {left}"),
        None => left,
    };
    Error::new(kind, "load", job.subject(name)).hint(hint).because(error)
}

async fn create_now(job: &Job<'_>) -> Result<()> {
    let (session, name) = (&job.leader.session, &job.work.name);
    let part = format!("create {}", job.work.database);
    let definition = Definition::from_part(&read_text(job.from, job.from.artifact(None)?, &part).await?)?;
    let failed = |error: Error| {
        Error::new(error.kind(), "create", job.subject(name))
            .hint("when a role or tablespace is missing, restore the globals too: --set globals=true")
            .because(error)
    };
    session.batch(&definition.create(name)).await.map_err(failed)?;
    let created = oid(&job.leader, name).await?;
    job.journal.record("oid", created.into()).await?;
    for statement in definition.properties(name) {
        session.batch(&statement).await.map_err(failed)?;
    }
    Ok(())
}

async fn drop_database(job: &Job<'_>) -> Result<()> {
    // Asked on a new session: the old one may be what failed.
    let maintenance = job.leader.server().config.maintenance_database.clone();
    let aside = if maintenance == job.work.name { "template1".to_owned() } else { maintenance };
    let session: Session = job.leader.connect(&aside).await?;
    let name = ident(&job.work.name);
    session.batch(&format!("ALTER DATABASE {name} IS_TEMPLATE false")).await?;
    session.batch(&format!("DROP DATABASE {name} WITH (FORCE)")).await
}

/// Whether nothing but what every new database has is in it.
async fn is_empty(job: &Job<'_>) -> Result<bool> {
    let session = job.leader.connect(&job.work.name).await?;
    // Oids below 16384 are those of initdb (src/include/access/transam.h, FirstNormalObjectId).
    let row = session.one("SELECT NOT EXISTS (SELECT FROM pg_class WHERE oid >= 16384)", &[]).await?;
    Ok(row.get(0))
}

/// Streams the part into psql; the bytes that went through.
async fn load_now(job: &Job<'_>) -> Result<u64> {
    let psql = Tool::find(&job.leader, "psql").await?;
    let part = format!("database {}", job.work.database);
    let stream = job.from.read(job.from.artifact(None)?, Selection::Part(&part)).await?;
    pour(&*job.leader.place, &psql_command(&job.leader, &psql.program, &job.work.name), stream).await
}

/// Streams SQL into a psql that [`psql_command`] starts; the bytes, when it has read all of them without an error.
pub(crate) async fn pour(place: &dyn Place, psql: &Command, stream: ByteStream) -> Result<u64> {
    let mut process = place.run(psql).await?;
    let missing = || Error::new(ErrorKind::Internal, "connect to the streams of", psql.program.clone());
    let input = process.stdin().ok_or_else(missing)?;
    let output = process.stdout().ok_or_else(missing)?;
    // An error of the source leaves at once: psql ends with its process, and nothing that it loaded is kept.
    let (fed, said) = tokio::try_join!(feed(stream, input), last_words(output))?;
    let exit = process.wait().await?;
    if !exit.success() {
        return Err(exit_error("psql", &exit));
    }
    let bytes = fed.map_err(|e| Error::io("write to", "psql", e))?;
    if exit.stderr.contains("ERROR:") {
        return Err(exit_error("psql", &exit));
    }
    if said != whole(bytes) {
        return Err(Error::new(ErrorKind::Truncated, "load through", psql.program.clone())
            .detail(format!("it ended well, but does not say that it read all {bytes} bytes")));
    }
    Ok(bytes)
}

/// Writes the stream, and then what makes psql say that it came to this point; the bytes of the stream.
async fn feed(mut stream: ByteStream, mut input: impl AsyncWrite + Unpin) -> Result<std::io::Result<u64>> {
    let mut bytes = 0;
    while let Some(chunk) = stream.next().await {
        let chunk = chunk?;
        // What went wrong with psql, its own end says better.
        if let Err(error) = input.write_all(&chunk).await {
            return Ok(Err(error));
        }
        bytes += chunk.len() as u64;
    }
    let end = format!("\n\\echo '{}'\n", whole(bytes));
    let ended = async {
        input.write_all(end.as_bytes()).await?;
        input.shutdown().await
    };
    Ok(ended.await.map(|()| bytes))
}

/// What psql says when it has read `bytes` and, with nothing lost before it, this.
fn whole(bytes: u64) -> String {
    format!("ha-backup: all {bytes} bytes were read")
}

/// The last line of what `output` says.
async fn last_words(mut output: impl AsyncRead + Unpin) -> Result<String> {
    const LONGEST: usize = 1024;
    let mut tail = Vec::new();
    let mut buffer = [0; LONGEST];
    loop {
        let read = output.read(&mut buffer).await.map_err(|e| Error::io("read from", "psql", e))?;
        if read == 0 {
            let text = String::from_utf8_lossy(&tail);
            return Ok(text.lines().next_back().unwrap_or_default().to_owned());
        }
        tail.extend_from_slice(&buffer[..read]);
        tail.drain(..tail.len().saturating_sub(LONGEST));
    }
}

/// A psql that reads SQL from its standard input and stops at the first error.
pub(crate) fn psql_command(leader: &Leader, psql: &str, database: &str) -> Command {
    // Terse: an error's detail may show rows.
    let settings = ["ON_ERROR_STOP=1", "VERBOSITY=terse", "SHOW_CONTEXT=never"];
    tools::client(psql, leader, database)
        .with_input()
        .args(["--no-psqlrc", "--quiet", "--output=/dev/null", "--file=-"])
        .args(settings.map(|setting| format!("--set={setting}")))
        // The switch, or ANALYZE, commits in full later and so makes durable what came before it.
        .env(
            "PGOPTIONS",
            "-c default_transaction_read_only=off -c statement_timeout=0 -c lock_timeout=0 -c synchronous_commit=off",
        )
}

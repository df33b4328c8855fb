//! Changing names: all of them in one transaction, with nobody connected.

use std::time::Duration;

use backup_core::{
    traits::Restored,
    words::{Error, ErrorKind, Result},
};
use tokio::time::Instant;

use super::{
    apply::Job,
    plan::{oid, refuse_existing},
};
use crate::{connect::Session, sql::ident};

/// How long the last session may take to end.
const SESSIONS_END_WITHIN: Duration = Duration::from_secs(30);
/// How long the rename may wait for its lock.
const LOCKED_WITHIN: Duration = Duration::from_secs(30);

/// Gives the restored database the old one's name; the old one is kept aside.
pub(super) async fn switch(job: &Job<'_>) -> Result<Restored> {
    let work = &job.work;
    let ours = job.created();
    let live = oid(&job.leader, &work.database).await?;
    if live.is_some() && live == ours {
        return Ok(done(job, job.journal.recall("old").is_some_and(|old| !old.is_null())));
    }
    if oid(&job.leader, &work.name).await? != ours {
        return Err(Error::new(ErrorKind::Refused, "switch to", job.subject(&work.name))
            .detail("it is not the database that this restore loaded")
            .hint("begin the restore anew"));
    }
    job.refuse_changed().await?;
    job.journal.record("old", live.into()).await?;
    let mut renames = Vec::new();
    if live.is_some() {
        refuse_existing(&job.leader, &work.aside).await?;
        renames.push((work.database.as_str(), work.aside.as_str()));
    }
    renames.push((work.name.as_str(), work.database.as_str()));
    rename(job, &renames).await?;
    Ok(done(job, live.is_some()))
}

/// Puts the old database aside before anything is created.
pub(super) async fn aside(job: &Job<'_>) -> Result<Restored> {
    let work = &job.work;
    let live = oid(&job.leader, &work.database).await?;
    match job.journal.recall("old") {
        // Interrupted behind the rename.
        Some(old) if live.is_none() && !old.is_null() => return Ok(kept(job)),
        Some(_) => {}
        None => {
            job.refuse_changed().await?;
            job.journal.record("old", live.into()).await?;
        }
    }
    if live.is_none() {
        return Ok(Restored::done(format!("there is no {}", work.database)));
    }
    refuse_existing(&job.leader, &work.aside).await?;
    rename(job, &[(&work.database, &work.aside)]).await?;
    Ok(kept(job))
}

fn done(job: &Job<'_>, kept: bool) -> Restored {
    let work = &job.work;
    let summary = format!("{} is the restored database", work.database);
    let notes = if kept { keep_note(job) } else { Vec::new() };
    Restored::Done { summary, notes }
}

fn kept(job: &Job<'_>) -> Restored {
    let summary = format!("{} is {} now", job.work.database, job.work.aside);
    Restored::Done { summary, notes: keep_note(job) }
}

fn keep_note(job: &Job<'_>) -> Vec<String> {
    let aside = &job.work.aside;
    vec![format!(
        "the old database is kept as {aside}; when it is no longer needed: DROP DATABASE {}",
        ident(aside)
    )]
}

/// Renames in one transaction, while a second session ends whoever is connected. The first rename locks the database, and
/// nobody can connect to it any more until the transaction ends: so nothing has to be undone when it fails, when the
/// connection breaks or when this process is killed.
async fn rename(job: &Job<'_>, renames: &[(&str, &str)]) -> Result<()> {
    let names: Vec<String> = renames.iter().map(|(from, _)| (*from).to_owned()).collect();
    let renaming = connect_beside(job, renames).await?;
    let ending = connect_beside(job, renames).await?;
    let mut transaction =
        vec!["BEGIN".to_owned(), format!("SET LOCAL lock_timeout = '{}s'", LOCKED_WITHIN.as_secs())];
    for (from, to) in renames {
        transaction.push(format!("ALTER DATABASE {} RENAME TO {}", ident(from), ident(to)));
    }
    transaction.push("COMMIT".to_owned());
    let transaction = transaction.join("; ");
    let deadline = Instant::now() + SESSIONS_END_WITHIN;
    loop {
        let renamed = tokio::select! {
            renamed = renaming.batch(&transaction) => renamed,
            Err(error) = end_sessions(&ending, &names) => Err(error),
        };
        let error = match renamed {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        // PostgreSQL waits for sessions to end for five seconds and gives up then.
        if error.kind() != ErrorKind::Conflict || Instant::now() >= deadline {
            return Err(Error::new(error.kind(), "rename", job.subject(&names.join(", ")))
                .hint("no name was changed, unless the connection broke: the same restore looks and goes on from here")
                .because(error));
        }
        renaming.batch("ROLLBACK").await?;
    }
}

/// Ends all sessions in the databases, our own idle ones too, again and again.
async fn end_sessions(session: &Session, names: &[String]) -> Result<std::convert::Infallible> {
    loop {
        let query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = ANY($1::text[])";
        session.query(query, &[&names]).await?;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A session in a database that keeps its name.
async fn connect_beside(job: &Job<'_>, renames: &[(&str, &str)]) -> Result<Session> {
    let configured = job.leader.server().config.maintenance_database.as_str();
    let beside = [configured, "postgres", "template1"]
        .into_iter()
        .find(|name| !renames.iter().any(|(from, to)| from == name || to == name))
        .unwrap_or("template1");
    job.leader.connect(beside).await
}

//! Changing names: all of them in one transaction, with nobody connected.

use std::time::Duration;

use backup_core::{
    traits::Restored,
    words::{Error, ErrorKind, Result},
};
use serde_json::Value;
use tokio::time::Instant;

use super::{
    apply::Job,
    plan::{oid, refuse_existing},
};
use crate::{connect::Session, sql::ident};

/// How long the last session may take to end.
const SESSIONS_END_WITHIN: Duration = Duration::from_secs(30);

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

/// Renames in one transaction: connections refused, sessions ended, names changed, connections allowed again.
async fn rename(job: &Job<'_>, renames: &[(&str, &str)]) -> Result<()> {
    let session = connect_beside(job, renames).await?;
    let names: Vec<&str> = renames.iter().map(|(from, _)| *from).collect();
    let was_open = was_open(job, &session, &names).await?;
    for name in &names {
        session.batch(&format!("ALTER DATABASE {} ALLOW_CONNECTIONS false", ident(name))).await?;
    }
    let renamed = match end_sessions(job, &session, &names).await {
        Ok(()) => {
            let mut transaction = vec!["BEGIN".to_owned()];
            for (from, to) in renames {
                transaction.push(format!("ALTER DATABASE {} RENAME TO {}", ident(from), ident(to)));
                if was_open.iter().any(|name| name == from) {
                    transaction.push(format!("ALTER DATABASE {} ALLOW_CONNECTIONS true", ident(to)));
                }
            }
            transaction.push("COMMIT".to_owned());
            session.batch(&transaction.join("; ")).await
        }
        Err(error) => Err(error),
    };
    let Err(error) = renamed else { return Ok(()) };
    // Under their old names they must be usable again, whatever failed.
    let _ = session.batch("ROLLBACK").await;
    for name in &was_open {
        let _ = session.batch(&format!("ALTER DATABASE {} ALLOW_CONNECTIONS true", ident(name))).await;
    }
    Err(Error::new(error.kind(), "rename", job.subject(&names.join(", ")))
        .hint("no name was changed unless the connection broke; the same restore goes on from here")
        .because(error))
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

/// Which of them took connections before this step first began.
async fn was_open(job: &Job<'_>, session: &Session, names: &[&str]) -> Result<Vec<String>> {
    if let Some(Value::Array(open)) = job.journal.recall("open") {
        return Ok(open.iter().filter_map(Value::as_str).map(str::to_owned).collect());
    }
    let query = "SELECT datname::text FROM pg_database WHERE datallowconn AND datname = ANY($1::text[])";
    let rows = session.query(query, &[&names]).await?;
    let open: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    job.journal.record("open", open.clone().into()).await?;
    Ok(open)
}

async fn end_sessions(job: &Job<'_>, session: &Session, names: &[&str]) -> Result<()> {
    let deadline = Instant::now() + SESSIONS_END_WITHIN;
    // Our own idle session may be in one of them.
    loop {
        session
            .query(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = ANY($1::text[])",
                &[&names],
            )
            .await?;
        let left = "SELECT count(*) FROM pg_stat_activity WHERE datname = ANY($1::text[])";
        let left: i64 = session.one(left, &[&names]).await?.get(0);
        if left == 0 {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(Error::new(
                ErrorKind::TimedOut,
                "end the sessions in",
                job.subject(&names.join(", ")),
            )
            .detail(format!("{left} are still there"))
            .hint("see pg_stat_activity; stop what reconnects or hangs"));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

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
    let names: Vec<String> = renames.iter().map(|(from, _)| (*from).to_owned()).collect();
    let subject = job.subject(&names.join(", "));
    let renaming = Renaming {
        renames: renames.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned())).collect(),
        was_open: was_open(job, &session, &names).await?,
        names,
        subject: subject.clone(),
        session,
    };
    // A task of its own: who stops waiting must not leave databases behind that refuse connections.
    let ended = tokio::spawn(renaming.run()).await;
    ended.unwrap_or_else(|e| Err(Error::new(ErrorKind::Internal, "rename", subject).because(e)))
}

/// One change of names, with all that it needs.
struct Renaming {
    session: Session,
    renames: Vec<(String, String)>,
    names: Vec<String>,
    was_open: Vec<String>,
    subject: String,
}

impl Renaming {
    async fn run(self) -> Result<()> {
        let Err(error) = self.refuse_and_rename().await else { return Ok(()) };
        // Under their old names they must be usable again, whatever failed.
        let _ = self.session.batch("ROLLBACK").await;
        for name in &self.was_open {
            let _ =
                self.session.batch(&format!("ALTER DATABASE {} ALLOW_CONNECTIONS true", ident(name))).await;
        }
        Err(Error::new(error.kind(), "rename", self.subject)
            .hint("no name was changed unless the connection broke; the same restore goes on from here")
            .because(error))
    }

    async fn refuse_and_rename(&self) -> Result<()> {
        for name in &self.names {
            self.session.batch(&format!("ALTER DATABASE {} ALLOW_CONNECTIONS false", ident(name))).await?;
        }
        self.end_sessions().await?;
        let mut transaction = vec!["BEGIN".to_owned()];
        for (from, to) in &self.renames {
            transaction.push(format!("ALTER DATABASE {} RENAME TO {}", ident(from), ident(to)));
            if self.was_open.contains(from) {
                transaction.push(format!("ALTER DATABASE {} ALLOW_CONNECTIONS true", ident(to)));
            }
        }
        transaction.push("COMMIT".to_owned());
        self.session.batch(&transaction.join("; ")).await
    }

    /// Ends all sessions in the databases, our own idle ones too.
    async fn end_sessions(&self) -> Result<()> {
        let deadline = Instant::now() + SESSIONS_END_WITHIN;
        loop {
            let query =
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = ANY($1::text[])";
            self.session.query(query, &[&self.names]).await?;
            let query = "SELECT count(*) FROM pg_stat_activity WHERE datname = ANY($1::text[])";
            let left: i64 = self.session.one(query, &[&self.names]).await?.get(0);
            if left == 0 {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(Error::new(ErrorKind::TimedOut, "end the sessions in", &self.subject)
                    .detail(format!("{left} are still there"))
                    .hint("see pg_stat_activity; stop what reconnects or hangs"));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
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

/// Which of them took connections before this step first began.
async fn was_open(job: &Job<'_>, session: &Session, names: &[String]) -> Result<Vec<String>> {
    if let Some(Value::Array(open)) = job.journal.recall("open") {
        return Ok(open.iter().filter_map(Value::as_str).map(str::to_owned).collect());
    }
    let query = "SELECT datname::text FROM pg_database WHERE datallowconn AND datname = ANY($1::text[])";
    let rows = session.query(query, &[&names]).await?;
    let open: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    job.journal.record("open", open.clone().into()).await?;
    Ok(open)
}

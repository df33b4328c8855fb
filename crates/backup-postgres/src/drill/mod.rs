//! A drill: the whole file is loaded into a private cluster of the dump's own major version, and held against the manifest.
//!
//! The cluster listens on a Unix socket in its own folder only, runs as an unprivileged user and, where the system lets it, in
//! a network without any device: nothing that the dump creates can reach out.

mod expect;
mod look;
mod neutral;
mod server;

use async_trait::async_trait;
use backup_core::{
    policy::{LOOK, Ladder, Rung},
    traits::{Context, Drill, Selection, Source, Throwaway},
    words::{ComponentRecord, Error, ErrorKind, Result, human_bytes},
};
use tokio::time::Instant;

pub(crate) use expect::DrillQuery;

use crate::{
    component::PostgresComponent,
    connect::Leader,
    facts::Facts,
    restore::{pour, psql_command},
};
use server::{Private, Programs};

/// What a fresh cluster and its log take.
const CLUSTER: u64 = 700 << 20;

#[async_trait]
impl Drill for PostgresComponent {
    fn space(&self, record: &ComponentRecord) -> u64 {
        let Ok(facts) = Facts::from_map(&record.facts) else { return u64::MAX };
        let databases = facts.databases.values();
        databases.map(|one| one.size_bytes.max(one.dump_bytes)).fold(CLUSTER, u64::saturating_add)
    }

    async fn drill(
        &self,
        cx: &Context,
        place: &dyn Throwaway,
        from: &dyn Source,
        ladder: &mut Ladder,
    ) -> Result<()> {
        let facts = Facts::from_map(&from.record().facts)?;
        let config = self.config();
        let begun = Instant::now();
        let programs = match Programs::find(&*place.place(), config, facts.major()?).await {
            Ok(programs) => programs,
            Err(reason) => return not_run(ladder, &reason),
        };
        ladder.tool("postgres", &programs.version);
        let private = match Private::start(cx, place, &programs).await? {
            Ok(private) => private,
            Err(reason) => return not_run(ladder, &reason),
        };
        ladder.phase("prepare", begun.elapsed(), 0);
        if let Some(reason) = missing_extensions(&private.leader, &facts).await? {
            return not_run(ladder, &reason);
        }
        let begun = Instant::now();
        match load(&private.leader, &programs, from).await {
            Ok(bytes) => {
                ladder.phase("restore", begun.elapsed(), bytes);
                let (databases, bytes) = (facts.databases.len(), human_bytes(bytes));
                ladder.passed(
                    Rung::Structure,
                    format!("{bytes} of SQL, globals and {databases} databases, loaded without an error"),
                );
            }
            Err(error) if error.chain().contains("shared_preload_libraries") => {
                let reason =
                    format!("an extension wants to be loaded before the server starts: {}", error.chain());
                return not_run(ladder, &reason);
            }
            Err(error) => return Err(error),
        }
        let begun = Instant::now();
        look::look(&private.leader, from, &facts, ladder).await?;
        neutral::list(&private.leader, private.cut_off, &facts, ladder).await?;
        expect::ask(&private.leader, &config.drill.queries, ladder).await?;
        ladder.phase(LOOK, begun.elapsed(), 0);
        Ok(())
    }
}

fn not_run(ladder: &mut Ladder, reason: &str) -> Result<()> {
    ladder.rest_not_run(reason);
    Ok(())
}

/// An extension that this host does not have keeps the dump from being loaded, and says nothing of the backup.
async fn missing_extensions(leader: &Leader, facts: &Facts) -> Result<Option<String>> {
    let rows = leader.session.query("SELECT name::text FROM pg_available_extensions", &[]).await?;
    let available: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let wanted = facts.databases.iter().flat_map(|(name, one)| one.extensions.keys().map(move |e| (name, e)));
    let missing: Vec<String> = wanted
        .filter(|(_, extension)| !available.contains(extension))
        .map(|(database, extension)| format!("{extension} (database {database})"))
        .collect();
    Ok((!missing.is_empty())
        .then(|| format!("extensions that are not installed on this host: {}", missing.join(", "))))
}

/// The whole file through one psql, as a person would do it.
async fn load(leader: &Leader, programs: &Programs, from: &dyn Source) -> Result<u64> {
    let stream = from.read(from.artifact(None)?, Selection::Whole).await?;
    let command = psql_command(leader, &programs.psql, "postgres");
    pour(&*leader.place, &command, stream)
        .await
        .map_err(|error| Error::new(error.kind(), "load", "the dump into a fresh cluster").because(error))
}

impl Facts {
    /// The server's major version.
    fn major(&self) -> Result<u32> {
        let digits: String = self.server_version.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().map_err(|_| {
            Error::new(ErrorKind::Corrupt, "read the server's version", self.server_version.clone())
        })
    }
}

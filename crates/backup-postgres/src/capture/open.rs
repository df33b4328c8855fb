//! Pinning all databases of the leader in one burst.

use std::time::Duration;

use backup_core::{
    traits::Context,
    words::{Coverage, Error, ErrorKind, Point, Position, Result, Retry, Span},
};
use futures::{StreamExt, TryStreamExt};
use tokio::time::Instant;

use super::{ClusterCapture, Pin, Pinned, with_cause};
use crate::{
    connect::{Leader, Server, Session},
    facts::DatabaseFacts,
    globals::Globals,
    tools::Tool,
};

/// How many connections are opened side by side.
const SIDE_BY_SIDE: usize = 8;
/// How often the pins are taken again when roles changed meanwhile.
const TRIES: u32 = 3;

/// Finds the leader and holds all wanted databases at one point. When the leader changes meanwhile, the new one is taken.
pub(crate) async fn open(server: &Server, cx: &Context) -> Result<ClusterCapture> {
    let deadline = Instant::now() + Duration::from_secs(server.config.leader_wait_seconds);
    loop {
        let leader = server.leader_to_read(cx, deadline.saturating_duration_since(Instant::now())).await?;
        let error = match cx.or_cancelled("open the databases", pin_cluster(cx, &leader)).await {
            Ok(pinned) => return Ok(ClusterCapture { leader, pinned }),
            Err(error) => with_cause(&leader, error).await,
        };
        if error.retry_class() != Retry::Reopen || Instant::now() >= deadline {
            return Err(error);
        }
        tracing::info!(error = %error.chain(), "the leader went away: looking for the new one");
    }
}

async fn pin_cluster(cx: &Context, leader: &Leader) -> Result<Pinned> {
    let pg_dump = Tool::find(leader, "pg_dump").await?;
    let (wanted, coverage) = choose(leader).await?;
    let sessions = connect_all(leader, &wanted).await?;
    let mut warnings: Vec<String> = leader.unnamed.iter().cloned().collect();
    if pg_dump.major > leader.major {
        warnings.push(format!(
            "pg_dump {} is newer than the server ({}): the dump may not load into a server of that version; install \
             postgresql-client-{}",
            pg_dump.version, leader.version, leader.major
        ));
    }
    // Snapshots hold databases and not roles: equal globals on both sides of them belong to them.
    let mut before = Globals::read(cx, leader, &pg_dump).await?;
    let mut tries = 1;
    let (burst, globals) = loop {
        let burst = pin_all(cx, leader, &sessions).await?;
        let after = Globals::read(cx, leader, &pg_dump).await?;
        if after == before {
            break (burst, after);
        }
        if tries == TRIES {
            let text = "roles or tablespaces changed again and again while the databases were opened: the globals are \
                        those of the moment after";
            warnings.push(text.to_owned());
            break (burst, after);
        }
        before = after;
        tries += 1;
        for session in &sessions {
            session.batch("ROLLBACK").await?;
        }
    };
    let pins = wanted.into_iter().zip(sessions).zip(burst.snapshots);
    let pins = pins.map(|(((database, size), session), snapshot)| {
        let facts = DatabaseFacts { size_bytes: size, ..DatabaseFacts::default() };
        Pin { database, session, snapshot, facts }
    });
    let lineage = format!("{}/{}", leader.system_id, leader.timeline);
    Ok(Pinned {
        pg_dump,
        globals_agree: globals == before,
        globals,
        pins: pins.collect(),
        point: Point::pinned(burst.span).at(Position { lineage, ..burst.position }),
        coverage,
        warnings,
    })
}

/// The databases to dump with their sizes, and what is left out. The smallest come first: a dump holds its tables' locks
/// from the start, and the small ones shall not hold theirs for as long as the large ones take.
async fn choose(leader: &Leader) -> Result<(Vec<(String, u64)>, Vec<Coverage>)> {
    let config = &leader.server().config;
    let rows = leader.session.query(
        "SELECT datname::text, datallowconn AND datconnlimit <> -2, CASE WHEN has_database_privilege(oid, 'CONNECT') \
         OR pg_has_role('pg_read_all_stats', 'USAGE') THEN pg_database_size(oid) ELSE 0 END AS size FROM pg_database \
         WHERE datname <> 'template0' ORDER BY size, datname",
        &[],
    );
    let mut wanted = Vec::new();
    let mut coverage = Vec::new();
    let mut known = Vec::new();
    for row in rows.await? {
        let (name, open, size): (String, bool, i64) = (row.get(0), row.get(1), row.get(2));
        known.push(name.clone());
        let what = format!("database {name}");
        if !config.wants(&name) {
            coverage.push(Coverage {
                what,
                why: "the configuration leaves it out".to_owned(),
                missing: false,
            });
        } else if !open {
            let why = "it allows no connections; name it in `exclude_databases` if that is meant".to_owned();
            coverage.push(Coverage { what, why, missing: true });
        } else {
            wanted.push((name, u64::try_from(size).unwrap_or(0)));
        }
    }
    if let Some(missing) = config.databases.iter().find(|name| *name != "*" && !known.contains(name)) {
        return Err(Error::new(ErrorKind::NotFound, "back up the database", missing)
            .detail(format!("{} has none of that name", leader.address))
            .hint(format!("it has: {}", known.join(", "))));
    }
    for pattern in &config.exclude_table_data {
        let why = "the configuration leaves its rows out".to_owned();
        coverage.push(Coverage { what: format!("rows of {pattern}"), why, missing: false });
    }
    Ok((wanted, coverage))
}

async fn connect_all(leader: &Leader, wanted: &[(String, u64)]) -> Result<Vec<Session>> {
    let mut connecting = Vec::new();
    for (database, _) in wanted {
        connecting.push(leader.connect(database));
    }
    futures::stream::iter(connecting).buffered(SIDE_BY_SIDE).try_collect().await
}

/// All snapshots, taken at once.
struct Burst {
    snapshots: Vec<String>,
    /// Without its lineage.
    position: Position,
    span: Span,
}

/// Takes all snapshots at once. The position is read first: what was committed before it is in every snapshot.
async fn pin_all(cx: &Context, leader: &Leader, sessions: &[Session]) -> Result<Burst> {
    let query = "SELECT pg_current_wal_lsn()::text, (pg_current_wal_lsn() - '0/0'::pg_lsn)::text";
    let row = leader.session.one(query, &[]).await?;
    let (label, number): (String, String) = (row.get(0), row.get(1));
    let at = number.parse().map_err(|e| {
        Error::new(ErrorKind::Internal, "read the position of", leader.address.to_string()).because(e)
    })?;
    let from = cx.now();
    let mut pinning = Vec::new();
    for session in sessions {
        pinning.push(
            session.text("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SELECT pg_export_snapshot()"),
        );
    }
    let snapshots = futures::future::try_join_all(pinning).await?;
    let span = Span { from, to: cx.now() };
    Ok(Burst { snapshots, position: Position { lineage: String::new(), at, label: Some(label) }, span })
}

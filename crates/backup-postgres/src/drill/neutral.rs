//! What the dump holds that could reach out, and how it was kept from it.

use backup_core::{policy::Ladder, words::Result};

use crate::{connect::Leader, facts::Facts};

/// As many of a kind are named in each database.
const NAMED: usize = 10;

/// Kinds of objects, the query for their names, and why they stay still.
const KINDS: [(&str, &str, &str); 4] = [
    (
        "subscription",
        "SELECT subname::text FROM pg_subscription WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())",
        "created disabled, and there are no workers for it",
    ),
    ("publication", "SELECT pubname::text FROM pg_publication", "nothing can be sent: max_wal_senders is 0"),
    ("foreign server", "SELECT srvname::text FROM pg_foreign_server", "nothing asks it"),
    (
        "event trigger",
        "SELECT evtname::text FROM pg_event_trigger",
        "the dump creates it behind what it would fire for",
    ),
];

/// Lists them.
pub(super) async fn list(leader: &Leader, cut_off: bool, facts: &Facts, ladder: &mut Ladder) -> Result<()> {
    ladder.neutralised(if cut_off {
        "network: the server has one of its own, without any device"
    } else {
        "network: the server listens on a Unix socket only (this system lets us give it no network of its own)"
    });
    ladder.neutralised("archive_command: archive_mode is off");
    for (name, database) in &facts.databases {
        let Ok(session) = leader.connect(name).await else { continue };
        for (kind, query, why) in KINDS {
            let rows = session.query(query, &[]).await?;
            for row in rows.iter().take(NAMED) {
                ladder.neutralised(format!("{kind} {} of {name}: {why}", row.get::<_, String>(0)));
            }
            if rows.len() > NAMED {
                ladder.neutralised(format!("{} more of {name}, each a {kind}: {why}", rows.len() - NAMED));
            }
        }
        if database.extensions.contains_key("pg_cron") {
            ladder.neutralised(format!("pg_cron of {name}: its background worker is not loaded"));
        }
    }
    Ok(())
}

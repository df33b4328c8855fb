//! What `check` looks at.

use backup_core::{
    traits::{Context, Finding},
    words::{Error, Result},
};

use crate::{
    connect::{Answers, Cluster, Leader, Member, Server},
    tools::Tool,
};

/// A replica further behind than this is worth a look, in bytes: a write-ahead log segment.
const LAG: u64 = 16 << 20;

/// Looks at members, leader, rights and programs. Changes nothing.
pub(crate) async fn check(cx: &Context, server: &Server) -> Vec<Finding> {
    let mut findings = match server.ask_patroni().await {
        Ok(answers) => members(answers),
        Err(error) => vec![Finding::from_error("Patroni", &error)],
    };
    match server.look().await {
        Ok(leader) => {
            let (version, address) = (&leader.version, &leader.address);
            findings.push(Finding::ok(
                format!("leader {address}"),
                format!("PostgreSQL {version}, system {}, timeline {}", leader.system_id, leader.timeline),
            ));
            for (subject, looked) in [
                ("rights", rights(&leader).await),
                ("databases", databases(&leader).await),
                ("WAL archive", archive(&leader).await),
            ] {
                findings.extend(looked.unwrap_or_else(|error| vec![Finding::from_error(subject, &error)]));
            }
            findings.extend(programs(cx, &leader).await);
        }
        Err(error) => findings.push(Finding::from_error("leader", &error)),
    }
    findings
}

fn members(answers: Answers) -> Vec<Finding> {
    if answers.absent {
        return vec![Finding::ok("Patroni", "there is none: the one server that takes writes leads")];
    }
    let mut findings = Vec::new();
    let mut known: Option<Cluster> = None;
    for (url, answer) in answers.each {
        let subject = format!("Patroni {url}");
        match answer {
            Ok(cluster) => {
                let scope = cluster.scope.as_deref().map(|scope| format!(" of {scope}")).unwrap_or_default();
                findings.push(Finding::ok(subject, format!("{} members{scope}", cluster.members.len())));
                known.get_or_insert(cluster);
            }
            Err(error) => {
                let hint = "the others are asked in its place; start it, or take it out of `patroni`";
                findings.push(Finding::warning(subject, error.chain()).hint(hint));
            }
        }
    }
    let Some(cluster) = known else { return findings };
    if cluster.pause {
        findings.push(
            Finding::warning("Patroni", "it is paused: there is no automatic failover")
                .hint("patronictl resume"),
        );
    }
    findings.extend(cluster.members.iter().map(member));
    findings
}

fn member(member: &Member) -> Finding {
    let subject = format!("member {}", member.name);
    let lag = member.lag.as_ref();
    let behind = lag.and_then(serde_json::Value::as_u64);
    let text = match (behind, lag) {
        (Some(bytes), _) => format!(", {bytes} bytes behind"),
        (None, Some(_)) => ", how far behind is not known".to_owned(),
        (None, None) => String::new(),
    };
    let message = format!("{}, {}{text}", member.role, member.state);
    let runs = matches!(member.state.as_str(), "running" | "streaming" | "in archive recovery");
    if runs && behind.unwrap_or(0) <= LAG {
        Finding::ok(subject, message)
    } else {
        Finding::warning(subject, message).hint("patronictl list; see the member's log")
    }
}

async fn rights(leader: &Leader) -> Result<Vec<Finding>> {
    let row = leader.session.one(
        "SELECT current_user::text, rolsuper, rolcreatedb, has_table_privilege('pg_catalog.pg_authid', 'SELECT'), \
         CASE WHEN EXISTS (SELECT FROM pg_roles WHERE rolname = 'pg_read_all_data') \
         THEN pg_has_role('pg_read_all_data', 'USAGE') ELSE false END \
         FROM pg_roles WHERE rolname = current_user",
        &[],
    );
    let row = row.await?;
    let (user, superuser, createdb): (String, bool, bool) = (row.get(0), row.get(1), row.get(2));
    let (passwords, reads): (bool, bool) = (row.get(3), row.get(4));
    let subject = format!("rights of {user}");
    if superuser {
        return Ok(vec![Finding::ok(subject, "superuser")]);
    }
    let mut findings = Vec::new();
    if !passwords {
        findings.push(
            Finding::error(&subject, "it may not read pg_authid: roles have their passwords there")
                .hint("connect as a superuser"),
        );
    }
    if !reads {
        findings.push(
            Finding::error(&subject, "it may not read all tables")
                .hint(format!("connect as a superuser, or GRANT pg_read_all_data TO {user}")),
        );
    }
    if !createdb {
        findings.push(
            Finding::warning(&subject, "it may not create databases: good for backups, not for restores")
                .hint("restores need a superuser"),
        );
    }
    if findings.is_empty() {
        findings.push(Finding::ok(subject, "reads all tables and role passwords"));
    }
    Ok(findings)
}

async fn databases(leader: &Leader) -> Result<Vec<Finding>> {
    let config = &leader.server().config;
    let rows = leader.session.query(
        "SELECT datname::text, datallowconn FROM pg_database WHERE datname <> 'template0' ORDER BY 1",
        &[],
    );
    let rows: Vec<(String, bool)> = rows.await?.iter().map(|row| (row.get(0), row.get(1))).collect();
    let mut findings = Vec::new();
    for name in config.databases.iter().filter(|name| *name != "*") {
        if !rows.iter().any(|(known, _)| known == name) {
            findings.push(
                Finding::error(format!("database {name}"), "there is none of that name")
                    .hint("mend `databases` of the component"),
            );
        }
    }
    let wanted: Vec<&(String, bool)> = rows.iter().filter(|(name, _)| config.wants(name)).collect();
    for (name, _) in wanted.iter().filter(|(_, open)| !open) {
        findings.push(
            Finding::warning(format!("database {name}"), "it allows no connections and cannot be dumped")
                .hint("name it in `exclude_databases` if that is meant"),
        );
    }
    let names: Vec<&str> = wanted.iter().map(|(name, _)| name.as_str()).collect();
    findings.push(Finding::ok("databases", names.join(", ")));
    findings.extend(connections(leader, wanted.len()).await?);
    Ok(findings)
}

/// A backup holds a connection for each database, two for pg_dump, one for questions.
async fn connections(leader: &Leader, databases: usize) -> Result<Option<Finding>> {
    let row = leader.session.one(
        "SELECT current_setting('max_connections')::bigint - count(*) FROM pg_stat_activity \
         WHERE backend_type = 'client backend'",
        &[],
    );
    let free: i64 = row.await?.get(0);
    let needed = databases as i64 + 3;
    if free >= needed {
        return Ok(None);
    }
    let message = format!("{free} are free, a backup of {databases} databases takes {needed}");
    Ok(Some(
        Finding::warning("connections", message).hint("raise max_connections, or list fewer `databases`"),
    ))
}

async fn archive(leader: &Leader) -> Result<Vec<Finding>> {
    let row = leader.session.one(
        "SELECT last_failed_wal, last_failed_time > coalesce(last_archived_time, '-infinity') \
         FROM pg_stat_archiver",
        &[],
    );
    let row = row.await?;
    let (failed, since): (Option<String>, Option<bool>) = (row.get(0), row.get(1));
    Ok(match (failed, since) {
        (Some(segment), Some(true)) => vec![
            Finding::warning("WAL archive", format!("{segment} could not be archived, and nothing since"))
                .hint("see the server's log: the disk fills while archiving fails"),
        ],
        _ => Vec::new(),
    })
}

async fn programs(cx: &Context, leader: &Leader) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, needed) in [("pg_dump", true), ("psql", false)] {
        match cx.or_cancelled("look for programs", Tool::find(leader, name)).await {
            Ok(tool) if tool.major > leader.major => {
                let message = format!("{} {} is newer than the server", tool.program, tool.version);
                let hint = format!(
                    "its dumps may not load into the server's version: install postgresql-client-{}",
                    leader.major
                );
                findings.push(Finding::warning(name, message).hint(hint));
            }
            Ok(tool) => findings.push(Finding::ok(name, format!("{} {}", tool.program, tool.version))),
            Err(error) if needed => findings.push(Finding::from_error(name, &error)),
            Err(error) => findings.push(missing_for_restores(name, &error)),
        }
    }
    findings
}

fn missing_for_restores(name: &str, error: &Error) -> Finding {
    let finding = Finding::warning(name, format!("{}; restores need it", error.chain()));
    match error.advice() {
        Some(hint) => finding.hint(hint),
        None => finding,
    }
}

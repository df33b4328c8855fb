//! Roles and tablespaces.

use std::collections::BTreeSet;

use backup_core::{
    traits::Restored,
    words::{Error, Result},
};
use serde_json::Value;

use super::{apply::Job, options::GlobalsMode};
use crate::{
    globals::{About, Globals},
    verify::read_text,
};

/// What the cluster has, and had before the step began: it may go on after a crash.
struct Before {
    roles: BTreeSet<String>,
    tablespaces: BTreeSet<String>,
    roles_now: BTreeSet<String>,
    tablespaces_now: BTreeSet<String>,
    /// Whom we connect as: its password is not changed under our own feet.
    ourselves: String,
}

/// Creates what is missing; sets the rest only when asked.
pub(super) async fn apply(job: &Job<'_>, mode: GlobalsMode) -> Result<Restored> {
    let text = read_text(job.from, job.from.artifact(None)?, "globals").await?;
    let globals = Globals::parse(&text);
    let before = before(job).await?;
    // Roles all at once or not at all. Tablespaces cannot be created in a transaction.
    let (mut roles, mut tablespaces) = (Vec::new(), Vec::new());
    let mut created = 0;
    for (statement, about) in globals.statements() {
        if !wanted(&before, &about, mode) {
            continue;
        }
        created += usize::from(matches!(about, About::NewRole(_) | About::NewTablespace(_)));
        match about {
            About::NewTablespace(_) | About::Tablespace(_) => tablespaces.push(statement),
            _ => roles.push(statement),
        }
    }
    let session = &job.leader.session;
    // Hashes of passwords stay out of the server's log where we may say so.
    let _ = session.batch("SET log_statement = 'none'; SET log_min_error_statement = 'panic'").await;
    if !roles.is_empty() {
        session.batch(&format!("BEGIN; {}; COMMIT", roles.join("; "))).await?;
    }
    for statement in &tablespaces {
        session.batch(statement).await.map_err(|e| {
            Error::new(e.kind(), "restore the tablespaces of", job.leader.address.to_string())
                .hint(
                    "a tablespace's folder must exist on every member, empty and owned by PostgreSQL's user",
                )
                .because(e)
        })?;
    }
    let left = globals.roles() + globals.tablespaces().len() - created;
    let others = if mode == GlobalsMode::Overwrite { "set as they were" } else { "left alone" };
    Ok(Restored::done(format!("{created} roles and tablespaces created, {left} that existed {others}")))
}

fn wanted(before: &Before, about: &About, mode: GlobalsMode) -> bool {
    let overwrite = mode == GlobalsMode::Overwrite;
    match about {
        About::NewRole(name) => !before.roles_now.contains(name),
        About::Role(name) => !before.roles.contains(name) || (overwrite && *name != before.ourselves),
        About::Member { role, member } => {
            overwrite || !(before.roles.contains(role) && before.roles.contains(member))
        }
        About::NewTablespace(name) => !before.tablespaces_now.contains(name),
        About::Tablespace(name) => overwrite || !before.tablespaces.contains(name),
        About::Other => false,
    }
}

async fn before(job: &Job<'_>) -> Result<Before> {
    let (roles, roles_now) = names(job, "roles", "SELECT rolname::text FROM pg_roles").await?;
    let (tablespaces, tablespaces_now) =
        names(job, "tablespaces", "SELECT spcname::text FROM pg_tablespace").await?;
    let ourselves = job.leader.session.one("SELECT current_user::text", &[]).await?.get(0);
    Ok(Before { roles, tablespaces, roles_now, tablespaces_now, ourselves })
}

/// The names as they were when the step first began, and as they are.
async fn names(job: &Job<'_>, what: &str, query: &str) -> Result<(BTreeSet<String>, BTreeSet<String>)> {
    let rows = job.leader.session.query(query, &[]).await?;
    let now: BTreeSet<String> = rows.iter().map(|row| row.get(0)).collect();
    if let Some(Value::Array(names)) = job.journal.recall(what) {
        return Ok((names.iter().filter_map(Value::as_str).map(str::to_owned).collect(), now));
    }
    job.journal.record(what, now.iter().cloned().collect()).await?;
    Ok((now.clone(), now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn existing_roles_are_left_alone_unless_asked_and_our_own_always() {
        let before = Before {
            roles: ["old", "us"].map(str::to_owned).into(),
            roles_now: ["old", "us", "made"].map(str::to_owned).into(),
            tablespaces: BTreeSet::new(),
            tablespaces_now: BTreeSet::new(),
            ourselves: "us".to_owned(),
        };
        let member = |role: &str, member: &str| About::Member { role: role.into(), member: member.into() };
        let cases = [
            (About::NewRole("new".into()), true, true),
            (About::NewRole("old".into()), false, false),
            (About::Role("old".into()), false, true),
            (About::Role("us".into()), false, false),
            (About::Role("new".into()), true, true),
            // Made by this step before it was interrupted.
            (About::NewRole("made".into()), false, false),
            (About::Role("made".into()), true, true),
            (member("old", "us"), false, true),
            (member("old", "new"), true, true),
            (About::NewTablespace("fast".into()), true, true),
            (About::Other, false, false),
        ];
        for (about, missing, overwrite) in cases {
            assert_eq!(wanted(&before, &about, GlobalsMode::Missing), missing, "{about:?}");
            assert_eq!(wanted(&before, &about, GlobalsMode::Overwrite), overwrite, "{about:?}");
        }
    }
}

//! Holding the restored database against the manifest.

use backup_core::{
    traits::Restored,
    words::{Error, ErrorKind, Result},
};
use std::collections::BTreeSet;

use super::{apply::Job, plan::oid};
use crate::{
    connect::Session,
    facts::{DatabaseFacts, Facts},
    sql::{ident, take_ident},
};

/// How many differences an error names.
const NAMED: usize = 5;

/// Counts every table and large object; then has the planner's statistics made, which a dump does not hold.
pub(super) async fn check(job: &Job<'_>) -> Result<Restored> {
    let name = &job.work.name;
    if oid(&job.leader, name).await? != job.created() {
        return Err(Error::new(ErrorKind::Refused, "check", job.subject(name))
            .detail("it is not the database that this restore loaded")
            .hint("begin the restore anew"));
    }
    let facts = Facts::from_map(&job.from.record().facts)?;
    let expected = facts
        .databases
        .get(&job.work.database)
        .ok_or_else(|| Error::new(ErrorKind::NotFound, "find the facts of", job.work.database.clone()))?;
    let session = job.leader.connect(name).await?;
    let differences = differences(&session, expected).await?;
    if !differences.is_empty() {
        let more = differences.len().saturating_sub(NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        return Err(Error::new(ErrorKind::Corrupt, "check", job.subject(name))
            .detail(format!("{}{more}", differences[..differences.len().min(NAMED)].join("; ")))
            .hint(format!("nothing was switched; {name} is left to be looked at")));
    }
    session.batch("ANALYZE").await?;
    Ok(Restored::done(format!(
        "{} rows in {} tables, as in the manifest",
        expected.rows,
        expected.tables.len()
    )))
}

/// Tables whose rows, and large objects whose number, are not as expected.
pub(crate) async fn differences(session: &Session, expected: &DatabaseFacts) -> Result<Vec<String>> {
    let extensions = extension_tables(session).await?;
    let mut differences = Vec::new();
    for (table, rows) in &expected.tables {
        let Some((schema, relation)) = read_name(table) else {
            differences.push(format!("{table} is no table's name"));
            continue;
        };
        let query = format!("SELECT count(*) FROM ONLY {}.{}", ident(&schema), ident(&relation));
        let found = match session.one(&query, &[]).await {
            Ok(row) => u64::try_from(row.get::<_, i64>(0)).unwrap_or(0),
            Err(e) if e.kind() == ErrorKind::NotFound => {
                differences.push(format!("{table} is missing"));
                continue;
            }
            Err(e) => return Err(e),
        };
        // An extension's table holds its own rows beside those that are dumped.
        let right = if extensions.contains(&(schema, relation)) { found >= *rows } else { found == *rows };
        if !right {
            differences.push(format!("{table} has {found} rows and not {rows}"));
        }
    }
    let row = session.one("SELECT count(*) FROM pg_largeobject_metadata", &[]).await?;
    let objects = u64::try_from(row.get::<_, i64>(0)).unwrap_or(0);
    if objects != expected.large_objects {
        differences.push(format!("{objects} large objects and not {}", expected.large_objects));
    }
    Ok(differences)
}

async fn extension_tables(session: &Session) -> Result<BTreeSet<(String, String)>> {
    let rows = session.query(
        "SELECT n.nspname::text, c.relname::text FROM pg_depend d JOIN pg_class c ON c.oid = d.objid \
         JOIN pg_namespace n ON n.oid = c.relnamespace WHERE d.classid = 'pg_class'::regclass AND d.deptype = 'e'",
        &[],
    );
    Ok(rows.await?.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// `public."Order"` as its two names.
fn read_name(written: &str) -> Option<(String, String)> {
    let (schema, rest) = take_ident(written)?;
    let (relation, rest) = take_ident(rest.strip_prefix('.')?)?;
    if rest.is_empty() { Some((schema, relation)) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_more_than_a_name_is_refused() {
        assert_eq!(read_name("public.\"a.\"\"b\""), Some(("public".into(), "a.\"b".into())));
        for bad in ["t", "public.t; DROP TABLE x", "a.b.c", ""] {
            assert_eq!(read_name(bad), None, "{bad}");
        }
    }
}

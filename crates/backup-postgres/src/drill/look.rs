//! Holding the private cluster against the manifest, and against its own rules.

use std::collections::{BTreeMap, BTreeSet};

use backup_core::{
    policy::{Ladder, Rung, Wrong},
    traits::Source,
    words::{ErrorKind, Result},
};

use crate::{
    connect::{Leader, Session},
    facts::{DatabaseFacts, Facts},
    globals::{About, Globals},
    restore::differences,
    sql::ident,
    verify::read_text,
};

/// Where amcheck is put: the databases are thrown away.
const SCHEMA: &str = "ha_backup_drill";

/// Sequences that belong to a column of whole numbers, and queries for the column's ends. A sequence that cycles may stand
/// anywhere.
const SEQUENCES: &str = "SELECT s.oid::regclass::text, t.oid::regclass::text || '.' || a.attname, q.seqincrement, \
    format('SELECT (SELECT %s(%I)::bigint FROM %s), (SELECT CASE WHEN is_called THEN last_value ELSE last_value - %s END FROM %s)', \
        CASE WHEN q.seqincrement > 0 THEN 'max' ELSE 'min' END, a.attname, t.oid::regclass, q.seqincrement, s.oid::regclass) \
    FROM pg_depend d JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S' JOIN pg_sequence q ON q.seqrelid = s.oid \
    JOIN pg_class t ON t.oid = d.refobjid AND t.relkind IN ('r', 'p') \
    JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = d.refobjsubid \
    WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i') \
    AND NOT q.seqcycle AND a.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype)";

const INVALID_INDEXES: &str =
    "SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid OR NOT indisready";

const OPEN_CONSTRAINTS: &str =
    "SELECT count(*) FROM pg_constraint WHERE NOT convalidated AND contype IN ('f', 'c', 'n')";

const BTREES: &str = "SELECT i.indexrelid, i.indexrelid::regclass::text FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid \
    JOIN pg_am m ON m.oid = c.relam WHERE m.amname = 'btree' AND c.relkind = 'i' AND c.relpersistence <> 't' \
    AND i.indisready AND i.indisvalid";

/// What was found in all databases.
#[derive(Debug, Default)]
struct Found {
    volume: Vec<Wrong>,
    content: Vec<Wrong>,
    integrity: Vec<Wrong>,
    sequences: usize,
    other_versions: BTreeMap<String, String>,
    open_constraints: i64,
    checked_indexes: usize,
    /// Databases whose host has no amcheck.
    unchecked: bool,
}

pub(super) async fn look(
    leader: &Leader,
    from: &dyn Source,
    facts: &Facts,
    ladder: &mut Ladder,
) -> Result<()> {
    let mut found = Found { volume: roles(leader, from, facts).await?, ..Found::default() };
    for (name, expected) in &facts.databases {
        let session = match leader.connect(name).await {
            Ok(session) => session,
            Err(error) => {
                found.volume.push(Wrong::new(format!("database {name}"), error.chain()));
                continue;
            }
        };
        found.database(&session, name, expected).await?;
    }
    found.report(facts, ladder);
    Ok(())
}

/// Roles and tablespaces that are not there, or fewer than the manifest says.
async fn roles(leader: &Leader, from: &dyn Source, facts: &Facts) -> Result<Vec<Wrong>> {
    let globals = Globals::parse(&read_text(from, from.artifact(None)?, "globals").await?);
    let mut wrong = Vec::new();
    if globals.roles() as u64 != facts.roles {
        wrong.push(Wrong::new(
            "roles",
            format!("{} in the dump, the manifest says {}", globals.roles(), facts.roles),
        ));
    }
    let rows = leader.session.query("SELECT rolname::text FROM pg_roles", &[]).await?;
    let there: BTreeSet<String> = rows.iter().map(|row| row.get(0)).collect();
    for (_, about) in globals.statements() {
        if let About::NewRole(name) = about
            && !there.contains(&name)
        {
            wrong.push(Wrong::new(format!("role {name}"), "it is missing"));
        }
    }
    let rows = leader.session.one("SELECT count(*) FROM pg_tablespace WHERE oid >= 16384", &[]).await?;
    let tablespaces = u64::try_from(rows.get::<_, i64>(0)).unwrap_or(0);
    if tablespaces != facts.tablespaces {
        wrong.push(Wrong::new(
            "tablespaces",
            format!("{tablespaces} found, the manifest says {}", facts.tablespaces),
        ));
    }
    Ok(wrong)
}

impl Found {
    async fn database(&mut self, session: &Session, name: &str, expected: &DatabaseFacts) -> Result<()> {
        let place = format!("database {name}");
        let wrong = differences(session, expected).await?;
        self.volume.extend(wrong.into_iter().map(|difference| Wrong::new(&place, difference)));
        self.extensions(session, &place, expected).await?;
        self.sequences(session, &place).await?;
        for row in session.query(INVALID_INDEXES, &[]).await? {
            self.integrity
                .push(Wrong::new(format!("index {} of {place}", row.get::<_, String>(0)), "it is invalid"));
        }
        self.open_constraints += session.one(OPEN_CONSTRAINTS, &[]).await?.get::<_, i64>(0);
        self.btrees(session, &place).await
    }

    async fn extensions(&mut self, session: &Session, place: &str, expected: &DatabaseFacts) -> Result<()> {
        let rows = session.query("SELECT extname::text, extversion FROM pg_extension", &[]).await?;
        let there: BTreeMap<String, String> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        for (extension, version) in &expected.extensions {
            match there.get(extension) {
                None => self
                    .content
                    .push(Wrong::new(format!("extension {extension} of {place}"), "it is missing")),
                Some(here) if here != version => {
                    self.other_versions.insert(extension.clone(), format!("{here} in place of {version}"));
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// A sequence behind its column gives numbers that are taken.
    async fn sequences(&mut self, session: &Session, place: &str) -> Result<()> {
        for row in session.query(SEQUENCES, &[]).await? {
            let (sequence, column, increment): (String, String, i64) = (row.get(0), row.get(1), row.get(2));
            let ends = session.one(&row.get::<_, String>(3), &[]).await?;
            let (end, at): (Option<i64>, i64) = (ends.get(0), ends.get(1));
            self.sequences += 1;
            if let Some(end) = end
                && (end - at).signum() == increment.signum()
            {
                let found = format!("it stands at {at}, behind {end} in {column}");
                self.content.push(Wrong::new(format!("sequence {sequence} of {place}"), found));
            }
        }
        Ok(())
    }

    async fn btrees(&mut self, session: &Session, place: &str) -> Result<()> {
        let available = "SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'amcheck')";
        if !session.one(available, &[]).await?.get::<_, bool>(0) {
            self.unchecked = true;
            return Ok(());
        }
        let there = "SELECT n.nspname::text FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace \
                     WHERE e.extname = 'amcheck'";
        let schema = match session.query(there, &[]).await?.first() {
            Some(row) => row.get(0),
            None => {
                session
                    .batch(&format!("CREATE SCHEMA {SCHEMA}; CREATE EXTENSION amcheck SCHEMA {SCHEMA}"))
                    .await?;
                SCHEMA.to_owned()
            }
        };
        let check = format!("SELECT {}.bt_index_check($1::oid, false)", ident(&schema));
        for row in session.query(BTREES, &[]).await? {
            let (oid, name): (u32, String) = (row.get(0), row.get(1));
            self.checked_indexes += 1;
            match session.query(&check, &[&oid]).await {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Unreachable => return Err(error),
                Err(error) => {
                    self.integrity.push(Wrong::new(format!("index {name} of {place}"), error.to_string()))
                }
            }
        }
        Ok(())
    }

    fn report(self, facts: &Facts, ladder: &mut Ladder) {
        let tables: usize = facts.databases.values().map(|one| one.tables.len()).sum();
        let volume = format!(
            "{} rows in {tables} tables of {} databases, {} roles",
            facts.rows,
            facts.databases.len(),
            facts.roles
        );
        ladder.judge(Rung::Volume, volume, self.volume);
        let mut content =
            format!("{} sequences at or past their columns' ends, extensions there", self.sequences);
        let versions: Vec<String> =
            self.other_versions.into_iter().map(|(name, versions)| format!("{name} {versions}")).collect();
        if !versions.is_empty() {
            content.push_str(&format!(" (other versions here: {})", versions.join(", ")));
        }
        ladder.judge(Rung::Content, content, self.content);
        let mut integrity = match self.unchecked {
            true => "no index is invalid (amcheck is not installed here: their pages were not looked at)"
                .to_owned(),
            false => format!("no index is invalid, {} checked by amcheck", self.checked_indexes),
        };
        if self.open_constraints > 0 {
            integrity.push_str(&format!(
                "; {} constraints are NOT VALID, as the dump has them",
                self.open_constraints
            ));
        }
        ladder.judge(Rung::Integrity, integrity, self.integrity);
    }
}

//! What belongs to the whole cluster: roles with their passwords, memberships, settings, tablespaces.

use backup_core::{
    traits::Context,
    words::{Error, ErrorKind, Result},
};

use crate::{
    connect::Leader,
    sql::{literal, take_ident, take_literal},
    tools::{self, Tool},
};

/// What the last comment of pg_dumpall says, and of the part `globals`.
pub(crate) const MARKER: &str = "-- PostgreSQL database cluster dump complete";

/// The statements of `pg_dumpall --globals-only`, in order, without their `;`.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Globals {
    statements: Vec<String>,
}

// Statements hold hashes of passwords.
impl std::fmt::Debug for Globals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Globals({} statements)", self.statements.len())
    }
}

/// What a statement is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum About {
    /// `CREATE ROLE`.
    NewRole(String),
    /// Attributes, settings, comment of a role, or its rights on a parameter.
    Role(String),
    /// `GRANT role TO member`.
    Member {
        /// What it becomes a member of.
        role: String,
        /// Who becomes one.
        member: String,
    },
    /// `CREATE TABLESPACE`.
    NewTablespace(String),
    /// Owner, options, comment or rights of a tablespace.
    Tablespace(String),
    /// Settings of the session, and what is not known.
    Other,
}

impl Globals {
    /// Asks pg_dumpall.
    pub(crate) async fn read(cx: &Context, leader: &Leader, pg_dump: &Tool) -> Result<Self> {
        let command = tools::client(
            &pg_dump.sibling("pg_dumpall"),
            leader,
            &leader.server().config.maintenance_database,
        )
        .arg("--globals-only");
        let output = leader.place.output(&command);
        let output = cx.or_cancelled("read the globals", output).await.map_err(|e| {
            Error::new(ErrorKind::Failed, "read the globals of", leader.address.to_string())
                .hint("roles come with their passwords: the user must be a superuser")
                .because(e)
        })?;
        let cut = || {
            Error::new(ErrorKind::Truncated, "read the globals of", leader.address.to_string())
                .detail("pg_dumpall's end marker is missing")
        };
        let text = String::from_utf8(output).map_err(|e| cut().because(e))?;
        if text.lines().any(|line| line == MARKER) { Ok(Self::parse(&text)) } else { Err(cut()) }
    }

    /// Reads the statements out of pg_dumpall's text, or out of the part that was made of it.
    pub(crate) fn parse(text: &str) -> Self {
        Self { statements: split(text).into_iter().map(unguard).collect() }
    }

    /// The statements and what each is about.
    pub(crate) fn statements(&self) -> impl Iterator<Item = (&str, About)> {
        self.statements.iter().map(|statement| (statement.as_str(), about(statement)))
    }

    /// How many roles it creates.
    pub(crate) fn roles(&self) -> usize {
        self.statements().filter(|(_, about)| matches!(about, About::NewRole(_))).count()
    }

    /// The tablespaces that it creates.
    pub(crate) fn tablespaces(&self) -> Vec<String> {
        let name = |about| match about {
            About::NewTablespace(name) => Some(name),
            _ => None,
        };
        self.statements().filter_map(|(_, about)| name(about)).collect()
    }

    /// The part `globals`: as pg_dumpall has it, but what is there already is not created.
    pub(crate) fn to_part(&self, head: &str) -> String {
        let mut part = format!("{head}\\set ON_ERROR_STOP on\n\n");
        for (statement, about) in self.statements() {
            part.push_str(&match about {
                About::NewRole(name) => guard(statement, "pg_roles WHERE rolname", &name),
                About::NewTablespace(name) => guard(statement, "pg_tablespace WHERE spcname", &name),
                _ => format!("{statement};\n"),
            });
        }
        part + "\n--\n" + MARKER + "\n--\n"
    }
}

fn guard(statement: &str, whose: &str, name: &str) -> String {
    let (statement, name) = (literal(statement), literal(name));
    format!("SELECT {statement} WHERE NOT EXISTS (SELECT FROM pg_catalog.{whose} = {name}) \\gexec\n")
}

/// The statement inside of a guard; others as they are.
fn unguard(statement: String) -> String {
    let guarded = statement
        .strip_prefix("SELECT ")
        .filter(|rest| ["'CREATE ", "E'CREATE "].iter().any(|begin| rest.starts_with(begin)));
    match guarded.and_then(take_literal) {
        Some((inner, _)) => inner,
        None => statement,
    }
}

/// Splits text at `;` and `\gexec` outside of quotes and comments; psql's own lines are dropped.
fn split(text: &str) -> Vec<String> {
    let mut statements = Vec::new();
    let mut statement = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let taken = if rest.starts_with("--") || (c == '\\' && statement.trim().is_empty()) {
            rest.find('\n').unwrap_or(rest.len())
        } else if let Some(behind) = rest.strip_prefix("\\gexec").or_else(|| rest.strip_prefix(';')) {
            statements.push(std::mem::take(&mut statement).trim().to_owned());
            rest = behind;
            continue;
        } else {
            let quoted = match c {
                '"' => take_ident(rest).map(|(_, behind)| behind),
                '\'' => take_literal(rest).map(|(_, behind)| behind),
                'E' if rest.starts_with("E'") => take_literal(rest).map(|(_, behind)| behind),
                _ => None,
            };
            let taken = quoted.map_or(c.len_utf8(), |behind| rest.len() - behind.len());
            statement.push_str(&rest[..taken]);
            taken
        };
        rest = &rest[taken..];
    }
    statements
}

fn about(statement: &str) -> About {
    let behind = |begin: &str| statement.strip_prefix(begin).and_then(take_ident);
    let named = |begin: &str| behind(begin).map(|(name, _)| name);
    if let Some(name) = named("CREATE ROLE ") {
        return About::NewRole(name);
    }
    if let Some(name) = named("ALTER ROLE ").or_else(|| named("COMMENT ON ROLE ")) {
        return About::Role(name);
    }
    if let Some(name) = named("CREATE TABLESPACE ") {
        return About::NewTablespace(name);
    }
    if let Some(name) = named("ALTER TABLESPACE ").or_else(|| named("COMMENT ON TABLESPACE ")) {
        return About::Tablespace(name);
    }
    if let Some(rest) = statement.strip_prefix("SECURITY LABEL FOR ") {
        let object = take_ident(rest).map_or("", |(_, object)| object);
        return match (object.strip_prefix(" ON ROLE "), object.strip_prefix(" ON TABLESPACE ")) {
            (Some(rest), _) => take_ident(rest).map_or(About::Other, |(name, _)| About::Role(name)),
            (_, Some(rest)) => take_ident(rest).map_or(About::Other, |(name, _)| About::Tablespace(name)),
            _ => About::Other,
        };
    }
    if statement.starts_with("GRANT ") || statement.starts_with("REVOKE ") {
        return about_grant(statement);
    }
    About::Other
}

fn about_grant(statement: &str) -> About {
    if let Some((_, rest)) = statement.split_once(" ON TABLESPACE ") {
        return take_ident(rest).map_or(About::Other, |(name, _)| About::Tablespace(name));
    }
    if let Some((_, rest)) = statement.split_once(" ON PARAMETER ") {
        let grantee = rest.split_once(" TO ").or_else(|| rest.split_once(" FROM ")).map(|(_, rest)| rest);
        return grantee.and_then(take_ident).map_or(About::Other, |(name, _)| About::Role(name));
    }
    let member = || {
        let (role, rest) = take_ident(statement.strip_prefix("GRANT ")?)?;
        let (member, _) = take_ident(rest.strip_prefix(" TO ")?)?;
        Some(About::Member { role, member })
    };
    member().unwrap_or(About::Other)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"--
-- PostgreSQL database cluster dump; it's one
--

\restrict KEY

SET client_encoding = 'UTF8';

CREATE ROLE alice;
ALTER ROLE alice WITH LOGIN PASSWORD 'SCRAM;x';
COMMENT ON ROLE alice IS E'it''s; \\ -- "x';
CREATE ROLE "B;ob 'x'";
GRANT "B;ob 'x'" TO alice WITH ADMIN OPTION GRANTED BY postgres;
GRANT SET ON PARAMETER log_statement TO alice;
CREATE TABLESPACE fast OWNER alice LOCATION '/ts';
GRANT ALL ON TABLESPACE fast TO alice;

\unrestrict KEY
--
-- PostgreSQL database cluster dump complete
--
"#;

    #[test]
    fn each_statement_says_what_it_is_about() {
        let globals = Globals::parse(TEXT);
        let about: Vec<About> = globals.statements().map(|(_, about)| about).collect();
        let role = |name: &str| About::Role(name.to_owned());
        assert_eq!(
            about,
            [
                About::Other,
                About::NewRole("alice".into()),
                role("alice"),
                role("alice"),
                About::NewRole("B;ob 'x'".into()),
                About::Member { role: "B;ob 'x'".into(), member: "alice".into() },
                role("alice"),
                About::NewTablespace("fast".into()),
                About::Tablespace("fast".into()),
            ]
        );
        assert_eq!((globals.roles(), globals.tablespaces()), (2, vec!["fast".to_owned()]));
    }

    #[test]
    fn the_part_reads_back_as_what_it_was_made_of() {
        let globals = Globals::parse(TEXT);
        let part = globals.to_part("-- head\n");
        assert_eq!(Globals::parse(&part), globals, "{part}");
        assert!(part.lines().any(|line| line == MARKER));
    }

    #[test]
    fn two_readings_are_equal_whatever_the_key_was() {
        assert_eq!(Globals::parse(TEXT), Globals::parse(&TEXT.replace("KEY", "OTHER")));
    }
}

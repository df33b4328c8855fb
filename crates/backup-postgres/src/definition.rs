//! How a database is created: everything that belongs to it and stands outside of it.
//!
//! Kept as a value, so that it is written for any name: text of `pg_dump -C` replayed under another name would change the
//! grants and settings of the original.

use backup_core::words::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    connect::Session,
    sql::{ident, literal},
};

/// Begins the comment line that holds the definition as JSON.
const LINE: &str = "-- ha-backup-database ";

/// How a database is created. It may hold secrets (settings of the database): it stands in the artifact, never in facts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Definition {
    /// Its name.
    pub(crate) name: String,
    owner: String,
    encoding: String,
    /// "libc", "icu", "builtin"; unknown to PostgreSQL before 15.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    locale_provider: Option<String>,
    collate: String,
    ctype: String,
    /// The locale of the providers `icu` and `builtin`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    locale: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    icu_rules: Option<String>,
    /// Where it is not the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tablespace: Option<String>,
    connection_limit: i64,
    is_template: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    settings: Vec<Setting>,
    /// None: the defaults.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    grants: Option<Vec<Grant>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    labels: Vec<Label>,
}

/// `ALTER DATABASE ... SET`, or `ALTER ROLE ... IN DATABASE ... SET`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Setting {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    role: Option<String>,
    name: String,
    value: String,
}

/// One privilege on the database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Grant {
    grantor: String,
    /// None: everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    grantee: Option<String>,
    privilege: String,
    grantable: bool,
}

/// `SECURITY LABEL`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Label {
    provider: String,
    label: String,
}

impl Definition {
    /// Reads the definition of the session's database, as its transaction sees it.
    pub(crate) async fn read(session: &Session) -> Result<Self> {
        let row = session.one(
            "SELECT to_jsonb(d)::text, pg_get_userbyid(d.datdba)::text, pg_encoding_to_char(d.encoding)::text, \
             t.spcname::text, shobj_description(d.oid, 'pg_database') \
             FROM pg_database d JOIN pg_tablespace t ON t.oid = d.dattablespace WHERE d.datname = current_database()",
            &[],
        );
        let row = row.await?;
        // As JSON, for the columns differ between versions.
        let text: String = row.get(0);
        let columns: Value = serde_json::from_str(&text)
            .map_err(|e| Error::new(ErrorKind::Internal, "read", "pg_database").because(e))?;
        let text = |name: &str| columns.get(name).and_then(Value::as_str).map(str::to_owned);
        let tablespace: String = row.get(3);
        Ok(Self {
            name: text("datname").unwrap_or_default(),
            owner: row.get(1),
            encoding: row.get(2),
            locale_provider: text("datlocprovider").map(|letter| provider(&letter).to_owned()),
            collate: text("datcollate").unwrap_or_default(),
            ctype: text("datctype").unwrap_or_default(),
            locale: text("datlocale").or_else(|| text("daticulocale")),
            icu_rules: text("daticurules"),
            tablespace: Some(tablespace).filter(|name| name != "pg_default"),
            connection_limit: columns.get("datconnlimit").and_then(Value::as_i64).unwrap_or(-1),
            is_template: columns.get("datistemplate").and_then(Value::as_bool).unwrap_or(false),
            comment: row.get(4),
            settings: settings(session).await?,
            grants: match columns.get("datacl") {
                None | Some(Value::Null) => None,
                Some(_) => Some(grants(session).await?),
            },
            labels: labels(session).await?,
        })
    }

    /// The statement that creates it as `name`.
    pub(crate) fn create(&self, name: &str) -> String {
        let mut words = vec![
            format!("CREATE DATABASE {} WITH TEMPLATE = template0", ident(name)),
            format!("OWNER = {}", ident(&self.owner)),
            format!("ENCODING = {}", literal(&self.encoding)),
        ];
        if let Some(provider) = &self.locale_provider {
            words.push(format!("LOCALE_PROVIDER = {provider}"));
        }
        words.push(format!("LC_COLLATE = {}", literal(&self.collate)));
        words.push(format!("LC_CTYPE = {}", literal(&self.ctype)));
        match (self.locale_provider.as_deref(), &self.locale) {
            (Some("icu"), Some(locale)) => words.push(format!("ICU_LOCALE = {}", literal(locale))),
            (Some("builtin"), Some(locale)) => words.push(format!("BUILTIN_LOCALE = {}", literal(locale))),
            _ => {}
        }
        if let Some(rules) = &self.icu_rules {
            words.push(format!("ICU_RULES = {}", literal(rules)));
        }
        if let Some(tablespace) = &self.tablespace {
            words.push(format!("TABLESPACE = {}", ident(tablespace)));
        }
        words.push(format!("CONNECTION LIMIT = {}", self.connection_limit));
        words.join(" ")
    }

    /// The statements that give the database `name` the rest: comment, settings, grants.
    pub(crate) fn properties(&self, name: &str) -> Vec<String> {
        let database = ident(name);
        let mut statements = Vec::new();
        if let Some(comment) = &self.comment {
            statements.push(format!("COMMENT ON DATABASE {database} IS {}", literal(comment)));
        }
        for label in &self.labels {
            let provider = ident(&label.provider);
            statements.push(format!(
                "SECURITY LABEL FOR {provider} ON DATABASE {database} IS {}",
                literal(&label.label)
            ));
        }
        if self.is_template {
            statements.push(format!("ALTER DATABASE {database} IS_TEMPLATE true"));
        }
        for setting in &self.settings {
            let whose = match &setting.role {
                Some(role) => format!("ALTER ROLE {} IN DATABASE {database}", ident(role)),
                None => format!("ALTER DATABASE {database}"),
            };
            let name = setting.name.split('.').map(ident).collect::<Vec<_>>().join(".");
            statements
                .push(format!("{whose} SET {name} TO {}", setting_value(&setting.name, &setting.value)));
        }
        statements.extend(self.grant_statements(&database));
        statements
    }

    fn grant_statements(&self, database: &str) -> Vec<String> {
        let Some(grants) = &self.grants else { return Vec::new() };
        let owner = ident(&self.owner);
        let mut statements = vec![
            format!("REVOKE ALL ON DATABASE {database} FROM PUBLIC"),
            format!("REVOKE ALL ON DATABASE {database} FROM {owner}"),
        ];
        for grant in grants {
            let grantee = grant.grantee.as_deref().map_or("PUBLIC".to_owned(), ident);
            let option = if grant.grantable { " WITH GRANT OPTION" } else { "" };
            let statement = format!("GRANT {} ON DATABASE {database} TO {grantee}{option}", grant.privilege);
            // What a superuser grants counts as granted by the owner: others have to do it themselves.
            if grant.grantor == self.owner {
                statements.push(statement);
            } else {
                statements.push(format!("SET SESSION AUTHORIZATION {}", ident(&grant.grantor)));
                statements.push(statement);
                statements.push("RESET SESSION AUTHORIZATION".to_owned());
            }
        }
        statements
    }

    /// The part `create NAME`: what `psql -f` runs, and the definition for our own restore. It ends inside of the database.
    pub(crate) fn to_part(&self) -> Result<String> {
        let json = serde_json::to_string(self)
            .map_err(|e| Error::new(ErrorKind::Internal, "write the definition of", &self.name).because(e))?;
        let mut part =
            format!("\n--\n-- How a database is created\n--\n\n{LINE}{json}\n\n\\set ON_ERROR_STOP on\n\n");
        if self.is_everywhere() {
            part.push_str(&format!(
                "SELECT {} WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_database WHERE datname = {}) \\gexec\n",
                literal(&self.create(&self.name)),
                literal(&self.name)
            ));
            part.push_str(&format!(
                "ALTER DATABASE {} OWNER TO {};\n",
                ident(&self.name),
                ident(&self.owner)
            ));
        } else {
            part.push_str(&format!("{};\n", self.create(&self.name)));
        }
        for statement in self.properties(&self.name) {
            part.push_str(&format!("{statement};\n"));
        }
        let target = crate::sql::connection_string(&[("dbname", &self.name)]);
        part.push_str(&format!(
            "\n\\connect -reuse-previous=on {}\n\nSET default_transaction_read_only = off;\n\n",
            ident(&target)
        ));
        Ok(part)
    }

    /// Reads the definition out of the part `create NAME`.
    pub(crate) fn from_part(part: &str) -> Result<Self> {
        let bad =
            || Error::new(ErrorKind::Corrupt, "read the definition in", "the part that creates a database");
        let json = part.lines().find_map(|line| line.strip_prefix(LINE)).ok_or_else(bad)?;
        serde_json::from_str(json).map_err(|e| bad().because(e))
    }

    /// Whether every cluster has it from the start.
    fn is_everywhere(&self) -> bool {
        matches!(self.name.as_str(), "postgres" | "template1")
    }
}

fn provider(letter: &str) -> &str {
    match letter {
        "c" => "libc",
        "i" => "icu",
        "b" => "builtin",
        other => other,
    }
}

async fn settings(session: &Session) -> Result<Vec<Setting>> {
    let rows = session.query(
        "SELECT r.rolname::text, c.setting FROM pg_db_role_setting s \
         CROSS JOIN unnest(s.setconfig) WITH ORDINALITY c(setting, n) LEFT JOIN pg_roles r ON r.oid = s.setrole \
         WHERE s.setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database()) \
         AND (s.setrole = 0 OR r.oid IS NOT NULL) ORDER BY r.rolname NULLS FIRST, c.n",
        &[],
    );
    let read = |row: &tokio_postgres::Row| {
        let setting: String = row.get(1);
        let (name, value) = setting.split_once('=')?;
        Some(Setting { role: row.get(0), name: name.to_owned(), value: value.to_owned() })
    };
    Ok(rows.await?.iter().filter_map(read).collect())
}

async fn grants(session: &Session) -> Result<Vec<Grant>> {
    let rows = session.query(
        "SELECT pg_get_userbyid(a.grantor)::text, CASE WHEN a.grantee = 0 THEN NULL \
         ELSE pg_get_userbyid(a.grantee)::text END, a.privilege_type, a.is_grantable \
         FROM pg_database d CROSS JOIN aclexplode(d.datacl) WITH ORDINALITY \
         a(grantor, grantee, privilege_type, is_grantable, n) WHERE d.datname = current_database() ORDER BY a.n",
        &[],
    );
    let read = |row: &tokio_postgres::Row| Grant {
        grantor: row.get(0),
        grantee: row.get(1),
        privilege: row.get(2),
        grantable: row.get(3),
    };
    Ok(rows.await?.iter().map(read).collect())
}

async fn labels(session: &Session) -> Result<Vec<Label>> {
    let rows = session.query(
        "SELECT provider, label FROM pg_shseclabel WHERE classoid = 'pg_database'::regclass \
         AND objoid = (SELECT oid FROM pg_database WHERE datname = current_database()) ORDER BY provider",
        &[],
    );
    Ok(rows.await?.iter().map(|row| Label { provider: row.get(0), label: row.get(1) }).collect())
}

/// A setting's value as SQL. Lists of names are stored as one text and must be set name by name.
fn setting_value(name: &str, value: &str) -> String {
    /// PostgreSQL's GUC_LIST_QUOTE settings (src/include/utils/guc.h; pg_dump has the same list).
    const LISTS: [&str; 6] = [
        "local_preload_libraries",
        "search_path",
        "session_preload_libraries",
        "shared_preload_libraries",
        "temp_tablespaces",
        "unix_socket_directories",
    ];
    if !LISTS.contains(&name) {
        return literal(value);
    }
    let mut items = Vec::new();
    let mut rest = value.trim();
    while !rest.is_empty() {
        let (item, behind) = match rest.starts_with('"') {
            true => crate::sql::take_ident(rest).unwrap_or((rest.to_owned(), "")),
            false => {
                let end = rest.find(',').unwrap_or(rest.len());
                (rest[..end].trim().to_owned(), &rest[end..])
            }
        };
        items.push(literal(&item));
        rest = behind.trim_start().trim_start_matches(',').trim_start();
    }
    if items.is_empty() { "''".to_owned() } else { items.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition() -> Definition {
        Definition {
            name: "c\"r'm\\".into(),
            owner: "alice".into(),
            encoding: "UTF8".into(),
            locale_provider: Some("icu".into()),
            collate: "C".into(),
            ctype: "C".into(),
            locale: Some("en-US".into()),
            icu_rules: None,
            tablespace: None,
            connection_limit: -1,
            is_template: false,
            comment: Some("two\nlines".into()),
            settings: vec![Setting { role: None, name: "app.key".into(), value: "s".into() }],
            grants: Some(vec![Grant {
                grantor: "alice".into(),
                grantee: Some("bob".into()),
                privilege: "CONNECT".into(),
                grantable: true,
            }]),
            labels: Vec::new(),
        }
    }

    #[test]
    fn written_for_another_name_nothing_names_the_original() {
        let definition = definition();
        let all = definition.create("other") + &definition.properties("other").join(";");
        assert!(!all.contains("c\""), "{all}");
        assert!(all.contains("ICU_LOCALE = 'en-US'"));
        assert!(all.contains("GRANT CONNECT ON DATABASE \"other\" TO \"bob\" WITH GRANT OPTION"));
        assert!(all.contains("ALTER DATABASE \"other\" SET \"app\".\"key\" TO 's'"));
    }

    #[test]
    fn the_part_holds_the_definition() {
        assert_eq!(Definition::from_part(&definition().to_part().unwrap()).unwrap(), definition());
        assert_eq!(Definition::from_part("-- nothing").unwrap_err().kind(), ErrorKind::Corrupt);
    }

    #[test]
    fn a_list_of_names_is_set_name_by_name() {
        assert_eq!(setting_value("search_path", "a, \"B, c\",d"), "'a', 'B, c', 'd'");
        assert_eq!(setting_value("search_path", "\"\""), "''");
        assert_eq!(setting_value("work_mem", "a, b"), "'a, b'");
    }
}

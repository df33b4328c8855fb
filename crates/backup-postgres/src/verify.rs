//! Reading a dump as a dump: end markers, and the rows that the manifest promises.

use std::collections::BTreeMap;

use backup_core::{
    traits::{Finding, Selection, Source},
    words::{Artifact, Error, ErrorKind, Result},
};
use futures::StreamExt;

use crate::{
    definition::Definition,
    dump::{Scan, Scanner},
    facts::{DatabaseFacts, Facts},
    globals::{Globals, MARKER},
};

/// The longest globals or definition that is read, in bytes: both are read whole.
const LONGEST: usize = 64 << 20;

/// Reads every part as its format demands.
pub(crate) async fn verify(from: &dyn Source) -> Result<Vec<Finding>> {
    let artifact = from.artifact(None)?;
    let facts = Facts::from_map(&from.record().facts)?;
    let mut findings = vec![globals(from, artifact, &facts).await?];
    for (name, expected) in &facts.databases {
        findings.push(created(from, artifact, name).await?);
        findings.push(rows(name, expected, &scan(from, artifact, name).await?));
    }
    Ok(findings)
}

/// Reads a small part whole.
pub(crate) async fn read_text(from: &dyn Source, artifact: &Artifact, part: &str) -> Result<String> {
    let mut bytes = Vec::new();
    let mut stream = from.read(artifact, Selection::Part(part)).await?;
    while let Some(chunk) = stream.next().await {
        bytes.extend_from_slice(&chunk?);
        if bytes.len() > LONGEST {
            return Err(
                Error::new(ErrorKind::Unsupported, "read the part", part).detail("it is longer than 64 MiB")
            );
        }
    }
    String::from_utf8(bytes).map_err(|e| Error::new(ErrorKind::Corrupt, "read the part", part).because(e))
}

async fn globals(from: &dyn Source, artifact: &Artifact, facts: &Facts) -> Result<Finding> {
    let text = read_text(from, artifact, "globals").await?;
    let roles = Globals::parse(&text).roles() as u64;
    let whole = text.lines().any(|line| line == MARKER);
    Ok(match (whole, roles == facts.roles) {
        (true, true) => Finding::ok("globals", format!("{roles} roles, end marker there")),
        (false, _) => Finding::error("globals", "the end marker is missing"),
        (true, false) => {
            Finding::error("globals", format!("{roles} roles, the manifest says {}", facts.roles))
        }
    })
}

async fn created(from: &dyn Source, artifact: &Artifact, database: &str) -> Result<Finding> {
    let subject = format!("definition of {database}");
    let text = read_text(from, artifact, &format!("create {database}")).await?;
    Ok(match Definition::from_part(&text) {
        Ok(definition) if definition.name == database => Finding::ok(subject, "readable"),
        Ok(definition) => Finding::error(subject, format!("it is that of {}", definition.name)),
        Err(error) => Finding::from_error(subject, &error),
    })
}

async fn scan(from: &dyn Source, artifact: &Artifact, database: &str) -> Result<Scan> {
    let mut scanner = Scanner::new();
    let mut stream = from.read(artifact, Selection::Part(&format!("database {database}"))).await?;
    while let Some(chunk) = stream.next().await {
        scanner.feed(&chunk?);
    }
    Ok(scanner.finish())
}

fn rows(database: &str, expected: &DatabaseFacts, found: &Scan) -> Finding {
    let subject = format!("database {database}");
    if !found.complete {
        return Finding::error(subject, "the end marker is missing");
    }
    match first_difference(&expected.tables, &found.tables) {
        None => {
            let (rows, tables) = (found.rows(), found.tables.len());
            Finding::ok(subject, format!("{rows} rows in {tables} tables, end marker there"))
        }
        Some(difference) => Finding::error(subject, difference),
    }
}

/// The first table that differs, in words.
fn first_difference(expected: &BTreeMap<String, u64>, found: &BTreeMap<String, u64>) -> Option<String> {
    let says = |rows: Option<&u64>| rows.map_or("none".to_owned(), u64::to_string);
    let names = expected.keys().chain(found.keys());
    let differing = names.into_iter().find(|name| expected.get(*name) != found.get(*name))?;
    let (expected, found) = (says(expected.get(differing)), says(found.get(differing)));
    Some(format!("rows of {differing}: {found}, the manifest says {expected}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_missing_on_either_side_is_a_difference() {
        let one = BTreeMap::from([("public.t".to_owned(), 3)]);
        let none = BTreeMap::new();
        assert_eq!(first_difference(&one, &one), None);
        assert_eq!(first_difference(&one, &none).unwrap(), "rows of public.t: none, the manifest says 3");
        assert_eq!(first_difference(&none, &one).unwrap(), "rows of public.t: 3, the manifest says none");
    }
}

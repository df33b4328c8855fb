//! From raw objects to the lines and documents of the artifacts.

use std::collections::{BTreeMap, BTreeSet};

use backup_core::words::{Error, ErrorKind, Result};
use serde_json::Value;

use super::spool::{Place, Spool};
use crate::{clean, cluster::ResourceKind, yaml};

/// What is made of some objects of one kind.
#[derive(Debug, Default)]
pub(super) struct Tidied {
    /// As they were, one a line.
    pub(super) lines: Vec<u8>,
    /// Cleaned, as documents.
    pub(super) documents: String,
    /// How many documents there are.
    pub(super) count: u64,
    /// Why others are in none, and how many.
    pub(super) left_out: BTreeMap<String, u64>,
}

/// Makes them of the objects at `places`. It blocks.
pub(super) fn tidy(
    spool: &Spool,
    kind: &ResourceKind,
    places: &[Place],
    volumes: &BTreeSet<String>,
) -> Result<Tidied> {
    let mut tidied = Tidied::default();
    for place in places {
        let begin = tidied.lines.len();
        spool.read(*place, &mut tidied.lines)?;
        let mut object = parse(kind, &tidied.lines[begin..])?;
        if let Some(why) = clean::left_out(&object) {
            *tidied.left_out.entry(why).or_default() += 1;
            continue;
        }
        clean::clean(&mut object);
        if kind.group.is_empty() && kind.kind == "PersistentVolumeClaim" && !has_volume(&object, volumes) {
            clean::reprovision(&mut object);
        }
        yaml::document(&mut tidied.documents, &object);
        tidied.count += 1;
    }
    Ok(tidied)
}

/// Whether a claim's volume is among those that come back.
fn has_volume(claim: &Value, volumes: &BTreeSet<String>) -> bool {
    claim.pointer("/spec/volumeName").and_then(Value::as_str).is_some_and(|name| volumes.contains(name))
}

/// Names of those of the volumes at `places` that come back: claims keep them, others ask for new ones. It blocks.
pub(super) fn volumes(spool: &Spool, kind: &ResourceKind, places: &[Place]) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    let mut raw = Vec::new();
    for place in places {
        raw.clear();
        spool.read(*place, &mut raw)?;
        let object = parse(kind, &raw)?;
        let name = object.pointer("/metadata/name").and_then(Value::as_str);
        names.extend(name.filter(|_| clean::left_out(&object).is_none()).map(str::to_owned));
    }
    Ok(names)
}

fn parse(kind: &ResourceKind, raw: &[u8]) -> Result<Value> {
    serde_json::from_slice(raw).map_err(|e| {
        Error::new(ErrorKind::Corrupt, "understand", format!("an object of {}", kind.resource())).because(e)
    })
}

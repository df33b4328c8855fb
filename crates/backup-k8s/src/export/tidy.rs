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
    /// Names of those that kubectl does not apply as they are.
    pub(super) fragile: Vec<String>,
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
        clean::forget_last_applied(&mut object);
        if kind.group.is_empty() && kind.kind == "PersistentVolumeClaim" && !has_volume(&object, volumes) {
            clean::reprovision(&mut object);
        }
        if is_fragile(&tidied.lines[begin..]) {
            tidied.fragile.push(
                object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().to_owned(),
            );
        }
        yaml::document(&mut tidied.documents, &object);
        tidied.count += 1;
    }
    Ok(tidied)
}

/// Whether an object holds DEL or a control character of ISO 8859: kubectl sends them bare in what the API server reads as YAML,
/// which refuses them or makes a blank of them.
fn is_fragile(raw: &[u8]) -> bool {
    memchr::memchr2_iter(0x7F, 0xC2, raw)
        .any(|at| raw[at] == 0x7F || raw.get(at + 1).is_some_and(|next| *next < 0xA0))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_control_characters_are_fragile() {
        for text in ["\u{7F}", "a\u{85}b", "\u{80}", "\u{9F}"] {
            assert!(is_fragile(text.as_bytes()), "{text:?}");
        }
        for text in ["", "\u{A0}", "ü", "é\u{BF}", "😀", "~"] {
            assert!(!is_fragile(text.as_bytes()), "{text:?}");
        }
    }
}

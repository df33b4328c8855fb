//! What a component counted in its source.

use std::collections::BTreeMap;

use serde_json::Value;

/// A number of things: rows, keys, entries; in all, or of one part of the source.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Count {
    /// What is counted: "rows", "keys".
    pub what: String,
    /// Where ("database crm"); none for all of the source.
    pub of: Option<String>,
    /// How many.
    pub number: u64,
}

impl Count {
    /// The facts that count the whole source, by their usual names.
    const USUAL: [&str; 4] = ["rows", "keys", "objects", "entries"];

    /// So many in all of the source.
    pub fn all(what: impl Into<String>, number: u64) -> Self {
        Self { what: what.into(), of: None, number }
    }

    /// So many in one part of it.
    pub fn of(what: impl Into<String>, part: impl Into<String>, number: u64) -> Self {
        Self { what: what.into(), of: Some(part.into()), number }
    }

    /// The counts among a manifest's facts that have one of the usual names: `rows`, `keys`, `objects`, `entries`.
    pub fn usual(facts: &BTreeMap<String, Value>) -> Vec<Self> {
        let number = |name: &&str| Some(Self::all(*name, facts.get(*name)?.as_u64()?));
        Self::USUAL.iter().filter_map(number).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_of_the_usual_names_are_counts_when_they_are_numbers() {
        let facts = serde_json::json!({ "rows": 7, "keys": "many", "entries": 3, "bytes": 9 });
        let facts = serde_json::from_value(facts).unwrap();
        assert_eq!(Count::usual(&facts), [Count::all("rows", 7), Count::all("entries", 3)]);
    }
}

//! What a step will do: counted, fingerprinted, and shown within a bound.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{decide::Decision, normal::short, show, survey::Seen};
use crate::cluster::ResourceKind;

/// How many objects of each decision are shown, and how many fields of each.
const OBJECTS: usize = 20;
const FIELDS: usize = 8;

/// Numbers of objects in the order of the backup, as ranges with both ends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    /// Adds a number that is larger than all before.
    pub(super) fn push(&mut self, number: u64) {
        match self.0.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => self.0.push((number, number)),
        }
    }

    /// Whether `number` is one of them.
    pub(super) fn has(&self, number: u64) -> bool {
        let at = self.0.partition_point(|(_, last)| *last < number);
        self.0.get(at).is_some_and(|(first, _)| *first <= number)
    }
}

/// What is done with the objects of a step.
#[derive(Default)]
pub(super) struct Tally {
    counts: BTreeMap<u8, u64>,
    /// A sum: objects may come in any order.
    sum: u128,
    /// Of each kind the objects that are written.
    pub(super) writes: BTreeMap<String, Ranges>,
}

impl Tally {
    /// Counts one object; `number` is its place in its kind.
    pub(super) fn add(&mut self, kind: &ResourceKind, number: u64, seen: &Seen) {
        *self.counts.entry(seen.decision.letter()).or_default() += 1;
        let mut hash = Sha256::new();
        let resource = kind.resource();
        for part in [resource.as_bytes(), seen.wanted.key.as_bytes(), &[seen.decision.letter()]] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        if let Some(live) = seen.live.as_ref().filter(|_| seen.decision.overwrites()) {
            hash.update(live.uid.as_bytes());
            hash.update(live.print);
        }
        self.sum = self.sum.wrapping_add(u128::from_le_bytes(short(hash)));
        if seen.decision.writes() {
            self.writes.entry(resource).or_default().push(number);
        }
    }

    /// How many objects have this letter.
    pub(super) fn count(&self, letter: u8) -> u64 {
        self.counts.get(&letter).copied().unwrap_or(0)
    }

    /// True when there is no object at all.
    pub(super) fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// True when something is written.
    pub(super) fn writes(&self) -> bool {
        !self.writes.is_empty()
    }

    /// "3 to create, 12 the same".
    pub(super) fn text(&self) -> String {
        let words: [(u8, &str); 7] = [
            (b'c', "to create"),
            (b'u', "to update"),
            (b'r', "to replace"),
            (b'b', "to bind again"),
            (b'=', "the same"),
            (b's', "skipped"),
            (b'!', "in conflict"),
        ];
        let counted = words.into_iter().filter(|(letter, _)| self.count(*letter) > 0);
        let parts: Vec<String> =
            counted.map(|(letter, word)| format!("{} {word}", self.count(letter))).collect();
        parts.join(", ")
    }

    /// The fingerprint of what was seen and decided.
    pub(super) fn saw(&self) -> String {
        format!("{}; {:032x}", self.text(), self.sum)
    }
}

/// Lines about objects, the gravest decisions first.
pub(super) struct Lines {
    all: bool,
    by: BTreeMap<usize, Listed>,
}

#[derive(Default)]
struct Listed {
    lines: Vec<String>,
    objects: usize,
    more: u64,
}

impl Lines {
    /// All, or some of each decision.
    pub(super) fn new(all: bool) -> Self {
        Self { all, by: BTreeMap::new() }
    }

    /// Says what is done with an object.
    pub(super) fn add(&mut self, kind: &ResourceKind, seen: &Seen) {
        let (rank, word) = word(&seen.decision);
        let listed = self.by.entry(rank).or_default();
        // Of what is the same, the number is enough.
        if !self.all && (listed.objects >= OBJECTS || seen.decision == Decision::Same) {
            listed.more += 1;
            return;
        }
        listed.objects += 1;
        let name = name(kind, &seen.wanted.key);
        let line = match &seen.decision {
            Decision::Conflict(why) => format!("{word} {name}: {why}"),
            Decision::Skip(why) => format!("{word} {name}: {why}"),
            Decision::Rebind => format!("{word} {name}: its claim is gone and comes back"),
            _ => format!("{word} {name}"),
        };
        listed.lines.push(line);
        if let Some(difference) = &seen.difference {
            let fields = if self.all { usize::MAX } else { FIELDS };
            let fields = show::difference(&kind.kind, difference, fields);
            listed.lines.extend(fields.into_iter().map(|line| format!("    {line}")));
        }
    }

    /// The lines; none when there is nothing to say.
    pub(super) fn text(self) -> Option<String> {
        let mut lines = Vec::new();
        for (rank, listed) in self.by {
            lines.extend(listed.lines);
            if listed.more > 0 && listed.objects > 0 {
                lines.push(format!("{} {} more (--set show=all)", WORDS[rank], listed.more));
            }
        }
        if lines.is_empty() { None } else { Some(lines.join("\n")) }
    }
}

const WORDS: [&str; 7] =
    ["! conflict", "- replace", "~ update", "~ bind again", "+ create", "  skip", "= same"];

fn word(decision: &Decision) -> (usize, &'static str) {
    let rank = match decision {
        Decision::Conflict(_) => 0,
        Decision::Replace => 1,
        Decision::Update => 2,
        Decision::Rebind => 3,
        Decision::Create => 4,
        Decision::Skip(_) => 5,
        Decision::Same => 6,
    };
    (rank, WORDS[rank])
}

/// "Deployment fastapi/web".
pub(super) fn name(kind: &ResourceKind, key: &str) -> String {
    format!("{} {}", kind.kind, key.strip_prefix('/').unwrap_or(key))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::restore::{
        decide::{Leave, Live},
        diff::compare,
        prepare::Wanted,
    };

    fn kind() -> ResourceKind {
        ResourceKind::new("", "v1", "ConfigMap", "configmaps", true)
    }

    fn seen(name: &str, decision: Decision, print: u8) -> Seen {
        let difference = decision
            .overwrites()
            .then(|| compare(&json!({"data": {"a": "1"}}), &json!({"data": {"a": "2"}})));
        Seen {
            wanted: Wanted {
                key: format!("n/{name}").into(),
                object: json!({}),
                leave: Leave::Free,
                mentions: false,
            },
            live: Some(Live {
                uid: "u".into(),
                print: [print; 16],
                going: false,
                stopped: false,
                claim: None,
            }),
            difference,
            decision,
        }
    }

    fn tally(seen: &[Seen]) -> Tally {
        let mut tally = Tally::default();
        seen.iter().enumerate().for_each(|(number, seen)| tally.add(&kind(), number as u64, seen));
        tally
    }

    #[test]
    fn what_is_overwritten_counts_and_what_stays_does_not() {
        let saw = |decision: &Decision, print| tally(&[seen("a", decision.clone(), print)]).saw();
        assert_ne!(saw(&Decision::Update, 1), saw(&Decision::Update, 2));
        assert_eq!(saw(&Decision::Skip("x"), 1), saw(&Decision::Skip("x"), 2));
        assert_ne!(saw(&Decision::Same, 1), saw(&Decision::Create, 1));
        let both = tally(&[seen("a", Decision::Create, 1), seen("b", Decision::Same, 1)]);
        let turned = tally(&[seen("b", Decision::Same, 1), seen("a", Decision::Create, 1)]);
        assert_eq!(both.saw(), turned.saw());
        assert!(both.saw().starts_with("1 to create, 1 the same; "));
    }

    #[test]
    fn lines_are_bounded_and_the_gravest_come_first() {
        let mut lines = Lines::new(false);
        for number in 0..50 {
            lines.add(&kind(), &seen(&number.to_string(), Decision::Create, 0));
        }
        lines.add(&kind(), &seen("z", Decision::Update, 0));
        lines.add(&kind(), &seen("x", Decision::Conflict("why".into()), 0));
        let text = lines.text().unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            &lines[..3],
            ["! conflict ConfigMap n/x: why", "~ update ConfigMap n/z", "    data.a: \"2\" -> \"1\""]
        );
        assert_eq!((lines.len(), lines.last()), (24, Some(&"+ create 30 more (--set show=all)")));
    }

    proptest! {
        #[test]
        fn ranges_hold_what_was_put_in(numbers in prop::collection::btree_set(0_u64..200, 0..60)) {
            let mut ranges = Ranges::default();
            numbers.iter().for_each(|number| ranges.push(*number));
            let read: Ranges = serde_json::from_value(serde_json::to_value(&ranges).unwrap()).unwrap();
            prop_assert_eq!(&read, &ranges);
            prop_assert!((0..210).all(|number| ranges.has(number) == numbers.contains(&number)));
        }
    }
}

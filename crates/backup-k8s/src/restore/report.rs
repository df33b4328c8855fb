//! What became of a step's objects, within a bound.

use std::collections::BTreeMap;

use backup_core::{
    traits::Restored,
    words::{Error, ErrorKind, Result},
};

use super::{
    decide::Decision,
    group::Group,
    send::{is_immutable, said},
};

/// How many objects are named.
const MOST: usize = 10;

/// What became of the objects.
#[derive(Default)]
pub(super) struct Report {
    done: BTreeMap<u8, u64>,
    failures: Named,
    kind: Option<ErrorKind>,
    immutable: bool,
    other: bool,
    notes: Named,
}

#[derive(Default)]
struct Named {
    count: u64,
    lines: Vec<String>,
}

impl Named {
    fn add(&mut self, line: impl FnOnce() -> String) {
        self.count += 1;
        if self.lines.len() < MOST {
            self.lines.push(line());
        }
    }

    fn more(&self) -> Option<String> {
        let more = self.count - self.lines.len() as u64;
        (more > 0).then(|| format!("and {more} more"))
    }
}

impl Report {
    /// An object is as it should be.
    pub(super) fn done(&mut self, decision: &Decision) {
        *self.done.entry(decision.letter()).or_default() += 1;
    }

    /// An object could not be written.
    pub(super) fn failed(&mut self, name: &str, error: &Error) {
        // All failed alike, or for several reasons.
        self.kind = match self.kind {
            None => Some(error.kind()),
            Some(kind) if kind == error.kind() => Some(kind),
            Some(_) => Some(ErrorKind::Failed),
        };
        self.immutable |= is_immutable(error);
        self.failures.add(|| match crate::cluster::refusal(error) {
            Some(_) => format!("{name}: {}", said(error)),
            None => format!("{name}: {}", error.chain()),
        });
    }

    /// The API server made something else of an object.
    pub(super) fn other(&mut self, line: String) {
        self.kind.get_or_insert(ErrorKind::Failed);
        self.other = true;
        self.failures.add(|| line);
    }

    /// Something that is no failure and should be known.
    pub(super) fn note(&mut self, line: impl FnOnce() -> String) {
        self.notes.add(line);
    }

    /// An object is not there though it was written.
    pub(super) fn gone(&mut self, name: &str) {
        self.kind.get_or_insert(ErrorKind::Failed);
        self.failures.add(|| format!("{name} was written and is not there any more"));
    }

    /// How many objects were written.
    pub(super) fn written(&self) -> u64 {
        self.done.values().sum()
    }

    /// Whether any object could not be written.
    pub(super) fn has_failures(&self) -> bool {
        self.failures.count > 0
    }

    /// What the step says in the end.
    pub(super) fn outcome(self, group: Group) -> Result<Restored> {
        if self.has_failures() {
            return Err(self.error(group));
        }
        let words: [(u8, &str); 5] = [
            (b'c', "created"),
            (b'u', "updated"),
            (b'r', "replaced"),
            (b'b', "to be bound again"),
            (b'=', "there already"),
        ];
        let counts = words
            .into_iter()
            .filter_map(|(letter, word)| self.done.get(&letter).map(|count| format!("{count} {word}")));
        // Applied again after an interruption, whatever was decided then.
        let known: Vec<u8> = words.iter().map(|(letter, _)| *letter).collect();
        let again: u64 = self.done.iter().filter(|(letter, _)| !known.contains(letter)).map(|(_, n)| n).sum();
        let mut counts: Vec<String> = counts.collect();
        if again > 0 {
            counts.push(format!("{again} completed"));
        }
        let counts = if counts.is_empty() { "nothing to do".to_owned() } else { counts.join(", ") };
        let mut notes = self.notes.lines.clone();
        notes.extend(self.notes.more());
        Ok(Restored::Done { summary: format!("{}: {counts}", group.title()), notes })
    }

    fn error(self, group: Group) -> Error {
        let mut lines = self.failures.lines.clone();
        lines.extend(self.failures.more());
        let mut hints = Vec::new();
        if self.immutable {
            hints.push("fields that never change are set by deleting and creating: --set existing=replace, or --set exclude=KIND/NAME leaves an object out");
        }
        if self.other {
            hints.push(
                "when a webhook or an operator changes objects on purpose, --set verify=warn only says so",
            );
        }
        hints.push("what was written stays; when the cause is mended, the same command goes on, and with other options it begins anew with --no-resume");
        Error::new(self.kind.unwrap_or(ErrorKind::Failed), "restore", group.title())
            .detail(format!(
                "{} of {} objects failed: {}",
                self.failures.count,
                self.failures.count + self.written(),
                lines.join("; ")
            ))
            .hint(hints.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_failures_count_and_some_are_named() {
        let mut report = Report::default();
        report.done(&Decision::Create);
        for number in 0..25 {
            let error = Error::new(ErrorKind::Denied, "ask", "it");
            report.failed(&format!("Secret n/{number}"), &error);
        }
        let error = report.outcome(Group::Secrets).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied);
        let text = error.to_string();
        assert!(
            text.contains("25 of 26 objects failed: Secret n/0") && text.ends_with("and 15 more"),
            "{text}"
        );
    }

    #[test]
    fn what_was_done_is_counted() {
        let mut report = Report::default();
        for decision in [Decision::Create, Decision::Create, Decision::Same, Decision::Skip("x")] {
            report.done(&decision);
        }
        report.note(|| "look at it".to_owned());
        let Restored::Done { summary, notes } = report.outcome(Group::Secrets).unwrap() else {
            panic!("it waits for nobody")
        };
        assert_eq!(summary, "secrets: 2 created, 1 there already, 1 completed");
        assert_eq!(notes, ["look at it"]);
    }
}

//! What was read, what was not, and why.

use std::collections::BTreeMap;

use backup_core::words::{Coverage, Error, ErrorKind};

use super::reader::Outcome;
use crate::{
    cluster::{ResourceKind, refusal},
    discover::Discovery,
    filter::Choice,
};

/// Kept while the lists are read.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// The version that all is to be of.
    pinned: String,
    pub(super) coverage: Vec<Coverage>,
    pub(super) warnings: Vec<String>,
    /// Lists that were read to their end.
    pub(super) lists: u64,
    /// Objects that servers had announced before they came.
    pub(super) announced: u64,
    /// By kind, how many objects the configuration excludes.
    excluded: BTreeMap<String, u64>,
    first_refusal: Option<Error>,
}

impl Report {
    pub(super) fn new(pinned: &str) -> Self {
        Self { pinned: pinned.to_owned(), ..Self::default() }
    }

    /// Whether it is the version that all is to be of.
    pub(super) fn is_pinned(&self, version: &str) -> bool {
        version == self.pinned
    }

    /// Something that was left out on purpose.
    pub(super) fn left_out(&mut self, what: impl Into<String>, why: impl Into<String>) {
        self.coverage.push(Coverage { what: what.into(), why: why.into(), missing: false });
    }

    /// Something that should be there and is not.
    pub(super) fn missing(&mut self, what: impl Into<String>, why: impl Into<String>) {
        self.coverage.push(Coverage { what: what.into(), why: why.into(), missing: true });
    }

    /// What discovery says.
    pub(super) fn discovered(&mut self, discovery: &Discovery, choice: &Choice) {
        for (version, error) in &discovery.unreadable {
            let what = format!("group {version}");
            let group = version.split_once('/').map_or("", |(group, _)| group);
            if choice.takes_group(group) {
                self.missing(what, format!("its server does not answer: {}", words(error)));
            } else {
                self.left_out(what, "excluded by the configuration; its server does not answer");
            }
        }
        let names =
            |kinds: &[ResourceKind]| kinds.iter().map(ResourceKind::resource).collect::<Vec<_>>().join(", ");
        if !discovery.views.is_empty() {
            self.left_out(names(&discovery.views), "views of something else: they cannot be created");
        }
        for name in choice.unknown_kinds(&discovery.kinds) {
            self.warnings
                .push(format!("`{name}` in `include` or `exclude` is no kind that this cluster serves"));
        }
    }

    /// Whether the objects of a kind in namespaces are exported; when not, why.
    pub(super) fn takes(&mut self, kind: &ResourceKind, choice: &Choice) -> bool {
        let is_read = is_read(kind, choice);
        if !choice.takes_kind(kind) {
            self.left_out(kind.resource(), "excluded by the configuration");
        } else if !is_read {
            self.left_out(kind.resource(), "they tell of the past and cannot be restored");
        }
        is_read
    }

    /// How a list went; `pinned` says whether it was asked for at the pinned version.
    pub(super) fn outcome(
        &mut self,
        kind: &ResourceKind,
        place: Option<&str>,
        outcome: &Outcome,
        pinned: bool,
    ) {
        let subject = match place {
            Some(place) => format!("{} in {place}", kind.resource()),
            None => kind.resource(),
        };
        let ended = &outcome.ended;
        if let Some(error) = &outcome.error {
            let had =
                if ended.objects > 0 { format!("after {} objects: ", ended.objects) } else { String::new() };
            self.missing(&subject, format!("{had}{}", words(error)));
            if self.first_refusal.is_none() {
                let copy = Error::new(error.kind(), "list", &subject).detail(words(error));
                self.first_refusal = Some(copy.hint("`ha-backup check` lists the rights that are missing"));
            }
            return;
        }
        self.lists += 1;
        self.announced += ended.announced.unwrap_or_default();
        let version = ended.version.as_deref().filter(|version| !self.is_pinned(version));
        let Some(version) = version else { return };
        match &ended.own_version {
            Some(why) if pinned => {
                let pinned = &self.pinned;
                self.warnings
                    .push(format!("{subject}: read at resource version {version}, not at {pinned}: {why}"));
            }
            _ if ended.objects > 0 => self.left_out(
                format!("{subject} at the common resource version"),
                format!("its server keeps versions of its own; it was read at {version}"),
            ),
            _ => {}
        }
    }

    /// Objects of a kind that the configuration excludes.
    pub(super) fn excluded(&mut self, kind: &ResourceKind, objects: u64) {
        if objects > 0 {
            *self.excluded.entry(kind.resource()).or_default() += objects;
        }
    }

    /// When all is read.
    pub(super) fn end(&mut self) {
        for (kind, objects) in std::mem::take(&mut self.excluded) {
            self.left_out(format!("{objects} of {kind}"), "excluded by the configuration");
        }
        self.left_out(
            "objects of the cluster at large that the namespaces do not lean on",
            "only what the namespaces need is exported",
        );
    }

    /// Nothing could be read at all: why.
    pub(super) fn nothing(self) -> Error {
        let error =
            Error::new(ErrorKind::Denied, "export", "the namespaces").detail("nothing at all could be read");
        match self.first_refusal {
            Some(refused) => error.because(refused),
            None => error,
        }
    }
}

/// Whether objects of a kind in namespaces are exported: what is chosen, and events only by their name.
pub(crate) fn is_read(kind: &ResourceKind, choice: &Choice) -> bool {
    let event = matches!((kind.group.as_str(), kind.kind.as_str()), ("" | "events.k8s.io", "Event"));
    choice.takes_kind(kind) && (!event || choice.includes_by_name(kind))
}

/// What the API server said, or the whole chain.
pub(super) fn words(error: &Error) -> String {
    refusal(error).map_or_else(|| error.chain(), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::list::Ended;

    fn secrets() -> ResourceKind {
        ResourceKind::new("", "v1", "Secret", "secrets", true)
    }

    #[test]
    fn what_was_refused_is_missing_and_named() {
        let mut report = Report::new("7");
        let error = Error::new(ErrorKind::Denied, "list", "secrets");
        let outcome = Outcome { error: Some(error), ..Outcome::default() };
        report.outcome(&secrets(), Some("shop"), &outcome, true);
        assert_eq!(report.lists, 0);
        assert!(report.coverage[0].missing);
        assert_eq!(report.coverage[0].what, "secrets in shop");
        assert!(report.nothing().chain().contains("secrets in shop"));
    }

    #[test]
    fn another_version_is_said() {
        let mut report = Report::new("7");
        let ended = |version: &str, why: Option<&str>| Ended {
            version: Some(version.to_owned()),
            own_version: why.map(str::to_owned),
            objects: 3,
            announced: Some(3),
        };
        let outcome = |ended| Outcome { ended, ..Outcome::default() };
        report.outcome(&secrets(), None, &outcome(ended("7", None)), true);
        assert!(report.coverage.is_empty() && report.warnings.is_empty());
        report.outcome(&secrets(), None, &outcome(ended("9", Some("it was compacted"))), true);
        assert_eq!(report.warnings, ["secrets: read at resource version 9, not at 7: it was compacted"]);
        report.outcome(&secrets(), None, &outcome(ended("12", None)), false);
        assert!(report.coverage[0].why.contains("read at 12"));
        assert_eq!((report.lists, report.announced), (3, 9));
    }

    #[test]
    fn a_group_that_is_down_is_missing_unless_it_was_excluded() {
        let down = || Error::new(ErrorKind::Unreachable, "ask", "x");
        let discovery =
            Discovery { unreadable: vec![("a.example.com/v1".to_owned(), down())], ..Discovery::default() };
        let mut report = Report::new("7");
        report.discovered(&discovery, &Choice::default());
        assert!(report.coverage[0].missing && report.coverage[0].what == "group a.example.com/v1");
        let exclude = crate::Filter { kinds: vec!["*.a.example.com".to_owned()], ..crate::Filter::default() };
        let mut report = Report::new("7");
        report.discovered(&discovery, &Choice::new(&crate::Filter::default(), &exclude).unwrap());
        assert!(!report.coverage[0].missing);
    }
}

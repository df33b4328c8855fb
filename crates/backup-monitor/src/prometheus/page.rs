//! The text format: families of samples, labels escaped.

use std::fmt::{Display, Write};

/// What every name begins with.
const PREFIX: &str = "ha_backup_";

/// A page of families. Every sample says whose it is: one node_exporter may read the files of several installations.
#[derive(Debug)]
pub(super) struct Page {
    text: String,
    installation: String,
}

/// One family; its head is written with its first sample, for one without samples says nothing.
#[derive(Debug)]
pub(super) struct Family<'p> {
    page: &'p mut Page,
    name: String,
    help: String,
    begun: bool,
}

impl Page {
    pub(super) fn new(installation: &str) -> Self {
        Self { text: String::new(), installation: installation.to_owned() }
    }

    pub(super) fn gauge(&mut self, name: &str, help: &str) -> Family<'_> {
        Family { page: self, name: format!("{PREFIX}{name}"), help: help.to_owned(), begun: false }
    }

    pub(super) fn text(self) -> String {
        self.text
    }
}

impl Family<'_> {
    /// A sample. Two with the same labels would spoil the whole page: the caller has each once.
    pub(super) fn put(&mut self, labels: &[(&str, &str)], value: impl Display) {
        let name = &self.name;
        // Writing to a string cannot fail.
        if !self.begun {
            self.begun = true;
            let help = self.help.replace('\\', "\\\\").replace('\n', "\\n");
            let _ = writeln!(self.page.text, "# HELP {name} {help}\n# TYPE {name} gauge");
        }
        let _ = write!(self.page.text, "{name}{{installation=\"{}\"", escaped(&self.page.installation));
        for (label, value) in labels {
            let _ = write!(self.page.text, ",{label}=\"{}\"", escaped(value));
        }
        let _ = writeln!(self.page.text, "}} {value}");
    }
}

/// A label's value: backslash, quotation mark and line feed.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads a label's value back as Prometheus does.
    fn read_back(written: &str) -> String {
        let (mut text, mut chars) = (String::new(), written.chars());
        while let Some(c) = chars.next() {
            match c {
                '\\' => match chars.next() {
                    Some('n') => text.push('\n'),
                    Some(other) => text.push(other),
                    None => panic!("a backslash at the end of {written:?}"),
                },
                '"' | '\n' => panic!("{c:?} is not escaped in {written:?}"),
                other => text.push(other),
            }
        }
        text
    }

    proptest! {
        #[test]
        fn every_label_is_read_back_as_it_was(value in any::<String>()) {
            prop_assert_eq!(read_back(&escaped(&value)), value);
        }
    }

    #[test]
    fn a_family_has_one_head_and_none_without_samples() {
        let mut page = Page::new("crm");
        page.gauge("empty", "Nothing.");
        let mut family = page.gauge("age_seconds", "How old.");
        family.put(&[("job", "a\"b")], 1.5);
        family.put(&[], 20_000_000_000_u64);
        let expected = "# HELP ha_backup_age_seconds How old.\n# TYPE ha_backup_age_seconds gauge\n\
                        ha_backup_age_seconds{installation=\"crm\",job=\"a\\\"b\"} 1.5\n\
                        ha_backup_age_seconds{installation=\"crm\"} 20000000000\n";
        assert_eq!(page.text(), expected);
    }
}

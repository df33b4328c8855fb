//! `include` and `exclude`: which objects are restored.

use backup_core::words::{Error, ErrorKind, Result};

use crate::{
    cluster::ResourceKind,
    filter::{is_called, is_like},
};

/// The word for files, which are no objects.
const FILES: &str = "files";

/// `KIND` or `KIND/NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern {
    kind: String,
    name: String,
}

/// Which objects are meant.
#[derive(Clone, Debug, Default)]
pub(super) struct Choice {
    include: Vec<Pattern>,
    exclude: Vec<Pattern>,
}

impl Choice {
    /// Reads both lists.
    pub(super) fn read(include: &[String], exclude: &[String]) -> Result<Self> {
        let include = include.iter().map(|text| read("include", text)).collect::<Result<_>>()?;
        let exclude = exclude.iter().map(|text| read("exclude", text)).collect::<Result<_>>()?;
        Ok(Self { include, exclude })
    }

    /// Whether an object is meant.
    pub(super) fn takes(&self, kind: &ResourceKind, name: &str) -> bool {
        self.includes(kind, name) && !self.excludes(kind, name)
    }

    /// Whether the files of an artifact are meant: `state`, `storage`.
    pub(super) fn takes_files(&self, artifact: &str) -> bool {
        let named = |pattern: &Pattern| pattern.kind == FILES && is_like(&pattern.name, artifact);
        (self.include.is_empty() || self.include.iter().any(named)) && !self.exclude.iter().any(named)
    }

    /// Whether `exclude` names it.
    pub(super) fn excludes(&self, kind: &ResourceKind, name: &str) -> bool {
        self.exclude.iter().any(|pattern| pattern.matches(kind, name))
    }

    /// Whether some objects of the kind may be meant.
    pub(super) fn may_take(&self, kind: &ResourceKind) -> bool {
        self.include.is_empty() || self.include.iter().any(|pattern| is_kind(&pattern.kind, kind))
    }

    /// Patterns whose kind is none of `kinds`: most likely mistyped.
    pub(super) fn unknown(&self, kinds: &[ResourceKind]) -> Option<String> {
        let all = self.include.iter().chain(&self.exclude);
        let known = |pattern: &&Pattern| {
            pattern.kind == FILES || kinds.iter().any(|kind| is_kind(&pattern.kind, kind))
        };
        all.filter(|pattern| !known(pattern)).map(|pattern| pattern.kind.clone()).next()
    }

    fn includes(&self, kind: &ResourceKind, name: &str) -> bool {
        self.include.is_empty() || self.include.iter().any(|pattern| pattern.matches(kind, name))
    }
}

impl Pattern {
    fn matches(&self, kind: &ResourceKind, name: &str) -> bool {
        is_kind(&self.kind, kind) && is_like(&self.name, name)
    }
}

fn read(option: &str, text: &str) -> Result<Pattern> {
    let (kind, name) = text.split_once('/').unwrap_or((text, "*"));
    if kind.is_empty() || name.is_empty() {
        return Err(Error::new(ErrorKind::Config, "read the option", format!("{option}={text}"))
            .detail("there is no kind or no name")
            .hint("write KIND or KIND/NAME: `secrets`, `deployments/web-*`, `*/web`"));
    }
    Ok(Pattern { kind: kind.to_owned(), name: name.to_owned() })
}

/// A kind's name as a configuration takes it, or `*`.
fn is_kind(word: &str, kind: &ResourceKind) -> bool {
    word == "*" || is_called(kind, word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(group: &str, kind: &str, plural: &str) -> ResourceKind {
        ResourceKind::new(group, "v1", kind, plural, true)
    }

    fn choice(include: &[&str], exclude: &[&str]) -> Choice {
        let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        Choice::read(&owned(include), &owned(exclude)).unwrap()
    }

    #[test]
    fn kinds_and_names_choose_objects() {
        let secret = kind("", "Secret", "secrets");
        let deployment = kind("apps", "Deployment", "deployments");
        let all = choice(&[], &["secret/tls-*"]);
        assert!(
            all.takes(&secret, "web") && !all.takes(&secret, "tls-web") && all.takes(&deployment, "tls-x")
        );
        let some = choice(&["Deployment.apps/web-?", "*/db"], &[]);
        assert!(some.takes(&deployment, "web-1") && !some.takes(&deployment, "web-12"));
        assert!(some.takes(&secret, "db") && !some.takes(&secret, "web-1"));
        assert!(some.may_take(&secret) && !choice(&["secrets"], &[]).may_take(&deployment));
    }

    #[test]
    fn files_are_chosen_beside_objects() {
        assert!(choice(&[], &["secrets"]).takes_files("state"));
        assert!(!choice(&["secrets"], &[]).takes_files("state"));
        let storage = choice(&["files/storage"], &[]);
        assert!(storage.takes_files("storage") && !storage.takes_files("state"));
        assert!(!choice(&[], &["files"]).takes_files("state"));
        assert_eq!(choice(&["files"], &[]).unknown(&[]), None);
    }

    #[test]
    fn a_pattern_without_kind_or_name_is_an_error_and_an_unknown_kind_is_found() {
        for text in ["", "/web", "secrets/"] {
            assert!(Choice::read(&[text.to_owned()], &[]).is_err(), "{text}");
        }
        let known = [kind("", "Secret", "secrets")];
        assert_eq!(choice(&["secrets"], &["screts/x"]).unknown(&known).as_deref(), Some("screts"));
        assert_eq!(choice(&["secrets"], &["*/x"]).unknown(&known), None);
    }
}

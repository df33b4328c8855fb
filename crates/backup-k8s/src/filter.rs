//! Which objects: by kind, name and labels.

use std::collections::BTreeMap;

use backup_core::words::{Error, ErrorKind, Result};
use serde_json::Value;

use crate::{cluster::ResourceKind, config::Filter};

/// Labels of an object.
pub(crate) type Labels = BTreeMap<String, String>;

/// What is included and what is excluded.
#[derive(Clone, Debug, Default)]
pub(crate) struct Choice {
    include: Sieve,
    exclude: Sieve,
}

impl Choice {
    /// Of two filters, as a configuration or a restore's options have them.
    pub(crate) fn new(include: &Filter, exclude: &Filter) -> Result<Self> {
        Ok(Self { include: Sieve::new("include", include)?, exclude: Sieve::new("exclude", exclude)? })
    }

    /// Whether an object is taken.
    pub(crate) fn takes(&self, kind: &ResourceKind, name: &str, labels: &Labels) -> bool {
        self.include.lets_through(kind, name, labels) && !self.excludes(kind, name, labels)
    }

    /// Whether an object is taken out, whatever `include` says.
    pub(crate) fn excludes(&self, kind: &ResourceKind, name: &str, labels: &Labels) -> bool {
        !self.exclude.is_empty() && self.exclude.lets_through(kind, name, labels)
    }

    /// Whether objects of a kind may be taken.
    pub(crate) fn takes_kind(&self, kind: &ResourceKind) -> bool {
        self.include.has_kind(kind) && !self.excludes_kind(kind)
    }

    /// Whether all objects of a kind are excluded.
    pub(crate) fn excludes_kind(&self, kind: &ResourceKind) -> bool {
        let exclude = &self.exclude;
        !exclude.kinds.is_empty()
            && exclude.has_kind(kind)
            && exclude.names.is_empty()
            && exclude.labels.is_none()
    }

    /// Whether kinds of a group may be taken, of which nothing more is known.
    pub(crate) fn takes_group(&self, group: &str) -> bool {
        let of_group =
            |name: &String| name.split_once('.').is_some_and(|(_, own)| own.eq_ignore_ascii_case(group));
        let whole = |name: &String| name.starts_with("*.") && of_group(name);
        let exclude = &self.exclude;
        (self.include.kinds.is_empty() || self.include.kinds.iter().any(of_group))
            && !(exclude.kinds.iter().any(whole) && exclude.names.is_empty() && exclude.labels.is_none())
    }

    /// Whether a kind is included by its name.
    pub(crate) fn includes_by_name(&self, kind: &ResourceKind) -> bool {
        !self.include.kinds.is_empty() && self.include.has_kind(kind)
    }

    /// Whether names or labels of objects matter.
    pub(crate) fn looks_at_objects(&self) -> bool {
        [&self.include, &self.exclude].iter().any(|sieve| !sieve.names.is_empty() || sieve.labels.is_some())
    }

    /// Whether everything is included.
    pub(crate) fn includes_all(&self) -> bool {
        self.include.is_empty()
    }

    /// Names of kinds that none of `kinds` is.
    pub(crate) fn unknown_kinds<'a>(&'a self, kinds: &[ResourceKind]) -> Vec<&'a str> {
        let named = self.include.kinds.iter().chain(&self.exclude.kinds);
        named.filter(|name| !kinds.iter().any(|kind| is_called(kind, name))).map(String::as_str).collect()
    }
}

/// One filter, understood. All that it says must hold.
#[derive(Clone, Debug, Default)]
struct Sieve {
    kinds: Vec<String>,
    names: Vec<String>,
    labels: Option<Selector>,
}

impl Sieve {
    fn new(called: &str, filter: &Filter) -> Result<Self> {
        let parse = |text: &String| {
            Selector::parse(text).map_err(|error| error.detail(format!("in `{called}.labels`")))
        };
        Ok(Self {
            kinds: filter.kinds.clone(),
            names: filter.names.clone(),
            labels: filter.labels.as_ref().map(parse).transpose()?,
        })
    }

    fn is_empty(&self) -> bool {
        self.kinds.is_empty() && self.names.is_empty() && self.labels.is_none()
    }

    fn has_kind(&self, kind: &ResourceKind) -> bool {
        self.kinds.is_empty() || self.kinds.iter().any(|name| is_called(kind, name))
    }

    fn lets_through(&self, kind: &ResourceKind, name: &str, labels: &Labels) -> bool {
        self.has_kind(kind)
            && (self.names.is_empty() || self.names.iter().any(|pattern| is_like(pattern, name)))
            && self.labels.as_ref().is_none_or(|selector| selector.matches(labels))
    }
}

/// Whether `name` means this kind: `Secret`, `deployments`, `widgets.example.com`, `Widget.example.com`, `*.example.com`, in any
/// case.
pub(crate) fn is_called(kind: &ResourceKind, name: &str) -> bool {
    let (own, group) = name.split_once('.').map_or((name, None), |(own, group)| (own, Some(group)));
    (own.eq_ignore_ascii_case(&kind.kind) || own.eq_ignore_ascii_case(&kind.plural) || own == "*")
        && group.is_none_or(|group| group.eq_ignore_ascii_case(&kind.group))
}

/// Whether `name` is like `pattern`, in which `*` stands for any characters and `?` for one.
pub(crate) fn is_like(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    // Where the last star was, and how much it stands for so far.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(c) if *c == '?' || *c == name[n] => {
                p += 1;
                n += 1;
            }
            _ => {
                let Some((at, taken)) = star else { return false };
                star = Some((at, taken + 1));
                p = at + 1;
                n = taken + 1;
            }
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

/// A label selector.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Selector(Vec<Requirement>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    needs: Needs,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Needs {
    Present,
    Absent,
    In(Vec<String>),
    NotIn(Vec<String>),
}

impl Requirement {
    fn matches(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.key);
        match &self.needs {
            Needs::Present => value.is_some(),
            Needs::Absent => value.is_none(),
            Needs::In(values) => value.is_some_and(|value| values.contains(value)),
            Needs::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
        }
    }
}

impl Selector {
    /// As kubectl takes it: `app=web,tier!=test`, `tier in (a,b)`, `tier notin (a)`, `app`, `!app`.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        pieces(text).into_iter().map(|piece| requirement(piece.trim(), text)).collect::<Result<_>>().map(Self)
    }

    /// As it stands in objects: `matchLabels` and `matchExpressions`. None when it is something else.
    pub(crate) fn from_object(object: &Value) -> Option<Self> {
        let mut all = Vec::new();
        for (key, value) in object.get("matchLabels").and_then(Value::as_object).into_iter().flatten() {
            all.push(Requirement { key: key.clone(), needs: Needs::In(vec![value.as_str()?.to_owned()]) });
        }
        for expression in object.get("matchExpressions").and_then(Value::as_array).into_iter().flatten() {
            let values = expression.get("values").and_then(Value::as_array).into_iter().flatten();
            let values = values.filter_map(Value::as_str).map(str::to_owned).collect();
            let needs = match expression.get("operator")?.as_str()? {
                "In" => Needs::In(values),
                "NotIn" => Needs::NotIn(values),
                "Exists" => Needs::Present,
                "DoesNotExist" => Needs::Absent,
                _ => return None,
            };
            all.push(Requirement { key: expression.get("key")?.as_str()?.to_owned(), needs });
        }
        Some(Self(all))
    }

    /// Whether an object with these labels is selected.
    pub(crate) fn matches(&self, labels: &Labels) -> bool {
        self.0.iter().all(|requirement| requirement.matches(labels))
    }
}

/// Splits at commas that stand in no parentheses.
fn pieces(text: &str) -> Vec<&str> {
    let (mut pieces, mut begun, mut depth) = (Vec::new(), 0, 0i32);
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                pieces.push(&text[begun..at]);
                begun = at + 1;
            }
            _ => {}
        }
    }
    pieces.push(&text[begun..]);
    pieces
}

fn requirement(piece: &str, whole: &str) -> Result<Requirement> {
    let wrong = || {
        Error::new(ErrorKind::Config, "understand the label selector", format!("`{whole}`"))
            .hint("write app=web,tier!=test or: tier in (a,b), tier notin (a), app, !app")
    };
    let (key, needs) = if let Some(key) = piece.strip_prefix('!') {
        (key, Needs::Absent)
    } else if let Some((key, value)) = piece.split_once("!=") {
        (key, Needs::NotIn(vec![value.trim().to_owned()]))
    } else if let Some((key, value)) = piece.split_once("==").or_else(|| piece.split_once('=')) {
        (key, Needs::In(vec![value.trim().to_owned()]))
    } else if let Some((front, list)) = piece.split_once('(') {
        let list = list.strip_suffix(')').ok_or_else(wrong)?;
        let values = list.split(',').map(|value| value.trim().to_owned()).collect();
        match front.trim().rsplit_once(char::is_whitespace) {
            Some((key, "in")) => (key, Needs::In(values)),
            Some((key, "notin")) => (key, Needs::NotIn(values)),
            _ => return Err(wrong()),
        }
    } else {
        (piece, Needs::Present)
    };
    let key = key.trim();
    let values = match &needs {
        Needs::In(values) | Needs::NotIn(values) => values.as_slice(),
        Needs::Present | Needs::Absent => &[],
    };
    let plain = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c));
    if key.is_empty() || !plain(key) || !values.iter().all(|value| plain(value)) {
        return Err(wrong());
    }
    Ok(Requirement { key: key.to_owned(), needs })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn deployment() -> ResourceKind {
        ResourceKind::new("apps", "v1", "Deployment", "deployments", true)
    }

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn selectors_are_those_of_kubectl() {
        let web = labels(&[("app", "web"), ("tier", "front")]);
        for text in [
            "app=web",
            "app==web,tier!=back",
            "tier in (front, back),app",
            "!other",
            "x notin (a)",
            "other!=1",
        ] {
            assert!(Selector::parse(text).unwrap().matches(&web), "{text}");
        }
        for text in ["app=db", "!app", "tier notin (front)", "other", "app in (a,b)", "other=1"] {
            assert!(!Selector::parse(text).unwrap().matches(&web), "{text}");
        }
        for text in ["", "a,,b", "tier in a,b", "in (a)", "a b=c", "a=b=c", "a>(b)"] {
            let error = Selector::parse(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config, "{text}");
        }
    }

    #[test]
    fn selectors_of_objects_select_the_same() {
        let selector = json!({
            "matchLabels": {"app": "web"},
            "matchExpressions": [
                {"key": "tier", "operator": "In", "values": ["front"]},
                {"key": "old", "operator": "DoesNotExist"},
            ],
        });
        let selector = Selector::from_object(&selector).unwrap();
        assert!(selector.matches(&labels(&[("app", "web"), ("tier", "front")])));
        assert!(!selector.matches(&labels(&[("app", "web"), ("tier", "front"), ("old", "")])));
        assert!(
            Selector::from_object(&json!({})).unwrap().matches(&labels(&[])),
            "the empty one selects all"
        );
    }

    #[test]
    fn a_kind_has_four_names() {
        for name in ["Deployment", "deployments", "deployment.apps", "DEPLOYMENTS.apps", "*.apps"] {
            assert!(is_called(&deployment(), name), "{name}");
        }
        for name in ["deploy", "deployments.extensions", "Deployment."] {
            assert!(!is_called(&deployment(), name), "{name}");
        }
    }

    #[test]
    fn all_that_a_filter_says_must_hold_and_exclude_wins() {
        let filter = |kinds: &[&str], names: &[&str], labels: Option<&str>| Filter {
            kinds: kinds.iter().map(|s| (*s).to_owned()).collect(),
            names: names.iter().map(|s| (*s).to_owned()).collect(),
            labels: labels.map(str::to_owned),
        };
        let kind = deployment();
        let none = labels(&[]);
        let choice =
            Choice::new(&filter(&["deployments"], &["web-*"], None), &filter(&[], &["*-old"], None)).unwrap();
        assert!(choice.takes(&kind, "web-1", &none));
        assert!(!choice.takes(&kind, "db-1", &none));
        assert!(!choice.takes(&kind, "web-old", &none));
        assert!(choice.takes_kind(&kind));
        let choice = Choice::new(&Filter::default(), &filter(&["deployments"], &[], Some("a=b"))).unwrap();
        assert!(choice.takes_kind(&kind), "only some are excluded");
        assert!(!choice.takes(&kind, "x", &labels(&[("a", "b")])));
        assert!(choice.takes(&kind, "x", &none));
        let choice =
            Choice::new(&Filter::default(), &filter(&["Deployment", "Nonsense"], &[], None)).unwrap();
        assert!(!choice.takes_kind(&kind) && choice.excludes_kind(&kind) && choice.includes_all());
        assert_eq!(choice.unknown_kinds(&[kind]), ["Nonsense"]);
        let choice = Choice::new(&Filter::default(), &filter(&["*.example.com"], &[], None)).unwrap();
        assert!(choice.takes_group("apps") && !choice.takes_group("example.com"));
        let choice = Choice::new(&filter(&["Secret", "x.apps"], &[], None), &Filter::default()).unwrap();
        assert!(choice.takes_group("apps") && !choice.takes_group("example.com"));
    }

    proptest! {
        #[test]
        fn a_pattern_made_from_a_name_is_like_it(name in "[a-z.-]{0,20}", cut in 0usize..20, star in any::<bool>()) {
            let cut = cut.min(name.len());
            let pattern = if star {
                format!("{}*", &name[..cut])
            } else {
                format!("{}{}", "?".repeat(cut), &name[cut..])
            };
            prop_assert!(is_like(&pattern, &name));
            let longer = format!("{name}x");
            prop_assert!(!is_like(&name, &longer));
        }
    }
}

//! JSON with places that a message fills: `{title}`. They stand inside strings, so that whatever they hold is escaped.

use backup_core::{
    traits::{Node, nearest},
    words::Result,
};
use serde_json::Value;

use crate::alert::Message;

/// What a template may name.
const PLACES: [&str; 9] =
    ["title", "text", "severity", "state", "name", "host", "at", "fingerprint", "alerts"];

/// Fails on a place that nothing fills; `node` is the template.
pub(super) fn check(node: &Node) -> Result<()> {
    walk(node.value(), String::new(), &mut |path, text| {
        let unknown = places(text).find(|place| !PLACES.contains(place));
        match unknown {
            None => Ok(()),
            Some(place) => {
                let error = node.error(path.trim_start_matches('.'), format!("nothing fills `{{{place}}}`"));
                Err(match nearest(place, PLACES.into_iter()) {
                    Some(near) => error.hint(format!("did you mean `{{{near}}}`?")),
                    None => {
                        error.hint(format!("there are: {}", PLACES.map(|p| format!("{{{p}}}")).join(", ")))
                    }
                })
            }
        }
    })
}

fn walk(value: &Value, path: String, visit: &mut impl FnMut(&str, &str) -> Result<()>) -> Result<()> {
    match value {
        Value::String(text) => visit(&path, text),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .try_for_each(|(index, item)| walk(item, format!("{path}.{index}"), visit)),
        Value::Object(table) => {
            table.iter().try_for_each(|(key, item)| walk(item, format!("{path}.{key}"), visit))
        }
        _ => Ok(()),
    }
}

/// The words in braces; braces around anything else are text.
fn places(text: &str) -> impl Iterator<Item = &str> {
    text.split('{').skip(1).filter_map(|rest| rest.split_once('}')).map(|(word, _)| word).filter(is_word)
}

fn is_word(word: &&str) -> bool {
    !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c == '_')
}

/// The template with its places filled. A string that is nothing but `{alerts}` becomes the list.
pub(super) fn fill(template: &Value, message: &Message) -> Value {
    match template {
        Value::String(text) if text == "{alerts}" => alerts(message),
        Value::String(text) => Value::String(fill_text(text, message)),
        Value::Array(items) => items.iter().map(|item| fill(item, message)).collect(),
        Value::Object(table) => table.iter().map(|(key, item)| (key.clone(), fill(item, message))).collect(),
        other => other.clone(),
    }
}

fn alerts(message: &Message) -> Value {
    serde_json::to_value(&message.alerts).unwrap_or_default()
}

/// In one pass: what was filled in is not looked at again.
fn fill_text(text: &str, message: &Message) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('{') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let word = rest[1..].split_once('}').map(|(word, _)| word).filter(|word| PLACES.contains(word));
        match word {
            Some(word) => {
                out.push_str(&place(word, message));
                rest = &rest[word.len() + 2..];
            }
            None => {
                out.push('{');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    out
}

fn place(word: &str, message: &Message) -> String {
    match word {
        "title" => message.title(),
        "text" => message.text(),
        "severity" => message.severity().as_str().to_owned(),
        "state" => if message.is_resolved() { "resolved" } else { "firing" }.to_owned(),
        "name" => message.name.clone(),
        "host" => message.host.clone(),
        "at" => message.at.to_rfc3339(),
        "fingerprint" => match message.alerts.as_slice() {
            [one] => format!("{}/{}", message.name, one.fingerprint),
            _ => message.name.clone(),
        },
        _ => alerts(message).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::alert::{Item, Kind, Problem, Severity, Standing};

    fn message(title: &str) -> Message {
        let problem = Problem::new(Kind::Backup, Severity::Critical, title);
        let since = DateTime::UNIX_EPOCH;
        let item = Item { fingerprint: "backup/full".to_owned(), standing: Standing::New, since, problem };
        let (name, host) = ("crm".to_owned(), "h1".to_owned());
        Message { name, host, at: since, alerts: vec![item], held: 0, signal: None }
    }

    #[test]
    fn places_are_filled_and_everything_else_stays() {
        let template = json!({ "a": ["{severity}/{state}", 1, "{alerts}"], "b": "{} {x y} {fingerprint}" });
        let filled = fill(&template, &message("t"));
        assert_eq!(filled["a"][0], "critical/firing");
        assert_eq!(filled["a"][2][0]["title"], "t");
        assert_eq!(filled["b"], "{} {x y} crm/backup/full");
    }

    #[test]
    fn an_unknown_place_names_the_nearest() {
        let node = Node::new(json!({ "a": { "b": "{titel}" } }));
        let error = check(&node).unwrap_err();
        assert!(error.to_string().contains("a.b: nothing fills `{titel}`"), "{error}");
        assert_eq!(error.advice(), Some("did you mean `{title}`?"));
    }

    proptest! {
        /// Whatever a message says, it stays inside its string, and is not taken for a template.
        #[test]
        fn what_is_filled_in_is_never_read_as_a_template(title in ".*") {
            let filled = fill(&json!({ "x": "{title}" }), &message(&title));
            prop_assert_eq!(&filled["x"], &json!(format!("CRITICAL: {title}")));
            let text = serde_json::to_string(&filled).unwrap();
            prop_assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), filled);
        }
    }
}

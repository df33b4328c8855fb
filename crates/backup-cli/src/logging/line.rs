//! One line of a log.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value};
use tracing::Level;

/// How lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// For people: time, level, session, job, component, message, further fields.
    Text,
    /// As text, with the priority that the journal reads instead of time and level (sd-daemon(3)).
    Journal,
    /// A JSON object.
    Json,
}

/// What a line says.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) time: DateTime<Utc>,
    pub(super) level: Level,
    pub(super) audit: bool,
    /// Fields of the event, `message` among them, and of the spans around it.
    pub(super) fields: Map<String, Value>,
}

impl Record {
    /// The line with its end. Whatever stands in a field, it is one line.
    pub(super) fn line(&self, style: Style) -> String {
        match style {
            Style::Json => self.json(),
            Style::Text => {
                format!(
                    "{} {:5} {}\n",
                    self.time.to_rfc3339_opts(SecondsFormat::Secs, true),
                    self.level_name().to_uppercase(),
                    self.words()
                )
            }
            Style::Journal => format!("<{}>{}\n", self.priority(), self.words()),
        }
    }

    fn json(&self) -> String {
        let mut object = Map::new();
        object.insert("time".to_owned(), self.time.to_rfc3339_opts(SecondsFormat::Millis, true).into());
        object.insert("level".to_owned(), self.level_name().into());
        object.extend(self.fields.iter().map(|(name, value)| (name.clone(), value.clone())));
        format!("{}\n", Value::Object(object))
    }

    fn words(&self) -> String {
        const PLACES: [&str; 3] = ["session", "job", "component"];
        let mut words: Vec<String> = Vec::new();
        words.extend(
            PLACES.into_iter().filter_map(|name| Some(format!("[{}]", text(self.fields.get(name)?)))),
        );
        words.extend(self.fields.get("message").map(text));
        let others =
            self.fields.iter().filter(|(name, _)| *name != "message" && !PLACES.contains(&name.as_str()));
        words.extend(others.map(|(name, value)| format!("{name}={}", quoted(&text(value)))));
        one_line(&words.join(" "))
    }

    fn level_name(&self) -> &'static str {
        match self.level {
            _ if self.audit => "audit",
            Level::ERROR => "error",
            Level::WARN => "warn",
            Level::INFO => "info",
            Level::DEBUG => "debug",
            Level::TRACE => "trace",
        }
    }

    fn priority(&self) -> u8 {
        match self.level {
            _ if self.audit => 5,
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            Level::DEBUG | Level::TRACE => 7,
        }
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn quoted(text: &str) -> String {
    if text.is_empty() || text.contains([' ', '"']) { format!("{text:?}") } else { text.to_owned() }
}

fn one_line(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(fields: Value) -> Record {
        let Value::Object(fields) = fields else { panic!("{fields}") };
        Record { time: DateTime::UNIX_EPOCH, level: Level::WARN, audit: false, fields }
    }

    #[test]
    fn a_line_is_one_line_whatever_is_in_it() {
        let record = record(serde_json::json!({
            "message": "a\nb", "component": "etcd", "session": "backup_20260108_020000", "error": "no\r\nway", "n": 5
        }));
        assert_eq!(
            record.line(Style::Text),
            "1970-01-01T00:00:00Z WARN  [backup_20260108_020000] [etcd] a\\nb error=no\\r\\nway n=5\n"
        );
        assert_eq!(
            record.line(Style::Journal),
            "<4>[backup_20260108_020000] [etcd] a\\nb error=no\\r\\nway n=5\n"
        );
        let json: Value = serde_json::from_str(&record.line(Style::Json)).unwrap();
        assert_eq!((&json["message"], &json["level"]), (&"a\nb".into(), &"warn".into()));
        assert_eq!(record.line(Style::Json).matches('\n').count(), 1);
    }
}

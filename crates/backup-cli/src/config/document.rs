//! TOML read into a tree that remembers where each value was written.

use std::{collections::BTreeMap, path::Path};

use backup_core::{
    traits::Node,
    words::{Error, ErrorKind, Result},
};
use serde_json::{Map, Number, Value};
use toml::{
    Spanned,
    de::{DeInteger, DeTable, DeValue},
};

/// Reads `file`.
pub(crate) fn read(file: &Path) -> Result<Node> {
    let text = std::fs::read_to_string(file).map_err(|e| {
        Error::new(ErrorKind::Config, "read the configuration", file.display().to_string()).because(e)
    })?;
    parse(file, &text)
}

/// Reads `text`, which stands in `file`.
pub(crate) fn parse(file: &Path, text: &str) -> Result<Node> {
    let lines = Lines::new(text);
    let table = DeTable::parse(text).map_err(|e| {
        let (line, column) = lines.position(e.span().map_or(0, |span| span.start));
        let message = e.message().lines().collect::<Vec<_>>().join("; ");
        let subject = format!("{}:{line}:{column}", file.display());
        Error::new(ErrorKind::Config, "read the configuration", subject)
            .detail(format!("this is not TOML: {message}"))
    })?;
    let mut tree = Tree { lines, positions: BTreeMap::new() };
    match tree.table(table.get_ref(), "") {
        Ok(value) => Ok(Node::from_file(file, value, tree.positions)),
        Err(wrong) => {
            Err(Node::from_file(file, Value::Null, tree.positions).error(&wrong.path, wrong.message))
        }
    }
}

/// Where lines begin.
struct Lines<'t> {
    text: &'t str,
    starts: Vec<usize>,
}

impl<'t> Lines<'t> {
    fn new(text: &'t str) -> Self {
        let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Self { text, starts: std::iter::once(0).chain(breaks).collect() }
    }

    /// Line and column (in characters), both from 1, of the byte at `offset`.
    fn position(&self, offset: usize) -> (usize, usize) {
        let offset = offset.min(self.text.len());
        let line = self.starts.partition_point(|start| *start <= offset);
        let start = self.starts[line - 1];
        (line, self.text[start..offset].chars().count() + 1)
    }
}

/// A value that JSON cannot hold.
struct Wrong {
    path: String,
    message: &'static str,
}

struct Tree<'t> {
    lines: Lines<'t>,
    positions: BTreeMap<String, (usize, usize)>,
}

impl Tree<'_> {
    fn table(&mut self, table: &DeTable<'_>, path: &str) -> Result<Value, Wrong> {
        let mut object = Map::new();
        for (key, value) in table {
            let at =
                if path.is_empty() { key.get_ref().to_string() } else { format!("{path}.{}", key.get_ref()) };
            self.positions.insert(at.clone(), self.lines.position(key.span().start));
            object.insert(key.get_ref().to_string(), self.value(value.get_ref(), &at)?);
        }
        Ok(Value::Object(object))
    }

    fn items(&mut self, items: &[Spanned<DeValue<'_>>], path: &str) -> Result<Value, Wrong> {
        let mut array = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let at = format!("{path}.{index}");
            self.positions.insert(at.clone(), self.lines.position(item.span().start));
            array.push(self.value(item.get_ref(), &at)?);
        }
        Ok(Value::Array(array))
    }

    fn value(&mut self, value: &DeValue<'_>, path: &str) -> Result<Value, Wrong> {
        let wrong = |message| Wrong { path: path.to_owned(), message };
        match value {
            DeValue::String(text) => Ok(Value::String(text.to_string())),
            DeValue::Boolean(flag) => Ok(Value::Bool(*flag)),
            DeValue::Datetime(time) => Ok(Value::String(time.to_string())),
            DeValue::Integer(number) => {
                integer(number).map(Value::Number).ok_or_else(|| wrong("the number is too large"))
            }
            DeValue::Float(number) => number
                .as_str()
                .parse()
                .ok()
                .and_then(Number::from_f64)
                .map(Value::Number)
                .ok_or_else(|| wrong("the number is not finite")),
            DeValue::Array(items) => self.items(items, path),
            DeValue::Table(table) => self.table(table, path),
        }
    }
}

fn integer(number: &DeInteger<'_>) -> Option<Number> {
    let (digits, radix) = (number.as_str(), number.radix());
    i64::from_str_radix(digits, radix)
        .map(Number::from)
        .or_else(|_| u64::from_str_radix(digits, radix).map(Number::from))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Node> {
        parse(Path::new("c.toml"), text)
    }

    #[test]
    fn values_arrive_as_written() {
        let node = read("a = 0x10\nb = 1_000\nc = [1.5, true]\nd = { e = \"x\" }\nf = 2026-01-08\n").unwrap();
        let expected = serde_json::json!({
            "a": 16, "b": 1000, "c": [1.5, true], "d": {"e": "x"}, "f": "2026-01-08"
        });
        assert_eq!(node.value(), &expected);
    }

    #[test]
    fn every_value_knows_its_line_and_column() {
        let node =
            read("name = \"crm\"\n\n[[component]]\nkind = \"etcd\"\n  endpoints = [\n  'é', 5]\n").unwrap();
        let component = &node.get("component").unwrap().items()[0];
        assert!(component.error("", "x").to_string().contains("c.toml:3:1: component.0"));
        assert!(component.error("endpoints", "x").to_string().contains("c.toml:5:3:"));
        assert!(component.error("endpoints.1", "x").to_string().contains("c.toml:6:8:"));
    }

    #[test]
    fn what_is_not_toml_is_said_with_its_place() {
        let error = read("name = \"crm\"\nname = \"b\"\n").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("c.toml:2:1: this is not TOML: duplicate key"), "{error}");
        let error = read("a = 1\nb = \n").unwrap_err();
        assert!(error.to_string().contains("c.toml:2:5"), "{error}");
    }

    #[test]
    fn an_error_never_repeats_the_value_it_is_about() {
        for text in [
            "password = \"hunter2\npassword = hunter2",
            "password = hunter2\n",
            "password = 'hunter2' hunter2",
        ] {
            let error = read(text).unwrap_err();
            assert!(!error.chain().contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_number_that_json_cannot_hold_is_an_error() {
        let error = read("[a]\nb = inf\n").unwrap_err();
        assert!(error.to_string().contains("c.toml:2:1: a.b: the number is not finite"), "{error}");
    }
}

//! YAML that every parser reads alike: kubectl's, which knows YAML 1.1 (`yes` is a bool, `012` octal), and those of 1.2.
//!
//! A text stands bare only where it begins with a letter, holds nothing but letters, digits and `_-./`, and is no word that
//! means something else to anybody. Otherwise it is quoted as in JSON, or, with several lines, a literal block.

use serde_json::Value;

/// Bare words that are bools, nulls or numbers to some parser.
const WORDS: [&str; 12] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null", "nil", "nan", "inf"];
/// The longest key that parsers take before its colon.
const LONGEST_KEY: usize = 1000;

/// Appends `value` as a document that begins with `---`.
pub(crate) fn document(out: &mut String, value: &Value) {
    out.push_str("---\n");
    match value {
        Value::Object(map) if !map.is_empty() => object(out, map, 0),
        Value::Array(list) if !list.is_empty() => array(out, list, 0),
        other => {
            scalar(out, other, 0);
            out.push('\n');
        }
    }
}

fn object(out: &mut String, map: &serde_json::Map<String, Value>, depth: usize) {
    for (at, (name, value)) in map.iter().enumerate() {
        if at > 0 {
            indent(out, depth);
        }
        key(out, name, depth);
        field(out, value, depth);
    }
}

fn key(out: &mut String, name: &str, depth: usize) {
    if name.len() <= LONGEST_KEY {
        text_on_one_line(out, name);
    } else {
        out.push_str("? ");
        text_on_one_line(out, name);
        out.push('\n');
        indent(out, depth);
    }
    out.push(':');
}

/// A key's value, with what stands between it and the colon.
fn field(out: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            out.push('\n');
            indent(out, depth + 1);
            object(out, map, depth + 1);
        }
        Value::Array(list) if !list.is_empty() => {
            out.push('\n');
            indent(out, depth);
            array(out, list, depth);
        }
        other => {
            out.push(' ');
            scalar(out, other, depth + 1);
            out.push('\n');
        }
    }
}

fn array(out: &mut String, list: &[Value], depth: usize) {
    for (at, value) in list.iter().enumerate() {
        if at > 0 {
            indent(out, depth);
        }
        out.push_str("- ");
        match value {
            Value::Object(map) if !map.is_empty() => object(out, map, depth + 1),
            Value::Array(list) if !list.is_empty() => array(out, list, depth + 1),
            other => {
                scalar(out, other, depth + 1);
                out.push('\n');
            }
        }
    }
}

fn indent(out: &mut String, depth: usize) {
    out.extend(std::iter::repeat_n("  ", depth));
}

fn scalar(out: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(number) => out.push_str(&number.to_string()),
        Value::String(text) if is_block(text) => block(out, text, depth),
        Value::String(text) => text_on_one_line(out, text),
        Value::Object(_) => out.push_str("{}"),
        Value::Array(_) => out.push_str("[]"),
    }
}

fn text_on_one_line(out: &mut String, text: &str) {
    if is_bare(text) {
        out.push_str(text);
    } else {
        quoted(out, text);
    }
}

fn is_bare(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-./".contains(&b))
        && !WORDS.iter().any(|word| text.eq_ignore_ascii_case(word))
}

fn quoted(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if is_plain(c) => out.push(c),
            c => out.push_str(&format!("\\U{:08X}", u32::from(c))),
        }
    }
    out.push('"');
}

/// Whether a character means itself in YAML 1.1 and 1.2: no control character, no line separator, no byte order mark.
fn is_plain(c: char) -> bool {
    matches!(c, ' '..='~' | '\u{A0}'..='\u{2027}' | '\u{202A}'..='\u{D7FF}' | '\u{E000}'..='\u{FEFE}'
        | '\u{FF00}'..='\u{FFFD}' | '\u{10000}'..='\u{10FFFF}')
}

/// Whether a text of several lines can stand as it is. The first line must not be empty or begin with a blank: parsers find the
/// depth of the block there.
fn is_block(text: &str) -> bool {
    text.trim_end_matches('\n').contains('\n')
        && !text.starts_with(['\n', ' ', '\t'])
        && text.chars().all(|c| c == '\n' || c == '\t' || is_plain(c))
}

fn block(out: &mut String, text: &str, depth: usize) {
    let body = text.trim_end_matches('\n');
    out.push_str(match text.len() - body.len() {
        0 => "|-",
        1 => "|",
        _ => "|+",
    });
    for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
        out.push('\n');
        if !line.is_empty() {
            indent(out, depth);
            out.push_str(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn written(value: &Value) -> String {
        let mut out = String::new();
        document(&mut out, value);
        out
    }

    #[test]
    fn it_reads_like_what_people_write() {
        let value = json!({
            "apiVersion": "v1", "data": {"nginx.conf": "server {\n\tlisten 80;\n\n}\n", "empty": ""},
            "list": [{"a": 1, "b": [true, null]}, [], [[1]], {}, "x"], "deep": {"er": {}},
        });
        let expected = "---\napiVersion: v1\ndata:\n  empty: \"\"\n  nginx.conf: |\n    server {\n    \tlisten 80;\n\n    }\n\
                        deep:\n  er: {}\nlist:\n- a: 1\n  b:\n  - true\n  - null\n- []\n- - - 1\n- {}\n- x\n";
        assert_eq!(written(&value), expected);
    }

    #[test]
    fn what_means_something_else_is_quoted() {
        let texts = [
            "yes",
            "No",
            "ON",
            "y",
            "true",
            "null",
            "~",
            "1e3",
            "012",
            "0x1f",
            "1_000",
            "12:30:45",
            "2001-01-01",
            ".inf",
            ".NaN",
            "-",
            "- a",
            "a: b",
            "a #b",
            "#a",
            "&a",
            "*a",
            "!a",
            "|",
            ">",
            "%a",
            "@a",
            "`a",
            "{a",
            "[a",
            "<<",
            "=",
            "a,b",
            " a",
            "a ",
            "",
            "'a'",
            "\"a\"",
            "?",
            ":",
            "é",
            "1",
            "-1",
            "+1",
            "1.5",
            "---",
            "...",
        ];
        for text in texts {
            assert!(written(&json!(text)).starts_with("---\n\""), "{text}: {}", written(&json!(text)));
        }
        for text in ["v1", "kube-system", "Deployment", "a_b.c/d", "e3"] {
            assert_eq!(written(&json!(text)), format!("---\n{text}\n"));
        }
    }

    #[test]
    fn lines_are_kept_exactly() {
        assert_eq!(written(&json!({"a": "x\ny"})), "---\na: |-\n  x\n  y\n");
        assert_eq!(written(&json!({"a": "x\ny\n"})), "---\na: |\n  x\n  y\n");
        assert_eq!(written(&json!({"a": "x\ny\n\n"})), "---\na: |+\n  x\n  y\n\n");
        assert_eq!(written(&json!({"a": " x\ny"})), "---\na: \" x\\ny\"\n");
        assert_eq!(
            written(&json!({"a": "\u{85}\u{2028}\u{FEFF}\r"})),
            "---\na: \"\\U00000085\\U00002028\\U0000FEFF\\r\"\n"
        );
    }

    fn text() -> impl Strategy<Value = String> {
        prop_oneof![
            "\\PC{0,12}",
            "[ -~\n\t]{0,24}",
            any::<String>(),
            "[a-z]{1,3}\n( {0,2}[a-z#:-]{0,4}\n){0,3}\n{0,2}",
            prop_oneof![
                Just("yes"),
                Just("1e3"),
                Just("012"),
                Just("2001-01-01"),
                Just("0b1"),
                Just("---"),
                Just("null")
            ]
            .prop_map(str::to_owned),
        ]
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            text().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                proptest::collection::btree_map(text(), inner, 0..5)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_parser_reads_what_was_written(value in value()) {
            let text = written(&value);
            let read: Value = serde_saphyr::from_str(&text).map_err(|e| TestCaseError::fail(format!("{e}\n{text}")))?;
            prop_assert_eq!(read, value, "{}", text);
        }

        #[test]
        fn a_long_key_is_read(key in "[a-z ]{1001,1100}", number in any::<i64>()) {
            let value = json!({"a": {key: number}, "z": 1});
            let read: Value = serde_saphyr::from_str(&written(&value)).unwrap();
            prop_assert_eq!(read, value);
        }
    }
}

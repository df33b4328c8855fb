//! Names and values inside SQL text and connection strings.

/// `name` as an SQL identifier, always quoted.
pub(crate) fn ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// `value` as an SQL string, whatever `standard_conforming_strings` is.
pub(crate) fn literal(value: &str) -> String {
    let quoted = value.replace('\'', "''");
    if quoted.contains('\\') { format!("E'{}'", quoted.replace('\\', "\\\\")) } else { format!("'{quoted}'") }
}

/// Key and value pairs as a libpq connection string.
pub(crate) fn connection_string(pairs: &[(&str, &str)]) -> String {
    let quoted = |value: &str| value.replace('\\', "\\\\").replace('\'', "\\'");
    let pairs: Vec<String> = pairs.iter().map(|(key, value)| format!("{key}='{}'", quoted(value))).collect();
    pairs.join(" ")
}

/// The identifier at the beginning of `text` (quoted or not) and what stands behind it.
pub(crate) fn take_ident(text: &str) -> Option<(String, &str)> {
    if let Some(quoted) = text.strip_prefix('"') {
        let mut name = String::new();
        let mut rest = quoted;
        loop {
            let end = rest.find('"')?;
            name.push_str(&rest[..end]);
            rest = &rest[end + 1..];
            match rest.strip_prefix('"') {
                Some(after) => {
                    name.push('"');
                    rest = after;
                }
                None => return Some((name, rest)),
            }
        }
    }
    let end = text
        .find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$' || !c.is_ascii()))
        .unwrap_or(text.len());
    if end == 0 { None } else { Some((text[..end].to_owned(), &text[end..])) }
}

/// The string literal at the beginning of `text`, unquoted, and what stands behind it.
pub(crate) fn take_literal(text: &str) -> Option<(String, &str)> {
    let (escapes, body) = match text.strip_prefix("E'") {
        Some(body) => (true, body),
        None => (false, text.strip_prefix('\'')?),
    };
    let mut value = String::new();
    let mut chars = body.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' if escapes => value.push(chars.next()?.1),
            '\'' if chars.peek().is_some_and(|(_, next)| *next == '\'') => {
                chars.next();
                value.push('\'');
            }
            '\'' => return Some((value, &body[at + 1..])),
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_connection_string_quotes_what_libpq_would_split() {
        assert_eq!(
            connection_string(&[("host", "h"), ("dbname", "it's a \\")]),
            r"host='h' dbname='it\'s a \\'"
        );
    }

    proptest! {
        #[test]
        fn what_is_quoted_is_read_back(text in "[^\0]{1,40}", tail in "[ ;].{0,5}") {
            let name = ident(&text) + &tail;
            prop_assert_eq!(take_ident(&name), Some((text.clone(), tail.as_str())));
            let value = literal(&text) + &tail;
            prop_assert_eq!(take_literal(&value), Some((text.clone(), tail.as_str())));
        }
    }
}

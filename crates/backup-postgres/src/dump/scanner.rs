//! Follows a plain dump without keeping it: which rows it holds, and whether it is whole.
//!
//! Words in data must not be mistaken for SQL, so strings, quoted names, dollar quotes and comments are told apart. Block
//! comments are not: pg_dump writes none outside of quotes.

use std::collections::BTreeMap;

use memchr::{memchr, memchr2};

use super::copy::CopyRows;

/// What the last comment of a whole dump says.
const MARKER: &[u8] = b" PostgreSQL database dump complete";
/// The longest COPY statement: 1600 columns with long names.
const LONGEST_STATEMENT: usize = 1 << 20;

/// What a dump held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Scan {
    /// Rows of each table, by its name as the dump writes it (`public."Order"`).
    pub(crate) tables: BTreeMap<String, u64>,
    /// Whether the end marker was the last thing in it.
    pub(crate) complete: bool,
}

impl Scan {
    /// Rows of all tables.
    pub(crate) fn rows(&self) -> u64 {
        self.tables.values().sum()
    }
}

#[derive(Clone, Debug)]
enum State {
    /// SQL between quotes.
    Code,
    /// Inside `'...'`; with escapes in `E'...'`.
    Text { escapes: bool, escaped: bool },
    /// Inside `"..."`.
    Name,
    /// Inside the opening tag of a dollar quote.
    Tag(Vec<u8>),
    /// Inside a dollar quote: its whole delimiter, and how much of it the bytes so far end with.
    Dollar { delimiter: Vec<u8>, matched: usize },
    /// Behind one dash.
    Dash,
    /// Behind `--`, with what stands there.
    Comment(Vec<u8>),
    /// A line of psql's own, as `\restrict`.
    Meta(Vec<u8>),
    /// Behind the `;` of a COPY statement, before its line end.
    CopyLine(String),
    /// Rows.
    Copy(String, CopyRows),
}

/// Takes a dump's bytes in any pieces.
#[derive(Clone, Debug)]
pub(crate) struct Scanner {
    state: State,
    /// The statement so far, while it may be a COPY.
    statement: Option<Vec<u8>>,
    /// The two bytes before, in code.
    before: [u8; 2],
    scan: Scan,
}

impl Scanner {
    /// At the beginning of a dump.
    pub(crate) fn new() -> Self {
        Self { state: State::Code, statement: Some(Vec::new()), before: *b"\n\n", scan: Scan::default() }
    }

    /// Takes the next bytes.
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            bytes = match &mut self.state {
                State::Copy(table, rows) => match rows.feed(bytes) {
                    Some((rows, rest)) => {
                        *self.scan.tables.entry(std::mem::take(table)).or_default() += rows;
                        self.begin_statement();
                        rest
                    }
                    None => return,
                },
                State::Code => self.code(bytes),
                State::Text { escapes, escaped } => match text(bytes, *escapes, escaped) {
                    Some(rest) => self.back_to_code(b'\'', rest),
                    None => return,
                },
                State::Name => self.name(bytes),
                State::Tag(tag) => {
                    let byte = bytes[0];
                    if byte == b'$' {
                        let mut delimiter = std::mem::take(tag);
                        delimiter.push(b'$');
                        self.state = State::Dollar { delimiter, matched: 0 };
                        &bytes[1..]
                    } else if is_word(byte) && !(tag.len() == 1 && byte.is_ascii_digit()) {
                        tag.push(byte);
                        &bytes[1..]
                    } else {
                        self.back_to_code(b'$', bytes)
                    }
                }
                State::Dollar { delimiter, matched } => match dollar(bytes, delimiter, matched) {
                    Some(rest) => self.back_to_code(b'$', rest),
                    None => return,
                },
                State::Dash if bytes[0] == b'-' => {
                    self.state = State::Comment(Vec::new());
                    &bytes[1..]
                }
                State::Dash => {
                    self.scan.complete = false;
                    self.keep(b'-');
                    self.back_to_code(b'-', bytes)
                }
                State::Comment(said) => match line(bytes, said) {
                    Some(rest) => {
                        let said = std::mem::take(said);
                        self.comment_ended(&said);
                        self.back_to_code(b'\n', rest)
                    }
                    None => return,
                },
                State::Meta(said) => match line(bytes, said) {
                    Some(rest) => {
                        self.scan.complete &= said.starts_with(b"unrestrict ");
                        self.begin_statement();
                        rest
                    }
                    None => return,
                },
                State::CopyLine(table) => {
                    let table = std::mem::take(table);
                    if bytes[0] == b'\n' {
                        self.state = State::Copy(table, CopyRows::new());
                        &bytes[1..]
                    } else {
                        self.begin_statement();
                        bytes
                    }
                }
            };
        }
    }

    /// What the dump held; a dump cut inside of a quote or of rows is not complete.
    pub(crate) fn finish(mut self) -> Scan {
        match self.state {
            State::Code => {}
            State::Comment(said) => {
                self.state = State::Code;
                self.comment_ended(&said);
            }
            // `\unrestrict` at the very end without a line end.
            State::Meta(said) => self.scan.complete &= said.starts_with(b"unrestrict "),
            _ => self.scan.complete = false,
        }
        self.scan
    }

    fn comment_ended(&mut self, said: &[u8]) {
        if said == MARKER {
            self.scan.complete = true;
        } else if !said.is_empty() {
            self.scan.complete = false;
        }
    }

    fn begin_statement(&mut self) {
        self.state = State::Code;
        self.statement = Some(Vec::new());
        self.before = *b"\n\n";
    }

    fn back_to_code<'a>(&mut self, last: u8, rest: &'a [u8]) -> &'a [u8] {
        self.state = State::Code;
        self.before = [b' ', last];
        rest
    }

    /// Goes through code up to the first byte that leaves it.
    fn code<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        for (at, &byte) in bytes.iter().enumerate() {
            let [second, last] = self.before;
            self.before = [last, byte];
            // Only comments, blanks and `\unrestrict` may stand behind the end marker.
            self.scan.complete &= byte.is_ascii_whitespace() || byte == b'-' || byte == b'\\';
            let next = match byte {
                b'\'' => {
                    State::Text { escapes: matches!(last, b'E' | b'e') && !is_word(second), escaped: false }
                }
                b'"' => State::Name,
                b'$' if !is_word(last) => State::Tag(vec![b'$']),
                b'-' => State::Dash,
                b'\\' if self.at_start() => State::Meta(Vec::new()),
                b';' => {
                    match self.statement.take().and_then(|statement| copied_table(&statement)) {
                        Some(table) => self.state = State::CopyLine(table),
                        None => self.begin_statement(),
                    }
                    return &bytes[at + 1..];
                }
                _ => {
                    self.keep(byte);
                    continue;
                }
            };
            if !matches!(next, State::Dash | State::Meta(_)) {
                self.keep(byte);
            }
            self.state = next;
            return &bytes[at + 1..];
        }
        &[]
    }

    fn name<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let end = memchr(b'"', bytes).map_or(bytes.len(), |at| at + 1);
        for &byte in &bytes[..end] {
            self.keep(byte);
        }
        if end > 0 && bytes[end - 1] == b'"' { self.back_to_code(b'"', &bytes[end..]) } else { &bytes[end..] }
    }

    /// Whether nothing of a statement has been seen yet.
    fn at_start(&self) -> bool {
        self.statement.as_ref().is_some_and(Vec::is_empty)
    }

    /// Keeps a byte of a statement that may still be a COPY.
    fn keep(&mut self, byte: u8) {
        const WORD: &[u8] = b"COPY ";
        let Some(statement) = &mut self.statement else { return };
        if statement.is_empty() && byte.is_ascii_whitespace() {
            return;
        }
        statement.push(byte);
        let seen = statement.len().min(WORD.len());
        if statement[..seen] != WORD[..seen] || statement.len() > LONGEST_STATEMENT {
            self.statement = None;
        }
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80
}

/// Inside a string: what stands behind its end.
fn text<'a>(bytes: &'a [u8], escapes: bool, escaped: &mut bool) -> Option<&'a [u8]> {
    let mut at = 0;
    while at < bytes.len() {
        if std::mem::take(escaped) {
            at += 1;
            continue;
        }
        let rest = &bytes[at..];
        let found = if escapes { memchr2(b'\'', b'\\', rest) } else { memchr(b'\'', rest) };
        at += found? + 1;
        if bytes[at - 1] == b'\'' {
            return Some(&bytes[at..]);
        }
        *escaped = true;
    }
    None
}

/// Inside a dollar quote: what stands behind its end.
fn dollar<'a>(bytes: &'a [u8], delimiter: &[u8], matched: &mut usize) -> Option<&'a [u8]> {
    let mut at = 0;
    while at < bytes.len() {
        if *matched == 0 {
            at += memchr(b'$', &bytes[at..])?;
        }
        let byte = bytes[at];
        at += 1;
        // A delimiter has `$` only at both ends.
        *matched = if byte == delimiter[*matched] { *matched + 1 } else { usize::from(byte == b'$') };
        if *matched == delimiter.len() {
            return Some(&bytes[at..]);
        }
    }
    None
}

/// Inside a line: its beginning is kept, and what stands behind its end is handed back.
fn line<'a>(bytes: &'a [u8], said: &mut Vec<u8>) -> Option<&'a [u8]> {
    const KEPT: usize = 64;
    let end = memchr(b'\n', bytes);
    let part = &bytes[..end.unwrap_or(bytes.len())];
    said.extend(&part[..part.len().min(KEPT.saturating_sub(said.len()))]);
    end.map(|end| &bytes[end + 1..])
}

/// The table of `COPY public.t (a, b) FROM stdin`, as it is written there.
fn copied_table(statement: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(statement);
    let target = text.strip_prefix("COPY ")?.strip_suffix(" FROM stdin")?;
    let mut quoted = false;
    let end = target.find(|c| {
        quoted ^= c == '"';
        !quoted && c == ' '
    });
    Some(target[..end.unwrap_or(target.len())].to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const END: &str = "\n--\n-- PostgreSQL database dump complete\n--\n\n\\unrestrict KEY\n\n";

    fn scan(text: &str, chunk: usize) -> Scan {
        let mut scanner = Scanner::new();
        text.as_bytes().chunks(chunk).for_each(|bytes| scanner.feed(bytes));
        scanner.finish()
    }

    fn tables(scan: &Scan) -> Vec<(&str, u64)> {
        scan.tables.iter().map(|(name, rows)| (name.as_str(), *rows)).collect()
    }

    #[test]
    fn rows_are_counted_for_each_table_by_its_written_name() {
        let text = "\\restrict KEY\n\nSET x = 1;\n\n--\n-- Data\n--\n\nCOPY public.t (a, b) FROM stdin;\n1\tx\n2\ty\n\\.\n\n\n\
                    COPY public.nocols  FROM stdin;\n\n\\.\n\nCOPY \"A b\".\"we;ird\nna\"\"me\" (\"co;l\") FROM stdin;\n\\.\n"
            .to_owned()
            + END;
        let found = scan(&text, 1);
        assert!(found.complete);
        assert_eq!(
            tables(&found),
            [("\"A b\".\"we;ird\nna\"\"me\"", 0), ("public.nocols", 1), ("public.t", 2)]
        );
    }

    #[test]
    fn words_inside_of_quotes_comments_and_rows_are_not_sql() {
        let copy = "\nCOPY public.fake (a) FROM stdin;\nrow\n\\.\n";
        let marker = "\n-- PostgreSQL database dump complete\n";
        let quotes = [
            format!("COMMENT ON TABLE x IS '{copy}{marker}';"),
            format!("SELECT E'it\\'s{copy}{marker}';"),
            format!("CREATE VIEW \"v{copy}{marker}\" AS SELECT 1;"),
            format!("CREATE FUNCTION f() AS $_X$ $$ $_X {copy}{marker}$_X$;"),
            format!("CREATE FUNCTION f(a$b int) AS $$ ' {copy}{marker}$$;"),
            "-- COPY public.fake (a) FROM stdin;\n".to_owned(),
            "SELECT 1 - -1, $1; SELECT 'a'--';\n;".to_owned(),
            format!(
                "COPY public.real (a) FROM stdin;\nCOPY public.fake (a) FROM stdin;\n{}\\.\n",
                &marker[1..]
            ),
        ];
        for quote in quotes {
            for chunk in [1, 2, 3, 7, 1000] {
                let found = scan(&format!("{quote}\nCOPY public.t (a) FROM stdin;\n1\n\\.\n"), chunk);
                let names: Vec<&str> = found.tables.keys().map(String::as_str).collect();
                assert!(!names.contains(&"public.fake"), "{quote}");
                assert_eq!(found.tables.get("public.t"), Some(&1), "{quote}");
                assert!(!found.complete, "{quote}");
                assert!(scan(&format!("{quote}{END}"), chunk).complete, "{quote}");
            }
        }
    }

    #[test]
    fn a_dump_cut_anywhere_before_its_marker_is_not_complete() {
        let text =
            format!("SET x = 1;\nCOPY public.t (a) FROM stdin;\n1\n\\.\nCREATE INDEX i ON t (a);\n{END}");
        let marker = text.find(" complete").unwrap() + " complete".len();
        for cut in 0..marker {
            assert!(!scan(&text[..cut], 4096).complete, "cut at {cut}");
        }
        assert!(scan(&text, 4096).complete);
        assert!(!scan(&format!("{text}SELECT 1;\n"), 4096).complete);
        assert!(!scan(&format!("{text}\\connect x\n"), 4096).complete);
        assert!(!scan(&format!("{text}-- more\n"), 4096).complete);
    }

    /// A piece of a dump with the rows that it adds to `t`.
    fn piece() -> impl Strategy<Value = (String, u64)> {
        let field = "[a-z\\\\\\.'$\"-]{0,6}".prop_map(|text: String| text.replace('\\', "\\\\"));
        let rows = prop::collection::vec(field.clone(), 0..6);
        prop_oneof![
            rows.prop_map(|rows| {
                let body: String = rows.iter().map(|row| format!("{row}\n")).collect();
                (format!("COPY public.t (a) FROM stdin;\n{body}\\.\n\n"), rows.len() as u64)
            }),
            field.clone().prop_map(|text| (format!("COMMENT ON x IS {};\n", crate::sql::literal(&text)), 0)),
            field.clone().prop_map(|text| (format!("SELECT {};\n", crate::sql::ident(&text)), 0)),
            field.prop_map(|text| (format!("DO $_$ {} $_$;\n", text.replace('$', "")), 0)),
            Just(("--\n-- Name: x\n--\n\n".to_owned(), 0)),
        ]
    }

    proptest! {
        #[test]
        fn what_is_found_never_depends_on_the_chunks(
            pieces in prop::collection::vec(piece(), 0..8),
            chunks in prop::collection::vec(1usize..40, 1..20),
        ) {
            let text: String = pieces.iter().map(|(text, _)| text.as_str()).chain([END]).collect();
            let rows: u64 = pieces.iter().map(|(_, rows)| rows).sum();
            let mut scanner = Scanner::new();
            let mut rest = text.as_bytes();
            for size in chunks.iter().cycle() {
                let (now, later) = rest.split_at((*size).min(rest.len()));
                scanner.feed(now);
                rest = later;
                if rest.is_empty() {
                    break;
                }
            }
            let found = scanner.finish();
            prop_assert!(found.complete, "{}", text);
            prop_assert_eq!(found.rows(), rows, "{}", text);
            prop_assert_eq!(found, scan(&text, text.len()));
        }
    }
}

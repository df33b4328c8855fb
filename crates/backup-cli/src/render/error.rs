//! Errors on standard error: what failed, why, and what to do; with `--json` also as a message on standard output.

use std::{error::Error as _, path::Path};

use backup_core::words::{Error, ErrorKind};
use serde_json::json;

use super::output::{Output, colours, eprintln_quietly, message, print as print_out};
use crate::exit::Failure;

/// Prints `failure`.
pub(crate) fn print(failure: &Failure, output: Output) {
    eprintln_quietly(&text(&failure.error, colours()));
    if output.json {
        let error = &failure.error;
        let body = json!({
            "kind": format!("{:?}", error.kind()),
            "operation": error.operation(),
            "subject": error.subject(),
            "message": error.chain(),
            "hint": error.advice(),
            "exit_code": failure.exit as u8,
        });
        print_json(&body);
    }
}

/// A command line that cannot be read, for a script that asked for JSON.
pub(crate) fn print_usage(text: &str) {
    let line = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
    print_json(&json!({ "kind": "Usage", "message": line, "exit_code": 2 }));
}

fn print_json(body: &serde_json::Value) {
    // Standard output may be closed: the exit code still says it.
    let _ = message("error", body).and_then(|line| print_out(&line));
}

fn text(error: &Error, colours: bool) -> String {
    let paint =
        |text: &str, code: &str| if colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() };
    let mut out = format!("{} {error}", paint("error:", "1;31"));
    if let Some(excerpt) = excerpt(error) {
        out.push_str(&excerpt);
    }
    let mut shown = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let line = error.to_string();
        // Many foreign errors repeat their own cause.
        if !shown.ends_with(&line) {
            out.push_str(&format!("\n  {} {line}", paint("because:", "1")));
        }
        shown = line;
        cause = error.source();
    }
    if let Some(hint) = error.advice() {
        out.push_str(&format!("\n  {} {hint}", paint("hint:", "1;36")));
    }
    out
}

/// The line of the configuration that an error is about, with a mark below the place. Values are masked: they may be secret.
fn excerpt(error: &Error) -> Option<String> {
    if error.kind() != ErrorKind::Config {
        return None;
    }
    let (file, line, column) = place(error.subject())?;
    let content = std::fs::read_to_string(file).ok()?;
    let shown = masked(content.lines().nth(line - 1)?);
    let gutter = line.to_string();
    let blank = " ".repeat(gutter.len());
    let indent: String = shown.chars().take(column - 1).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
    Some(format!("\n  {blank} |\n  {gutter} | {shown}\n  {blank} | {indent}^"))
}

/// `FILE:LINE:COLUMN` at the beginning of `subject`.
fn place(subject: &str) -> Option<(&Path, usize, usize)> {
    let head = subject.split(": ").next()?;
    let (rest, column) = head.rsplit_once(':')?;
    let (file, line) = rest.rsplit_once(':')?;
    let (line, column) = (line.parse().ok()?, column.parse().ok()?);
    (line > 0 && column > 0).then_some((Path::new(file), line, column))
}

/// The line with every letter and digit of its values masked; keys and table headers stay readable.
fn masked(line: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || " \t_.-[]".contains(c);
    let key_end = match line.find('=') {
        Some(at) if line[..at].chars().all(bare) => at,
        Some(_) => 0,
        None if line.trim_start().starts_with('[') && line.chars().all(bare) => line.len(),
        None => 0,
    };
    let (key, value) = line.split_at(key_end);
    let value: String = value.chars().map(|c| if c.is_alphanumeric() { '*' } else { c }).collect();
    format!("{key}{value}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_shows_keys_and_never_values() {
        assert_eq!(masked("pasword = \"hunter2\""), "pasword = \"*******\"");
        assert_eq!(masked("[[component]"), "[[component]");
        assert_eq!(masked("  \"c2VjcmV0=\","), "  \"********=\",");
        assert_eq!(masked("a = { password = \"x\" }"), "a = { ******** = \"*\" }");
    }

    #[test]
    fn the_place_is_found_behind_colons_in_the_name() {
        assert_eq!(place("/a:b/c.toml:3:7: x.y"), Some((Path::new("/a:b/c.toml"), 3, 7)));
        assert_eq!(place("etcd"), None);
        assert_eq!(place("http://10.0.0.1:2379"), None);
    }

    #[test]
    fn the_chain_is_said_once_and_the_hint_last() {
        let inner = Error::new(ErrorKind::Unreachable, "connect to", "10.0.0.1:2379").hint("start it");
        let outer = Error::new(ErrorKind::Failed, "open", "etcd").because(inner);
        assert_eq!(
            text(&outer, false),
            "error: open: etcd\n  because: connect to: 10.0.0.1:2379\n  hint: start it"
        );
    }
}

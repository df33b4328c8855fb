//! Standard output: results, and nothing else.

use std::io::{self, IsTerminal, Write};

use backup_core::words::{Error, ErrorKind, Result};
use serde::Serialize;

use crate::logging::EVENTS;

/// Where and how results are printed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    /// JSON instead of text.
    pub(crate) json: bool,
    /// Results and errors only.
    pub(crate) quiet: bool,
    /// Into the log instead of standard output: a daemon's runs.
    pub(crate) logged: bool,
}

impl Output {
    /// Prints a query's answer: `document` as JSON, or the text that `text` makes.
    pub(crate) fn answer(self, document: &impl Serialize, text: impl FnOnce() -> String) -> Result<()> {
        if self.json {
            print(&serde_json::to_string_pretty(document).map_err(not_json)?)
        } else {
            self.plain(&text())
        }
    }

    /// Prints the last message of long work: one JSON line with a `message_type`, or the text that `text` makes.
    pub(crate) fn result(
        self,
        message_type: &str,
        document: &impl Serialize,
        text: impl FnOnce() -> String,
    ) -> Result<()> {
        if self.json { print_message(message_type, document) } else { self.plain(&text()) }
    }

    /// Prints text that is the result itself, such as a completion script.
    pub(crate) fn plain(self, text: &str) -> Result<()> {
        if !self.logged {
            return print(text);
        }
        // What is well says nothing there: see `App::silent_when_good`.
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            tracing::warn!(target: EVENTS, "{line}");
        }
        Ok(())
    }

    /// Tells people of something that is wrong with what is well else.
    pub(crate) fn warn(self, text: &str) {
        tracing::warn!(target: EVENTS, "{text}");
        if !self.json && !self.logged {
            eprintln_quietly(&format!("warning: {text}"));
        }
    }

    /// Tells people something on the way.
    pub(crate) fn note(self, text: &str) {
        if !self.quiet && !self.json {
            eprintln_quietly(text);
        }
    }
}

/// Prints one JSON line.
pub(crate) fn print_message(message_type: &str, document: &impl Serialize) -> Result<()> {
    print(&message(message_type, document)?)
}

/// One JSON line.
pub(crate) fn message(message_type: &str, document: &impl Serialize) -> Result<String> {
    let mut value = serde_json::to_value(document).map_err(not_json)?;
    match value.as_object_mut() {
        Some(table) => {
            table.insert("message_type".to_owned(), message_type.into());
        }
        None => value = serde_json::json!({ "message_type": message_type, "value": value }),
    }
    Ok(value.to_string())
}

fn not_json(e: serde_json::Error) -> Error {
    Error::new(ErrorKind::Internal, "write as JSON", "the result").because(e)
}

/// Prints `text` with one line end after it. Whoever stopped reading has seen enough (`ha-backup list | head -1`).
pub(crate) fn print(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    let written = out
        .write_all(text.trim_end_matches('\n').as_bytes())
        .and_then(|()| out.write_all(b"\n"))
        .and_then(|()| out.flush());
    match written {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => Err(Error::io("print to", "standard output", e)),
        _ => Ok(()),
    }
}

/// Prints to standard error; nobody listening there is no reason to stop.
pub(crate) fn eprintln_quietly(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Whether standard error takes colours.
pub(crate) fn colours() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

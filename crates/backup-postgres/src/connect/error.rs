//! What tokio-postgres says, in our words.

use backup_core::words::{Error, ErrorKind, Retry};
use tokio_postgres::error::SqlState;

/// A failure of `operation` on `subject`. The server's message is passed on; its detail, which may hold rows, is not.
pub(crate) fn sql_error(
    operation: &str,
    subject: impl Into<String>,
    source: &tokio_postgres::Error,
) -> Error {
    let Some(said) = source.as_db_error() else { return lost(operation, subject, source) };
    let (kind, hint) = meaning(said.code());
    let error = Error::new(kind, operation, subject).detail(format!(
        "{} (SQLSTATE {})",
        said.message(),
        said.code().code()
    ));
    let error = if kind == ErrorKind::Unreachable { error.retry(Retry::Reopen) } else { error };
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// A connection that broke, or could not be used from the start.
pub(crate) fn lost(operation: &str, subject: impl Into<String>, source: &tokio_postgres::Error) -> Error {
    let mut text = source.to_string();
    let mut cause = std::error::Error::source(source);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    // A wrong or missing password that our side notices has no SQLSTATE.
    let ours = text.contains("authentication error") || text.contains("password missing");
    if ours {
        return Error::new(ErrorKind::Denied, operation, subject)
            .detail(text)
            .hint("set `password` of the component, or check it");
    }
    if text.contains("TLS") {
        return Error::new(ErrorKind::Failed, operation, subject)
            .detail(text)
            .hint("check `sslmode` and `ca` of the component against the server's certificate");
    }
    Error::new(ErrorKind::Unreachable, operation, subject)
        .detail(text)
        .retry(Retry::Reopen)
        .hint("is the server running, and did the leader change?")
}

fn meaning(state: &SqlState) -> (ErrorKind, Option<&'static str>) {
    match state.code() {
        "28P01" | "28000" => (
            ErrorKind::Denied,
            Some("check `user` and `password` of the component, and the server's pg_hba.conf"),
        ),
        "42501" => (ErrorKind::Denied, Some("connect as a superuser, or grant the role what it lacks")),
        "3D000" | "42P01" | "42704" => (ErrorKind::NotFound, None),
        "42P04" | "42710" => (ErrorKind::AlreadyExists, None),
        "53100" => (ErrorKind::NoSpace, Some("free space on the database server")),
        "53300" => (
            ErrorKind::Throttled,
            Some("each database takes two connections during a backup: raise max_connections"),
        ),
        "57P01" | "57P02" | "57P03" => {
            (ErrorKind::Unreachable, Some("the server stops or starts: try again"))
        }
        "57014" | "55P03" => {
            (ErrorKind::TimedOut, Some("something else holds the lock: see pg_stat_activity"))
        }
        _ => (ErrorKind::Failed, None),
    }
}

//! The harness's error: one message that says what failed and what to do.

use std::fmt;

/// What the harness returns.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a server could not be found, installed, started or used; the message may hold the tail of its log.
#[derive(Clone)]
pub struct Error {
    message: String,
}

impl Error {
    /// An error with this message.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }

    /// A server that is not on this machine; the message names the mend.
    pub fn missing(what: impl fmt::Display) -> Self {
        Self::new(format!("{what} is not installed for the tests; run `cargo xtask setup`"))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// As it reads: a test that returns it shows the log's lines as lines.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl From<std::io::Error> for Error {
    fn from(source: std::io::Error) -> Self {
        Self::new(source.to_string())
    }
}

/// Says on what an operation failed.
pub(super) trait Context<T> {
    fn context(self, what: impl fmt::Display) -> Result<T>;
}

impl<T, E: fmt::Display> Context<T> for std::result::Result<T, E> {
    fn context(self, what: impl fmt::Display) -> Result<T> {
        self.map_err(|e| Error::new(format!("{what}: {e}")))
    }
}

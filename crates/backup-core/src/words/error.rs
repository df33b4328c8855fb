//! One error type for the engine and for every plug-in.

use std::{fmt, time::Duration};

/// A boxed cause.
pub type BoxError = Box<dyn std::error::Error + Send + Sync + 'static>;

/// The result of everything that can fail here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of failure it was; callers decide by this and never by text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The thing named is not there.
    NotFound,
    /// The thing to be created is there already.
    AlreadyExists,
    /// The state is not the one that was expected.
    Conflict,
    /// The other side refuses these rights or credentials.
    Denied,
    /// The configuration or the call is wrong.
    Config,
    /// This version, server or store cannot do it.
    Unsupported,
    /// Bytes are not what they should be.
    Corrupt,
    /// Bytes end before they should.
    Truncated,
    /// Nobody answers.
    Unreachable,
    /// The other side asks to slow down.
    Throttled,
    /// No space is left.
    NoSpace,
    /// A deadline passed.
    TimedOut,
    /// The caller cancelled.
    Cancelled,
    /// Another run holds it.
    Locked,
    /// The key does not open it.
    WrongKey,
    /// Refused for safety: going on could lose something.
    Refused,
    /// Whether it happened is not known.
    Unknown,
    /// The program of another did not do what it should.
    Failed,
    /// A defect of ours.
    Internal,
}

impl ErrorKind {
    /// Every kind.
    pub const ALL: [Self; 19] = [
        Self::NotFound,
        Self::AlreadyExists,
        Self::Conflict,
        Self::Denied,
        Self::Config,
        Self::Unsupported,
        Self::Corrupt,
        Self::Truncated,
        Self::Unreachable,
        Self::Throttled,
        Self::NoSpace,
        Self::TimedOut,
        Self::Cancelled,
        Self::Locked,
        Self::WrongKey,
        Self::Refused,
        Self::Unknown,
        Self::Failed,
        Self::Internal,
    ];
}

/// Whether trying again can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Retry {
    /// The same call fails again.
    Never,
    /// The same call may succeed now.
    Now,
    /// The same call may succeed after this time.
    After(Duration),
    /// The capture is lost, a new `open` may succeed (a new leader, another member).
    Reopen,
}

/// What failed, on what, why, and what to do about it.
///
/// `Display` is one line and leaves the cause out: walk [`source`](std::error::Error::source) for the chain.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    retry: Retry,
    operation: String,
    subject: String,
    detail: Option<String>,
    hint: Option<String>,
    source: Option<BoxError>,
}

impl Error {
    /// A failure of `operation` ("read the manifest") on `subject` ("sessions/backup_20260101_020000").
    pub fn new(kind: ErrorKind, operation: impl Into<String>, subject: impl Into<String>) -> Self {
        let retry = match kind {
            ErrorKind::Throttled | ErrorKind::TimedOut | ErrorKind::Unreachable => Retry::Now,
            _ => Retry::Never,
        };
        Self(Box::new(Inner {
            kind,
            retry,
            operation: operation.into(),
            subject: subject.into(),
            detail: None,
            hint: None,
            source: None,
        }))
    }

    /// Adds what was found, on the same line.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.0.detail = Some(detail.into());
        self
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Sets whether trying again can help.
    #[must_use]
    pub fn retry(mut self, retry: Retry) -> Self {
        self.0.retry = retry;
        self
    }

    /// Adds the cause.
    #[must_use]
    pub fn because(mut self, source: impl Into<BoxError>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// An I/O failure; its kind follows from the operating system's answer.
    pub fn io(operation: impl Into<String>, subject: impl Into<String>, source: std::io::Error) -> Self {
        use std::io::ErrorKind as Io;
        let kind = match source.kind() {
            Io::NotFound => ErrorKind::NotFound,
            Io::AlreadyExists => ErrorKind::AlreadyExists,
            Io::PermissionDenied | Io::ReadOnlyFilesystem => ErrorKind::Denied,
            Io::StorageFull | Io::QuotaExceeded | Io::FileTooLarge => ErrorKind::NoSpace,
            Io::UnexpectedEof => ErrorKind::Truncated,
            Io::TimedOut => ErrorKind::TimedOut,
            Io::ConnectionRefused
            | Io::ConnectionReset
            | Io::ConnectionAborted
            | Io::NotConnected
            | Io::HostUnreachable
            | Io::NetworkUnreachable
            | Io::BrokenPipe => ErrorKind::Unreachable,
            Io::InvalidData => ErrorKind::Corrupt,
            _ => ErrorKind::Failed,
        };
        let error = Self::new(kind, operation, subject);
        let error = if kind == ErrorKind::NoSpace {
            error.hint("free space on that file system, or keep fewer sessions (`ha-backup cleanup --dry-run` shows what would go)")
        } else {
            error
        };
        error.because(source)
    }

    /// The caller cancelled `operation`.
    pub fn cancelled(operation: impl Into<String>) -> Self {
        Self::new(ErrorKind::Cancelled, operation, "interrupted")
    }

    /// What kind of failure it is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether trying again can help.
    pub fn retry_class(&self) -> Retry {
        self.0.retry
    }

    /// What was being done.
    pub fn operation(&self) -> &str {
        &self.0.operation
    }

    /// What it was done to.
    pub fn subject(&self) -> &str {
        &self.0.subject
    }

    /// What to do about it: this error's own advice, or the nearest cause's.
    pub fn advice(&self) -> Option<&str> {
        if let Some(hint) = &self.0.hint {
            return Some(hint);
        }
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            if let Some(hint) = error.downcast_ref::<Error>().and_then(|inner| inner.0.hint.as_deref()) {
                return Some(hint);
            }
            cause = error.source();
        }
        None
    }

    /// The whole chain on one line: "a: b: c".
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            let line = error.to_string();
            // Many foreign errors repeat their own cause: saying it once is enough.
            if !text.ends_with(&line) {
                text.push_str(": ");
                text.push_str(&line);
            }
            cause = error.source();
        }
        text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.operation, self.0.subject)?;
        match &self.0.detail {
            Some(detail) => write!(f, ": {detail}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("retry", &self.0.retry)
            .field("message", &self.chain())
            .finish()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_leaves_the_cause_out_and_the_chain_has_it_once() {
        let inner = Error::new(ErrorKind::NotFound, "open", "/x").hint("make /x");
        let outer = Error::new(ErrorKind::Failed, "read", "/y").because(inner);
        assert_eq!(outer.to_string(), "read: /y");
        assert_eq!(outer.chain(), "read: /y: open: /x");
        assert_eq!(outer.advice(), Some("make /x"));
    }

    #[test]
    fn a_full_disk_is_no_space_with_advice() {
        let error = Error::io("write", "f", std::io::Error::from(std::io::ErrorKind::StorageFull));
        assert_eq!(error.kind(), ErrorKind::NoSpace);
        assert!(error.advice().is_some());
    }
}

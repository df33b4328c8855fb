//! Exit codes.

use std::process::ExitCode;

use backup_core::words::{Error, ErrorKind};

/// How a command ends. Scripts rely on the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All good.
    Good = 0,
    /// Failed.
    Failed = 1,
    /// The command line or the configuration is wrong.
    Usage = 2,
    /// Finished, but not all is good: a partial session, a failed check, a restore that waits.
    Problems = 3,
    /// No such session or store.
    NotFound = 10,
    /// Another run holds it.
    Locked = 11,
    /// The key does not open it.
    WrongKey = 12,
    /// Interrupted.
    Interrupted = 130,
}

impl Exit {
    /// Good unless there were problems.
    pub(crate) fn problems_if(problems: bool) -> Self {
        if problems { Self::Problems } else { Self::Good }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A command that failed: the error to print, and how to end.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) error: Error,
    pub(crate) exit: Exit,
}

impl Failure {
    /// The command line is wrong.
    pub(crate) fn usage(error: Error) -> Self {
        Self { error, exit: Exit::Usage }
    }

    /// A session or store was looked for: not finding it has a code of its own.
    pub(crate) fn looking(error: Error) -> Self {
        match error.kind() {
            ErrorKind::NotFound => Self { error, exit: Exit::NotFound },
            _ => error.into(),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let exit = match error.kind() {
            ErrorKind::Config => Exit::Usage,
            ErrorKind::Locked => Exit::Locked,
            ErrorKind::WrongKey => Exit::WrongKey,
            ErrorKind::Cancelled => Exit::Interrupted,
            _ => Exit::Failed,
        };
        Self { error, exit }
    }
}

//! What the API server says when it does not do what it was asked.

use std::{error::Error as StdError, fmt, time::Duration};

use backup_core::words::{Error, ErrorKind, Retry};
use http::HeaderMap;
use serde::Deserialize;

/// An answer other than 2xx.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// HTTP's status code.
    pub(crate) code: u16,
    /// Kubernetes' reason in one word: `NotFound`, `AlreadyExists`, `Expired`.
    pub(crate) reason: String,
    /// The same for people.
    pub(crate) message: String,
    /// When to try again.
    pub(crate) retry_after: Option<Duration>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let blank = if self.reason.is_empty() { "" } else { " " };
        write!(f, "{}{blank}{}: {}", self.code, self.reason, self.message)
    }
}

impl StdError for Refusal {}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    message: Option<String>,
    reason: Option<String>,
}

impl Refusal {
    /// From the answer's body: a `Status`, or whatever a proxy says.
    pub(super) fn read(code: u16, retry_after: Option<Duration>, body: &[u8]) -> Self {
        let status: Status = serde_json::from_slice(body).unwrap_or_default();
        let said = || String::from_utf8_lossy(&body[..body.len().min(300)]).trim().replace('\n', "; ");
        Self {
            code,
            reason: status.reason.unwrap_or_default(),
            message: status.message.unwrap_or_else(said),
            retry_after,
        }
    }

    /// The resource version that was asked for is gone.
    pub(crate) fn is_expired(&self) -> bool {
        self.code == 410 || self.reason == "Expired" || self.reason == "Gone"
    }
}

/// The API server's own answer inside `error`, when there was one.
pub(crate) fn refusal(error: &Error) -> Option<&Refusal> {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(refusal) = cause.downcast_ref::<Refusal>() {
            return Some(refusal);
        }
        source = cause.source();
    }
    None
}

pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get("retry-after")?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

pub(super) fn refused(server: &str, what: &str, refusal: Refusal) -> Error {
    let (kind, hint) = match refusal.code {
        401 => (ErrorKind::Denied, Some("the API server does not know these credentials: are they expired?")),
        403 => (ErrorKind::Denied, Some("`ha-backup check` lists the rights that are missing")),
        404 => (ErrorKind::NotFound, None),
        409 if refusal.reason == "AlreadyExists" => (ErrorKind::AlreadyExists, None),
        409 | 410 => (ErrorKind::Conflict, None),
        429 => (ErrorKind::Throttled, None),
        500 if refusal.reason == "ServerTimeout" => (ErrorKind::TimedOut, None),
        502..=504 => (ErrorKind::Unreachable, None),
        _ => (ErrorKind::Failed, None),
    };
    let mut error = Error::new(kind, "ask", format!("{server}: {what}"));
    if let Some(hint) = hint {
        error = error.hint(hint);
    }
    if let Some(time) = refusal.retry_after {
        error = error.retry(Retry::After(time));
    }
    error.because(refusal)
}

/// What kube says when there was no answer.
pub(super) fn kube_error(server: &str, what: &str, error: kube::Error) -> Error {
    if let kube::Error::Api(status) = error {
        let refusal = Refusal {
            code: status.code,
            reason: status.reason.clone(),
            message: status.message.clone(),
            retry_after: None,
        };
        return refused(server, what, refusal);
    }
    let kind = match &error {
        kube::Error::Auth(_) => ErrorKind::Denied,
        _ => ErrorKind::Unreachable,
    };
    Error::new(kind, "ask", format!("{server}: {what}"))
        .hint("is the API server up, and is its address in the kubeconfig right?")
        .because(error)
}

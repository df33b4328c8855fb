//! From the vendor client's errors to ours: kind, one line, and what to do.

use backup_core::words::{Error, ErrorKind, Retry};

use crate::wire::{Broken, How, Refusal};

/// Words for a bucket or container that is not there.
const NO_BUCKET: [&str; 3] = ["NoSuchBucket", "ContainerNotFound", "ContainerBeingDeleted"];
/// Words for credentials that are not accepted.
const NOT_KNOWN: [&str; 12] = [
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "InvalidToken",
    "ExpiredToken",
    "TokenRefreshRequired",
    "InvalidSecurity",
    "AuthenticationFailed",
    "InvalidAuthenticationInfo",
    "InvalidClientTokenId",
    "invalid_grant",
    "invalid_client",
    "UNAUTHENTICATED",
];
/// Words for a clock that is off.
const SKEWED: [&str; 2] = ["RequestTimeTooSkewed", "RequestExpired"];
/// Words for another region or endpoint.
const ELSEWHERE: [&str; 4] = [
    "PermanentRedirect",
    "TemporaryRedirect",
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
];
/// Words for no space.
const FULL: [&str; 5] = [
    "EntityTooLarge",
    "QuotaExceeded",
    "XMinioStorageFull",
    "InsufficientStorage",
    "XMinioAdminBucketQuotaExceeded",
];
/// Refusals of one moment, whatever their status.
const MOMENTARY: [&str; 11] = [
    "RequestTimeout",
    "SlowDown",
    "InternalError",
    "ServiceUnavailable",
    "ServerBusy",
    "OperationTimedOut",
    // Two conditional writes met: neither is refused for good.
    "ConditionalRequestConflict",
    "OperationAborted",
    // Bytes were changed on the way.
    "BadDigest",
    "XAmzContentSHA256Mismatch",
    "IncompleteBody",
];

/// Why a call failed.
#[derive(Clone, Debug)]
pub(crate) enum Trouble {
    /// The server said no.
    Refused(Refusal),
    /// There was no usable answer.
    Broken(Broken),
    /// Something else, in the client's words.
    Other(ErrorKind, String),
}

impl From<object_store::Error> for Trouble {
    fn from(error: object_store::Error) -> Self {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
        let mut deepest = String::new();
        while let Some(inner) = cause {
            if let Some(refusal) = inner.downcast_ref::<Refusal>() {
                return Self::Refused(refusal.clone());
            }
            if let Some(broken) = inner.downcast_ref::<Broken>() {
                return Self::Broken(broken.clone());
            }
            // Those around the innermost one may hold the address, and an address may hold a token.
            deepest = inner.to_string();
            cause = inner.source();
        }
        let kind = match error {
            object_store::Error::NotFound { .. } => ErrorKind::NotFound,
            object_store::Error::AlreadyExists { .. } => ErrorKind::AlreadyExists,
            object_store::Error::Precondition { .. } => ErrorKind::Conflict,
            object_store::Error::NotSupported { .. } | object_store::Error::NotImplemented { .. } => {
                ErrorKind::Unsupported
            }
            object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
                ErrorKind::Denied
            }
            _ => ErrorKind::Failed,
        };
        Self::Other(kind, deepest.lines().map(str::trim).collect::<Vec<_>>().join(" "))
    }
}

impl From<object_store::client::HttpError> for Trouble {
    fn from(error: object_store::client::HttpError) -> Self {
        Self::from(object_store::Error::Generic { store: "", source: Box::new(error) })
    }
}

impl Trouble {
    /// An object or upload that is not there; not so when its bucket is missing.
    pub(crate) fn is_missing(&self) -> bool {
        match self {
            Self::Refused(refusal) => refusal.status == 404 && !refusal.is(&NO_BUCKET),
            Self::Other(kind, _) => *kind == ErrorKind::NotFound,
            Self::Broken(_) => false,
        }
    }

    /// A condition was not met: the object is there, or has changed.
    pub(crate) fn is_unmet_condition(&self) -> bool {
        match self {
            Self::Refused(refusal) => matches!(refusal.status, 304 | 409 | 412) && !refusal.is(&MOMENTARY),
            Self::Other(kind, _) => matches!(kind, ErrorKind::AlreadyExists | ErrorKind::Conflict),
            Self::Broken(_) => false,
        }
    }

    /// The server does not know what was asked of it.
    pub(crate) fn is_not_implemented(&self) -> bool {
        match self {
            Self::Refused(refusal) => {
                refusal.status == 501 || refusal.is(&["NotImplemented", "UnsupportedHeader"])
            }
            Self::Other(kind, _) => *kind == ErrorKind::Unsupported,
            Self::Broken(_) => false,
        }
    }

    /// The same call may go well in a moment.
    pub(crate) fn is_momentary(&self) -> bool {
        match self {
            Self::Refused(refusal) => {
                matches!(refusal.status, 408 | 429 | 500 | 502 | 503 | 504) || refusal.is(&MOMENTARY)
            }
            Self::Broken(broken) => broken.how != How::Untrusted,
            Self::Other(..) => false,
        }
    }

    /// Whether it may have happened all the same.
    pub(crate) fn is_doubtful(&self) -> bool {
        match self {
            Self::Refused(refusal) => refusal.status >= 500 && !refusal.is(&["SlowDown", "ServerBusy"]),
            Self::Broken(broken) => matches!(broken.how, How::Silent | How::Cut),
            Self::Other(..) => false,
        }
    }

    /// For people: `operation` on `subject` in the bucket `bucket`.
    pub(crate) fn explain(&self, operation: &str, subject: impl Into<String>, bucket: &str) -> Error {
        let (kind, hint) = match self {
            Self::Refused(refusal) => of_refusal(refusal, bucket),
            Self::Broken(broken) => of_broken(broken),
            Self::Other(kind, _) => (*kind, None),
        };
        let error = Error::new(kind, operation, subject).detail(match self {
            Self::Refused(refusal) => refusal.to_string(),
            Self::Broken(broken) => broken.detail.clone(),
            Self::Other(_, words) => words.clone(),
        });
        let error = if self.is_momentary() { error.retry(Retry::Now) } else { error };
        match hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }
}

fn of_refusal(refusal: &Refusal, bucket: &str) -> (ErrorKind, Option<String>) {
    let hint = |kind, text: &str| (kind, Some(text.to_owned()));
    if refusal.is(&NO_BUCKET) {
        return (
            ErrorKind::Config,
            Some(format!(
                "create the bucket `{bucket}`, or mend `url` and `endpoint`: buckets are never made here"
            )),
        );
    }
    if refusal.is(&SKEWED) {
        return hint(
            ErrorKind::Denied,
            "this host's clock is off: synchronise it (chrony, systemd-timesyncd)",
        );
    }
    if refusal.is(&ELSEWHERE) || matches!(refusal.status, 301 | 302 | 307 | 308) {
        return hint(
            ErrorKind::Config,
            "the bucket is in another region or behind another address: mend `region` or `endpoint`",
        );
    }
    if refusal.is(&FULL) || matches!(refusal.status, 413 | 507) {
        return hint(
            ErrorKind::NoSpace,
            "make room in the bucket or raise its quota, or keep fewer sessions",
        );
    }
    if refusal.is(&NOT_KNOWN) || refusal.status == 401 {
        return hint(
            ErrorKind::Denied,
            "the credentials are wrong or have expired: look at the store's key, secret and token",
        );
    }
    match refusal.status {
        403 => hint(
            ErrorKind::Denied,
            "the credentials are wrong, or lack rights: read, write, list and delete objects, list and abort multipart uploads",
        ),
        404 => (ErrorKind::NotFound, None),
        409 | 412 => (ErrorKind::Conflict, None),
        429 => (ErrorKind::Throttled, None),
        503 if refusal.is(&["SlowDown", "ServerBusy"]) => (ErrorKind::Throttled, None),
        408 | 504 => (ErrorKind::TimedOut, None),
        501 => (ErrorKind::Unsupported, None),
        500.. => {
            hint(ErrorKind::Failed, "the server has a problem of its own: look at its log, and run it again")
        }
        _ => (ErrorKind::Failed, None),
    }
}

fn of_broken(broken: &Broken) -> (ErrorKind, Option<String>) {
    let hint = |kind, text: &str| (kind, Some(text.to_owned()));
    match broken.how {
        How::Unconnected => {
            hint(ErrorKind::Unreachable, "is the server up, and is the store's `endpoint` right?")
        }
        How::Untrusted => hint(
            ErrorKind::Unreachable,
            "the server's certificate is not trusted: set `ca` to its authority's, or mend `endpoint` (https or http)",
        ),
        How::Silent => (ErrorKind::TimedOut, None),
        How::Cut => (ErrorKind::Unreachable, None),
        How::Changed => hint(ErrorKind::Corrupt, "something between here and the server changes bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, code: &str) -> Trouble {
        Trouble::Refused(Refusal { status, code: code.to_owned(), message: String::new() })
    }

    fn broken(how: How) -> Trouble {
        Trouble::Broken(Broken { how, detail: "x".to_owned() })
    }

    #[test]
    fn what_people_do_wrong_has_its_kind_and_a_hint() {
        for (trouble, kind, word) in [
            (refused(404, "NoSuchBucket"), ErrorKind::Config, "create the bucket `b`"),
            (refused(403, "SignatureDoesNotMatch"), ErrorKind::Denied, "credentials"),
            (refused(403, "RequestTimeTooSkewed"), ErrorKind::Denied, "clock"),
            (refused(403, "AccessDenied"), ErrorKind::Denied, "rights"),
            (refused(301, "PermanentRedirect"), ErrorKind::Config, "region"),
            (refused(507, ""), ErrorKind::NoSpace, "room"),
            (broken(How::Untrusted), ErrorKind::Unreachable, "`ca`"),
            (broken(How::Unconnected), ErrorKind::Unreachable, "endpoint"),
        ] {
            let error = trouble.explain("read", "k", "b");
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.advice().unwrap_or_default().contains(word), "{error}: {:?}", error.advice());
        }
    }

    #[test]
    fn a_missing_bucket_is_no_missing_object() {
        assert!(refused(404, "NoSuchKey").is_missing() && refused(404, "").is_missing());
        assert!(!refused(404, "NoSuchBucket").is_missing());
    }

    #[test]
    fn only_what_passes_is_tried_again_and_doubt_is_kept() {
        assert!(refused(503, "SlowDown").is_momentary() && !refused(503, "SlowDown").is_doubtful());
        assert!(refused(500, "").is_momentary() && refused(500, "").is_doubtful());
        assert!(refused(409, "ConditionalRequestConflict").is_momentary());
        assert!(!refused(409, "ConditionalRequestConflict").is_unmet_condition());
        assert!(refused(412, "PreconditionFailed").is_unmet_condition());
        assert!(!refused(403, "AccessDenied").is_momentary());
        assert!(broken(How::Unconnected).is_momentary() && !broken(How::Unconnected).is_doubtful());
        assert!(broken(How::Cut).is_doubtful() && broken(How::Silent).is_doubtful());
        assert!(!broken(How::Untrusted).is_momentary());
    }

    #[test]
    fn the_wires_error_is_found_below_the_clients() {
        let refusal = Refusal { status: 403, code: "AccessDenied".into(), message: String::new() };
        let http =
            object_store::client::HttpError::new(object_store::client::HttpErrorKind::Unknown, refusal);
        let outer = object_store::Error::Generic { store: "S3", source: Box::new(http) };
        assert!(matches!(Trouble::from(outer), Trouble::Refused(refusal) if refusal.status == 403));
    }
}

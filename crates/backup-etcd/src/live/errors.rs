//! What etcd and the transport say, as our errors.

use backup_core::words::{Error, ErrorKind};
use etcd_client::Error as EtcdError;

/// gRPC's codes, by number: <https://grpc.io/docs/guides/status-codes/>.
mod code {
    pub(super) const INVALID_ARGUMENT: i32 = 3;
    pub(super) const DEADLINE_EXCEEDED: i32 = 4;
    pub(super) const PERMISSION_DENIED: i32 = 7;
    pub(super) const RESOURCE_EXHAUSTED: i32 = 8;
    pub(super) const UNIMPLEMENTED: i32 = 12;
    pub(super) const UNAVAILABLE: i32 = 14;
    pub(super) const UNAUTHENTICATED: i32 = 16;
}

/// True when the cluster has no authentication although a user was given.
pub(super) fn is_auth_off(error: &EtcdError) -> bool {
    matches!(error, EtcdError::GRpcStatus(status) if status.message().contains("authentication is not enabled"))
}

/// `error` on `operation` with the member at `endpoint`.
pub(super) fn error(operation: &str, endpoint: &str, error: &EtcdError) -> Error {
    let (kind, hint) = classify(error);
    let found = Error::new(kind, operation, format!("etcd at {endpoint}")).detail(words(error));
    match hint {
        Some(hint) => found.hint(hint),
        None => found,
    }
}

fn classify(error: &EtcdError) -> (ErrorKind, Option<&'static str>) {
    let EtcdError::GRpcStatus(status) = error else {
        return match error {
            EtcdError::TransportError(_) | EtcdError::IoError(_) => {
                (ErrorKind::Unreachable, Some("is it running, and do address, port and TLS fit?"))
            }
            EtcdError::InvalidArgs(_) | EtcdError::InvalidUri(_) | EtcdError::EndpointError(_) => {
                (ErrorKind::Config, Some("write endpoints as http://HOST:2379, or https://HOST:2379 for TLS"))
            }
            _ => (ErrorKind::Failed, None),
        };
    };
    let said = status.message();
    match i32::from(status.code()) {
        code::INVALID_ARGUMENT if said.contains("authentication failed") => {
            (ErrorKind::Denied, Some("check `user` and `password`"))
        }
        code::INVALID_ARGUMENT if said.contains("user name is empty") => {
            (ErrorKind::Denied, Some("the cluster wants authentication: set `user` and `password`"))
        }
        code::PERMISSION_DENIED => {
            (ErrorKind::Denied, Some("give the user the role root: etcd 3.6 lets nobody else take snapshots"))
        }
        code::UNAUTHENTICATED => (ErrorKind::Denied, Some("check `user` and `password`")),
        code::DEADLINE_EXCEEDED => (ErrorKind::TimedOut, None),
        code::RESOURCE_EXHAUSTED => (ErrorKind::Throttled, None),
        code::UNIMPLEMENTED => (ErrorKind::Unsupported, Some("etcd 3.4 or later is needed")),
        // The transport's failures come as `unknown` too.
        code::UNAVAILABLE | 2 => {
            (ErrorKind::Unreachable, Some("is it running, and do address, port and TLS fit?"))
        }
        _ => (ErrorKind::Failed, None),
    }
}

/// What the error and its causes say, each once.
fn words(error: &EtcdError) -> String {
    let mut cause: Option<&dyn std::error::Error> = match error {
        EtcdError::GRpcStatus(status) => {
            return chain(status.message().to_owned(), std::error::Error::source(status));
        }
        EtcdError::TransportError(transport) => Some(transport),
        EtcdError::IoError(io) => Some(io),
        _ => None,
    };
    match cause.take() {
        Some(cause) => chain(cause.to_string(), cause.source()),
        None => error.to_string(),
    }
}

fn chain(mut text: String, mut cause: Option<&dyn std::error::Error>) -> String {
    while let Some(error) = cause {
        let line = error.to_string();
        if !text.contains(&line) {
            text.push_str(": ");
            text.push_str(&line);
        }
        cause = error.source();
    }
    text
}

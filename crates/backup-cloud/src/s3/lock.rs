//! Object lock: what is written may not go before its time.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use chrono::{SecondsFormat, TimeDelta, Utc};
use http::{HeaderName, HeaderValue, Method};
use object_store::client::HttpRequest;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{signed::Sign, wire::Amend};

const MODE: HeaderName = HeaderName::from_static("x-amz-object-lock-mode");
/// Some servers want it said, though the checksum is there.
const ALGORITHM: HeaderName = HeaderName::from_static("x-amz-sdk-checksum-algorithm");
const UNTIL: HeaderName = HeaderName::from_static("x-amz-object-lock-retain-until-date");

/// Who may lift a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LockMode {
    /// Those with a special right.
    Governance,
    /// Nobody.
    Compliance,
}

impl fmt::Display for LockMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Governance => "governance",
            Self::Compliance => "compliance",
        })
    }
}

/// What the policy says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lock {
    pub(super) length: TimeDelta,
    pub(super) mode: LockMode,
}

/// Locks what a restore needs, as it is written: artifacts, manifests and their signatures. Claims, evidence and pins are not
/// locked: written later, they would hold their session back beyond its time.
#[derive(Debug)]
pub(super) struct Locker {
    lock: Lock,
    /// The path of our prefix, with a `/` at its end.
    folder: String,
    signer: Arc<dyn Sign>,
}

impl Locker {
    pub(super) fn new(lock: Lock, bucket: &str, prefix: &str, signer: Arc<dyn Sign>) -> Self {
        let path = bucket.parse::<http::Uri>().map(|uri| uri.path().trim_end_matches('/').to_owned());
        let slash = if prefix.is_empty() { "" } else { "/" };
        Self { lock, folder: format!("{}/{prefix}{slash}", path.unwrap_or_default()), signer }
    }

    /// Whether the request makes an object that is locked.
    fn makes(&self, method: &Method, path: &str, query: &str) -> bool {
        let whole = *method == Method::PUT && !query.contains("uploadId=");
        let parts = *method == Method::POST && (query == "uploads" || query.starts_with("uploads="));
        let path = decode(path);
        (whole || parts) && path.strip_prefix(&self.folder).is_some_and(is_locked)
    }
}

/// Whether the object of that name is one that a restore needs.
fn is_locked(key: &str) -> bool {
    match key.split_once('/') {
        Some(("daily" | "weekly" | "monthly" | "yearly", _)) => true,
        Some(("sessions", rest)) => rest.rsplit_once('/').is_some_and(|(_, file)| {
            matches!(file, "manifest.json" | "manifest.json.minisig" | "unified.json")
        }),
        _ => false,
    }
}

/// A path as it was before it became part of an address.
fn decode(path: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), path.as_bytes());
    while let Some((first, after)) = rest.split_first() {
        let code =
            after.get(..2).and_then(|code| u8::from_str_radix(std::str::from_utf8(code).ok()?, 16).ok());
        match code.filter(|_| *first == b'%') {
            Some(byte) => (bytes.push(byte), rest = &after[2..]).0,
            None => (bytes.push(*first), rest = after).0,
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[async_trait]
impl Amend for Locker {
    async fn amend(&self, request: &mut HttpRequest) -> object_store::Result<()> {
        let uri = request.uri();
        if !self.makes(request.method(), uri.path(), uri.query().unwrap_or_default()) {
            return Ok(());
        }
        let until = (Utc::now() + self.lock.length).to_rfc3339_opts(SecondsFormat::Secs, true);
        let mode = self.lock.mode.to_string().to_uppercase();
        for (name, value) in [(MODE, mode), (UNTIL, until), (ALGORITHM, "SHA256".to_owned())] {
            let value = HeaderValue::from_str(&value)
                .map_err(|e| object_store::Error::Generic { store: "S3", source: Box::new(e) })?;
            request.headers_mut().insert(name, value);
        }
        self.signer.sign(request).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Nobody;

    #[async_trait]
    impl Sign for Nobody {
        async fn sign(&self, _: &mut HttpRequest) -> object_store::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_a_restore_needs_is_locked_and_nothing_else() {
        let lock = Lock { length: TimeDelta::days(1), mode: LockMode::Governance };
        let locker = Locker::new(lock, "http://127.0.0.1:9000/bucket", "a b", Arc::new(Nobody));
        let makes = |method: Method, path: &str, query: &str| locker.makes(&method, path, query);
        assert!(makes(Method::PUT, "/bucket/a%20b/daily/etcd/x.db.gz", ""));
        assert!(makes(Method::POST, "/bucket/a%20b/daily/etcd/x.db.gz", "uploads"));
        assert!(makes(Method::PUT, "/bucket/a%20b/sessions/backup_20260108_020000/manifest.json", ""));
        for (method, path, query) in [
            (Method::PUT, "/bucket/a%20b/daily/etcd/x.db.gz", "partNumber=1&uploadId=x"),
            (Method::POST, "/bucket/a%20b/daily/etcd/x.db.gz", "uploadId=x"),
            (Method::GET, "/bucket/a%20b/daily/etcd/x.db.gz", ""),
            (Method::PUT, "/bucket/daily/etcd/x.db.gz", ""),
            (Method::PUT, "/bucket/a%20b/.tmp-check/x", ""),
            (Method::PUT, "/bucket/a%20b/sessions/backup_20260108_020000/pin-1.json", ""),
        ] {
            assert!(!makes(method, path, query), "{path}?{query}");
        }
        let host = Locker::new(lock, "https://bucket.s3.example", "", Arc::new(Nobody));
        assert!(host.makes(&Method::PUT, "/weekly/etcd/x.db.gz", ""));
    }
}

//! What the sections of all kinds have in common.

use std::{path::PathBuf, time::Duration};

use backup_core::{
    traits::Node,
    words::{ByteSize, Error, ErrorKind, Result, TimeLength},
};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    retry::Patience,
    wire::{Checks, Wire, WireSettings},
};

/// S3 takes no smaller parts, but for the last.
const LEAST_PART: u64 = 5 << 20;
/// Memory must not grow.
const MOST_PART: u64 = 8 << 20;
const MOST_PARTS: u64 = 10_000;
/// Below that the limits on time would not hold.
const LEAST_BANDWIDTH: u64 = 64 << 10;
const A_SECOND: Duration = Duration::from_secs(1);

/// Keys of every object store.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
pub(crate) struct Common {
    /// A file with certificates (PEM) that are trusted besides the system's.
    #[serde(default)]
    ca: Option<PathBuf>,
    /// Allows plain http to an endpoint that is not on this host.
    #[serde(default)]
    allow_http: bool,
    /// Bytes a second in each direction, such as "20MB"; default: no limit.
    #[serde(default)]
    bandwidth: Option<ByteSize>,
    /// How long a connection may take to be made. Default: "10s".
    #[serde(default)]
    connect_timeout: Option<TimeLength>,
    /// How long a request may not move before it is given up. Default: "1m".
    #[serde(default)]
    timeout: Option<TimeLength>,
    /// For how long a failing request is tried again. Default: "2m".
    #[serde(default)]
    retry: Option<TimeLength>,
    /// The size of an upload's parts, 5MiB to 8MiB. Default: 5MiB.
    #[serde(default)]
    part_size: Option<ByteSize>,
    /// After so many parts the next volume begins. Default: 10000.
    #[serde(default)]
    max_parts: Option<u64>,
    /// How many parts are under way at once, over all uploads; each takes its size in memory. Default: 3.
    #[serde(default)]
    parallel_parts: Option<usize>,
    /// Whether the server can create an object only where there is none. Default: tried once in each run. `false` where it
    /// claims to and two at once can both succeed.
    #[serde(default)]
    conditional_create: Option<bool>,
}

/// The common keys, checked.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    pub(crate) part_bytes: usize,
    pub(crate) parts: usize,
    pub(crate) parallel: usize,
    pub(crate) patience: Patience,
    pub(crate) conditional: Option<bool>,
}

impl Common {
    /// # Errors
    /// [`ErrorKind::Config`] when a number is out of its bounds.
    pub(crate) fn limits(&self, node: &Node) -> Result<Limits> {
        let part = self.part_size.map_or(LEAST_PART, |size| size.0);
        if !(LEAST_PART..=MOST_PART).contains(&part) {
            return Err(node.error("part_size", "parts have 5MiB to 8MiB"));
        }
        let parts = self.max_parts.unwrap_or(MOST_PARTS);
        if !(1..=MOST_PARTS).contains(&parts) {
            return Err(node.error("max_parts", "an upload has 1 to 10000 parts"));
        }
        let parallel = self.parallel_parts.unwrap_or(3);
        if !(1..=64).contains(&parallel) {
            return Err(node.error("parallel_parts", "1 to 64 parts may be under way at once"));
        }
        Ok(Limits {
            part_bytes: part as usize,
            parts: parts as usize,
            parallel,
            patience: Patience { budget: length(self.retry, 120) },
            conditional: self.conditional_create,
        })
    }

    /// # Errors
    /// [`ErrorKind::Config`] when the certificates cannot be read, or the limit is too low.
    pub(crate) async fn wire(&self, node: &Node, checks: Checks) -> Result<Wire> {
        let ca = match &self.ca {
            Some(path) => Some(tokio::fs::read(path).await.map_err(|e| {
                Error::new(ErrorKind::Config, "read the certificates", path.display().to_string()).because(e)
            })?),
            None => None,
        };
        if self.bandwidth.is_some_and(|rate| rate.0 < LEAST_BANDWIDTH) {
            return Err(node.error("bandwidth", "the limit is at least 64KiB a second"));
        }
        let settings = WireSettings {
            connect: length(self.connect_timeout, 10).max(A_SECOND),
            silence: length(self.timeout, 60).max(A_SECOND),
            ca,
            bandwidth: self.bandwidth.map(|rate| rate.0),
        };
        Wire::new(&settings, checks)
    }

    /// Checks an endpoint: an address of https, or of http where that is allowed. Without its last `/`.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] with what is wrong.
    pub(crate) fn endpoint(&self, node: &Node, endpoint: &str) -> Result<String> {
        let plain = endpoint.trim_end_matches('/');
        let address: http::Uri =
            plain.parse().map_err(|_| node.error("endpoint", format!("`{plain}` is no address")))?;
        if address.query().is_some() || plain.contains('@') {
            return Err(node.error("endpoint", "an endpoint has no user and no query"));
        }
        match (address.scheme_str(), address.host()) {
            (Some("https"), Some(_)) => Ok(plain.to_owned()),
            (Some("http"), Some(host)) if self.allow_http || is_loopback(host) => Ok(plain.to_owned()),
            (Some("http"), Some(_)) => Err(node
                .error("endpoint", "plain http would show every byte on the way")
                .hint("use https; in a network that you trust say allow_http = true")),
            _ => Err(node.error("endpoint", "an endpoint looks like https://minio.example:9000")),
        }
    }
}

fn length(given: Option<TimeLength>, seconds: u64) -> Duration {
    given.and_then(|length| length.0.to_std().ok()).unwrap_or(Duration::from_secs(seconds))
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Bucket and prefix of an address such as `s3://bucket/prefix`.
///
/// # Errors
/// [`ErrorKind::Config`] when it is not of that form.
pub(crate) fn place(node: &Node, url: &str, schemes: &[&str]) -> Result<(String, String)> {
    let bad = || {
        node.error("url", format!("`{url}` is no address of this kind"))
            .hint(format!("write {}://BUCKET or {0}://BUCKET/PREFIX", schemes[0]))
    };
    let rest = schemes.iter().find_map(|scheme| url.strip_prefix(&format!("{scheme}://"))).ok_or_else(bad)?;
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let prefix = prefix.trim_end_matches('/');
    if bucket.is_empty() || bucket.contains(['@', '?', '#']) || backup_core::words::Key::new(prefix).is_err()
    {
        return Err(bad());
    }
    Ok((bucket.to_owned(), prefix.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn common(value: serde_json::Value) -> (Common, Node) {
        let node = Node::new(value);
        (node.parse().unwrap(), node)
    }

    #[test]
    fn addresses_have_a_bucket_and_perhaps_a_prefix() {
        let node = Node::new(serde_json::json!({}));
        let parsed = |url| place(&node, url, &["s3"]).ok();
        let pair = |a: &str, b: &str| Some((a.to_owned(), b.to_owned()));
        assert_eq!(parsed("s3://bucket"), pair("bucket", ""));
        assert_eq!(parsed("s3://bucket/"), pair("bucket", ""));
        assert_eq!(parsed("s3://bucket/a/b/"), pair("bucket", "a/b"));
        for bad in ["bucket", "gs://bucket", "s3:///x", "s3://", "s3://key:secret@bucket", "s3://b/../c"] {
            assert_eq!(parsed(bad), None, "{bad}");
        }
    }

    #[test]
    fn plain_http_needs_this_host_or_leave() {
        let (closed, node) = common(serde_json::json!({}));
        for good in
            ["https://s3.example/", "http://127.0.0.1:9000", "http://localhost:9000", "http://[::1]:9000"]
        {
            assert!(closed.endpoint(&node, good).is_ok(), "{good}");
        }
        for bad in ["http://minio.example", "minio.example:9000", "ftp://x", "https://k:s@x", "https://x?y=z"]
        {
            assert_eq!(closed.endpoint(&node, bad).unwrap_err().kind(), ErrorKind::Config, "{bad}");
        }
        let (open, node) = common(serde_json::json!({"allow_http": true}));
        assert_eq!(open.endpoint(&node, "http://minio.example/").unwrap(), "http://minio.example");
    }

    #[test]
    fn numbers_out_of_their_bounds_are_refused() {
        for bad in [
            serde_json::json!({"part_size": "4MiB"}),
            serde_json::json!({"part_size": "9MiB"}),
            serde_json::json!({"max_parts": 0}),
            serde_json::json!({"max_parts": 10001}),
            serde_json::json!({"parallel_parts": 0}),
        ] {
            let (common, node) = common(bad.clone());
            assert!(common.limits(&node).is_err(), "{bad}");
        }
        let (common, node) = common(serde_json::json!({}));
        let limits = common.limits(&node).unwrap();
        assert_eq!((limits.part_bytes, limits.parts), (5 << 20, 10_000));
    }
}

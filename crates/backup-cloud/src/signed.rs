//! Signed requests in S3's words beside the vendor's client, for what it has no call for.

use std::sync::Arc;

use async_trait::async_trait;
use backup_core::words::ErrorKind;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::{HeaderMap, Method};
use object_store::client::{HttpClient, HttpRequest, HttpRequestBody};
use serde::de::DeserializeOwned;

use crate::{
    trouble::Trouble,
    wire::{ServerTime, Wire},
};

/// Signs a request as the server wants it.
#[async_trait]
pub(crate) trait Sign: Send + Sync + std::fmt::Debug {
    async fn sign(&self, request: &mut HttpRequest) -> object_store::Result<()>;
}

/// Asks a bucket.
#[derive(Clone, Debug)]
pub(crate) struct Signed {
    client: HttpClient,
    /// Where the bucket is, without a `/` at its end.
    bucket: String,
    signer: Arc<dyn Sign>,
}

/// An answer that said yes.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// The server's clock.
    pub(crate) now: DateTime<Utc>,
}

impl Signed {
    pub(crate) fn new(wire: &Wire, bucket: String, signer: Arc<dyn Sign>) -> Self {
        Self { client: HttpClient::new(wire.clone()), bucket, signer }
    }

    /// One request without a body; `path` is empty or begins with `/`.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<Answer, Trouble> {
        let pairs: Vec<String> =
            query.iter().map(|(name, value)| format!("{name}={}", encode(value, false))).collect();
        let mark = if pairs.is_empty() { "" } else { "?" };
        let uri = format!("{}{}{mark}{}", self.bucket, encode(path, true), pairs.join("&"));
        let mut request = http::Request::builder()
            .method(method)
            .uri(uri)
            .body(HttpRequestBody::empty())
            .map_err(|e| Trouble::Other(ErrorKind::Internal, e.to_string()))?;
        self.signer.sign(&mut request).await?;
        let (parts, body) = self.client.execute(request).await?.into_parts();
        let now = parts.extensions.get::<ServerTime>().map_or_else(Utc::now, |time| time.0);
        Ok(Answer { headers: parts.headers, body: body.bytes().await?, now })
    }

    /// Reads an answer in XML.
    pub(crate) async fn ask<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<(T, DateTime<Utc>), Trouble> {
        let answer = self.send(Method::GET, path, query).await?;
        let read = quick_xml::de::from_reader(&answer.body[..])
            .map_err(|e| Trouble::Other(ErrorKind::Failed, format!("an answer that is not known: {e}")))?;
        Ok((read, answer.now))
    }
}

/// Everything but letters, digits and `-_.~` as `%XX`; in a path `/` stays.
fn encode(text: &str, path: bool) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            b'/' if path => out.push('/'),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_encoded_as_signatures_want_them() {
        assert_eq!(encode("/a b/ü+.gz", true), "/a%20b/%C3%BC%2B.gz");
        assert_eq!(encode("a/b=", false), "a%2Fb%3D");
    }
}

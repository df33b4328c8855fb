//! What went wrong on the wire, as values.

use std::{fmt, time::Duration};

use http::HeaderMap;

/// The longest message that is passed on.
const LONGEST: usize = 300;

/// The server answered, and did not do it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The status of the answer.
    pub(crate) status: u16,
    /// The server's word for it ("NoSuchBucket"), or nothing.
    pub(crate) code: String,
    /// Its sentence, on one line, or nothing.
    pub(crate) message: String,
}

impl Refusal {
    /// Reads an answer that says no.
    pub(super) fn parse(status: u16, headers: &HeaderMap, body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(body);
        let json = || serde_json::from_str::<serde_json::Value>(&text).ok();
        let mut code = between(&text, "Code").or_else(|| header(headers, "x-ms-error-code"));
        let mut message = between(&text, "Message");
        if let (None, Some(json)) = (&code, json()) {
            // Google's token and JSON answers.
            let word = |path: &str| json.pointer(path).and_then(|value| value.as_str()).map(str::to_owned);
            code = word("/error").or_else(|| word("/error/status"));
            message = word("/error_description").or_else(|| word("/error/message"));
        }
        Self {
            status,
            code: one_line(&code.unwrap_or_default()),
            message: one_line(&message.unwrap_or_default()),
        }
    }

    /// An error in the body of an answer whose head said that all is well.
    pub(super) fn in_success(body: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(body);
        // Not an attribute or a word inside a key.
        text.contains("<Error>").then(|| Self::parse(500, &HeaderMap::new(), body))
    }

    /// One of these words of the server's.
    pub(crate) fn is(&self, codes: &[&str]) -> bool {
        codes.contains(&self.code.as_str())
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HTTP {}", self.status)?;
        if !self.code.is_empty() {
            write!(f, " {}", self.code)?;
        }
        if !self.message.is_empty() {
            write!(f, ": {}", self.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for Refusal {}

/// The text of the first element of that name.
fn between(text: &str, name: &str) -> Option<String> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    let (inner, _) = rest.split_once(&format!("</{name}>"))?;
    let plain =
        inner.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&apos;", "'");
    Some(plain.replace("&amp;", "&"))
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

/// Without line breaks and control characters, and not endless.
fn one_line(text: &str) -> String {
    let line = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    line.collect::<Vec<_>>().join(" ").chars().take(LONGEST).collect()
}

/// How a connection failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// There was none: nothing was sent.
    Unconnected,
    /// The other side is not whom we trust: nothing was sent.
    Untrusted,
    /// Nothing was heard for too long.
    Silent,
    /// It ended in the middle.
    Cut,
    /// The server has other bytes than were sent.
    Changed,
}

/// There was no answer that could be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Broken {
    pub(crate) how: How,
    pub(crate) detail: String,
}

impl Broken {
    /// Reads the client's error.
    pub(super) fn of(error: &reqwest::Error) -> Self {
        let detail = deepest(error);
        let untrusted =
            ["certificate", "UnknownIssuer", "HandshakeFailure", "InvalidContentType", "corrupt message"];
        let how = if untrusted.iter().any(|word| detail.contains(word)) {
            How::Untrusted
        } else if error.is_connect() {
            How::Unconnected
        } else if error.is_timeout() {
            How::Silent
        } else {
            How::Cut
        };
        Self { how, detail }
    }

    pub(super) fn silent(limit: Duration) -> Self {
        Self { how: How::Silent, detail: format!("nothing was heard for {} s", limit.as_secs()) }
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for Broken {}

/// The innermost cause: those around it repeat it, or hold the address, which may hold a token.
fn deepest(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    one_line(&cause.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_word_is_read_from_xml_headers_and_json() {
        let xml = b"<?xml version=\"1.0\"?>\n<Error><Code>NoSuchBucket</Code><Message>The &lt;x&gt;\n is gone</Message></Error>";
        let refusal = Refusal::parse(404, &HeaderMap::new(), xml);
        assert_eq!(refusal.to_string(), "HTTP 404 NoSuchBucket: The <x> is gone");
        assert!(refusal.is(&["NoSuchBucket"]));
        let mut headers = HeaderMap::new();
        headers.insert("x-ms-error-code", http::HeaderValue::from_static("BlobNotFound"));
        assert_eq!(Refusal::parse(404, &headers, b"").to_string(), "HTTP 404 BlobNotFound");
        let token = br#"{"error":"invalid_grant","error_description":"Invalid JWT"}"#;
        assert_eq!(
            Refusal::parse(400, &HeaderMap::new(), token).to_string(),
            "HTTP 400 invalid_grant: Invalid JWT"
        );
        let google = br#"{"error":{"code":404,"message":"Not Found","status":"NOT_FOUND"}}"#;
        assert_eq!(
            Refusal::parse(404, &HeaderMap::new(), google).to_string(),
            "HTTP 404 NOT_FOUND: Not Found"
        );
        assert_eq!(
            Refusal::parse(502, &HeaderMap::new(), b"<html>bad gateway</html>").to_string(),
            "HTTP 502"
        );
    }

    #[test]
    fn an_error_behind_a_good_status_is_found() {
        let late = b"<?xml version=\"1.0\"?>\n\n  <Error><Code>InternalError</Code></Error>";
        assert_eq!(Refusal::in_success(late).unwrap().code, "InternalError");
        let good = b"<CompleteMultipartUploadResult><Key>Error</Key></CompleteMultipartUploadResult>";
        assert_eq!(Refusal::in_success(good), None);
    }

    #[test]
    fn a_message_is_one_line_and_not_endless() {
        let body = format!("<Error><Code>X</Code><Message>{}\n</Message></Error>", "word\t\n".repeat(500));
        let refusal = Refusal::parse(400, &HeaderMap::new(), body.as_bytes());
        assert!(refusal.message.len() <= LONGEST && !refusal.message.contains(['\n', '\t']));
    }
}

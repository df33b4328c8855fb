//! Checksums of what is sent, compared with what the server says that it has.

use http::{HeaderMap, Method};
use object_store::client::HttpRequest;

use super::refusal::{Broken, How};

const S3_SHA256: &str = "x-amz-checksum-sha256";
#[cfg(feature = "gcs")]
const GOOG_HASH: &str = "x-goog-hash";

/// Whose checksums these are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Checks {
    /// S3: the client sends a SHA-256, the server may repeat its own.
    #[cfg(feature = "s3")]
    S3,
    /// Google: a CRC-32C is sent, and the server says its own.
    #[cfg(feature = "gcs")]
    Gcs,
    /// Azure: the server says the MD5 of what it has.
    #[cfg(feature = "azure")]
    Azure,
}

/// What the answer must say, if it says anything about it.
pub(super) struct Expected {
    header: &'static str,
    value: String,
}

impl Checks {
    /// Adds what the client leaves out, and says what the answer must hold.
    pub(super) fn prepare(self, request: &mut HttpRequest) -> Option<Expected> {
        if request.method() != Method::PUT || request.body().content_length() == 0 {
            return None;
        }
        match self {
            #[cfg(feature = "s3")]
            Self::S3 => {
                let value = request.headers().get(S3_SHA256)?.to_str().ok()?.to_owned();
                Some(Expected { header: S3_SHA256, value })
            }
            #[cfg(feature = "gcs")]
            Self::Gcs => {
                use base64::Engine;
                let chunks = super::body::chunks(request.body().clone());
                let crc = chunks.iter().fold(0, |crc, chunk| crc32c::crc32c_append(crc, chunk));
                let value = format!("crc32c={}", base64::prelude::BASE64_STANDARD.encode(crc.to_be_bytes()));
                let header = http::HeaderValue::from_str(&value).ok()?;
                request.headers_mut().insert(GOOG_HASH, header);
                Some(Expected { header: GOOG_HASH, value })
            }
            #[cfg(feature = "azure")]
            Self::Azure => None,
        }
    }

    /// Whether the answer's head comes before the outcome is known.
    pub(super) fn answers_late(self, request: &HttpRequest) -> bool {
        let query = request.uri().query().unwrap_or_default();
        request.method() == Method::POST && query.contains("uploadId=")
    }
}

impl Expected {
    /// What is wrong, when the server has other bytes. Servers that say nothing are believed: the signature covers the bytes.
    pub(super) fn differs(&self, headers: &HeaderMap) -> Option<Broken> {
        let kind = self.value.split_once('=').map_or("", |(kind, _)| kind);
        let mut said = headers
            .get_all(self.header)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(str::trim)
            .filter(|value| self.header == S3_SHA256 || value.starts_with(kind))
            .peekable();
        said.peek()?;
        if said.any(|value| value == self.value) {
            return None;
        }
        let detail = "the server has other bytes than were sent: its checksum differs".to_owned();
        Some(Broken { how: How::Changed, detail })
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_checksum_that_the_server_says_must_be_ours() {
        let expected = Expected { header: S3_SHA256, value: "AbC=".to_owned() };
        let mut headers = HeaderMap::new();
        assert!(expected.differs(&headers).is_none(), "silence is no contradiction");
        headers.insert(S3_SHA256, HeaderValue::from_static("AbC="));
        assert!(expected.differs(&headers).is_none());
        headers.insert(S3_SHA256, HeaderValue::from_static("xyz="));
        assert_eq!(expected.differs(&headers).unwrap().how, How::Changed);
    }

    #[test]
    fn of_several_checksums_the_one_of_our_kind_counts() {
        let expected = Expected { header: "x-goog-hash", value: "crc32c=AAAAAA==".to_owned() };
        let mut headers = HeaderMap::new();
        headers.insert("x-goog-hash", HeaderValue::from_static("md5=zzz"));
        assert!(expected.differs(&headers).is_none());
        headers.insert("x-goog-hash", HeaderValue::from_static("crc32c=AAAAAA==,md5=zzz"));
        assert!(expected.differs(&headers).is_none());
        headers.insert("x-goog-hash", HeaderValue::from_static("crc32c=BBBBBB==,md5=zzz"));
        assert!(expected.differs(&headers).is_some());
    }
}

//! Unfinished uploads in S3's XML, which Google speaks too: requests beside the vendor's client, which has no call for them.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use object_store::client::{HttpClient, HttpRequest, HttpRequestBody};
use serde::{Deserialize, de::DeserializeOwned};

use crate::{
    store::{Begun, Marker, Unfinished, UploadPage},
    trouble::Trouble,
    wire::{ServerTime, Wire},
};

/// Signs a request as the server wants it.
#[async_trait]
pub(crate) trait Sign: Send + Sync + std::fmt::Debug {
    async fn sign(&self, request: &mut HttpRequest) -> object_store::Result<()>;
}

/// Asks for unfinished uploads.
#[derive(Debug)]
pub(crate) struct XmlUploads {
    client: HttpClient,
    /// Where the bucket is, without a `/` at its end.
    bucket: String,
    signer: Box<dyn Sign>,
}

impl XmlUploads {
    pub(crate) fn new(wire: &Wire, bucket: String, signer: Box<dyn Sign>) -> Self {
        Self { client: HttpClient::new(wire.clone()), bucket, signer }
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<(T, DateTime<Utc>), Trouble> {
        let pairs: Vec<String> =
            query.iter().map(|(name, value)| format!("{name}={}", encode(value, false))).collect();
        let uri = format!("{}{}?{}", self.bucket, encode(path, true), pairs.join("&"));
        let internal = |words: String| Trouble::Other(backup_core::words::ErrorKind::Internal, words);
        let mut request =
            http::Request::get(uri).body(HttpRequestBody::empty()).map_err(|e| internal(e.to_string()))?;
        self.signer.sign(&mut request).await?;
        let (parts, body) = self.client.execute(request).await?.into_parts();
        let now = parts.extensions.get::<ServerTime>().map_or_else(Utc::now, |time| time.0);
        let body = body.bytes().await?;
        let answer = quick_xml::de::from_reader(&body[..]).map_err(|e| {
            Trouble::Other(backup_core::words::ErrorKind::Failed, format!("an answer that is not known: {e}"))
        })?;
        Ok((answer, now))
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

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct UploadsAnswer {
    upload: Vec<UploadAnswer>,
    is_truncated: bool,
    next_key_marker: String,
    next_upload_id_marker: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct UploadAnswer {
    key: String,
    upload_id: String,
    initiated: DateTime<Utc>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct PartsAnswer {
    part: Vec<PartAnswer>,
    is_truncated: bool,
    next_part_number_marker: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PartAnswer {
    last_modified: DateTime<Utc>,
}

#[async_trait]
impl Unfinished for XmlUploads {
    async fn page(&self, prefix: &str, after: Option<&Marker>) -> Result<UploadPage, Trouble> {
        let mut query = vec![("uploads", ""), ("prefix", prefix)];
        if let Some(after) = after {
            query.push(("key-marker", after.key.as_str()));
            if !after.id.is_empty() {
                query.push(("upload-id-marker", after.id.as_str()));
            }
        }
        let (answer, now): (UploadsAnswer, _) = self.ask("", &query).await?;
        let begun =
            |upload: UploadAnswer| Begun { key: upload.key, id: upload.upload_id, at: upload.initiated };
        let next = Marker { key: answer.next_key_marker, id: answer.next_upload_id_marker };
        let more = answer.is_truncated && !next.key.is_empty();
        Ok(UploadPage {
            uploads: answer.upload.into_iter().map(begun).collect(),
            next: more.then_some(next),
            now,
        })
    }

    async fn newest_part(&self, key: &str, id: &str) -> Result<Option<DateTime<Utc>>, Trouble> {
        let path = format!("/{key}");
        let (mut marker, mut newest) = (String::new(), None);
        loop {
            let mut query = vec![("uploadId", id)];
            if !marker.is_empty() {
                query.push(("part-number-marker", marker.as_str()));
            }
            let (answer, _): (PartsAnswer, _) = self.ask(&path, &query).await?;
            newest = newest.max(answer.part.iter().map(|part| part.last_modified).max());
            let next = answer.next_part_number_marker;
            if !answer.is_truncated || next.is_empty() || next == marker {
                return Ok(newest);
            }
            marker = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_uploads_is_read_as_servers_write_it() {
        let xml = r#"<?xml version="1.0" encoding="UTF-8"?>
            <ListMultipartUploadsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
              <Bucket>b</Bucket><KeyMarker></KeyMarker><NextKeyMarker>a&amp;b</NextKeyMarker>
              <NextUploadIdMarker>u1</NextUploadIdMarker><MaxUploads>1000</MaxUploads><IsTruncated>true</IsTruncated>
              <Upload><Key>a&amp;b</Key><UploadId>u1</UploadId><Initiator><ID>x</ID></Initiator>
                <StorageClass>STANDARD</StorageClass><Initiated>2026-01-05T02:00:00.000Z</Initiated></Upload>
              <CommonPrefixes><Prefix>p/</Prefix></CommonPrefixes>
              <Upload><Key>c</Key><UploadId>u2</UploadId><Initiated>2026-01-05T03:00:00Z</Initiated></Upload>
            </ListMultipartUploadsResult>"#;
        let answer: UploadsAnswer = quick_xml::de::from_str(xml).unwrap();
        assert_eq!(answer.upload.iter().map(|upload| upload.key.as_str()).collect::<Vec<_>>(), ["a&b", "c"]);
        assert!(answer.is_truncated && answer.next_key_marker == "a&b");
        let none: UploadsAnswer = quick_xml::de::from_str(
            "<ListMultipartUploadsResult><IsTruncated>false</IsTruncated></ListMultipartUploadsResult>",
        )
        .unwrap();
        assert!(none.upload.is_empty());
    }

    #[test]
    fn names_are_encoded_as_signatures_want_them() {
        assert_eq!(encode("/a b/ü+.gz", true), "/a%20b/%C3%BC%2B.gz");
        assert_eq!(encode("a/b=", false), "a%2Fb%3D");
    }
}

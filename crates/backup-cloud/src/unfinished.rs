//! Unfinished uploads in S3's XML, which Google speaks too: requests beside the vendor's client, which has no call for them.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::Deserialize;

use crate::{
    signed::Signed,
    store::{Begun, Marker, Unfinished, UploadPage},
    trouble::Trouble,
};

/// Asks for unfinished uploads.
#[derive(Debug)]
pub(crate) struct XmlUploads(pub(crate) Signed);

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
        let (answer, now): (UploadsAnswer, _) = self.0.ask("", &query).await?;
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
            let (answer, _): (PartsAnswer, _) = self.0.ask(&path, &query).await?;
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
}

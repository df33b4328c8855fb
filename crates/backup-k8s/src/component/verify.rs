//! Reads the artifacts as their formats demand.

use std::collections::BTreeMap;

use backup_core::{
    traits::{ByteStream, Context, Finding, Selection, Source},
    words::{Artifact, Error, ErrorKind, Result},
};
use futures::StreamExt;
use serde::Deserialize;
use serde_json::Value;

use crate::{cluster::ResourceKind, files};

/// What one line may be long.
const MOST: usize = 64 << 20;

/// Objects and documents: are they whole, and as many as were exported?
pub(super) async fn verify(cx: &Context, from: &dyn Source) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for artifact in &from.record().artifacts {
        match artifact.suffix.as_deref() {
            Some("objects") => findings.push(objects(from, artifact).await?),
            Some(suffix @ ("crds" | "config")) => findings.push(documents(from, artifact, suffix).await?),
            Some("state" | "storage") => findings.push(files::verify(cx, from, artifact).await?),
            _ => {}
        }
    }
    Ok(findings)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    api_version: String,
    kind: String,
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
}

async fn objects(from: &dyn Source, artifact: &Artifact) -> Result<Finding> {
    let mut lines = Lines::new(from.read(artifact, Selection::Whole).await?);
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    let mut at = 0;
    while let Some(line) = lines.next().await? {
        let part = artifact.parts.iter().rfind(|part| part.start <= at).map_or("", |part| part.name.as_str());
        let read: Result<Line, _> = serde_json::from_slice(&line);
        match read {
            Ok(read)
                if !read.api_version.is_empty()
                    && !read.kind.is_empty()
                    && !read.metadata.name.is_empty() =>
            {
                *counts.entry(part).or_default() += 1;
            }
            Ok(_) => {
                return Ok(Finding::error(
                    &artifact.name,
                    format!("an object of {part} has no kind or name"),
                ));
            }
            Err(error) => {
                return Ok(Finding::error(
                    &artifact.name,
                    format!("an object of {part} at byte {at} is no JSON: {error}"),
                ));
            }
        }
        at += line.len() as u64 + 1;
    }
    let wrong = wrong_counts(from.record().facts.get("kinds"), &counts);
    let total: u64 = counts.values().sum();
    Ok(if wrong.is_empty() {
        Finding::ok(
            &artifact.name,
            format!("{total} objects of {} kinds, as many as were exported", counts.len()),
        )
    } else {
        Finding::error(&artifact.name, wrong.join("; "))
    })
}

/// Where the counts are not those of the manifest.
fn wrong_counts(kinds: Option<&Value>, counts: &BTreeMap<&str, u64>) -> Vec<String> {
    #[derive(Deserialize)]
    struct Fact {
        #[serde(flatten)]
        kind: ResourceKind,
        objects: u64,
    }
    let facts: Vec<Fact> = kinds.and_then(|kinds| Vec::deserialize(kinds).ok()).unwrap_or_default();
    let mut expected: BTreeMap<String, u64> = counts.keys().map(|name| ((*name).to_owned(), 0)).collect();
    expected.extend(facts.into_iter().map(|fact| (fact.kind.resource(), fact.objects)));
    let wrong = expected.into_iter().filter_map(|(name, expected)| {
        let found = counts.get(name.as_str()).copied().unwrap_or_default();
        (found != expected).then(|| format!("{name}: {found} objects, the manifest has {expected}"))
    });
    wrong.collect()
}

/// Whether an artifact of YAML holds as many documents as the manifest says.
pub(crate) async fn documents(from: &dyn Source, artifact: &Artifact, suffix: &str) -> Result<Finding> {
    let mut lines = Lines::new(from.read(artifact, Selection::Whole).await?);
    let mut count = 0;
    while let Some(line) = lines.next().await? {
        count += u64::from(line == b"---");
    }
    let facts = from.record().facts.get("documents");
    let expected = facts.and_then(|facts| facts.get(suffix)?.as_u64()).unwrap_or_default();
    Ok(if count == expected {
        Finding::ok(&artifact.name, format!("{count} documents"))
    } else {
        Finding::error(&artifact.name, format!("{count} documents, the manifest has {expected}"))
    })
}

/// Lines of a stream, one at a time.
struct Lines {
    stream: ByteStream,
    rest: Vec<u8>,
    /// Where in `rest` the next line begins.
    at: usize,
}

impl Lines {
    fn new(stream: ByteStream) -> Self {
        Self { stream, rest: Vec::new(), at: 0 }
    }

    async fn next(&mut self) -> Result<Option<Vec<u8>>> {
        let mut looked = self.at;
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.rest[looked..]) {
                let line = self.rest[self.at..looked + end].to_vec();
                self.at = looked + end + 1;
                return Ok(Some(line));
            }
            self.rest.drain(..self.at);
            self.at = 0;
            looked = self.rest.len();
            let Some(piece) = self.stream.next().await else {
                let last = std::mem::take(&mut self.rest);
                return Ok((!last.is_empty()).then_some(last));
            };
            self.rest.extend_from_slice(&piece?);
            if self.rest.len() > MOST {
                return Err(Error::new(ErrorKind::Corrupt, "read", "an object")
                    .detail(format!("a line is longer than {MOST} bytes")));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn lines_come_whole_whatever_the_pieces() {
        let text = "a\n\nbcd\nlast";
        for piece in 1..text.len() {
            let pieces: Vec<_> =
                text.as_bytes().chunks(piece).map(|piece| Ok(bytes::Bytes::copy_from_slice(piece))).collect();
            let mut lines = Lines::new(futures::stream::iter(pieces).boxed());
            let mut all = Vec::new();
            while let Some(line) = lines.next().await.unwrap() {
                all.push(String::from_utf8(line).unwrap());
            }
            assert_eq!(all, ["a", "", "bcd", "last"]);
        }
    }

    #[test]
    fn kinds_that_lack_objects_or_have_more_are_named() {
        let kinds = json!([
            {"group": "", "version": "v1", "kind": "Secret", "plural": "secrets", "namespaced": true, "objects": 2},
            {"group": "apps", "version": "v1", "kind": "Deployment", "plural": "deployments", "namespaced": true, "objects": 1},
        ]);
        assert!(
            wrong_counts(Some(&kinds), &BTreeMap::from([("secrets", 2), ("deployments.apps", 1)])).is_empty()
        );
        let wrong = wrong_counts(Some(&kinds), &BTreeMap::from([("secrets", 1), ("pods", 1)]));
        let expected = [
            "deployments.apps: 0 objects, the manifest has 1",
            "pods: 1 objects, the manifest has 0",
            "secrets: 1 objects, the manifest has 2",
        ];
        assert_eq!(wrong, expected);
    }
}

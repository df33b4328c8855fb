//! What a session holds: its kinds, and the objects of each as a stream.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use backup_core::{
    traits::{ByteStream, Selection, Source},
    words::{Artifact, Error, ErrorKind, Result},
};
use bytes::{Buf, Bytes, BytesMut};
use futures::{Stream, StreamExt};
use serde::Deserialize;
use serde_json::Value;

use crate::cluster::ResourceKind;

/// How long a line may be. An API server takes objects of 3 MB.
const LONGEST_LINE: usize = 16 << 20;

/// `NAMESPACE/NAME` or `/NAME`.
pub(super) type Key = Box<str>;
type Names = Arc<HashSet<Key>>;

/// What a session holds of the component.
pub(super) struct Backup<'a> {
    source: &'a dyn Source,
    objects: Artifact,
    /// The kinds, as the manifest lists them.
    pub(super) kinds: Vec<ResourceKind>,
    /// How many objects of each kind the manifest says.
    pub(super) expected: BTreeMap<String, u64>,
    /// The namespaces.
    pub(super) namespaces: Vec<String>,
    /// The names of the kinds that were asked for as owners.
    names: Mutex<HashMap<String, Names>>,
}

#[derive(Deserialize)]
struct Facts {
    namespaces: Vec<String>,
    kinds: Vec<Listed>,
}

#[derive(Deserialize)]
struct Listed {
    #[serde(flatten)]
    kind: ResourceKind,
    objects: u64,
}

impl<'a> Backup<'a> {
    /// Reads the manifest's facts.
    pub(super) fn read(source: &'a dyn Source) -> Result<Self> {
        let record = source.record();
        let facts = Value::Object(record.facts.clone().into_iter().collect());
        let facts: Facts = serde_json::from_value(facts).map_err(|e| {
            Error::new(ErrorKind::Corrupt, "read the facts of", record.name.clone()).because(e)
        })?;
        let objects = source.artifact(Some("objects"))?.clone();
        let expected = facts.kinds.iter().map(|listed| (listed.kind.resource(), listed.objects)).collect();
        let kinds = facts.kinds.into_iter().filter(|listed| listed.objects > 0).map(|l| l.kind).collect();
        Ok(Self { source, objects, kinds, expected, namespaces: facts.namespaces, names: Mutex::default() })
    }

    /// The raw objects of a kind.
    pub(super) async fn objects(
        &self,
        kind: &ResourceKind,
    ) -> Result<impl Stream<Item = Result<Value>> + Send + Unpin + use<>> {
        let resource = kind.resource();
        let bytes = self.source.read(&self.objects, Selection::Part(&resource)).await?;
        Ok(lines(bytes).map(move |line| {
            serde_json::from_slice(&line?)
                .map_err(|e| Error::new(ErrorKind::Corrupt, "read an object of", resource.clone()).because(e))
        }))
    }

    /// Whether it has an object.
    pub(super) async fn has(&self, group: &str, kind: &str, namespace: &str, name: &str) -> Result<bool> {
        // In whatever version it was read.
        let Some(kind) = self.kinds.iter().find(|known| known.group == group && known.kind == kind) else {
            return Ok(false);
        };
        let namespace = if kind.namespaced { namespace } else { "" };
        Ok(self.names(kind).await?.contains(format!("{namespace}/{name}").as_str()))
    }

    async fn names(&self, kind: &ResourceKind) -> Result<Names> {
        let resource = kind.resource();
        let known = self.names.lock().unwrap_or_else(PoisonError::into_inner).get(&resource).cloned();
        if let Some(names) = known {
            return Ok(names);
        }
        let mut objects = self.objects(kind).await?;
        let mut names = HashSet::new();
        while let Some(object) = objects.next().await {
            names.insert(key(&object?));
        }
        let names = Arc::new(names);
        self.names.lock().unwrap_or_else(PoisonError::into_inner).insert(resource, Arc::clone(&names));
        Ok(names)
    }
}

/// `NAMESPACE/NAME`; `/NAME` for objects of the cluster.
pub(super) fn key(object: &Value) -> Key {
    let part = |name: &str| object.pointer(name).and_then(Value::as_str).unwrap_or_default();
    format!("{}/{}", part("/metadata/namespace"), part("/metadata/name")).into()
}

/// The lines of a stream of bytes.
fn lines(bytes: ByteStream) -> impl Stream<Item = Result<Bytes>> + Send + Unpin {
    let state = (bytes, BytesMut::new(), 0);
    Box::pin(futures::stream::try_unfold(state, |(mut bytes, mut kept, mut seen)| async move {
        loop {
            if let Some(at) = kept[seen..].iter().position(|byte| *byte == b'\n') {
                let line = kept.split_to(seen + at).freeze();
                kept.advance(1);
                seen = 0;
                if line.is_empty() {
                    continue;
                }
                return Ok(Some((line, (bytes, kept, seen))));
            }
            seen = kept.len();
            if seen > LONGEST_LINE {
                return Err(Error::new(ErrorKind::Corrupt, "read", "the objects")
                    .detail(format!("a line is longer than {LONGEST_LINE} bytes")));
            }
            match bytes.next().await {
                Some(piece) => kept.extend_from_slice(&piece?),
                None if kept.is_empty() => return Ok(None),
                None => {
                    return Err(Error::new(ErrorKind::Truncated, "read", "the objects")
                        .detail("the last line has no end"));
                }
            }
        }
    }))
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, TryStreamExt};
    use proptest::prelude::*;

    use super::*;

    fn split(pieces: Vec<Vec<u8>>) -> Result<Vec<String>> {
        let bytes = futures::stream::iter(pieces.into_iter().map(|piece| Ok(Bytes::from(piece)))).boxed();
        let lines = lines(bytes).map_ok(|line| String::from_utf8_lossy(&line).into_owned());
        lines.try_collect().now_or_never().expect("all bytes are there")
    }

    #[test]
    fn a_line_without_an_end_is_an_error() {
        assert_eq!(split(vec![b"a\nb".to_vec()]).unwrap_err().kind(), ErrorKind::Truncated);
        assert_eq!(split(vec![]).unwrap(), Vec::<String>::new());
    }

    proptest! {
        #[test]
        fn lines_are_the_same_however_the_bytes_come(
            wanted in prop::collection::vec("[a-zé]{1,9}", 0..8),
            size in 1_usize..7,
        ) {
            let bytes: Vec<u8> = wanted.iter().flat_map(|line| format!("{line}\n").into_bytes()).collect();
            let pieces = bytes.chunks(size).map(<[u8]>::to_vec).collect();
            prop_assert_eq!(split(pieces).unwrap(), wanted);
        }
    }
}

//! From stored objects back to plain, checked bytes.

use std::sync::Arc;

use async_trait::async_trait;
use futures::{StreamExt, stream};

use super::{
    crypt::{self, Keyring},
    decode::decode,
};
use crate::{
    traits::{ByteStream, Selection, Source, Store},
    words::{Artifact, ComponentRecord, Digest, Error, ErrorKind, Hasher, Result, Volume},
};

/// One component of a session, read from a store.
#[derive(Clone, Debug)]
pub struct StoreSource {
    store: Arc<dyn Store>,
    record: Arc<ComponentRecord>,
    keys: Keyring,
}

impl StoreSource {
    /// Reads what `record` names from `store`.
    pub fn new(store: Arc<dyn Store>, record: ComponentRecord) -> Self {
        Self { store, record: Arc::new(record), keys: Keyring::default() }
    }

    /// Opens what is encrypted with these.
    #[must_use]
    pub fn with_keys(mut self, keys: Keyring) -> Self {
        self.keys = keys;
        self
    }
}

#[async_trait]
impl Source for StoreSource {
    fn record(&self) -> &ComponentRecord {
        &self.record
    }

    async fn read(&self, artifact: &Artifact, what: Selection<'_>) -> Result<ByteStream> {
        match what {
            Selection::Whole => Ok(read_artifact(self.store.clone(), artifact, &self.keys)),
            Selection::Part(name) => {
                let index = artifact.parts.iter().position(|part| part.name == name).ok_or_else(|| {
                    let names: Vec<&str> = artifact.parts.iter().map(|part| part.name.as_str()).collect();
                    Error::new(ErrorKind::NotFound, "find the part", format!("{name} of {}", artifact.name))
                        .hint(format!("it has: {}", names.join(", ")))
                })?;
                Ok(read_part(self.store.clone(), artifact, index, &self.keys))
            }
        }
    }
}

/// All plain bytes of `artifact`. Ends with an error when stored or plain bytes are not those of the manifest.
fn read_artifact(store: Arc<dyn Store>, artifact: &Artifact, keys: &Keyring) -> ByteStream {
    let packed = packed(store, artifact, keys);
    decode(packed, artifact.codec, artifact.name.clone(), artifact.plain.clone(), artifact.parts.clone())
}

fn read_part(store: Arc<dyn Store>, artifact: &Artifact, index: usize, keys: &Keyring) -> ByteStream {
    let part = artifact.parts[index].clone();
    if part.plain.size == 0 {
        // An empty part has no member of its own.
        return stream::empty().boxed();
    }
    let next = artifact.parts.get(index + 1).map(|next| next.offset);
    let packed = if artifact.is_encrypted() {
        crypt::decrypted_range(store, artifact, part.offset, next, keys)
    } else {
        range_of_volumes(store, &artifact.volumes, part.offset, next.unwrap_or(artifact.stored_bytes()))
    };
    decode(packed, artifact.codec, format!("{} of {}", part.name, artifact.name), part.plain, Vec::new())
}

/// The compressed bytes of an artifact, decrypted; all its volumes, each checked against its size and hash when it ends.
pub(crate) fn packed(store: Arc<dyn Store>, artifact: &Artifact, keys: &Keyring) -> ByteStream {
    let stored = checked_volumes(store, artifact.volumes.clone());
    if artifact.is_encrypted() { crypt::decrypted(stored, artifact, keys) } else { stored }
}

/// The stored bytes of all volumes, each checked against its size and hash when it ends.
pub(crate) fn checked_volumes(store: Arc<dyn Store>, volumes: Vec<Volume>) -> ByteStream {
    let streams = volumes.into_iter().map(move |volume| checked_volume(store.clone(), volume));
    stream::iter(streams).flatten().boxed()
}

fn checked_volume(store: Arc<dyn Store>, volume: Volume) -> ByteStream {
    struct State {
        bytes: ByteStream,
        hasher: Hasher,
        volume: Volume,
    }
    let opened = async move {
        let (_, bytes) = store.get(&volume.key, None).await?;
        let state = State { bytes, hasher: Hasher::new(), volume };
        let checked = stream::try_unfold(Some(state), |state| async move {
            let Some(mut state) = state else { return Ok(None) };
            match state.bytes.next().await.transpose()? {
                Some(chunk) => {
                    state.hasher.update(&chunk);
                    Ok(Some((chunk, Some(state))))
                }
                None => {
                    same_digest(state.volume.key.as_str(), &state.volume.stored, &state.hasher.finish())?;
                    Ok(None)
                }
            }
        });
        Ok::<_, Error>(checked.boxed())
    };
    stream::once(opened).map(flatten_result).flatten().boxed()
}

fn flatten_result(opened: Result<ByteStream>) -> ByteStream {
    match opened {
        Ok(bytes) => bytes,
        Err(error) => stream::once(async move { Err(error) }).boxed(),
    }
}

/// Stored bytes `from..to` of the joined volumes.
fn range_of_volumes(store: Arc<dyn Store>, volumes: &[Volume], from: u64, to: u64) -> ByteStream {
    let mut wanted = Vec::new();
    let mut begin = 0;
    for volume in volumes {
        let end = begin + volume.stored.size;
        let range = from.max(begin)..to.min(end);
        if range.start < range.end {
            wanted.push((volume.key.clone(), range.start - begin..range.end - begin));
        }
        begin = end;
    }
    stream::iter(wanted)
        .then(move |(key, range)| {
            let store = store.clone();
            async move { store.get(&key, Some(range)).await.map(|(_, bytes)| bytes) }
        })
        .map(flatten_result)
        .flatten()
        .boxed()
}

/// Compares, with the error that says what it means.
pub(crate) fn same_digest(subject: &str, expected: &Digest, found: &Digest) -> Result<()> {
    if expected == found {
        return Ok(());
    }
    let (kind, detail) = if expected.size == found.size {
        (ErrorKind::Corrupt, format!("sha256 is {}, the manifest says {}", found.sha256, expected.sha256))
    } else {
        let kind = if found.size < expected.size { ErrorKind::Truncated } else { ErrorKind::Corrupt };
        (kind, format!("{} bytes, the manifest says {}", found.size, expected.size))
    };
    Err(Error::new(kind, "read", subject)
        .detail(detail)
        .hint("these bytes are damaged: use another session or another copy, and look at the disk"))
}

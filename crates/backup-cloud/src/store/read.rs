//! Reading: whole objects and ranges, taken up again where a connection ended.

use std::{ops::Range, sync::Arc};

use backup_core::{
    traits::{ByteStream, Meta},
    words::{Error, ErrorKind, Key, Result},
};
use bytes::Bytes;
use futures::{StreamExt, stream, stream::BoxStream};
use object_store::{GetOptions, GetRange, GetResult, path::Path};

use super::{Inner, meta};
use crate::{
    retry::Tries,
    trouble::Trouble,
    wire::{Broken, How},
};

type Chunks = BoxStream<'static, object_store::Result<Bytes>>;

/// An object's bytes, or a range of them; `version` is the server's id of one, else the newest is read.
pub(super) async fn get(
    inner: Arc<Inner>,
    key: &Key,
    range: Option<Range<u64>>,
    version: Option<String>,
) -> Result<(Meta, ByteStream)> {
    let path = inner.path(key)?;
    if let Some(range) = range.as_ref().filter(|range| range.start >= range.end) {
        // No request can ask for nothing.
        let found = inner.head(key).await?;
        check(key, range, found.size)?;
        return Ok((found, stream::empty().boxed()));
    }
    let asked = range.clone();
    let found = inner
        .again("get", || async {
            Ok(inner.objects.get_opts(&path, options(asked.clone(), None, version.clone())).await?)
        })
        .await;
    let found = match found {
        Ok(found) => found,
        Err(trouble) => return Err(explain_range(&inner, &trouble, key, range).await),
    };
    if let Some(range) = &range {
        check(key, range, found.meta.size)?;
    }
    let about = meta(key, &found.meta);
    let reading = Reading {
        left: range.unwrap_or(0..found.meta.size),
        tag: found.meta.e_tag.clone(),
        version,
        tries: inner.limits.patience.tries(),
        chunks: Some(found.into_stream()),
        key: key.clone(),
        path,
        inner,
    };
    let bytes = stream::try_unfold(reading, |mut reading| async move {
        Ok(reading.next().await?.map(|chunk| (chunk, reading)))
    });
    Ok((about, bytes.boxed()))
}

fn options(range: Option<Range<u64>>, tag: Option<String>, version: Option<String>) -> GetOptions {
    GetOptions { range: range.map(GetRange::Bounded), if_match: tag, version, ..GetOptions::default() }
}

pub(super) fn check(key: &Key, range: &Range<u64>, size: u64) -> Result<()> {
    if range.start <= range.end && range.end <= size {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Truncated, "read", key.to_string())
        .detail(format!("it has {size} bytes, {}..{} were asked for", range.start, range.end)))
}

/// A server says a range beyond the end in its own way: the object's size says it in ours.
async fn explain_range(inner: &Inner, trouble: &Trouble, key: &Key, range: Option<Range<u64>>) -> Error {
    if let (Some(range), false, false) = (&range, trouble.is_missing(), trouble.is_momentary())
        && let Ok(found) = inner.head(key).await
        && let Err(beyond) = check(key, range, found.size)
    {
        return beyond;
    }
    inner.explain(trouble, "read", key)
}

/// A stream that is being read.
struct Reading {
    inner: Arc<Inner>,
    key: Key,
    path: Path,
    left: Range<u64>,
    /// The object must not become another one between two connections.
    tag: Option<String>,
    version: Option<String>,
    tries: Tries,
    chunks: Option<Chunks>,
}

impl Reading {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        while self.left.start < self.left.end {
            let Some(chunks) = &mut self.chunks else {
                self.reconnect().await?;
                continue;
            };
            match chunks.next().await {
                Some(Ok(chunk)) if chunk.is_empty() => {}
                Some(Ok(chunk)) => return self.took(chunk).map(Some),
                Some(Err(error)) => self.pause(error.into()).await?,
                None => self.pause(Trouble::Broken(cut())).await?,
            }
        }
        Ok(None)
    }

    fn took(&mut self, chunk: Bytes) -> Result<Bytes> {
        let left = self.left.end - self.left.start;
        if chunk.len() as u64 > left {
            return Err(Error::new(ErrorKind::Corrupt, "read", self.key.to_string())
                .detail("the server sends more bytes than the object has"));
        }
        self.left.start += chunk.len() as u64;
        self.tries.went_well();
        Ok(chunk)
    }

    async fn reconnect(&mut self) -> Result<()> {
        let options = options(Some(self.left.clone()), self.tag.clone(), self.version.clone());
        match self.inner.objects.get_opts(&self.path, options).await {
            Ok(found) => {
                let found: GetResult = found;
                self.chunks = Some(found.into_stream());
                Ok(())
            }
            Err(error) => self.pause(error.into()).await,
        }
    }

    /// Drops the connection and waits before the next one.
    async fn pause(&mut self, trouble: Trouble) -> Result<()> {
        self.chunks = None;
        let waited =
            if trouble.is_momentary() { self.tries.wait("read", trouble, true).await } else { Err(trouble) };
        waited.map_err(|trouble| self.inner.explain(&trouble, "read", &self.key))
    }
}

fn cut() -> Broken {
    Broken { how: How::Cut, detail: "the connection ended before the object's end".to_owned() }
}

//! Uploads of unknown length: in parts, a few of them under way at once.

use std::sync::Arc;

use async_trait::async_trait;
use backup_core::{
    traits::{Created, Meta, Upload},
    words::{Error, ErrorKind, Key, Result},
};
use bytes::{Bytes, BytesMut};
use object_store::{PutMode, PutPayload, multipart::PartId, path::Path};
use tokio::task::JoinSet;

use super::{Inner, create::unknown, written};
use crate::trouble::Trouble;

/// An upload in the making. What fits into one part is written whole at the end.
pub(super) struct CloudUpload {
    inner: Arc<Inner>,
    key: Key,
    path: Path,
    buffer: BytesMut,
    size: u64,
    parts: Vec<Option<PartId>>,
    flying: JoinSet<(usize, Result<PartId, Trouble>)>,
    /// The server's name for it, once there is more than one part; taken when nothing is left to drop.
    id: Option<Arc<str>>,
}

impl CloudUpload {
    pub(super) fn new(inner: Arc<Inner>, key: &Key) -> Result<Self> {
        Ok(Self {
            path: inner.path(key)?,
            inner,
            key: key.clone(),
            buffer: BytesMut::new(),
            size: 0,
            parts: Vec::new(),
            flying: JoinSet::new(),
            id: None,
        })
    }

    fn explain(&self, trouble: &Trouble) -> Error {
        if trouble.is_missing() {
            return Error::new(ErrorKind::Conflict, "upload", self.key.to_string())
                .detail("the server does not know the upload any more: somebody dropped it");
        }
        self.inner.explain(trouble, "upload", &self.key)
    }

    /// Sends what is in the buffer; waits only for a place among the parts under way.
    async fn send(&mut self) -> Result<()> {
        let number = self.parts.len();
        if number == self.inner.limits.parts {
            return Err(Error::new(ErrorKind::NoSpace, "upload", self.key.to_string())
                .detail(format!("it has more than {number} parts")));
        }
        let id = match &self.id {
            Some(id) => id.clone(),
            None => self.start().await?,
        };
        let flight = self.inner.flights.clone().acquire_owned().await;
        let body = self.buffer.split().freeze();
        self.parts.push(None);
        let (inner, path) = (self.inner.clone(), self.path.clone());
        self.flying.spawn(async move {
            let _flight = flight;
            let (id, payload) = (id.to_string(), PutPayload::from(body));
            let put = || async { Ok(inner.objects.put_part(&path, &id, number, payload.clone()).await?) };
            (number, inner.again("upload part", put).await)
        });
        Ok(())
    }

    async fn start(&mut self) -> Result<Arc<str>> {
        let begin = || async { Ok(self.inner.objects.create_multipart(&self.path).await?) };
        let id: Arc<str> =
            self.inner.again("begin upload", begin).await.map_err(|trouble| self.explain(&trouble))?.into();
        self.inner.living().insert(id.clone());
        self.id = Some(id.clone());
        Ok(id)
    }

    /// From now on nothing of it is left to drop.
    fn let_go(&mut self) -> Option<Arc<str>> {
        let id = self.id.take()?;
        self.inner.living().remove(&id);
        Some(id)
    }

    /// Takes in parts that have arrived; `all` waits for those under way.
    async fn land(&mut self, all: bool) -> Result<()> {
        loop {
            let landed = match all {
                true => self.flying.join_next().await,
                false => self.flying.try_join_next(),
            };
            match landed {
                None => return Ok(()),
                Some(Ok((number, Ok(part)))) => self.parts[number] = Some(part),
                Some(Ok((_, Err(trouble)))) => return Err(self.explain(&trouble)),
                Some(Err(panic)) => {
                    return Err(
                        Error::new(ErrorKind::Internal, "upload", self.key.to_string()).because(panic)
                    );
                }
            }
        }
    }

    /// Writes all that there is in one go.
    async fn finish_small(&mut self) -> Result<Meta> {
        let body = self.buffer.split().freeze();
        if self.inner.conditional().await? {
            return match self.inner.create(&self.key, &body).await? {
                Created::Made(meta) => Ok(meta),
                Created::Exists => Err(self.exists()),
            };
        }
        self.look().await?;
        let put = || self.inner.put_once(&self.path, body.clone(), PutMode::Overwrite);
        let result = self.inner.again("put", put).await.map_err(|trouble| self.explain(&trouble))?;
        Ok(written(&self.key, body.len(), &result))
    }

    /// Joins the parts.
    async fn finish_parts(&mut self, id: &str) -> Result<Meta> {
        if !self.buffer.is_empty() {
            self.send().await?;
        }
        self.land(true).await?;
        let parts: Option<Vec<PartId>> = std::mem::take(&mut self.parts).into_iter().collect();
        let parts = parts.ok_or_else(|| {
            Error::new(ErrorKind::Internal, "finish", self.key.to_string()).detail("a part is missing")
        })?;
        // Parts cannot be joined under a condition everywhere; nobody else writes under a key of a claimed session.
        self.look().await?;
        let mut tries = self.inner.limits.patience.tries();
        let mut doubt = false;
        loop {
            let id = id.to_owned();
            let trouble = match self.inner.objects.complete_multipart(&self.path, &id, parts.clone()).await {
                Ok(_) => break,
                Err(error) => Trouble::from(error),
            };
            doubt |= trouble.is_doubtful();
            // Its answer may have been lost: then the upload is gone, and the object there.
            if doubt && self.is_whole().await? {
                break;
            }
            let ended = if trouble.is_momentary() {
                tries.wait("finish upload", trouble, true).await
            } else {
                Err(trouble)
            };
            if let Err(trouble) = ended {
                let error = self.explain(&trouble);
                return Err(if doubt && trouble.is_momentary() {
                    unknown("finish", &self.key, error)
                } else {
                    error
                });
            }
        }
        self.let_go();
        let found = self.inner.head(&self.key).await.map_err(|e| unknown("finish", &self.key, e))?;
        if found.size == self.size {
            return Ok(found);
        }
        Err(Error::new(ErrorKind::Corrupt, "finish", self.key.to_string())
            .detail(format!("the store has {} bytes, {} were written", found.size, self.size)))
    }

    async fn is_whole(&self) -> Result<bool> {
        match self.inner.head(&self.key).await {
            Ok(found) => Ok(found.size == self.size),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(unknown("finish", &self.key, error)),
        }
    }

    /// Fails when an object is there.
    async fn look(&self) -> Result<()> {
        match self.inner.head(&self.key).await {
            Ok(_) => Err(self.exists()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn exists(&self) -> Error {
        Error::new(ErrorKind::AlreadyExists, "store", self.key.to_string())
            .detail("an object is there; objects are never rewritten")
    }

    /// Stops what is under way and drops what arrived.
    async fn discard(&mut self) -> Result<()> {
        self.flying.shutdown().await;
        let Some(id) = self.let_go() else { return Ok(()) };
        discard(&self.inner, &self.path, &id).await.map_err(|trouble| self.explain(&trouble))
    }
}

async fn discard(inner: &Inner, path: &Path, id: &str) -> Result<(), Trouble> {
    let id = id.to_owned();
    let abort = || async { Ok(inner.objects.abort_multipart(path, &id).await?) };
    match inner.again("abort upload", abort).await {
        Err(trouble) if !trouble.is_missing() => Err(trouble),
        _ => Ok(()),
    }
}

#[async_trait]
impl Upload for CloudUpload {
    async fn write(&mut self, mut chunk: Bytes) -> Result<()> {
        self.land(false).await?;
        let part = self.inner.limits.part_bytes;
        while !chunk.is_empty() {
            // A full part goes when more comes: the last one, and an only one, wait for the end.
            if self.buffer.len() == part {
                self.send().await?;
            }
            let now = chunk.split_to(chunk.len().min(part - self.buffer.len()));
            self.size += now.len() as u64;
            if self.buffer.capacity() < self.buffer.len() + now.len() {
                self.buffer.reserve(part - self.buffer.len());
            }
            self.buffer.extend_from_slice(&now);
        }
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<Meta> {
        let finished = match self.id.clone() {
            None => self.finish_small().await,
            Some(id) => self.finish_parts(&id).await,
        };
        if finished.is_err()
            && let Err(left) = self.discard().await
        {
            tracing::warn!(key = %self.key, error = %left.chain(), "could not drop the upload; a later clean-up will");
        }
        finished
    }

    async fn abort(mut self: Box<Self>) -> Result<()> {
        self.discard().await
    }
}

impl Drop for CloudUpload {
    fn drop(&mut self) {
        let Some(id) = self.let_go() else { return };
        self.flying.abort_all();
        let (inner, path) = (self.inner.clone(), self.path.clone());
        let mut flying = std::mem::take(&mut self.flying);
        // As far as it goes: a later clean-up finds what stays.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                flying.shutdown().await;
                if let Err(trouble) = discard(&inner, &path, &id).await {
                    tracing::debug!(?trouble, "could not drop the upload; a later clean-up will");
                }
            });
        }
    }
}

//! Uploads and reads, each chunk of which is an operation.

use std::sync::Arc;

use async_trait::async_trait;
use backup_core::{
    traits::{ByteStream, Meta, Upload},
    words::{Error, ErrorKind, Key, Result},
};
use bytes::Bytes;
use futures::{StreamExt, stream};

use super::{Call, Fault, control::Control};

pub(super) struct FaultyUpload {
    inner: Box<dyn Upload>,
    key: Key,
    control: Arc<Control>,
}

impl FaultyUpload {
    pub(super) fn new(inner: Box<dyn Upload>, key: &Key, control: &Arc<Control>) -> Self {
        Self { inner, key: key.clone(), control: control.clone() }
    }
}

#[async_trait]
impl Upload for FaultyUpload {
    async fn write(&mut self, mut chunk: Bytes) -> Result<()> {
        if self.control.is_dead() {
            return self.control.dead().await;
        }
        let turn = self.control.turn(Call::Write, self.key.as_str());
        if turn.fault() == Some(Fault::Midway) {
            self.inner.write(chunk.split_to(chunk.len() / 2)).await?;
            self.control.tell(&turn, "breaks off");
            return Err(turn.error(ErrorKind::Unreachable, "breaks off"));
        }
        self.control.run(&turn, self.inner.write(chunk)).await
    }

    async fn finish(self: Box<Self>) -> Result<Meta> {
        if self.control.is_dead() {
            return self.control.dead().await;
        }
        let turn = self.control.turn(Call::Finish, self.key.as_str());
        self.control.run(&turn, self.inner.finish()).await
    }

    async fn abort(self: Box<Self>) -> Result<()> {
        if self.control.is_dead() {
            return self.control.dead().await;
        }
        let turn = self.control.turn(Call::Abort, self.key.as_str());
        self.control.run(&turn, self.inner.abort()).await
    }
}

/// A read whose chunks are operations. With `cut` it ends after so many bytes, with an error or as if that were all.
pub(super) fn faulty_read(
    stream: ByteStream,
    key: &Key,
    control: &Arc<Control>,
    cut: Option<(u64, Option<Error>)>,
) -> ByteStream {
    let reading = Reading { stream, key: key.clone(), control: control.clone(), cut };
    stream::unfold(Some(reading), |reading| async { reading?.next().await }).boxed()
}

struct Reading {
    stream: ByteStream,
    key: Key,
    control: Arc<Control>,
    cut: Option<(u64, Option<Error>)>,
}

impl Reading {
    /// The next chunk and what comes after it; nothing comes after an error.
    async fn next(mut self) -> Option<(Result<Bytes>, Option<Self>)> {
        if self.control.is_dead() {
            return Some((self.control.dead().await, None));
        }
        if let Some((0, error)) = &mut self.cut {
            return error.take().map(|error| (Err(error), None));
        }
        let mut chunk = match self.stream.next().await? {
            Ok(chunk) => chunk,
            Err(error) => return Some((Err(error), None)),
        };
        if let Some((left, _)) = &mut self.cut {
            chunk.truncate(usize::try_from(*left).unwrap_or(usize::MAX).min(chunk.len()));
            *left -= chunk.len() as u64;
        }
        let turn = self.control.turn(Call::Read, self.key.as_str());
        match self.control.run(&turn, async { Ok(chunk) }).await {
            Ok(chunk) => Some((Ok(chunk), Some(self))),
            Err(error) => Some((Err(error), None)),
        }
    }
}

//! Creating only where nothing is.

use async_trait::async_trait;
use backup_core::{
    traits::{CreateIfAbsent, Created},
    words::{Error, ErrorKind, Key, Result},
};
use bytes::Bytes;
use futures::StreamExt;
use object_store::{PutMode, path::Path};

use super::{CloudStore, Inner, written};
use crate::trouble::Trouble;

/// An object of ours that is created again and again, to see whether the server refuses. It stays: so a server that does
/// honour conditions writes nothing, and a bucket with versions gathers none.
const PROBE: &str = ".conditional-create";

impl Inner {
    /// Whether the server creates conditionally: some answer that all is well, and replace.
    pub(super) async fn conditional(&self) -> Result<bool> {
        self.conditional.get_or_try_init(|| self.probe()).await.copied()
    }

    async fn probe(&self) -> Result<bool> {
        let key = Key::new(PROBE)?;
        let path = self.path(&key)?;
        let body = Bytes::from_static(b"ha-backup tries here whether this store refuses to create twice\n");
        // The first may make it. When the second makes it too, nothing holds.
        for _ in 0..2 {
            let create = || self.put_once(&path, body.clone(), PutMode::Create);
            match self.again("try conditional create", create).await {
                Ok(_) => {}
                Err(trouble) if trouble.is_unmet_condition() => return Ok(true),
                Err(trouble) if trouble.is_not_implemented() => return Ok(false),
                Err(trouble) => return Err(self.explain(&trouble, "create", &key)),
            }
        }
        tracing::debug!(
            store = self.shown,
            "the server replaces what it was told to create only where nothing is"
        );
        Ok(false)
    }

    /// One create, however often it takes: after a lost answer, what is found there may be our own.
    pub(super) async fn create(&self, key: &Key, body: &Bytes) -> Result<Created> {
        let path = self.path(key)?;
        let mut tries = self.limits.patience.tries();
        let mut doubt = false;
        loop {
            let trouble = match self.put_once(&path, body.clone(), PutMode::Create).await {
                Ok(result) => return Ok(Created::Made(written(key, body.len(), &result))),
                Err(trouble) => trouble,
            };
            if trouble.is_unmet_condition() {
                return if doubt { self.settle(key, &path, body).await } else { Ok(Created::Exists) };
            }
            doubt |= trouble.is_doubtful();
            let ended = if trouble.is_momentary() {
                tries.wait("create", trouble, self.wire.has_answered()).await
            } else {
                Err(trouble)
            };
            if let Err(trouble) = ended {
                let error = self.explain(&trouble, "create", key);
                return Err(if doubt { unknown("create", key, error) } else { error });
            }
        }
    }

    /// What is there is ours when it has our bytes.
    async fn settle(&self, key: &Key, path: &Path, body: &Bytes) -> Result<Created> {
        match self.again("read back", || self.holds(path, body)).await {
            Ok(true) => self.head(key).await.map(Created::Made),
            Ok(false) => Ok(Created::Exists),
            Err(trouble) => Err(unknown("create", key, self.explain(&trouble, "read back", key))),
        }
    }

    /// Whether the object has exactly these bytes.
    async fn holds(&self, path: &Path, body: &Bytes) -> Result<bool, Trouble> {
        use object_store::ObjectStoreExt;
        let found = self.objects.get(path).await?;
        if found.meta.size != body.len() as u64 {
            return Ok(false);
        }
        let (mut stream, mut at) = (found.into_stream(), 0);
        while let Some(chunk) = stream.next().await {
            let chunk = chunk?;
            if body.get(at..at + chunk.len()) != Some(&chunk[..]) {
                return Ok(false);
            }
            at += chunk.len();
        }
        Ok(at == body.len())
    }
}

/// It may have happened.
pub(super) fn unknown(operation: &str, key: &Key, cause: Error) -> Error {
    Error::new(ErrorKind::Unknown, operation, key.to_string())
        .detail("the answer was lost; it may have happened all the same")
        .because(cause)
}

#[async_trait]
impl CreateIfAbsent for CloudStore {
    async fn create(&self, key: &Key, body: Bytes) -> Result<Created> {
        self.0.create(key, &body).await
    }
}

//! Creating what must not be there yet, in a store without a conditional create: look, write, wait, read back.
//!
//! Whoever writes last stands. A writer that looked before another had written may write after it, but only within half the
//! time that the other waits: slower ones give up. So when the wait is over nobody can write any more who did not see what
//! stands there, and what is read back is for ever.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::time::Instant;

use super::objects::read_small;
use crate::{
    traits::{Created, Store},
    words::{Error, ErrorKind, Key, Result},
};

/// How long a writer waits before it reads back.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Creates the object under `key`, which others may be creating now.
pub(super) async fn create_patiently(store: &Arc<dyn Store>, key: &Key, body: Bytes) -> Result<Created> {
    let looked = Instant::now();
    match store.head(key).await {
        Ok(_) => return Ok(Created::Exists),
        Err(missing) if missing.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    store.put(key, body.clone()).await?;
    if looked.elapsed() > PATIENCE / 2 {
        return Err(Error::new(ErrorKind::Conflict, "create", key.to_string())
            .detail(format!(
                "writing took {} s; another run may have made the same object meanwhile",
                looked.elapsed().as_secs()
            ))
            .hint("the store cannot create conditionally, so it must be quick: run it again"));
    }
    tokio::time::sleep(PATIENCE).await;
    let found = read_small(store, key).await?;
    if found == body { store.head(key).await.map(Created::Made) } else { Ok(Created::Exists) }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use async_trait::async_trait;
    use futures::{future::join_all, stream::BoxStream};

    use super::*;
    use crate::{
        stores::MemoryStore,
        traits::{ByteStream, Depth, Meta, StoreLimits, Upload},
    };

    /// A store without a conditional create, whose writes take the time that their body says in milliseconds.
    #[derive(Clone, Debug, Default)]
    struct Plain(MemoryStore);

    #[async_trait]
    impl Store for Plain {
        fn limits(&self) -> StoreLimits {
            self.0.limits()
        }
        async fn begin(&self, key: &Key) -> Result<Box<dyn Upload>> {
            self.0.begin(key).await
        }
        async fn put(&self, key: &Key, body: Bytes) -> Result<Meta> {
            let took = std::str::from_utf8(&body).ok().and_then(|text| text.parse().ok()).unwrap_or(0);
            tokio::time::sleep(Duration::from_millis(took)).await;
            self.0.put(key, body).await
        }
        async fn head(&self, key: &Key) -> Result<Meta> {
            self.0.head(key).await
        }
        async fn get(&self, key: &Key, range: Option<Range<u64>>) -> Result<(Meta, ByteStream)> {
            self.0.get(key, range).await
        }
        fn list<'a>(&'a self, prefix: &'a Key, depth: Depth) -> BoxStream<'a, Result<Meta>> {
            self.0.list(prefix, depth)
        }
        async fn delete(&self, key: &Key) -> Result<()> {
            self.0.delete(key).await
        }
        async fn clear_uploads(&self, older_than: Duration) -> Result<u64> {
            self.0.clear_uploads(older_than).await
        }
    }

    fn key() -> Key {
        Key::new("sessions/x/begin.json").unwrap()
    }

    /// Creates after `delay`, by a write that takes `took` milliseconds.
    async fn writer(store: &Arc<dyn Store>, delay: u64, took: u64) -> Result<bool> {
        tokio::time::sleep(Duration::from_millis(delay)).await;
        let created = super::super::objects::create(store, &key(), Bytes::from(took.to_string())).await?;
        Ok(matches!(created, Created::Made(_)))
    }

    #[tokio::test(start_paused = true)]
    async fn of_writers_at_once_at_most_one_made_it_however_their_writes_overlap() {
        // Distinct durations, so that the bodies differ; delays and durations cross in every way.
        for first in (1..12_000).step_by(700) {
            for delay in (0..16_000).step_by(1300) {
                let store: Arc<dyn Store> = Arc::new(Plain::default());
                let writers = [(0, first), (delay, 3), (delay / 2, 4_999), (delay * 2, 5_002)];
                let ended = join_all(writers.map(|(delay, took)| writer(&store, delay, took))).await;
                let made = ended.iter().filter(|outcome| matches!(outcome, Ok(true))).count();
                assert!(made <= 1, "first {first}, delay {delay}: {ended:?}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn alone_it_is_made_and_the_second_finds_it_there() {
        let store: Arc<dyn Store> = Arc::new(Plain::default());
        assert!(writer(&store, 0, 5).await.unwrap());
        assert!(!writer(&store, 0, 6).await.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_that_took_too_long_is_not_trusted() {
        let store: Arc<dyn Store> = Arc::new(Plain::default());
        assert_eq!(writer(&store, 0, 5_001).await.unwrap_err().kind(), ErrorKind::Conflict);
    }

    #[tokio::test(start_paused = true)]
    async fn a_whole_repository_works_without_a_conditional_create() {
        use crate::{repository::Repository, traits::SystemClock};
        let store: Arc<dyn Store> = Arc::new(Plain::default());
        let now = "2026-01-05T02:00:00Z".parse().unwrap();
        let (repository, made) = Repository::init(store.clone(), "crm", now).await.unwrap();
        assert!(made);
        let claims = join_all((0..3).map(|_| repository.claim("full", Arc::new(SystemClock)))).await;
        let mut sessions: Vec<_> = claims.into_iter().map(|claim| claim.unwrap().begin.session).collect();
        sessions.sort_unstable();
        sessions.dedup();
        assert_eq!(sessions.len(), 3, "three claims at once are three sessions");
        let session = sessions[0];
        repository.abandon(session, now).await.unwrap();
        let entry = repository.session(session, now).await.unwrap();
        assert_eq!(entry.state, crate::repository::SessionState::Purged);
    }
}

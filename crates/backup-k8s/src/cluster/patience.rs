//! How long a question is asked again.

use std::time::Duration;

use backup_core::words::{Error, ErrorKind, Result};
use tokio::time::Instant;

use super::{Cluster, refusal};

/// How long an API server that does not answer, or asks to slow down, is waited for.
const TO_COME_BACK: Duration = Duration::from_secs(120);
/// How long a server that answers with its own failure is asked again: a group's own server may be down for good.
const TO_RECOVER: Duration = Duration::from_secs(10);
/// The longest time between two tries.
const LONGEST: Duration = Duration::from_secs(5);

/// Counts what went wrong since something last went right.
#[derive(Debug)]
pub(crate) struct Patience {
    progress: Instant,
    tries: u32,
    /// The connection was lost: the server may be starting, and knows no rights yet.
    lost: bool,
}

impl Patience {
    pub(crate) fn new() -> Self {
        Self { progress: Instant::now(), tries: 0, lost: false }
    }

    /// Something went right.
    pub(crate) fn progress(&mut self) {
        self.progress = Instant::now();
        self.tries = 0;
    }

    /// Waits before another try; hands the error back when it is no use.
    pub(crate) async fn wait(&mut self, cluster: &Cluster, error: Error) -> Result<()> {
        let answered = refusal(&error);
        self.lost |= answered.is_none();
        let limit = match answered.map(|refusal| refusal.code) {
            None if matches!(
                error.kind(),
                ErrorKind::Unreachable | ErrorKind::TimedOut | ErrorKind::Truncated
            ) =>
            {
                TO_COME_BACK
            }
            Some(429) => TO_COME_BACK,
            Some(500..=599) => TO_RECOVER,
            Some(401 | 403) if self.lost => TO_RECOVER,
            _ => return Err(error),
        };
        let pause = self.pause(answered.and_then(|refusal| refusal.retry_after));
        if self.progress.elapsed() + pause > limit {
            return Err(error);
        }
        tracing::info!(error = %error.chain(), "the API server is asked again");
        tokio::time::sleep(pause).await;
        if answered.is_none() {
            self.until_ready(cluster).await;
        }
        Ok(())
    }

    fn pause(&mut self, asked: Option<Duration>) -> Duration {
        let own = Duration::from_millis(100 << self.tries.min(6));
        self.tries += 1;
        asked.unwrap_or(own).min(LONGEST)
    }

    /// An API server that has just started refuses what it will soon allow: it says itself when it is ready.
    async fn until_ready(&self, cluster: &Cluster) {
        let mut pause = Duration::from_millis(100);
        while self.progress.elapsed() < TO_COME_BACK && !cluster.is_ready().await {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(1));
        }
    }
}

/// True when the API server was not to be reached, or was silent: it has not refused anything.
pub(crate) fn is_lost(error: &Error) -> bool {
    refusal(error).is_none()
        && matches!(error.kind(), ErrorKind::Unreachable | ErrorKind::TimedOut | ErrorKind::Truncated)
}

impl Cluster {
    /// Asks again, for a while, when the API server does not answer or answers with its own failure.
    pub(crate) async fn patiently<T, F: Future<Output = Result<T>>>(&self, ask: impl Fn() -> F) -> Result<T> {
        let mut patience = Patience::new();
        loop {
            match ask().await {
                Err(error) => patience.wait(self, error).await?,
                answer => return answer,
            }
        }
    }
}

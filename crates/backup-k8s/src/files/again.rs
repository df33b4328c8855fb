//! What may be tried again, how often, and after what.

use std::time::Duration;

use backup_core::{
    traits::Context,
    words::{Error, ErrorKind, Result, Retry},
};
use serde_json::Value;
use tokio::time::Instant;

use crate::cluster::{Cluster, refusal};

/// How often a set of files is tried, each time from its start.
const TRIES: u32 = 4;
/// How long an API server that does not answer is waited for between two tries.
const SERVER: Duration = Duration::from_secs(120);

/// Tries of one thing.
#[derive(Debug)]
pub(super) struct Tries<'a> {
    cx: &'a Context,
    cluster: &'a Cluster,
    what: String,
    failed: u32,
}

impl<'a> Tries<'a> {
    /// The first try is to come.
    pub(super) fn new(cx: &'a Context, cluster: &'a Cluster, what: impl Into<String>) -> Self {
        Self { cx, cluster, what: what.into(), failed: 0 }
    }

    /// True before the first try has failed.
    pub(super) fn is_first(&self) -> bool {
        self.failed == 0
    }

    /// After a failure: waits for a while, and until the API server answers; then another try may be made. When that can't
    /// help, or there were enough, the error is returned.
    pub(super) async fn after(&mut self, error: Error) -> Result<()> {
        self.failed += 1;
        if self.failed >= TRIES || !may_help(&error) {
            return Err(error);
        }
        tracing::warn!(what = self.what, failed = self.failed, error = error.chain(), "is tried again");
        let pause = Duration::from_secs(1 << (self.failed - 1).min(4));
        let wait = async {
            tokio::time::sleep(pause).await;
            wait_for_server(self.cluster).await;
            Ok(())
        };
        self.cx.or_cancelled("wait before another try", wait).await
    }
}

fn may_help(error: &Error) -> bool {
    let may_pass = [ErrorKind::Truncated, ErrorKind::Corrupt, ErrorKind::Failed, ErrorKind::Unknown];
    may_pass.contains(&error.kind()) || error.retry_class() != Retry::Never
}

/// Until the API server answers anything, or has not for too long.
async fn wait_for_server(cluster: &Cluster) {
    let until = Instant::now() + SERVER;
    while Instant::now() < until {
        match cluster.get::<Value>("/version").await {
            Ok(_) => return,
            Err(e) if refusal(&e).is_some_and(|refusal| refusal.code < 500) => return,
            Err(_) => tokio::time::sleep(Duration::from_millis(500)).await,
        }
    }
}

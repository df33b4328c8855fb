//! The program that our helper containers run: it does nothing, and ends when nobody needs it any more, even if we die.

use std::time::Duration;

use backup_core::{
    repository::ProcessIdentity,
    words::{Error, ErrorKind, Result},
};
use tokio::task::JoinHandle;

use super::{
    site::{SHORT, shell},
    take::mark,
};
use crate::cluster::Exec;

/// A helper ends when it has heard nothing for ten minutes.
pub(super) const PROGRAM: &str = "mkdir -p /tmp; : >/tmp/ha-backup-alive
while sleep 2; do
[ ! -e /tmp/ha-backup-done ] && [ -n \"$(find /tmp/ha-backup-alive -mmin -10)\" ] || exit 0
done";
/// How often it hears of us.
const OFTEN: Duration = Duration::from_secs(120);

/// Tells a helper that it is needed, until it is dropped.
#[derive(Debug)]
pub(super) struct Keeper {
    exec: Exec,
    task: JoinHandle<()>,
}

impl Keeper {
    pub(super) fn new(exec: Exec) -> Self {
        let helper = exec.clone();
        let task = tokio::spawn(async move {
            loop {
                tokio::time::sleep(OFTEN).await;
                let told = helper.output(&shell(": >/tmp/ha-backup-alive".to_owned()), 1, SHORT).await;
                if let Err(e) = told {
                    tracing::debug!(helper = helper.subject(), error = e.chain(), "did not reach the helper");
                }
            }
        });
        Self { exec, task }
    }

    /// Lets the helper end by itself; that it did is not waited for.
    pub(super) async fn let_go(self) {
        let told = self.exec.output(&shell(": >/tmp/ha-backup-done".to_owned()), 1, SHORT).await;
        if let Err(e) = told {
            tracing::debug!(helper = self.exec.subject(), error = e.chain(), "it ends in ten minutes");
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A name that no other helper has.
pub(super) fn name(prefix: &str) -> Result<String> {
    Ok(format!("{prefix}{}", &mark()?[..10]))
}

/// Who we are, as it stands on what we leave in a cluster.
pub(super) fn owner() -> Result<String> {
    serde_json::to_string(&ProcessIdentity::current())
        .map_err(|e| Error::new(ErrorKind::Internal, "write", "who we are").because(e))
}

/// True when who made something has surely ended.
pub(super) fn is_orphan(owner: &str) -> bool {
    serde_json::from_str::<ProcessIdentity>(owner).is_ok_and(|owner| owner.is_gone())
}

/// Reasons for which a container that does not run yet never will.
pub(super) const HOPELESS: [&str; 5] = [
    "ImagePullBackOff",
    "ErrImageNeverPull",
    "InvalidImageName",
    "CreateContainerConfigError",
    "CreateContainerError",
];

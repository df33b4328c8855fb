//! Trying again, with a bound: a restarting API server is waited for, one that stays away is an error.

use std::time::{Duration, Instant};

use backup_core::{
    traits::Context,
    words::{Error, Result, Retry},
};

use crate::cluster::refusal;

/// For how long the API server may be away.
const AWAY: Duration = Duration::from_secs(180);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How long a request is tried.
#[derive(Clone, Copy)]
pub(super) struct Patience<'a> {
    cx: &'a Context,
    away: Duration,
}

impl<'a> Patience<'a> {
    /// As long as a restarting API server may take.
    pub(super) fn new(cx: &'a Context) -> Self {
        Self { cx, away: AWAY }
    }

    /// Does `work` until it is answered, be it by a refusal.
    pub(super) async fn keep<T, F>(self, operation: &str, mut work: impl FnMut() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let begun = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            let error = match self.cx.or_cancelled(operation, work()).await {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            let Some(wanted) = may_pass(&error) else { return Err(error) };
            if begun.elapsed() > self.away {
                return Err(Error::new(error.kind(), operation, "an object")
                    .detail(format!("tried for {} s", self.away.as_secs()))
                    .because(error));
            }
            tracing::debug!(error = %error.chain(), "asking the API server again");
            pause_for(self.cx, operation, wanted.unwrap_or(pause)).await?;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

/// Waits, not quite as long as the others who wait.
async fn pause_for(cx: &Context, operation: &str, pause: Duration) -> Result<()> {
    let jitter = cx.now().timestamp_subsec_nanos() % 256;
    let pause = pause.mul_f64(0.75 + f64::from(jitter) / 512.0);
    let sleep = async {
        tokio::time::sleep(pause).await;
        Ok(())
    };
    cx.or_cancelled(operation, sleep).await
}

/// Whether the same request may succeed later; after how long, when the API server says.
fn may_pass(error: &Error) -> Option<Option<Duration>> {
    let wanted = match error.retry_class() {
        Retry::After(time) => Some(time.min(Duration::from_secs(30))),
        _ => None,
    };
    let passing = match error.kind() {
        _ if matches!(error.retry_class(), Retry::Now | Retry::After(_)) => true,
        _ => refusal(error).is_some_and(|refusal| {
            let said = |text: &str| refusal.message.contains(text);
            match refusal.code {
                // A webhook or a converter that is not up yet, etcd that has just changed its leader.
                500 => [
                    "failed calling webhook",
                    "conversion webhook",
                    "etcdserver:",
                    "context deadline exceeded",
                ]
                .into_iter()
                .any(said),
                // Somebody else wrote at the same time; a server that has just started.
                409 => said("the object has been modified"),
                403 => said("not yet ready to handle request"),
                _ => false,
            }
        }),
    };
    passing.then_some(wanted)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use backup_core::words::ErrorKind;

    use super::*;

    #[tokio::test]
    async fn what_passes_is_tried_again_and_what_stays_is_not() {
        let cx = Context::new();
        let tries = Cell::new(0);
        let patience = Patience::new(&cx);
        let flaky = || async {
            tries.set(tries.get() + 1);
            if tries.get() < 3 {
                Err(Error::new(ErrorKind::Unreachable, "ask", "it"))
            } else {
                Ok(tries.get())
            }
        };
        assert_eq!(patience.keep("try", flaky).await.unwrap(), 3);
        tries.set(0);
        let refused = || async {
            tries.set(tries.get() + 1);
            Err::<(), _>(Error::new(ErrorKind::Denied, "ask", "it"))
        };
        assert_eq!(patience.keep("try", refused).await.unwrap_err().kind(), ErrorKind::Denied);
        assert_eq!(tries.get(), 1);
    }

    #[tokio::test]
    async fn patience_has_an_end() {
        let cx = Context::new();
        let patience = Patience { away: Duration::from_millis(300), cx: &cx };
        let never = || async { Err::<(), _>(Error::new(ErrorKind::Unreachable, "ask", "it")) };
        let error = patience.keep("try", never).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unreachable);
    }

    #[tokio::test]
    async fn a_caller_who_cancels_does_not_wait() {
        let cx = Context::new();
        cx.cancel.cancel();
        let patience = Patience::new(&cx);
        let never = || async { Err::<(), _>(Error::new(ErrorKind::Unreachable, "ask", "it")) };
        assert_eq!(patience.keep("try", never).await.unwrap_err().kind(), ErrorKind::Cancelled);
    }
}

//! Trying again.

use std::time::Duration;

use backup_core::{
    traits::Context,
    words::{Result, Retry},
};

/// How often a message is tried.
const TRIES: u32 = 4;
/// The first pause; each further one is twice as long.
const FIRST: Duration = Duration::from_millis(500);
/// Nobody is waited for longer, whatever he asks for.
const LONGEST: Duration = Duration::from_secs(20);

/// Runs `attempt` until it succeeds, fails for good, or has failed often enough; pauses are as long as the other side asks for.
///
/// # Errors
/// The last error.
pub(super) async fn with_retries<W>(cx: &Context, mut attempt: impl FnMut() -> W) -> Result<()>
where
    W: Future<Output = Result<()>>,
{
    let mut pause = FIRST;
    for _ in 1..TRIES {
        let error = match cx.or_cancelled("tell", attempt()).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        let wait = match error.retry_class() {
            Retry::Now => pause,
            Retry::After(asked) if asked <= LONGEST => asked.max(pause),
            _ => return Err(error),
        };
        tracing::debug!(error = %error.chain(), "a message did not get out; once more");
        let pausing = async {
            tokio::time::sleep(wait).await;
            Ok(())
        };
        cx.or_cancelled("tell", pausing).await?;
        pause *= 2;
    }
    cx.or_cancelled("tell", attempt()).await
}

#[cfg(test)]
mod tests {
    use backup_core::words::{Error, ErrorKind};

    use super::*;

    async fn tried(error: impl Fn() -> Error) -> (u32, Duration) {
        let (mut tries, begun, cx) = (0, tokio::time::Instant::now(), Context::new());
        let done = with_retries(&cx, || {
            tries += 1;
            std::future::ready(Err(error()))
        });
        done.await.unwrap_err();
        (tries, begun.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_pass_is_tried_again_with_longer_pauses() {
        let (tries, took) = tried(|| Error::new(ErrorKind::Unreachable, "tell", "x")).await;
        assert_eq!((tries, took.as_millis()), (4, 3500));
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_pass_is_tried_once() {
        assert_eq!(tried(|| Error::new(ErrorKind::Denied, "tell", "x")).await.0, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_for_time_gets_it_unless_it_is_too_long() {
        let asked = |seconds| {
            let wait = Retry::After(Duration::from_secs(seconds));
            move || Error::new(ErrorKind::Throttled, "tell", "x").retry(wait)
        };
        let (tries, took) = tried(asked(3)).await;
        assert_eq!((tries, took.as_secs()), (4, 9));
        assert_eq!(tried(asked(3600)).await.0, 1);
    }
}

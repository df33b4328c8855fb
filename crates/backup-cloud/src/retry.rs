//! Trying again: with jitter, within a budget of time, and only what may be done twice.

use std::time::Duration;

use tokio::time::Instant;

use crate::trouble::Trouble;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(10);
/// A server that never answered gets no more: a wrong address should be said soon.
const STRANGER: Duration = Duration::from_secs(5);

/// How long one call may be tried again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// In all, from the first failure on.
    pub(crate) budget: Duration,
}

/// One call's tries.
#[derive(Debug)]
pub(crate) struct Tries {
    patience: Patience,
    since: Option<Instant>,
    pause: Duration,
}

impl Patience {
    pub(crate) fn tries(self) -> Tries {
        Tries { patience: self, since: None, pause: FIRST }
    }

    /// Does a call that may be done twice, until it goes well, fails for good, or the budget is spent.
    pub(crate) async fn again<T, F>(
        self,
        what: &'static str,
        known: impl Fn() -> bool,
        mut call: impl FnMut() -> F,
    ) -> Result<T, Trouble>
    where
        F: Future<Output = Result<T, Trouble>>,
    {
        let mut tries = self.tries();
        loop {
            match call().await {
                Err(trouble) if trouble.is_momentary() => tries.wait(what, trouble, known()).await?,
                outcome => return outcome,
            }
        }
    }
}

impl Tries {
    /// Waits before the next try; hands the trouble back when the budget is spent.
    pub(crate) async fn wait(
        &mut self,
        what: &'static str,
        trouble: Trouble,
        known: bool,
    ) -> Result<(), Trouble> {
        let since = *self.since.get_or_insert_with(Instant::now);
        let budget = if known { self.patience.budget } else { self.patience.budget.min(STRANGER) };
        // Anything from nothing to the whole: many that failed together do not come back together.
        let pause = self.pause.mul_f64(fastrand::f64());
        if since.elapsed() + pause > budget {
            return Err(trouble);
        }
        tracing::debug!(what, ?trouble, pause_ms = pause.as_millis() as u64, "trying again");
        tokio::time::sleep(pause).await;
        self.pause = (self.pause * 2).min(LONGEST);
        Ok(())
    }

    /// What went well in between makes the next failure a first one.
    pub(crate) fn went_well(&mut self) {
        self.since = None;
        self.pause = FIRST;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::wire::Refusal;

    fn refused(status: u16) -> Trouble {
        Trouble::Refused(Refusal { status, code: String::new(), message: String::new() })
    }

    async fn tried(status: u16, fails: u32, known: bool) -> (bool, u32, Duration) {
        let (calls, begun) = (Cell::new(0), Instant::now());
        let patience = Patience { budget: Duration::from_secs(60) };
        let outcome = patience
            .again(
                "test",
                || known,
                || {
                    calls.set(calls.get() + 1);
                    let good = calls.get() > fails;
                    async move { if good { Ok(()) } else { Err(refused(status)) } }
                },
            )
            .await;
        (outcome.is_ok(), calls.get(), begun.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_passing_failure_is_tried_again_and_another_is_not() {
        let (good, calls, _) = tried(503, 5, true).await;
        assert!(good && calls == 6);
        let (good, calls, _) = tried(403, 5, true).await;
        assert!(!good && calls == 1);
    }

    #[tokio::test(start_paused = true)]
    async fn the_budget_bounds_it_and_a_stranger_gets_less() {
        let (good, calls, took) = tried(500, u32::MAX, true).await;
        assert!(!good && calls > 10);
        assert!(took > Duration::from_secs(40) && took < Duration::from_secs(75), "{took:?}");
        let (_, _, took) = tried(500, u32::MAX, false).await;
        assert!(took < Duration::from_secs(6), "{took:?}");
    }
}

//! A limit on bytes a second.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// How much may be made up for after a pause.
const BURST: Duration = Duration::from_millis(250);

/// Tells when the next bytes may go, so that no second sees more than the limit for long. Shared by all connections.
#[derive(Debug)]
pub(crate) struct Pace {
    rate: u64,
    free: Mutex<Instant>,
}

impl Pace {
    /// At most `rate` bytes a second.
    pub(crate) fn new(rate: u64) -> Self {
        Self { rate: rate.max(1), free: Mutex::new(Instant::now()) }
    }

    /// When these bytes may go.
    pub(super) fn reserve(&self, bytes: usize) -> Instant {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let at = (*free).max(now.checked_sub(BURST).unwrap_or(now));
        *free = at + Duration::from_secs_f64(bytes as f64 / self.rate as f64);
        at
    }

    /// How many bytes go at once: some for each quarter of a second, so that the line stays even.
    pub(super) fn slice(&self) -> usize {
        usize::try_from(self.rate / 8).unwrap_or(usize::MAX).max(1024)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn several_senders_share_the_rate_and_a_pause_is_no_credit() {
        let pace = Pace::new(1_000_000);
        let begun = Instant::now();
        let mut last = begun;
        for _ in 0..100 {
            last = pace.reserve(50_000);
        }
        // The first 300,000 bytes or so go at once: the burst.
        let took = (last - begun).as_secs_f64();
        assert!((4.5..5.1).contains(&took), "{took}");
        tokio::time::sleep(Duration::from_secs(3600)).await;
        let after = (0..100).map(|_| pace.reserve(50_000)).last().unwrap();
        let took = (after - Instant::now()).as_secs_f64();
        assert!((4.5..5.1).contains(&took), "{took}");
    }
}

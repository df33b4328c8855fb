//! A clock that a test sets; it goes on with the runtime's time.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use backup_core::traits::Clock;
use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;

/// A host's clock: it can be set, jump, and go wrong. Clones are the same clock.
#[derive(Clone, Debug)]
pub struct HandClock {
    set: Arc<Mutex<(Instant, DateTime<Utc>)>>,
}

impl HandClock {
    /// A clock that shows `at` now.
    pub fn new(at: DateTime<Utc>) -> Self {
        Self { set: Arc::new(Mutex::new((Instant::now(), at))) }
    }

    /// Makes it show `at` now.
    pub fn set(&self, at: DateTime<Utc>) {
        *self.state() = (Instant::now(), at);
    }

    /// Makes it jump, forwards or back.
    pub fn jump(&self, by: TimeDelta) {
        self.state().1 += by;
    }

    fn state(&self) -> MutexGuard<'_, (Instant, DateTime<Utc>)> {
        self.set.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for HandClock {
    fn now(&self) -> DateTime<Utc> {
        let (since, at) = *self.state();
        at + TimeDelta::from_std(since.elapsed()).unwrap_or(TimeDelta::MAX)
    }
}

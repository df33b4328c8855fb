//! Waiting: always a poll with a deadline, never a fixed sleep.

use super::error::{Error, Result};
use std::fmt;
use std::time::{Duration, Instant};

const PAUSE: Duration = Duration::from_millis(50);

/// Asks `check` until it answers with a value. `Err(reason)` means "not yet, because"; when `limit` has
/// passed, the last reason is in the error.
///
/// # Errors
/// When `limit` has passed.
pub fn poll<T, R: fmt::Display>(
    what: impl fmt::Display,
    limit: Duration,
    mut check: impl FnMut() -> std::result::Result<T, R>,
) -> Result<T> {
    let started = Instant::now();
    loop {
        match check() {
            Ok(value) => return Ok(value),
            Err(reason) if started.elapsed() >= limit => {
                let seconds = limit.as_secs();
                return Err(Error::new(format!("{what}: not within {seconds} s: {reason}")));
            }
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
}

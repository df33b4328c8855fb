//! What becomes of one operation: reckoned from what it is and never from when it came, so that threads that compress can't
//! change a history.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use backup_core::words::ErrorKind;
use tokio::time::Instant;

use super::super::faults::{Call, Fault, Op, Script};

/// How badly a host is off during one step.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Weather {
    /// Of a thousand operations so many fail.
    pub(super) failing: u64,
    /// Of a thousand operations so many are the host's last.
    pub(super) deadly: u64,
    /// Of a thousand operations so many see the host stopped for hours.
    pub(super) stopping: u64,
    /// The store does not answer at all.
    pub(super) away: bool,
}

/// Delays every operation a little, and lets some go wrong.
pub(super) struct Chance {
    salt: u64,
    weather: Weather,
    seen: HashMap<(Call, String), u32>,
    stopped: Option<Instant>,
}

impl Chance {
    pub(super) fn new(salt: u64, weather: Weather) -> Self {
        Self { salt, weather, seen: HashMap::new(), stopped: None }
    }

    fn draw(&mut self, op: &Op<'_>) -> u64 {
        let name = (op.call, without_nonces(op.key));
        let mut hasher = DefaultHasher::new();
        (self.salt, &name).hash(&mut hasher);
        let count = self.seen.entry(name).or_default();
        *count += 1;
        count.hash(&mut hasher);
        hasher.finish()
    }

    fn fails(&self, draw: u64) -> Option<Fault> {
        let Weather { failing, deadly, away, .. } = self.weather;
        if away {
            return Some(Fault::Before(ErrorKind::Unreachable));
        }
        let place = draw % 1000;
        if place < deadly {
            return Some(if draw >> 60 & 1 == 0 { Fault::DieBefore } else { Fault::DieAfter });
        }
        if place >= deadly + failing {
            return None;
        }
        Some(match draw >> 60 {
            0..4 => Fault::Before(ErrorKind::Unreachable),
            4..8 => Fault::After,
            8..11 => Fault::Midway,
            11..13 => Fault::Short,
            _ => Fault::Full,
        })
    }
}

impl Script for Chance {
    fn fault(&mut self, op: &Op<'_>) -> Option<Fault> {
        let draw = self.draw(op);
        if let Some(fault) = self.fails(draw) {
            return Some(fault);
        }
        // Bytes come at once: whoever unpacks them holds a thread, and time stands still meanwhile.
        if matches!(op.call, Call::Read | Call::Write) || (op.call == Call::Get && !op.key.ends_with(".json"))
        {
            return None;
        }
        // A stopped process does nothing at all until it goes on.
        let now = Instant::now();
        if draw / 1000 % 1000 < self.weather.stopping && self.stopped.is_none() {
            self.stopped = Some(now + Duration::from_secs(3 * 3600));
        }
        if let Some(until) = self.stopped.filter(|until| *until > now) {
            return Some(Fault::Slow(until - now));
        }
        Some(Fault::Slow(Duration::from_millis(draw / 1_000_000 % 1500)))
    }
}

/// A key in which every nonce is the same.
fn without_nonces(key: &str) -> String {
    let is_nonce = |word: &&str| word.len() == 32 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let words: Vec<&str> =
        key.split(['-', '.']).map(|word| if is_nonce(&word) { "#" } else { word }).collect();
    words.join("-")
}

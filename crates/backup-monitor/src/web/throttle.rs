//! How often a token may be tried; pure.

use std::{
    collections::HashMap,
    net::IpAddr,
    time::{Duration, Instant},
};

/// The wait after the first failure; it doubles with each.
const FIRST: Duration = Duration::from_secs(1);
/// The longest wait.
const LONGEST: Duration = Duration::from_secs(60);
/// Failures are forgotten after this time.
const FORGOTTEN: Duration = Duration::from_secs(900);
/// So many addresses are remembered.
const ADDRESSES: usize = 1024;

/// Who failed, and until when it is not listened to.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    failed: HashMap<IpAddr, Failed>,
}

#[derive(Clone, Copy, Debug)]
struct Failed {
    times: u32,
    last: Instant,
}

impl Failed {
    fn until(self) -> Instant {
        let wait = FIRST.saturating_mul(2_u32.saturating_pow(self.times.saturating_sub(1)));
        self.last + wait.min(LONGEST)
    }
}

impl Throttle {
    /// How long the caller must wait before it may try; none when it may now.
    pub(super) fn wait(&self, from: IpAddr, now: Instant) -> Option<Duration> {
        let failed = self.failed.get(&from)?;
        failed.until().checked_duration_since(now).filter(|wait| !wait.is_zero())
    }

    /// It tried, and was wrong.
    pub(super) fn failed(&mut self, from: IpAddr, now: Instant) {
        self.failed.retain(|_, failed| now.saturating_duration_since(failed.last) < FORGOTTEN);
        if self.failed.len() >= ADDRESSES && !self.failed.contains_key(&from) {
            let oldest = self.failed.iter().min_by_key(|(_, failed)| failed.last).map(|(from, _)| *from);
            oldest.and_then(|oldest| self.failed.remove(&oldest));
        }
        let times = self.failed.get(&from).map_or(0, |failed| failed.times);
        self.failed.insert(from, Failed { times: times.saturating_add(1), last: now });
    }

    /// It was right.
    pub(super) fn succeeded(&mut self, from: IpAddr) {
        self.failed.remove(&from);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whoever tries as fast as it is let gets no more than one try a minute in the long run.
        #[test]
        fn failing_for_hours_gives_few_tries(hours in 1_u64..12) {
            let (mut throttle, start) = (Throttle::default(), Instant::now());
            let from = IpAddr::from(Ipv4Addr::LOCALHOST);
            let (mut now, mut tries) = (start, 0_u64);
            while now < start + Duration::from_secs(hours * 3600) {
                match throttle.wait(from, now) {
                    Some(wait) => now += wait,
                    None => {
                        throttle.failed(from, now);
                        tries += 1;
                    }
                }
            }
            prop_assert!(tries <= hours * 60 + 10, "{tries}");
        }

        #[test]
        fn many_addresses_are_not_remembered(count in 0_u32..3000) {
            let (mut throttle, now) = (Throttle::default(), Instant::now());
            for address in 0..count {
                throttle.failed(IpAddr::from(Ipv4Addr::from(address)), now);
            }
            prop_assert!(throttle.failed.len() <= ADDRESSES);
        }
    }

    #[test]
    fn one_that_was_right_begins_anew() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        let from = IpAddr::from(Ipv4Addr::LOCALHOST);
        throttle.failed(from, now);
        assert_eq!(throttle.wait(from, now), Some(FIRST));
        assert_eq!(throttle.wait(from, now + FIRST), None);
        throttle.succeeded(from);
        assert_eq!(throttle.wait(from, now), None);
    }
}

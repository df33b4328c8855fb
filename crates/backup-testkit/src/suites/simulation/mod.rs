//! Random histories of many days, on one thread and on a clock of their own: the same seed gives the same history.

mod chance;
mod component;
mod history;
mod host;

pub use history::{Outcome, simulate};

use std::{
    num::NonZero,
    ops::Range,
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

/// Simulates every seed of `seeds` on all processors; those that broke something, in order.
pub fn simulate_all(seeds: Range<u64>) -> Vec<Outcome> {
    let next = AtomicU64::new(seeds.start);
    let workers = thread::available_parallelism().map_or(1, NonZero::get);
    let work = || {
        let seeds =
            std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed)).take_while(|s| *s < seeds.end);
        seeds.map(simulate).filter(|outcome| !outcome.broken.is_empty()).collect::<Vec<_>>()
    };
    let mut broken = thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .flat_map(|worker| worker.join().expect("a simulation does not panic"))
            .collect::<Vec<_>>()
    });
    broken.sort_by_key(|outcome| outcome.seed);
    broken
}

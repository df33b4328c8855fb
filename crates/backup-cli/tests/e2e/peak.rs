//! How much memory a run takes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::{e2e::running::Running, support::Bench};

/// The most memory that a process had, in KiB, watched while it runs.
pub(crate) struct Peak {
    stop: Arc<AtomicBool>,
    peak: Arc<AtomicU64>,
}

impl Peak {
    pub(crate) fn of(pid: u32) -> Self {
        let (stop, peak) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, seen) = (stop.clone(), peak.clone());
        std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
                let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
                let kib = line.and_then(|rest| rest.trim().split(' ').next()?.parse().ok()).unwrap_or(0);
                seen.fetch_max(kib, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        Self { stop, peak }
    }

    pub(crate) fn mib(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.peak.load(Ordering::Relaxed) >> 10
    }
}

/// Runs the binary to its end; its peak in MiB. What is measured is what the program holds: glibc is told to give freed pieces
/// back at once, of which it otherwise keeps some in every thread.
#[track_caller]
pub(crate) fn peak_of(bench: &Bench, args: &[&str]) -> u64 {
    let mut command = bench.command(args);
    command.env("MALLOC_MMAP_THRESHOLD_", "131072");
    let run = Running::spawn(command);
    let peak = Peak::of(run.pid());
    run.finish().exits(0);
    peak.mib()
}

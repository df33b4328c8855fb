//! Whether a secret is ever on a command line.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};

/// Looks at the command lines of all processes, those in pods too, again and again.
pub(crate) struct Watcher {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<(Vec<String>, bool)>,
}

impl Watcher {
    /// Looks out for `mark`, which every secret holds.
    pub(crate) fn start(mark: &'static str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let (mut found, mut saw_a_client) = (Vec::new(), false);
            while !stopped.load(Ordering::Relaxed) {
                for line in command_lines() {
                    saw_a_client |= line.contains("pg_dump") || line.contains("psql");
                    // The harness's own etcdctl has it on its command line.
                    if line.contains(mark) && !line.contains("etcdctl") {
                        found.push(line);
                    }
                }
                std::thread::yield_now();
            }
            (found, saw_a_client)
        });
        Self { stop, thread }
    }

    #[track_caller]
    pub(crate) fn assert_nothing_seen(self) {
        self.stop.store(true, Ordering::Relaxed);
        let (found, saw_a_client) = self.thread.join().unwrap();
        assert_eq!(found, Vec::<String>::new());
        assert!(saw_a_client, "pg_dump or psql ran, and must have been seen");
    }
}

fn command_lines() -> Vec<String> {
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    // One that ends meanwhile has no command line any more.
    let line = |process: std::fs::DirEntry| std::fs::read(process.path().join("cmdline")).ok();
    processes.filter_map(line).map(|line| String::from_utf8_lossy(&line).replace('\0', " ")).collect()
}

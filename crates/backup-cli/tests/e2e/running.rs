//! The binary while it runs: its JSON lines are events to wait for.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::support::{Bench, Ran};

/// Longer than any step of a test takes, a failover included.
const PATIENCE: Duration = Duration::from_secs(120);

/// A run whose lines are read as they come. One that is not waited for is killed.
pub(crate) struct Running {
    child: Child,
    lines: Receiver<String>,
    stderr: Option<JoinHandle<String>>,
    seen: Vec<String>,
}

impl Running {
    /// Starts the binary; `args` should hold `--json`.
    pub(crate) fn start(bench: &Bench, args: &[&str]) -> Self {
        Self::spawn(bench.command(args))
    }

    /// Starts a command that becomes the binary.
    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = child.stdout.take().unwrap();
        let mut errors = child.stderr.take().unwrap();
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                // A test that has seen enough reads no further.
                let _ = sender.send(line);
            }
        });
        let stderr = std::thread::spawn(move || {
            let mut text = String::new();
            let _ = errors.read_to_string(&mut text);
            text
        });
        Self { child, lines, stderr: Some(stderr), seen: Vec::new() }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a message that is `wanted`.
    #[track_caller]
    pub(crate) fn until(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.recv_timeout(left) else {
                panic!("no {what} came; what came:\n{}", self.seen.join("\n"));
            };
            self.seen.push(line.clone());
            let message: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"));
            if wanted(&message) {
                return message;
            }
        }
    }

    /// Waits until bytes of the component flow, and stops the run right there: what its source still has to send waits too.
    #[track_caller]
    pub(crate) fn freeze_in_mid_stream(&mut self, component: &str) {
        let progress = self.until(&format!("progress of {component}"), |message| {
            message["message_type"] == "progress" && message["component"] == component
        });
        self.signal("STOP");
        let (bytes, expected) = (progress["bytes"].as_u64().unwrap(), progress["expected"].as_u64().unwrap());
        assert!(bytes < expected / 2, "{component} was too quick to be caught in mid-stream: {progress}");
    }

    /// Sends a signal.
    #[track_caller]
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args([format!("-{name}"), pid]).status().unwrap();
        assert!(status.success(), "kill -{name}");
    }

    /// Waits for the end.
    #[track_caller]
    pub(crate) fn finish(mut self) -> Ran {
        let status = self.child.wait().unwrap();
        let stderr = self.stderr.take().unwrap().join().unwrap();
        self.seen.extend(self.lines.iter());
        let mut stdout = self.seen.join("\n");
        stdout.push('\n');
        Ran { code: status.code().unwrap_or(-1), stdout, stderr }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

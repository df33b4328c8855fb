//! Running a command and measuring it.

use std::{
    fs, io,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::Outcome;

/// What one run took.
#[derive(Clone, Debug, Default)]
pub(super) struct Measured {
    /// Wall time in seconds.
    pub(super) wall: f64,
    /// User and system time of all its processes, in seconds; servers are not among them.
    pub(super) cpu: f64,
    /// The largest process, in MiB.
    pub(super) peak_mib: f64,
    /// What it wrote, in bytes.
    pub(super) bytes: u64,
}

impl Measured {
    /// Adds the size of what it wrote: a file, or all data objects of a store.
    pub(super) fn output(mut self, path: &Path) -> io::Result<Self> {
        self.bytes = size_of(path)?;
        Ok(self)
    }

    /// One after the other.
    pub(super) fn then(&self, next: &Self) -> Self {
        Self {
            wall: self.wall + next.wall,
            cpu: self.cpu + next.cpu,
            peak_mib: self.peak_mib.max(next.peak_mib),
            bytes: self.bytes + next.bytes,
        }
    }
}

fn size_of(path: &Path) -> io::Result<u64> {
    let found = fs::metadata(path)?;
    if !found.is_dir() {
        return Ok(found.len());
    }
    let mut total = 0;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        // What describes a session is not what it holds.
        if entry.file_name() != "sessions" {
            total += size_of(&entry.path())?;
        }
    }
    Ok(total)
}

/// Runs a line of bash to its end.
pub(super) fn measure(command: &str, environment: &[(String, String)]) -> Outcome<Measured> {
    let script = format!("set -o pipefail; TIMEFORMAT='%R %U %S'; time {{ {command}; }}");
    let begun = Instant::now();
    let child = Command::new("bash")
        .args(["-c", &script])
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let pid = child.id();
    let watcher = thread::spawn(move || watch_peak(pid));
    let output = child.wait_with_output()?;
    let wall = begun.elapsed().as_secs_f64();
    let peak = watcher.join().map_err(|_| "the watcher panicked")?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("{command}: {}\n{said}", output.status).into());
    }
    let times: Vec<f64> =
        said.lines().last().unwrap_or_default().split(' ').filter_map(|word| word.parse().ok()).collect();
    let [_, user, system] = times[..] else { return Err(format!("{command}: no times in {said:?}").into()) };
    Ok(Measured { wall, cpu: user + system, peak_mib: peak as f64 / 1024.0, bytes: 0 })
}

/// The largest resident set of any process below `pid`, in KiB, while it runs.
fn watch_peak(pid: u32) -> u64 {
    let mut peak = 0;
    while Path::new(&format!("/proc/{pid}")).exists() {
        let mut pids = vec![pid];
        while let Some(pid) = pids.pop() {
            if let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) {
                peak = peak.max(high_water(&status));
            }
            let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
            pids.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        }
        thread::sleep(Duration::from_millis(1));
    }
    peak
}

/// proc(5): `VmHWM` is the peak of the resident set, in kB.
fn high_water(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|rest| rest.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or(0)
}

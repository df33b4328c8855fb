//! Which process on which host, and whether it still runs.

use serde::{Deserialize, Serialize};

/// Names one process for ever: host, boot, pid namespace, number and start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessIdentity {
    /// The host's name.
    pub host: String,
    /// The kernel's id of this boot.
    pub boot_id: String,
    /// The pid namespace, as the kernel writes it ("pid:[4026531836]").
    pub pid_namespace: String,
    /// The process's number in that namespace.
    pub pid: u32,
    /// When it started, in clock ticks since boot.
    pub start: u64,
}

impl ProcessIdentity {
    /// This process.
    pub fn current() -> Self {
        let pid = std::process::id();
        Self::with(pid, start_of(pid).unwrap_or(0))
    }

    /// Another process of this host, while it runs.
    pub fn of(pid: u32) -> Option<Self> {
        start_of(pid).map(|start| Self::with(pid, start))
    }

    fn with(pid: u32, start: u64) -> Self {
        Self {
            host: read("/proc/sys/kernel/hostname").unwrap_or_else(|| "unknown".to_owned()),
            boot_id: read("/proc/sys/kernel/random/boot_id").unwrap_or_default(),
            pid_namespace: pid_namespace(),
            pid,
            start,
        }
    }

    /// True when the process runs on this host and can be seen from here.
    pub fn is_here(&self) -> bool {
        Self::of(self.pid).as_ref() == Some(self)
    }

    /// True when it is certain that the process has ended: same host, boot and namespace as ours, and no such process.
    pub fn is_gone(&self) -> bool {
        let here = Self::current();
        let comparable = !here.boot_id.is_empty()
            && !here.pid_namespace.is_empty()
            && self.host == here.host
            && self.boot_id == here.boot_id
            && self.pid_namespace == here.pid_namespace;
        comparable && start_of(self.pid) != Some(self.start)
    }
}

fn pid_namespace() -> String {
    std::fs::read_link("/proc/self/ns/pid").map(|link| link.display().to_string()).unwrap_or_default()
}

fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

/// Field 22 of `/proc/PID/stat` (proc(5)); a zombie has ended.
fn start_of(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in parentheses and may hold anything.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    if state == "Z" || state == "X" {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn we_run_and_an_ended_child_does_not() {
        let us = ProcessIdentity::current();
        assert!(!us.is_gone());
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let identity =
            ProcessIdentity { pid: child.id(), start: start_of(child.id()).unwrap(), ..us.clone() };
        assert!(!identity.is_gone());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(identity.is_gone());
    }

    #[test]
    fn nothing_is_said_of_another_boot_or_host() {
        let gone = ProcessIdentity { pid: u32::MAX, ..ProcessIdentity::current() };
        assert!(gone.is_gone());
        assert!(!ProcessIdentity { boot_id: "other".into(), ..gone.clone() }.is_gone());
        assert!(!ProcessIdentity { host: "other".into(), ..gone }.is_gone());
    }
}

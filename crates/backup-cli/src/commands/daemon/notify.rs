//! What systemd is told: sd_notify(3), by a datagram.

use std::{
    os::{
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            net::{SocketAddr, UnixDatagram},
        },
    },
    time::Duration,
};

use backup_core::engine::DaemonState;

/// The socket that the service manager listens on, if there is one.
#[derive(Debug)]
pub(super) struct Notify {
    socket: Option<(UnixDatagram, SocketAddr)>,
    status: String,
    ready: bool,
}

impl Notify {
    /// By `NOTIFY_SOCKET`.
    pub(super) fn from_environment() -> Self {
        let socket = std::env::var_os("NOTIFY_SOCKET").and_then(|path| {
            let bytes = path.as_bytes();
            let address = match bytes.strip_prefix(b"@") {
                Some(name) => SocketAddr::from_abstract_name(name),
                None => SocketAddr::from_pathname(&path),
            };
            let made = address.and_then(|address| Ok((UnixDatagram::unbound()?, address)));
            made.inspect_err(|error| tracing::warn!(%error, "systemd cannot be told anything")).ok()
        });
        if let Some((socket, _)) = &socket {
            // A manager that does not read must not hold the loop up.
            let _ = socket.set_nonblocking(true);
        }
        Self { socket, status: String::new(), ready: false }
    }

    /// On every turn of the loop: that it lives, and how it stands.
    pub(super) fn turn(&mut self, state: &DaemonState) {
        let mut lines = vec!["WATCHDOG=1".to_owned()];
        if !self.ready {
            self.ready = true;
            lines.push("READY=1".to_owned());
        }
        let status = status(state);
        if status != self.status {
            lines.push(format!("STATUS={status}"));
            self.status = status;
        }
        self.send(&lines.join("\n"));
    }

    /// The configuration is read again.
    pub(super) fn reloading(&self) {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let micros = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1000;
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
    }

    /// It was read, and is used or refused.
    pub(super) fn reloaded(&self) {
        self.send("READY=1");
    }

    pub(super) fn stopping(&self) {
        self.send("STOPPING=1");
    }

    fn send(&self, text: &str) {
        if let Some((socket, address)) = &self.socket {
            // Who does not listen will notice that by its own watchdog.
            let _ = socket.send_to_addr(text.as_bytes(), address);
        }
    }
}

/// How often the service manager wants to hear of us at least: `WATCHDOG_USEC`, when it is meant for this process.
pub(super) fn watchdog() -> Option<Duration> {
    let number = |name| std::env::var(name).ok()?.parse::<u64>().ok();
    let ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
    number("WATCHDOG_USEC").filter(|micros| ours && *micros > 0).map(Duration::from_micros)
}

fn status(state: &DaemonState) -> String {
    let runs = match state.running.as_slice() {
        [] => "nothing runs".to_owned(),
        names => format!("{} runs", names.join(", ")),
    };
    match &state.next {
        _ if state.stopping => format!("ends; {runs}"),
        Some((job, at)) => format!("{runs}; next {job} at {}", at.format("%Y-%m-%dT%H:%M:%SZ")),
        None => runs,
    }
}

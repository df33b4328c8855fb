//! Ports for servers: free ones, held against every other harness on this machine.

use super::error::{Error, Result};
use std::net::{Ipv4Addr, TcpListener};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::time::{SystemTime, UNIX_EPOCH};

/// Below the kernel's ephemeral ports (32768 and up), so that no outgoing connection takes one of ours
/// while its server is down.
const FIRST: u16 = 12_000;
const COUNT: u16 = 18_000;

/// A port that is ours as long as this value lives, also while no server listens on it.
///
/// It is held by an abstract Unix socket named after it: exclusive in the same network namespace as the
/// port, for all users, and given up by the kernel when the process dies.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _held: UnixListener,
}

impl Port {
    /// Takes a free port.
    ///
    /// # Errors
    /// When no port is free.
    pub fn reserve() -> Result<Self> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.subsec_nanos());
        let seed = now.wrapping_add(std::process::id().wrapping_mul(7919));
        let offset = (seed % u32::from(COUNT)) as u16;
        (0..COUNT)
            .map(|i| FIRST + (offset + i) % COUNT)
            .find_map(Self::take)
            .ok_or_else(|| Error::new("no free port between 12000 and 30000 on 127.0.0.1"))
    }

    /// The number.
    pub fn number(&self) -> u16 {
        self.number
    }

    fn take(number: u16) -> Option<Self> {
        let name = SocketAddr::from_abstract_name(format!("ha-backup-test-port-{number}")).ok()?;
        let held = UnixListener::bind_addr(&name).ok()?;
        TcpListener::bind((Ipv4Addr::LOCALHOST, number)).ok()?;
        Some(Self { number, _held: held })
    }
}

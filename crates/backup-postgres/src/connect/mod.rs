//! From a list of addresses to a session on the leader.

mod error;
mod leader;
mod patroni;
mod search;
mod session;
mod tls;
mod wire;

use std::fmt;

use backup_core::words::{Error, ErrorKind, Result};

pub(crate) use error::{lost, sql_error};
pub(crate) use leader::{Leader, Server};
pub(crate) use patroni::{Cluster, Member, cluster};
pub(crate) use search::Answers;
pub(crate) use session::Session;
pub(crate) use tls::Tls;

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Address {
    /// Name, IP address, or the folder of a Unix socket.
    pub(crate) host: String,
    /// Port.
    pub(crate) port: u16,
    /// The host that it turned out to be, where it was found among several: "pod db/pg-0".
    pub(crate) on: Option<String>,
}

impl Address {
    /// Reads `host`, `host:port` or `[v6]:port`; `port` is for those that name none.
    pub(crate) fn parse(text: &str, port: u16) -> Result<Self> {
        let bad = || {
            Error::new(ErrorKind::Config, "read the address", text).hint("write host, host:port or [v6]:port")
        };
        let (host, named) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, tail) = rest.split_once(']').ok_or_else(bad)?;
                (host, tail.strip_prefix(':'))
            }
            // A socket's folder, or a bare IPv6 address, has no port behind it.
            None if text.starts_with('/') || text.matches(':').count() > 1 => (text, None),
            None => match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        let port = match named {
            Some(named) => named.parse().map_err(|_| bad())?,
            None => port,
        };
        if host.is_empty() { Err(bad()) } else { Ok(Self { host: host.to_owned(), port, on: None }) }
    }

    /// Whether it is a Unix socket.
    pub(crate) fn is_socket(&self) -> bool {
        self.host.starts_with('/')
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = &self.on {
            f.write_str(name)
        } else if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

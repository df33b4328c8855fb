//! A real object store on loopback.

mod buckets;
mod launch;

use super::error::{Error, Result};
use super::ports::Port;
use super::process::{Process, Spec};
use super::scratch::Scratch;
use super::tls::Certificates;
use super::toolbox::Toolbox;
use std::fmt;
use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

/// The object stores that tests run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Objects {
    /// SeaweedFS, which speaks S3 and checks signatures; from PyPI.
    SeaweedFs,
    /// versitygw, S3 over plain files; strict; from Go modules.
    VersityGw,
    /// moto, S3 in Python; accepts every secret; from PyPI.
    Moto,
    /// Azurite, which speaks Azure Blob Storage; from npm.
    Azurite,
}

impl Objects {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::SeaweedFs, Self::VersityGw, Self::Moto, Self::Azurite];
}

impl fmt::Display for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SeaweedFs => "SeaweedFS",
            Self::VersityGw => "versitygw",
            Self::Moto => "moto",
            Self::Azurite => "azurite",
        })
    }
}

/// How an object store's server is called.
#[derive(Debug, Clone)]
pub struct ObjectsTools {
    /// The program.
    pub program: PathBuf,
    /// What its arguments begin with.
    pub args: Vec<String>,
}

/// A running object store; see [the module](super). Dropping it kills the server and removes its files.
#[derive(Debug)]
pub struct ObjectServer {
    kind: Objects,
    port: Port,
    /// For its inner parts; held so that nobody else takes them.
    _inner: Vec<Port>,
    /// Where buckets are made, when that is another port.
    admin: Option<u16>,
    certificates: Option<Certificates>,
    process: Process,
    scratch: Scratch,
}

impl ObjectServer {
    /// The user that S3 servers know.
    pub const ACCESS_KEY: &str = "AKTESTTESTTEST";
    /// Its secret; also the account's key of Azurite, which is fixed.
    pub const SECRET_KEY: &str = "s3cr3t-of-the-object-store";
    /// A bucket of SeaweedFS that needs no signature.
    pub const OPEN_BUCKET: &str = "open-to-all";
    /// Azurite's account.
    pub const AZURE_ACCOUNT: &str = "devstoreaccount1";
    /// Azurite's key, which is the same everywhere.
    pub const AZURE_KEY: &str =
        "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

    /// Starts a server without buckets and waits until it answers.
    ///
    /// # Errors
    /// When it is not installed, or doesn't answer (with its log).
    pub fn start(kind: Objects) -> Result<Self> {
        Self::start_with(kind, false)
    }

    /// [`ObjectServer::start`] with TLS and [`ObjectServer::certificates`]; only versitygw can.
    ///
    /// # Errors
    /// When it is not installed, or doesn't answer (with its log).
    pub fn start_tls(kind: Objects) -> Result<Self> {
        match kind {
            Objects::VersityGw => Self::start_with(kind, true),
            other => Err(Error::new(format!("{other} is not started with TLS here"))),
        }
    }

    fn start_with(kind: Objects, tls: bool) -> Result<Self> {
        let toolbox = Toolbox::open()?;
        let tools = toolbox.objects(kind)?;
        let scratch = Scratch::new()?;
        let certificates =
            tls.then(|| Certificates::create(&toolbox, &scratch.path().join("tls"))).transpose()?;
        let port = Port::reserve()?;
        let inner = launch::inner_ports(kind)?;
        let cwd = scratch.path().join("server");
        fs::create_dir_all(cwd.join("data"))?;
        let launched = launch::arguments(kind, port.number(), &inner, &cwd)?;
        let tls = certificates.iter().flat_map(|files| {
            [("cert", &files.server_cert), ("key", &files.server_key)]
                .map(|(flag, file)| format!("--{flag}={}", file.display()))
        });
        let args = tools.args.into_iter().chain(tls).chain(launched.args).collect();
        let spec = Spec {
            name: kind.to_string().to_lowercase(),
            program: tools.program,
            args,
            env: launched.env,
            cwd,
            user: None,
        };
        let admin = launched.admin;
        let mut server =
            Self { kind, port, _inner: inner, admin, certificates, process: Process::new(spec), scratch };
        server.restart()?;
        Ok(server)
    }

    /// Which one it is.
    pub fn kind(&self) -> Objects {
        self.kind
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// The address for clients; with Azurite it ends with the account.
    pub fn endpoint(&self) -> String {
        self.endpoint_at(self.port())
    }

    /// The same behind another port, such as a proxy's.
    pub fn endpoint_at(&self, port: u16) -> String {
        match self.kind {
            Objects::Azurite => format!("http://127.0.0.1:{port}/{}", Self::AZURE_ACCOUNT),
            _ if self.certificates.is_some() => format!("https://127.0.0.1:{port}"),
            _ => format!("http://127.0.0.1:{port}"),
        }
    }

    /// The certificates, when it was started with TLS.
    pub fn certificates(&self) -> Option<&Certificates> {
        self.certificates.as_ref()
    }

    /// Makes a bucket (or container); its name has three letters at least.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn make_bucket(&self, name: &str) -> Result<()> {
        buckets::make(self, name)
    }

    /// Makes a bucket that keeps versions and can lock them.
    ///
    /// # Errors
    /// When the server refuses; only moto needs no signature for it.
    pub fn make_locking_bucket(&self, name: &str) -> Result<()> {
        buckets::make_locking(self, name)
    }

    /// Removes a bucket with all that is in it, as its owner would.
    ///
    /// # Errors
    /// When the server refuses; only SeaweedFS and versitygw can.
    pub fn remove_bucket(&self, name: &str) -> Result<()> {
        buckets::remove(self, name)
    }

    /// The server's process id while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.process.pid()
    }

    /// SIGKILL; returns when it is gone.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// SIGSTOP: its connections stay open, and nothing answers.
    ///
    /// # Errors
    /// When it isn't running.
    pub fn pause(&mut self) -> Result<()> {
        self.process.pause()
    }

    /// SIGCONT.
    ///
    /// # Errors
    /// When it isn't running.
    pub fn resume(&mut self) -> Result<()> {
        self.process.resume()
    }

    /// Starts it again after [`ObjectServer::kill`] and waits until it answers.
    ///
    /// # Errors
    /// When it doesn't within a minute (with its log).
    pub fn restart(&mut self) -> Result<()> {
        self.process.start()?;
        let (kind, port, admin) = (self.kind, self.port.number(), self.admin);
        let tls = self.certificates.is_some();
        self.process.wait_until("to answer", LIMIT, || match tls {
            // The harness itself speaks no TLS.
            true => TcpStream::connect(("127.0.0.1", port)).map(drop).map_err(|e| e.to_string()),
            false => launch::is_ready(kind, port, admin),
        })
    }

    /// The last lines of its log.
    pub fn log_tail(&self) -> String {
        self.process.log_tail()
    }

    /// A folder of the test's own that goes with the server.
    pub fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    fn data(&self) -> PathBuf {
        self.scratch.path().join("server/data")
    }
}

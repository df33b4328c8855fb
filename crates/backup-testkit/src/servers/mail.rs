//! A real mail server on loopback, aiosmtpd, which keeps what it gets.

use super::error::{Context, Error, Result};
use super::ports::Port;
use super::process::{Process, Spec};
use super::scratch::Scratch;
use super::tls::Certificates;
use super::toolbox::Toolbox;
use super::wait::poll;
use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(30);

/// How connections to a [`MailServer`] are protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailTls {
    /// Not at all.
    None,
    /// By STARTTLS, which the server requires.
    Starttls,
    /// From the first byte.
    Implicit,
}

/// A mail that arrived.
#[derive(Debug, Clone)]
pub struct Mail {
    /// The sender of its envelope.
    pub from: String,
    /// The recipients of its envelope.
    pub to: Vec<String>,
    /// Whether it came over TLS.
    pub tls: bool,
    /// Who logged in to send it.
    pub user: Option<String>,
    /// The mail itself, headers and all.
    pub content: String,
}

/// A running mail server; see [the module](super). Dropping it kills the server and removes its mails.
#[derive(Debug)]
pub struct MailServer {
    port: Port,
    certificates: Option<Certificates>,
    _process: Process,
    scratch: Scratch,
}

impl MailServer {
    /// The user that may send where a login is wanted.
    pub const USER: &str = "backup";
    /// The user's password.
    pub const PASSWORD: &str = "s3cr3t-of-the-mail-server";

    /// Starts a server; with `login` it takes mail from [`MailServer::USER`] only.
    ///
    /// # Errors
    /// When it is not installed, or doesn't answer (with its log).
    pub fn start(tls: MailTls, login: bool) -> Result<Self> {
        let toolbox = Toolbox::open()?;
        let program = toolbox.mail()?;
        let scratch = Scratch::new()?;
        let (cwd, port) = (scratch.path().join("mail"), Port::reserve()?);
        fs::create_dir_all(&cwd)?;
        let script = scratch.path().join("mail_server.py");
        fs::write(&script, include_str!("mail_server.py"))?;
        let certificates = (tls != MailTls::None)
            .then(|| Certificates::create(&toolbox, &scratch.path().join("tls")))
            .transpose()?;
        let mode = match tls {
            MailTls::None => "none",
            MailTls::Starttls => "starttls",
            MailTls::Implicit => "implicit",
        };
        let mut env = vec![
            ("MAIL_FOLDER", cwd.display().to_string()),
            ("MAIL_PORT", port.number().to_string()),
            ("MAIL_MODE", mode.to_owned()),
        ];
        if let Some(files) = &certificates {
            env.push(("MAIL_CERT", files.server_cert.display().to_string()));
            env.push(("MAIL_KEY", files.server_key.display().to_string()));
        }
        if login {
            env.push(("MAIL_USER", Self::USER.to_owned()));
            env.push(("MAIL_PASSWORD", Self::PASSWORD.to_owned()));
        }
        let mut process = Process::new(Spec {
            name: "aiosmtpd".to_owned(),
            program,
            args: vec![script.display().to_string()],
            env: env.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            cwd,
            user: None,
        });
        process.start()?;
        let number = port.number();
        process.wait_until("to answer", LIMIT, || {
            TcpStream::connect(("127.0.0.1", number)).map(drop).map_err(|e| e.to_string())
        })?;
        Ok(Self { port, certificates, _process: process, scratch })
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// The certificates, when it has TLS.
    pub fn certificates(&self) -> Option<&Certificates> {
        self.certificates.as_ref()
    }

    /// From now on each mail is answered so ("451 later"); with `once` only the next one.
    ///
    /// # Errors
    /// When that can't be written down.
    pub fn refuse(&self, answer: &str, once: bool) -> Result<()> {
        let text = if once { format!("{answer}\nonce\n") } else { format!("{answer}\n") };
        // Never half there.
        let (new, file) = (self.folder().join("refuse.new"), self.folder().join("refuse"));
        fs::write(&new, text)?;
        fs::rename(&new, &file).context(file.display())
    }

    /// All mails, once there are so many.
    ///
    /// # Errors
    /// When that takes longer than half a minute.
    pub fn mails(&self, count: usize) -> Result<Vec<Mail>> {
        let folder = self.folder();
        poll(format!("{count} mails"), LIMIT, || {
            let names = (1..).map(|n| folder.join(format!("{n:03}")));
            let there = names.take_while(|name| name.with_extension("json").is_file());
            let there: Vec<PathBuf> = there.collect();
            if there.len() < count { Err(format!("there are {}", there.len())) } else { Ok(there) }
        })?
        .into_iter()
        .map(read)
        .collect()
    }

    fn folder(&self) -> PathBuf {
        self.scratch.path().join("mail")
    }
}

fn read(name: PathBuf) -> Result<Mail> {
    let facts: serde_json::Value = serde_json::from_slice(&fs::read(name.with_extension("json"))?)
        .map_err(|e| Error::new(format!("{}: {e}", name.display())))?;
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    Ok(Mail {
        from: text(&facts["from"]),
        to: facts["to"].as_array().into_iter().flatten().map(text).collect(),
        tls: facts["tls"] == true,
        user: facts["user"].as_str().map(str::to_owned),
        content: String::from_utf8_lossy(&fs::read(name.with_extension("eml"))?).into_owned(),
    })
}

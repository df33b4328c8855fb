//! E-mail by SMTP.

use std::{path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use backup_core::{
    traits::{Context, Node, SecretSource},
    words::{Error, ErrorKind, Result, Retry, TimeLength},
};
use lettre::{
    AsyncSmtpTransport, AsyncTransport, Tokio1Executor,
    message::{
        Mailbox, MultiPart,
        header::{Header, HeaderName, HeaderValue},
    },
    transport::smtp::{
        self,
        authentication::{Credentials, Mechanism},
        client::{Certificate, Tls, TlsParameters},
    },
};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Notifier, NotifierKind, retry::with_retries};
use crate::{alert::Message, html};

/// How long each answer of the server may take.
const TIMEOUT: Duration = Duration::from_secs(15);

pub(super) const KIND: NotifierKind = NotifierKind {
    kind: "email",
    schema: || schemars::schema_for!(Section).to_value(),
    build: |name, node| Ok(Arc::new(Email::build(name, node)?)),
};

#[derive(Clone, Debug, Deserialize, JsonSchema)]
struct Section {
    /// Who gets it: one address or several.
    to: To,
    /// Who sends it. Default: ha-backup@HOST.
    #[serde(default)]
    from: Option<String>,
    /// The mail server. Default: localhost.
    #[serde(default = "localhost")]
    server: String,
    /// Its port. Default: 25 without TLS, 587 with starttls, 465 with implicit.
    #[serde(default)]
    port: Option<u16>,
    /// none, starttls (required, not tried) or implicit. Default: none to localhost, starttls to any other server.
    #[serde(default)]
    tls: Option<Security>,
    /// Who we are to the server. Default: nobody.
    #[serde(default)]
    user: Option<String>,
    /// The user's password: { env = "X" }, { file = "P" } or { command = ["..."] }.
    #[serde(default)]
    password: Option<SecretSource>,
    /// A file with certificates (PEM) that are trusted besides the system's.
    #[serde(default)]
    ca: Option<PathBuf>,
    /// How long each answer of the server may take. Default: "15s".
    #[serde(default)]
    timeout: Option<TimeLength>,
}

/// One address or several.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
enum To {
    One(String),
    Several(Vec<String>),
}

/// How the connection is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Security {
    None,
    Starttls,
    Implicit,
}

fn localhost() -> String {
    "localhost".to_owned()
}

#[derive(Debug)]
struct Email {
    name: String,
    section: Section,
    security: Security,
    to: Vec<Mailbox>,
    from: Option<Mailbox>,
}

impl Email {
    fn build(name: &str, node: &Node) -> Result<Self> {
        let section: Section = node.parse()?;
        let mailbox = |path: &str, text: &str| {
            text.parse::<Mailbox>().map_err(|_| {
                node.error(path, format!("`{text}` is no address"))
                    .hint("write someone@example.com, or Someone <someone@example.com>")
            })
        };
        let to = match &section.to {
            To::One(one) => vec![mailbox("to", one)?],
            To::Several(several) => several
                .iter()
                .enumerate()
                .map(|(index, one)| mailbox(&format!("to.{index}"), one))
                .collect::<Result<_>>()?,
        };
        if to.is_empty() {
            return Err(node.error("to", "nobody gets it"));
        }
        let from = section.from.as_deref().map(|from| mailbox("from", from)).transpose()?;
        let here = matches!(section.server.as_str(), "localhost" | "127.0.0.1" | "::1");
        let usual = if here { Security::None } else { Security::Starttls };
        let security = section.tls.unwrap_or(usual);
        match (&section.user, &section.password) {
            (Some(_), None) => return Err(node.error("user", "there is no password for it")),
            (None, Some(_)) => return Err(node.error("password", "there is no user for it")),
            (Some(_), Some(_)) if security == Security::None && !here => {
                return Err(node
                    .error("tls", "the password would go over the network in clear")
                    .hint("tls = \"starttls\" or \"implicit\""));
            }
            _ => {}
        }
        Ok(Self { name: name.to_owned(), section, security, to, from })
    }

    async fn transport(&self) -> Result<AsyncSmtpTransport<Tokio1Executor>> {
        let section = &self.section;
        let (tls, port) = match self.security {
            Security::None => (Tls::None, 25),
            Security::Starttls => (Tls::Required(self.trust()?), 587),
            Security::Implicit => (Tls::Wrapper(self.trust()?), 465),
        };
        let timeout = section.timeout.and_then(|length| length.0.to_std().ok()).unwrap_or(TIMEOUT);
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&section.server)
            .port(section.port.unwrap_or(port))
            .tls(tls)
            .timeout(Some(timeout));
        if let (Some(user), Some(password)) = (&section.user, &section.password) {
            let password = password.resolve(&format!("password of the notifier {}", self.name)).await?;
            builder = builder
                .credentials(Credentials::new(user.clone(), password.expose().to_owned()))
                .authentication(vec![Mechanism::Plain, Mechanism::Login]);
        }
        Ok(builder.build())
    }

    fn trust(&self) -> Result<TlsParameters> {
        let bad = |e: smtp::Error| {
            Error::new(ErrorKind::Config, "set up the connection of", self.subject()).because(e)
        };
        let mut builder = TlsParameters::builder(self.section.server.clone());
        if let Some(file) = &self.section.ca {
            let pem = std::fs::read(file).map_err(|e| Error::io("read", file.display().to_string(), e))?;
            builder = builder.add_root_certificate(Certificate::from_pem(&pem).map_err(bad)?);
        }
        builder.build_rustls().map_err(bad)
    }

    /// As plain text and as HTML, with a date and an id of its own.
    fn mail(&self, message: &Message) -> Result<lettre::Message> {
        let bad = |e: &dyn std::error::Error| {
            Error::new(ErrorKind::Config, "write the mail of", self.subject()).detail(e.to_string())
        };
        let sender = || format!("ha-backup@{}", mail_host(&message.host)).parse::<Mailbox>();
        let from = match &self.from {
            Some(from) => from.clone(),
            None => sender().map_err(|e| bad(&e).hint("set `from`"))?,
        };
        let mut builder = lettre::Message::builder()
            .from(from)
            .subject(format!("[ha-backup {}] {}", message.name, message.title()))
            .date(message.at.into())
            .message_id(None)
            .header(AutoSubmitted);
        for to in &self.to {
            builder = builder.to(to.clone());
        }
        let body = MultiPart::alternative_plain_html(message.text(), html::page(message));
        builder.multipart(body).map_err(|e| bad(&e))
    }

    fn explain(&self, error: smtp::Error) -> Error {
        let mut deepest: &dyn std::error::Error = &error;
        while let Some(cause) = deepest.source() {
            deepest = cause;
        }
        let said = if deepest.to_string() == error.to_string() {
            error.to_string()
        } else {
            format!("{error}: {deepest}")
        };
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        let failed =
            |kind, hint: &str| Error::new(kind, "tell", self.subject()).detail(said.clone()).hint(hint);
        match error.status().map(u16::from) {
            Some(530 | 534 | 535 | 538) => failed(ErrorKind::Denied, "are `user` and `password` right?"),
            Some(_) if error.is_permanent() => {
                failed(ErrorKind::Failed, "the server refuses it for good: look at `to`, `from` and its log")
            }
            Some(_) => failed(ErrorKind::Failed, "the server refuses it for now").retry(Retry::Now),
            None if error.is_tls() => failed(
                ErrorKind::Unreachable,
                "is its certificate trusted (`ca`) and for this `server`, and is `tls` right?",
            )
            .retry(Retry::Never),
            None if error.is_client() => {
                failed(ErrorKind::Failed, "can it do what is asked (TLS, login)?").retry(Retry::Never)
            }
            None if error.is_timeout() => failed(ErrorKind::TimedOut, "is it up, and reachable from here?"),
            None => failed(ErrorKind::Unreachable, "is it up, and are `server`, `port` and `tls` right?"),
        }
    }

    fn subject(&self) -> String {
        format!("the notifier {}", self.name)
    }
}

#[async_trait]
impl Notifier for Email {
    async fn send(&self, cx: &Context, message: &Message) -> Result<()> {
        let (mail, transport) = (&self.mail(message)?, &self.transport().await?);
        with_retries(cx, || async move {
            transport.send(mail.clone()).await.map(drop).map_err(|error| self.explain(error))
        })
        .await
    }
}

/// What may stand behind the `@`; a host's name may hold more.
fn mail_host(host: &str) -> String {
    let host: String = host.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-')).collect();
    if host.is_empty() { "localhost".to_owned() } else { host }
}

/// Nobody's holiday answers it. RFC 3834.
#[derive(Clone)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> std::result::Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

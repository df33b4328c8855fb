//! TLS to PostgreSQL and to Patroni, where the feature is on.

use backup_core::words::Result;
use tokio_postgres::{Client, Config as Options, NoTls};

use super::{Address, lost, sql_error, wire::Wire};
use crate::config::{Config, SslMode};

#[cfg(feature = "tls")]
mod rustls_side;

/// How connections are encrypted.
#[derive(Clone)]
pub(crate) struct Tls {
    #[cfg(feature = "tls")]
    inner: rustls_side::Connectors,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls")
    }
}

impl Tls {
    /// Reads the certificates that the section names.
    pub(crate) fn new(config: &Config) -> Result<Self> {
        #[cfg(not(feature = "tls"))]
        let _ = config;
        Ok(Self {
            #[cfg(feature = "tls")]
            inner: rustls_side::Connectors::new(config)?,
        })
    }

    /// Speaks PostgreSQL's start-up on `stream`.
    pub(crate) async fn connect(
        &self,
        mut options: Options,
        mode: SslMode,
        address: &Address,
        stream: Wire,
        subject: &str,
    ) -> Result<Client> {
        // As libpq: a Unix socket is never encrypted.
        if mode == SslMode::Disable || address.is_socket() {
            options.ssl_mode(tokio_postgres::config::SslMode::Disable);
            let (client, connection) =
                options.connect_raw(stream, NoTls).await.map_err(|e| failed(subject, &e))?;
            drive(connection);
            return Ok(client);
        }
        #[cfg(feature = "tls")]
        return self.inner.connect_postgres(options, mode, address, stream, subject).await;
        #[cfg(not(feature = "tls"))]
        unreachable!("without the feature `tls` the only mode is `disable`")
    }

    /// Encrypts `stream` as https wants it.
    #[cfg(feature = "tls")]
    pub(crate) async fn https(&self, host: &str, stream: Wire, subject: &str) -> Result<Wire> {
        self.inner.https(host, stream, subject).await
    }
}

fn failed(subject: &str, source: &tokio_postgres::Error) -> backup_core::words::Error {
    match source.as_db_error() {
        Some(_) => sql_error("connect to", subject, source),
        None => lost("connect to", subject, source),
    }
}

/// Moves a connection's bytes until its client is dropped or the server closes it.
fn drive<S, T>(connection: tokio_postgres::Connection<S, T>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to PostgreSQL ended");
        }
    });
}

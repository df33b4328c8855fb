//! `[dashboard]`: where the dashboard listens, and who may see it.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use backup_core::{
    traits::{Node, SecretSource},
    words::{Result, Secret},
};
use backup_monitor::web::{ProxyLogin, Settings, TlsFiles};
use schemars::JsonSchema;
use serde::Deserialize;

/// Where it listens when nobody says otherwise.
const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// `[dashboard]`. On an address that others reach, it takes `tls`, and `token` or `trusted_header`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct DashboardSection {
    /// Address and port. Default: "127.0.0.1:8080".
    listen: Option<SocketAddr>,
    /// The certificate that it shows.
    tls: Option<TlsSection>,
    /// Who knows it may look; 16 characters at least: { file = "P" }, { env = "X" } or { command = ["..."] }.
    token: Option<SecretSource>,
    /// The header in which a proxy in front names who it let in, such as "X-Forwarded-User".
    trusted_header: Option<String>,
    /// Addresses of that proxy.
    trusted_proxies: Vec<IpAddr>,
    /// Names by which browsers may ask for it, besides localhost.
    hostnames: Vec<String>,
}

/// PEM files.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct TlsSection {
    /// The certificate, and those between it and its root.
    cert: PathBuf,
    /// Its key.
    key: PathBuf,
}

impl DashboardSection {
    /// Refuses what would show the dashboard to strangers, before any secret is read.
    ///
    /// # Errors
    /// With line and column.
    pub(super) fn check(&self, root: &Node) -> Result<()> {
        let place = if self.trusted_header.is_some() && self.trusted_proxies.is_empty() {
            "dashboard.trusted_header"
        } else if self.listen.is_some() {
            "dashboard.listen"
        } else {
            "dashboard"
        };
        // Whether the real one is long enough is seen when it is read.
        let token = self.token.as_ref().map(|_| Secret::new("x".repeat(64)));
        self.with(None, token)
            .check()
            .map_err(|e| root.error(place, e.to_string()).hint(e.advice().unwrap_or_default()))
    }

    /// The settings, with the token; `listen` goes before the configured one.
    ///
    /// # Errors
    /// When the token cannot be read.
    pub(crate) async fn settings(&self, listen: Option<SocketAddr>) -> Result<Settings> {
        let token = match &self.token {
            Some(token) => Some(token.resolve("token of the dashboard").await?),
            None => None,
        };
        Ok(self.with(listen, token))
    }

    fn with(&self, listen: Option<SocketAddr>, token: Option<Secret>) -> Settings {
        let tls = self.tls.as_ref();
        Settings {
            tls: tls.map(|tls| TlsFiles { cert: tls.cert.clone(), key: tls.key.clone() }),
            token,
            proxy: self.trusted_header.as_ref().map(|header| ProxyLogin {
                header: header.to_lowercase(),
                from: self.trusted_proxies.clone(),
            }),
            hostnames: self.hostnames.clone(),
            ..Settings::new(listen.or(self.listen).unwrap_or(LISTEN))
        }
    }
}

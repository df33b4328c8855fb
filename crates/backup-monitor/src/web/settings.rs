//! Where the dashboard listens, and who may see it.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use axum::http::HeaderName;
use backup_core::words::{Error, ErrorKind, Result, Secret};

/// A shorter token could be guessed.
const TOKEN: usize = 16;

/// How the dashboard is reached.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The address it listens on.
    pub listen: SocketAddr,
    /// The certificate that it shows; without one it speaks plain HTTP.
    pub tls: Option<TlsFiles>,
    /// Whoever knows it may look.
    pub token: Option<Secret>,
    /// A proxy that knows who is there.
    pub proxy: Option<ProxyLogin>,
    /// Names under which it may be asked for, besides localhost.
    pub hostnames: Vec<String>,
}

/// PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate and those between it and its root.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// A proxy that authenticates people and names them in a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyLogin {
    /// The header's name, in lower case.
    pub header: String,
    /// Where the proxy's connections come from; from anywhere else the header counts for nothing.
    pub from: Vec<IpAddr>,
}

impl Settings {
    /// On this address, for everybody who reaches it.
    pub fn new(listen: SocketAddr) -> Self {
        Self { listen, tls: None, token: None, proxy: None, hostnames: Vec::new() }
    }

    /// Whether a caller must say who it is.
    pub fn has_authentication(&self) -> bool {
        self.token.is_some() || self.proxy.is_some()
    }

    /// Refuses what would show the dashboard to strangers.
    ///
    /// # Errors
    /// [`ErrorKind::Config`].
    pub fn check(&self) -> Result<()> {
        let refused = |detail: &str| {
            Error::new(ErrorKind::Config, "open the dashboard", self.listen.to_string()).detail(detail)
        };
        if self.token.as_ref().is_some_and(|token| token.expose().len() < TOKEN) {
            return Err(refused("the token is too short: it could be guessed").hint(format!(
                "take {TOKEN} characters at least: `openssl rand -hex 32` prints a good one"
            )));
        }
        if self.proxy.as_ref().is_some_and(|proxy| proxy.from.is_empty()) {
            return Err(refused("anybody could send the trusted header")
                .hint("name the addresses that the proxy connects from: trusted_proxies = [\"10.0.0.5\"]"));
        }
        if let Some(proxy) = self.proxy.as_ref().filter(|proxy| HeaderName::try_from(&proxy.header).is_err())
        {
            return Err(refused(&format!("`{}` is no name of a header", proxy.header)));
        }
        if self.listen.ip().is_loopback() {
            return Ok(());
        }
        let missing = match (self.tls.is_some(), self.has_authentication()) {
            (true, true) => return Ok(()),
            (false, false) => "neither TLS nor authentication is configured",
            (false, true) => {
                "TLS is not configured: the token and all that is shown could be read on the way"
            }
            (true, false) => "no authentication is configured: everybody could look",
        };
        Err(refused(&format!("others reach this address, and {missing}"))
            .hint("listen on 127.0.0.1, or set `tls` and `token` (or `trusted_header`) in [dashboard]"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(listen: &str) -> Settings {
        Settings::new(listen.parse().unwrap())
    }

    #[test]
    fn an_address_that_others_reach_takes_tls_and_authentication() {
        for local in ["127.0.0.1:8080", "127.9.9.9:1", "[::1]:8080"] {
            settings(local).check().unwrap();
        }
        for open in ["0.0.0.0:8080", "[::]:8080", "10.0.0.1:80", "[::ffff:127.0.0.1]:80"] {
            let files = TlsFiles { cert: "a".into(), key: "b".into() };
            let token = Some(Secret::new("0123456789abcdef"));
            let bare = settings(open);
            let with_tls = Settings { tls: Some(files), ..bare.clone() };
            let with_token = Settings { token: token.clone(), ..bare.clone() };
            for refused in [&bare, &with_tls, &with_token] {
                let error = refused.check().unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Config, "{open}");
                assert!(error.advice().is_some());
            }
            Settings { token, ..with_tls }.check().unwrap();
        }
    }

    #[test]
    fn a_short_token_and_a_header_from_anywhere_are_refused() {
        let short = Settings { token: Some(Secret::new("hunter2")), ..settings("127.0.0.1:1") };
        let error = short.check().unwrap_err();
        assert!(!error.chain().contains("hunter2"), "{}", error.chain());
        let proxy = Some(ProxyLogin { header: "x-user".to_owned(), from: Vec::new() });
        assert!(Settings { proxy, ..settings("127.0.0.1:1") }.check().is_err());
    }
}

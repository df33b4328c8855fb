//! Certificates for servers and clients, made by openssl.

use super::error::Result;
use super::process::run;
use super::toolbox::Toolbox;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A certificate authority with one server and one client certificate, as PEM files.
#[derive(Debug, Clone)]
pub struct Certificates {
    /// The authority's certificate.
    pub ca: PathBuf,
    /// The server's certificate, for 127.0.0.1 and localhost.
    pub server_cert: PathBuf,
    /// The server's key (PKCS #8).
    pub server_key: PathBuf,
    /// The client's certificate; its common name is `root`.
    pub client_cert: PathBuf,
    /// The client's key (PKCS #8).
    pub client_key: PathBuf,
}

impl Certificates {
    /// Makes them in `folder`, which is created.
    ///
    /// # Errors
    /// When openssl is missing or fails.
    pub fn create(toolbox: &Toolbox, folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let openssl = toolbox.openssl()?;
        let file = |name: &str| folder.join(name);
        let authority = "basicConstraints=critical,CA:TRUE";
        let request = |name: &str, subject: &str, more: &[&str]| {
            let mut command = Command::new(&openssl);
            command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]);
            command.args(["-nodes", "-days", "30", "-subj", subject]).args(more);
            command.arg("-keyout").arg(file(&format!("{name}.key")));
            command.arg("-out").arg(file(&format!("{name}.crt"))).current_dir(folder);
            run(&mut command, &format!("openssl req ({name})"))
        };
        request("ca", "/CN=ha-backup test authority", &["-addext", authority])?;
        let signed = |name: &str, subject: &str, purpose: &str| {
            let purpose = format!("extendedKeyUsage={purpose}");
            let names = "subjectAltName=IP:127.0.0.1,DNS:localhost";
            let limits = "basicConstraints=critical,CA:FALSE";
            let more = ["-CA", "ca.crt", "-CAkey", "ca.key", "-addext", limits, "-addext", names];
            request(name, subject, &[&more[..], &["-addext", &purpose]].concat())
        };
        signed("server", "/CN=localhost", "serverAuth,clientAuth")?;
        signed("client", "/CN=root", "clientAuth")?;
        Ok(Self {
            ca: file("ca.crt"),
            server_cert: file("server.crt"),
            server_key: file("server.key"),
            client_cert: file("client.crt"),
            client_key: file("client.key"),
        })
    }
}

//! The side of TLS that needs rustls.

use std::{path::Path, sync::Arc};

use backup_core::words::{Error, ErrorKind, Result};
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, WebPkiSupportedAlgorithms},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
};
use tokio_postgres::{
    Client, Config as Options,
    tls::{MakeTlsConnect, TlsConnect},
};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{drive, failed};
use crate::{
    config::{Config, SslMode},
    connect::{Address, wire::Wire},
};

/// One connector for each use.
#[derive(Clone)]
pub(super) struct Connectors {
    postgres: MakeRustlsConnect,
    https: MakeRustlsConnect,
}

impl Connectors {
    pub(super) fn new(config: &Config) -> Result<Self> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        // As libpq: with an authority given, `require` checks the certificate's chain.
        let trust = match config.sslmode {
            SslMode::VerifyFull => Trust::Full,
            SslMode::VerifyCa => Trust::Chain,
            SslMode::Require if config.ca.is_some() => Trust::Chain,
            _ => Trust::Any,
        };
        Ok(Self {
            postgres: MakeRustlsConnect::new(client_config(config, &provider, trust)?),
            https: MakeRustlsConnect::new(client_config(config, &provider, Trust::Full)?),
        })
    }

    pub(super) async fn connect_postgres(
        &self,
        mut options: Options,
        mode: SslMode,
        address: &Address,
        stream: Wire,
        subject: &str,
    ) -> Result<Client> {
        options.ssl_mode(if mode == SslMode::Prefer {
            tokio_postgres::config::SslMode::Prefer
        } else {
            tokio_postgres::config::SslMode::Require
        });
        let tls = connector(&self.postgres, &address.host);
        let (client, connection) = options.connect_raw(stream, tls).await.map_err(|e| failed(subject, &e))?;
        drive(connection);
        Ok(client)
    }

    pub(super) async fn https(&self, host: &str, stream: Wire, subject: &str) -> Result<Wire> {
        let encrypted = connector(&self.https, host).connect(stream).await.map_err(|e| {
            Error::new(ErrorKind::Failed, "begin TLS with", subject)
                .hint("check `ca` of the component against the server's certificate")
                .because(e)
        })?;
        Ok(Wire(Box::new(encrypted)))
    }
}

type Connector = <MakeRustlsConnect as MakeTlsConnect<Wire>>::TlsConnect;

fn connector(make: &MakeRustlsConnect, host: &str) -> Connector {
    match MakeTlsConnect::<Wire>::make_tls_connect(&mut make.clone(), host) {
        Ok(connector) => connector,
        Err(never) => match never {},
    }
}

/// What is checked of a server's certificate.
#[derive(Clone, Copy)]
enum Trust {
    Any,
    Chain,
    Full,
}

fn client_config(config: &Config, provider: &Arc<CryptoProvider>, trust: Trust) -> Result<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|e| bad("set up TLS for", &config.user).because(e))?;
    let verifier: Arc<dyn ServerCertVerifier> = match trust {
        Trust::Any => {
            Arc::new(Lenient { chain: None, algorithms: provider.signature_verification_algorithms })
        }
        Trust::Chain => Arc::new(Lenient {
            chain: Some(web_pki(config, provider)?),
            algorithms: provider.signature_verification_algorithms,
        }),
        Trust::Full => web_pki(config, provider)?,
    };
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    match (&config.cert, &config.key) {
        (Some(cert), Some(key)) => {
            let chain = certificates(cert)?;
            let key = PrivateKeyDer::from_pem_file(key)
                .map_err(|e| bad("read the key", &key.display().to_string()).because(e))?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|e| bad("use the certificate", &cert.display().to_string()).because(e))
        }
        _ => Ok(builder.with_no_client_auth()),
    }
}

fn web_pki(config: &Config, provider: &Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>> {
    let mut roots = RootCertStore::empty();
    match &config.ca {
        Some(file) => {
            roots.add_parsable_certificates(certificates(file)?);
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map_err(|e| bad("use the authorities' certificates of", &config.user).because(e))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let subject = file.display().to_string();
    CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect::<std::result::Result<Vec<_>, _>>)
        .map_err(|e| bad("read the certificates", &subject).because(e))
}

fn bad(operation: &str, subject: &str) -> Error {
    Error::new(ErrorKind::Config, operation, subject).hint("check `ca`, `cert` and `key` of the component")
}

/// Checks the chain and not the name (libpq's verify-ca), or nothing at all (libpq's require without an authority).
#[derive(Debug)]
struct Lenient {
    chain: Option<Arc<WebPkiServerVerifier>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        use rustls::CertificateError::{NotValidForName, NotValidForNameContext};
        let Some(chain) = &self.chain else { return Ok(ServerCertVerified::assertion()) };
        match chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(rustls::Error::InvalidCertificate(NotValidForName | NotValidForNameContext { .. })) => {
                Ok(ServerCertVerified::assertion())
            }
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

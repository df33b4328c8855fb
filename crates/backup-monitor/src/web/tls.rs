//! The certificate.

use std::{path::Path, sync::Arc};

use backup_core::words::{BoxError, Error, ErrorKind, Result};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
};

use super::TlsFiles;

/// What accepts TLS connections with these files.
///
/// # Errors
/// [`ErrorKind::Config`] when they cannot be read or do not fit together.
pub(super) fn acceptor(files: &TlsFiles) -> Result<TlsAcceptor> {
    let certificates: Vec<_> = CertificateDer::pem_file_iter(&files.cert)
        .and_then(Iterator::collect)
        .map_err(|e| unusable(&files.cert, "read the certificate", e))?;
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|e| unusable(&files.key, "read the certificate's key", e))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(certificates, key))
        .map_err(|e| unusable(&files.cert, "use the certificate", e))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn unusable(file: &Path, operation: &str, error: impl Into<BoxError>) -> Error {
    Error::new(ErrorKind::Config, operation, file.display().to_string())
        .hint("`tls` of [dashboard] takes PEM files: { cert = \"fullchain.pem\", key = \"privkey.pem\" }")
        .because(error)
}

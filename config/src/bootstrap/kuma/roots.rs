//! Whom the control plane's certificate must come from.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use crate::model::tls::Validation;
use crate::verify::rustls::{ClientTls, ConfigError, Expect, client_config};
use crate::verify::{Trust, TrustError};

/// How the control plane's certificate is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerTrust {
    /// `--skip-verify`: not at all.
    Nobody,
    /// `--ca-cert-file`: by these certificates alone, PEM.
    Ca(String),
    /// By the system's roots.
    System,
}

/// Why there are no roots.
#[derive(Debug, thiserror::Error)]
pub enum RootsError {
    /// Not PEM.
    #[error("could not add certificate: the CA of the control plane holds no certificate in PEM form")]
    NoCertificate,
    /// None of the usual places has a bundle.
    #[error(
        "this system has no CA bundle, so the control plane can't be verified: pass its CA with --ca-cert-file \
         (the control plane keeps it as kuma-cp.crt in its work dir), or accept any with --skip-verify"
    )]
    NoSystemRoots,
    /// It is there and can't be read.
    #[error("cannot read the system's CA bundle {path}: {source}")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// TLS.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A certificate that can't be read.
    #[error(transparent)]
    Trust(#[from] TrustError),
}

/// Where Linux systems keep their CA bundle, in the order Go's crypto/x509 looks (Kuma takes the first that exists).
const BUNDLES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The system's CA bundle, if it has one.
pub fn system_ca_path() -> Option<PathBuf> {
    BUNDLES.iter().map(PathBuf::from).find(|p| p.exists())
}

impl ServerTrust {
    /// TLS 1.2 or later; the certificate must carry the name that is dialled.
    pub(super) fn tls(&self) -> Result<Arc<rustls::ClientConfig>, RootsError> {
        let trusted = match self {
            Self::Nobody => None,
            Self::Ca(pem) => Some(certificates(pem.as_bytes())),
            Self::System => Some(bundle(&system_bundle().ok_or(RootsError::NoSystemRoots)?)?),
        };
        if trusted.as_ref().is_some_and(Vec::is_empty) {
            return Err(if *self == Self::System { RootsError::NoSystemRoots } else { RootsError::NoCertificate });
        }
        let trust = trusted.map(|trusted| Trust::new(&trusted)).transpose()?;
        Ok(client_config(ClientTls {
            validation: trust.map(|trust| Validation::by_ca(trust.into()).into()),
            expect: Expect::Dialled,
            identity: None,
            alpn: &[b"http/1.1"],
            versions: (true, true),
        })?)
    }
}

/// As in Go, `SSL_CERT_FILE` has precedence.
pub(crate) fn system_bundle() -> Option<PathBuf> {
    std::env::var_os("SSL_CERT_FILE").map(PathBuf::from).or_else(system_ca_path)
}

fn bundle(path: &Path) -> Result<Vec<CertificateDer<'static>>, RootsError> {
    let pem = std::fs::read(path).map_err(|source| RootsError::Unreadable { path: path.to_owned(), source })?;
    // A bundle may hold what is no use as an anchor; the rest is.
    Ok(certificates(&pem).into_iter().filter(|der| webpki::anchor_from_trusted_cert(der).is_ok()).collect())
}

fn certificates(pem: &[u8]) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem).filter_map(Result::ok).collect()
}

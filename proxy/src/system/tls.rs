//! TLS on the client's side of a chain: certificates from the configuration, clients verified by trust anchors and
//! names.

use std::sync::Arc;

use config::model::tls::{Certificates, DownstreamTls, ValidationSource};
use config::verify::rustls::{client_verifier, provider};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, SupportedProtocolVersion};

/// Why a TLS context can't be served.
#[derive(Debug, thiserror::Error)]
pub(super) enum TlsError {
    #[error("no certificate")]
    NoCertificate,
    #[error("neither TLS 1.2 nor TLS 1.3 is allowed")]
    NoVersion,
    #[error("its certificates come from SDS")]
    Sds,
    #[error("a client certificate is required, but there is nothing to verify it by")]
    NoTrust,
    #[error("{0}")]
    Rustls(#[from] rustls::Error),
}

/// A server configuration for the context.
pub(super) fn server_config(tls: &DownstreamTls) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = provider();
    let versions: Vec<&SupportedProtocolVersion> = [(tls.parameters.tls13, &TLS13), (tls.parameters.tls12, &TLS12)]
        .into_iter()
        .filter_map(|(on, v)| on.then_some(v))
        .collect();
    if versions.is_empty() {
        return Err(TlsError::NoVersion);
    }
    let (Certificates::Inline(identities), None | Some(ValidationSource::Inline(_))) =
        (&tls.certificates, &tls.validation)
    else {
        return Err(TlsError::Sds);
    };
    let keys: Box<[Arc<CertifiedKey>]> = identities.iter().map(|identity| Arc::clone(&identity.certified)).collect();
    if keys.is_empty() {
        return Err(TlsError::NoCertificate);
    }
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(&versions)?;
    let builder = match &tls.validation {
        Some(ValidationSource::Inline(validation)) => {
            let verifier = client_verifier(Some(Arc::clone(validation)), tls.require_client_certificate);
            builder.with_client_cert_verifier(verifier)
        }
        Some(ValidationSource::Sds { .. }) => return Err(TlsError::Sds),
        None if tls.require_client_certificate => return Err(TlsError::NoTrust),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::new(ByKeyType(keys)));
    config.alpn_protocols = tls.alpn.iter().map(|name| name.to_vec()).collect();
    // A probe or a call of the control plane never comes back for its session.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// The first certificate whose key can sign with a scheme the client knows, as Envoy prefers by key type; else the
/// first of all.
#[derive(Debug)]
struct ByKeyType(Box<[Arc<CertifiedKey>]>);

impl ResolvesServerCert for ByKeyType {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let fits = |key: &&Arc<CertifiedKey>| key.key.choose_scheme(hello.signature_schemes()).is_some();
        self.0.iter().find(fits).or(self.0.first()).cloned()
    }
}

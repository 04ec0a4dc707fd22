//! TLS of clients and servers that take any server name, as Kuma's are none to rustls.

use std::sync::Arc;

use proxy::tls::names;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::ca::{Authority, Leaf};

/// A server that shows `leaf` and takes clients with a certificate of the authority, and those without one.
pub fn server(authority: &Authority, leaf: &Leaf, alpn: &[&str]) -> Arc<ServerConfig> {
    let provider = Arc::new(names::provider());
    let mut roots = RootCertStore::empty();
    roots.add(authority.root_der().clone()).expect("a certificate");
    let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(roots.into(), Arc::clone(&provider))
        .allow_unauthenticated()
        .build()
        .expect("roots");
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_client_cert_verifier(names::client_verifier(verifier));
    let mut config =
        config.with_single_cert(leaf.chain.clone(), leaf.key_der()).expect("a certificate that fits its key");
    config.alpn_protocols = alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
    Arc::new(config)
}

/// A client that shows `leaf`, if there is one, and trusts the authority, whatever name the server's certificate holds.
pub fn client(authority: &Authority, leaf: Option<&Leaf>, alpn: &[&str]) -> Arc<ClientConfig> {
    let config = authority.any_client(leaf, alpn, Arc::new(names::provider()));
    let mut config = (*config).clone();
    config.client_auth_cert_resolver = names::client_identity(config.client_auth_cert_resolver);
    Arc::new(config)
}

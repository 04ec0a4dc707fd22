//! Certificate authorities, what they issue, and TLS settings made of it.

mod chain_only;
mod leaf;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::CertificateDer;
use rustls::server::WebPkiClientVerifier;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};

use chain_only::ChainOnly;
pub use leaf::{Key, Leaf, Usage, Validity, Wanted};

/// An authority: of a mesh, of a zone, of the world outside.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// What is trusted: its own certificate, or that of the root above it.
    pem: String,
    root: CertificateDer<'static>,
    /// Shown with each leaf: from this authority up, without the root.
    between: Vec<(String, CertificateDer<'static>)>,
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl Authority {
    /// A new root.
    pub fn new() -> Self {
        let (params, key) = authority("the mesh' authority");
        let certificate = params.self_signed(&key).expect("a certificate");
        Self {
            pem: certificate.pem(),
            root: certificate.der().clone(),
            issuer: Issuer::new(params, key),
            between: Vec::new(),
        }
    }

    /// An authority below this one; its leaves come with the whole chain but the root.
    pub fn intermediate(&self) -> Self {
        let (params, key) = authority("an authority below");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let mut between = vec![(certificate.pem(), certificate.der().clone())];
        between.extend(self.between.iter().cloned());
        Self { pem: self.pem.clone(), root: self.root.clone(), issuer: Issuer::new(params, key), between }
    }

    /// The root's certificate, PEM: what others trust.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// The root's certificate as it goes over the wire.
    pub fn root_der(&self) -> &CertificateDer<'static> {
        &self.root
    }

    /// A certificate for a SPIFFE identity such as `spiffe://default/backend`, good for both sides of a handshake.
    pub fn issue(&self, identity: &str, key: Key) -> Leaf {
        self.issue_as(&Wanted { key, ..Wanted::identity(identity) })
    }

    /// Any certificate, also one that nobody should take.
    pub fn issue_as(&self, wanted: &Wanted) -> Leaf {
        let (params, key) = wanted.parameters();
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        Leaf::new(&certificate, &key, &self.between)
    }

    /// A server that shows `leaf` and asks for a certificate of this authority.
    pub fn server(&self, leaf: &Leaf, alpn: &[&str]) -> Arc<ServerConfig> {
        let verifier = WebPkiClientVerifier::builder_with_provider(roots(&[self]), provider()).build().expect("roots");
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_client_cert_verifier(verifier);
        let mut config =
            config.with_single_cert(leaf.chain.clone(), leaf.key_der()).expect("a certificate that fits its key");
        config.alpn_protocols = alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
        Arc::new(config)
    }

    /// A server of the world outside: it shows `leaf` and asks for nothing.
    pub fn plain_server(leaf: &Leaf) -> Arc<ServerConfig> {
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth();
        Arc::new(config.with_single_cert(leaf.chain.clone(), leaf.key_der()).expect("a certificate that fits its key"))
    }

    /// A client that shows `leaf` and trusts this authority, whatever name the server's certificate holds: in a mesh
    /// it is a SPIFFE identity, and the server name is but an address.
    pub fn client(&self, leaf: &Leaf, alpn: &[&str]) -> Arc<ClientConfig> {
        self.client_speaking(&TLS13, leaf, alpn)
    }

    /// The same with this one version of TLS.
    pub fn client_speaking(
        &self,
        version: &'static SupportedProtocolVersion,
        leaf: &Leaf,
        alpn: &[&str],
    ) -> Arc<ClientConfig> {
        self.client_with(version, Some(leaf), alpn)
    }

    /// The same without a certificate.
    pub fn client_without_certificate(&self, version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
        self.client_with(version, None, &[])
    }

    /// A client of TLS 1.2 or 1.3 with this cryptography, that shows `leaf`, if there is one, and trusts this authority,
    /// whatever name the server's certificate holds.
    pub fn any_client(&self, leaf: Option<&Leaf>, alpn: &[&str], provider: Arc<CryptoProvider>) -> Arc<ClientConfig> {
        client_by(provider, roots(&[self]), &[&TLS12, &TLS13], leaf, alpn)
    }

    fn client_with(
        &self,
        version: &'static SupportedProtocolVersion,
        leaf: Option<&Leaf>,
        alpn: &[&str],
    ) -> Arc<ClientConfig> {
        client(roots(&[self]), version, leaf, alpn)
    }

    /// A client that shows `leaf` and trusts any of these.
    pub fn client_of(trusted: &[&Self], leaf: &Leaf) -> Arc<ClientConfig> {
        client(roots(trusted), &TLS13, Some(leaf), &[])
    }
}

fn roots(of: &[&Authority]) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    of.iter().for_each(|authority| roots.add(authority.root.clone()).expect("a certificate"));
    Arc::new(roots)
}

fn client(
    roots: Arc<RootCertStore>,
    version: &'static SupportedProtocolVersion,
    leaf: Option<&Leaf>,
    alpn: &[&str],
) -> Arc<ClientConfig> {
    client_by(provider(), roots, &[version], leaf, alpn)
}

fn client_by(
    provider: Arc<CryptoProvider>,
    roots: Arc<RootCertStore>,
    versions: &[&'static SupportedProtocolVersion],
    leaf: Option<&Leaf>,
    alpn: &[&str],
) -> Arc<ClientConfig> {
    let chain = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider)).build().expect("roots");
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .expect("versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(ChainOnly(chain)));
    let mut config = match leaf {
        Some(leaf) => {
            config.with_client_auth_cert(leaf.chain.clone(), leaf.key_der()).expect("a certificate that fits its key")
        }
        None => config.with_no_client_auth(),
    };
    config.alpn_protocols = alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
    Arc::new(config)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn authority(common: &str) -> (CertificateParams, KeyPair) {
    let mut params = CertificateParams::new(Vec::new()).expect("parameters");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    // Two authorities of one name would be told apart by their keys alone, which is slow and confusing to read.
    params.distinguished_name = name(&format!("{common} {:08x}", fastrand::u32(..)));
    (params, KeyPair::generate().expect("a key"))
}

fn name(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common);
    name
}

//! Mutual TLS for the load: certificates made for the run, and how the client speaks.

use std::sync::Arc;

use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, SanType, SignatureAlgorithm,
};
use rustls::client::Resumption;
use rustls::pki_types::PrivateKeyDer;
use rustls::{CipherSuite, ClientConfig, RootCertStore};

use crate::error::Error;

/// What both ends' identities begin with.
pub const TRUST_DOMAIN: &str = "spiffe://mesh/";

/// Whose keys sign what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// RSA-2048 throughout, as Kuma 2.x.
    Rsa,
    /// ECDSA P-256 throughout.
    Ecdsa,
    /// An RSA-2048 authority, and ECDSA P-256 at both ends.
    RsaEcdsa,
}

impl Keys {
    /// All, with their names on the command line.
    pub const ALL: [(&str, Self); 3] = [("rsa", Self::Rsa), ("ecdsa", Self::Ecdsa), ("rsa-ecdsa", Self::RsaEcdsa)];

    const fn algorithms(self) -> [&'static SignatureAlgorithm; 2] {
        match self {
            Self::Rsa => [&PKCS_RSA_SHA256, &PKCS_RSA_SHA256],
            Self::Ecdsa => [&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P256_SHA256],
            Self::RsaEcdsa => [&PKCS_RSA_SHA256, &PKCS_ECDSA_P256_SHA256],
        }
    }
}

/// An authority, and a leaf of it for each end, in PEM where the proxy's configuration has them.
#[derive(Clone)]
pub struct Mutual {
    /// The authority's certificate.
    pub authority: String,
    /// The proxy's certificate.
    pub certificate: String,
    /// The key to it.
    pub key: String,
    /// The client's configuration: TLS 1.3, full handshakes only.
    pub client: Arc<ClientConfig>,
}

impl std::fmt::Debug for Mutual {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Mutual")
    }
}

impl Mutual {
    /// Makes the keys and certificates.
    pub fn new(keys: Keys) -> Result<Self, Error> {
        let [of_authority, of_leaf] = keys.algorithms();
        let mut params = CertificateParams::new([]).map_err(tls)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate_for(of_authority).map_err(tls)?;
        let authority = CertifiedIssuer::self_signed(params, key).map_err(tls)?;
        let (server, client) = (leaf(&authority, of_leaf, "egress")?, leaf(&authority, of_leaf, "client")?);

        let mut roots = RootCertStore::empty();
        roots.add(authority.der().clone()).map_err(tls)?;
        let mut provider = rustls::crypto::aws_lc_rs::default_provider();
        // BoringSSL, Go and browsers ask for AES-128 first.
        provider.cipher_suites.sort_by_key(|suite| suite.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256);
        let key = PrivateKeyDer::try_from(client.key.serialize_der()).map_err(tls)?;
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(tls)?
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![client.certificate.der().clone()], key)
            .map_err(tls)?;
        config.resumption = Resumption::disabled();
        Ok(Self {
            authority: authority.as_ref().pem(),
            certificate: server.certificate.pem(),
            key: server.key.serialize_pem(),
            client: Arc::new(config),
        })
    }
}

struct Leaf {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

fn leaf(
    authority: &CertifiedIssuer<'_, KeyPair>,
    algorithm: &'static SignatureAlgorithm,
    name: &str,
) -> Result<Leaf, Error> {
    // The load asks for many server names; all of them are this end's.
    let mut params = CertificateParams::new(["*.mesh.test".to_owned()]).map_err(tls)?;
    let id = Ia5String::try_from(format!("{TRUST_DOMAIN}{name}")).map_err(tls)?;
    params.subject_alt_names.push(SanType::URI(id));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate_for(algorithm).map_err(tls)?;
    let certificate = params.signed_by(&key, authority).map_err(tls)?;
    Ok(Leaf { certificate, key })
}

fn tls(error: impl std::fmt::Display) -> Error {
    Error::Tls(error.to_string())
}

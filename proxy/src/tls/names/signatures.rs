//! TLS 1.2: what a client signs to prove its certificate is the messages themselves.

use std::sync::Arc;

use rustls::client::ResolvesClientCert;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureAlgorithm, SignatureScheme};

use super::Mask;

/// A verifier of clients whose TLS 1.2 signatures are checked over the messages on the wire.
pub fn client_verifier(inner: Arc<dyn ClientCertVerifier>) -> Arc<dyn ClientCertVerifier> {
    Arc::new(Verifier(inner))
}

/// A client's certificates, whose keys sign the messages on the wire.
pub fn client_identity(inner: Arc<dyn ResolvesClientCert>) -> Arc<dyn ResolvesClientCert> {
    Arc::new(Resolver(inner))
}

#[derive(Debug)]
struct Verifier(Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for Verifier {
    fn offer_client_auth(&self) -> bool {
        self.0.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.0.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.0.verify_client_cert(leaf, rest, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match Mask::current() {
            None => self.0.verify_tls12_signature(message, leaf, signed),
            Some(mask) => self.0.verify_tls12_signature(&mask.on_the_wire(message), leaf, signed),
        }
    }

    /// TLS 1.3 signs the transcript's hash.
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, leaf, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }

    fn requires_raw_public_keys(&self) -> bool {
        self.0.requires_raw_public_keys()
    }
}

#[derive(Debug)]
struct Resolver(Arc<dyn ResolvesClientCert>);

impl ResolvesClientCert for Resolver {
    fn resolve(&self, hints: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let certified = self.0.resolve(hints, schemes)?;
        let Some(mask) = Mask::current() else { return Some(certified) };
        let key = Arc::new(Key { inner: Arc::clone(&certified.key), mask });
        Some(Arc::new(CertifiedKey { cert: certified.cert.clone(), key, ocsp: certified.ocsp.clone() }))
    }

    fn only_raw_public_keys(&self) -> bool {
        self.0.only_raw_public_keys()
    }

    fn has_certs(&self) -> bool {
        self.0.has_certs()
    }
}

/// A key for one connection.
#[derive(Debug)]
struct Key {
    inner: Arc<dyn SigningKey>,
    mask: Arc<Mask>,
}

impl SigningKey for Key {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let inner = self.inner.choose_scheme(offered)?;
        Some(Box::new(WireSigner { inner, mask: Arc::clone(&self.mask) }))
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        self.inner.public_key()
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.inner.algorithm()
    }
}

#[derive(Debug)]
struct WireSigner {
    inner: Box<dyn Signer>,
    mask: Arc<Mask>,
}

impl Signer for WireSigner {
    /// In TLS 1.3 `message` is no handshake message (it starts with spaces), and stays what it is.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        self.inner.sign(&self.mask.on_the_wire(message))
    }

    fn scheme(&self) -> SignatureScheme {
        self.inner.scheme()
    }
}

//! Certificates, configurations and handshakes in memory, for tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, NamedGroup, RootCertStore, ServerConfig, SignatureScheme,
    SupportedProtocolVersion,
};

use super::Facts;
use super::error::TlsError;
use super::handshake::{Handshake, Status};
use super::names::{self, ClientConfigs, ServerConfigs};
use super::records::Records;

/// An authority and one certificate of it, for both ends.
pub(crate) struct Pki {
    pub(crate) ca: CertificateDer<'static>,
    pub(crate) ca_pem: String,
    pub(crate) leaf: CertificateDer<'static>,
    pub(crate) leaf_pem: String,
    pub(crate) key: KeyPair,
}

impl Pki {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "authority");
        let ca_key = KeyPair::generate().unwrap();
        let ca = params.self_signed(&ca_key).unwrap();
        let issuer = Issuer::new(params, ca_key);
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["leaf.test".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "leaf");
        params.subject_alt_names.push(SanType::URI("spiffe://default/backend".try_into().unwrap()));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let leaf = params.signed_by(&key, &issuer).unwrap();
        Self { ca_pem: ca.pem(), ca: ca.der().clone(), leaf_pem: leaf.pem(), leaf: leaf.der().clone(), key }
    }

    fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.ca.clone()).unwrap();
        Arc::new(roots)
    }

    fn secret(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::try_from(self.key.serialize_der()).unwrap()
    }
}

/// What two ends speak.
#[derive(Clone, Copy)]
pub(crate) struct Setup {
    pub(crate) versions: &'static [&'static SupportedProtocolVersion],
    pub(crate) client_groups: &'static [NamedGroup],
    pub(crate) server_groups: &'static [NamedGroup],
    pub(crate) client_auth: bool,
}

pub(crate) const TLS13: Setup = Setup {
    versions: &[&rustls::version::TLS13],
    client_groups: &[NamedGroup::X25519, NamedGroup::secp256r1],
    server_groups: &[NamedGroup::X25519, NamedGroup::secp256r1],
    client_auth: true,
};
pub(crate) const TLS12: Setup = Setup { versions: &[&rustls::version::TLS12], ..TLS13 };
/// The client's key share is of a group that the server does not take: HelloRetryRequest.
pub(crate) const RETRY: Setup = Setup { server_groups: &[NamedGroup::secp256r1], ..TLS13 };
pub(crate) const SETUPS: [Setup; 4] = [TLS13, TLS12, RETRY, Setup { client_auth: false, ..TLS12 }];

fn provider(groups: &[NamedGroup]) -> Arc<rustls::crypto::CryptoProvider> {
    let mut provider = names::provider();
    let all = std::mem::take(&mut provider.kx_groups);
    provider.kx_groups = groups.iter().map(|g| *all.iter().find(|have| have.name() == *g).unwrap()).collect();
    Arc::new(provider)
}

impl Setup {
    pub(crate) fn server(&self, pki: &Pki) -> Arc<ServerConfigs> {
        Arc::new(ServerConfigs::new(self.server_config(pki)))
    }

    pub(crate) fn server_config(&self, pki: &Pki) -> ServerConfig {
        let provider = provider(self.server_groups);
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(self.versions);
        let builder = if self.client_auth {
            let verifier = WebPkiClientVerifier::builder_with_provider(pki.roots(), provider).build().unwrap();
            builder.unwrap().with_client_cert_verifier(names::client_verifier(verifier))
        } else {
            builder.unwrap().with_no_client_auth()
        };
        let mut config = builder.with_single_cert(vec![pki.leaf.clone()], pki.secret()).unwrap();
        config.alpn_protocols = vec![b"kuma".to_vec()];
        config
    }

    pub(crate) fn client(&self, pki: &Pki) -> ClientConfigs {
        let provider = provider(self.client_groups);
        let verifier = WebPkiServerVerifier::builder_with_provider(pki.roots(), Arc::clone(&provider)).build().unwrap();
        let certified = CertifiedKey::from_der(vec![pki.leaf.clone()], pki.secret(), &provider).unwrap();
        let identity = names::client_identity(Arc::new(SingleCertAndKey::from(certified)));
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(self.versions)
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(LeafTest(verifier)))
            .with_client_cert_resolver(identity);
        config.alpn_protocols = vec![b"kuma".to_vec()];
        ClientConfigs::new(config)
    }
}

/// Verifies servers as `leaf.test`, whatever they are called.
#[derive(Debug)]
struct LeafTest(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for LeafTest {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.0.verify_server_cert(leaf, rest, &ServerName::try_from("leaf.test").unwrap(), ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, leaf, signed)
    }

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
}

/// One end of an established session.
pub(super) struct End {
    pub(super) records: Records,
    pub(super) facts: Facts,
    pub(super) sealed: Vec<u8>,
}

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    ToServer,
    ToClient,
}

/// How a handshake ended at each end: `None` where it is not over when nothing moves any more.
pub(super) type Outcome = Option<Result<End, TlsError>>;

/// Runs a handshake. `wire` is given each flight and gives what arrives, in pieces.
pub(super) fn shake(
    mut client: Handshake,
    mut server: Handshake,
    mut wire: impl FnMut(Way, Vec<u8>) -> Vec<Vec<u8>>,
) -> (Outcome, Outcome) {
    let (mut to_client, mut to_server) = (Vec::new(), Vec::new());
    let (mut client_status, mut server_status) = (Ok(Status::More), Ok(Status::More));
    for round in 0.. {
        assert!(round < 20, "the handshake does not end");
        let said = turn(&mut client, &mut client_status, &std::mem::take(&mut to_client));
        let silent = said.is_empty();
        to_server.extend(if silent { Vec::new() } else { wire(Way::ToServer, said) });
        let said = turn(&mut server, &mut server_status, &std::mem::take(&mut to_server));
        if silent && said.is_empty() {
            break;
        }
        to_client.extend(if said.is_empty() { Vec::new() } else { wire(Way::ToClient, said) });
    }
    (outcome(client, client_status), outcome(server, server_status))
}

fn turn(end: &mut Handshake, status: &mut Result<Status, TlsError>, pieces: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    let silent: &[Vec<u8>] = &[Vec::new()];
    for piece in if pieces.is_empty() { silent } else { pieces } {
        if matches!(status, Ok(Status::More)) {
            *status = end.receive(piece).and_then(|()| end.advance(&mut out));
        } else if status.is_ok() {
            end.receive(piece).unwrap();
        }
    }
    out
}

fn outcome(end: Handshake, status: Result<Status, TlsError>) -> Outcome {
    match status {
        Ok(Status::More) => None,
        Ok(Status::Done) => Some(end.finish().map(|(records, facts, sealed)| End { records, facts, sealed })),
        Err(error) => Some(Err(error)),
    }
}

/// The wire that leaves all as it is.
pub(super) fn straight(_: Way, bytes: Vec<u8>) -> Vec<Vec<u8>> {
    vec![bytes]
}

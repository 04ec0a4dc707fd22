//! Certificates of workloads and servers, good ones and bad ones.

use std::net::IpAddr;
use std::time::Duration;

use rcgen::{
    Certificate, CertificateParams, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
    PKCS_RSA_SHA256, RsaKeySize, SanType,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use time::OffsetDateTime;

use super::name;

/// A key's kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// ECDSA on P-256.
    Ecdsa,
    /// RSA with 2048 bits.
    Rsa,
}

/// When it is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// For all the time that a test may take.
    Always,
    /// Until an hour ago.
    Expired,
    /// From in an hour on.
    NotYet,
    /// From an hour ago until so long from now.
    For(Duration),
}

/// What it is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// Both sides of a handshake.
    Both,
    /// Clients alone.
    Client,
    /// Servers alone.
    Server,
    /// Signing code: no handshake at all.
    Other,
}

/// A certificate to be issued.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// URIs of the subject alternative names: SPIFFE identities.
    pub uris: Vec<String>,
    /// DNS names.
    pub dns: Vec<String>,
    /// IP addresses.
    pub ips: Vec<IpAddr>,
    /// Its key.
    pub key: Key,
    /// When it is good.
    pub validity: Validity,
    /// What it is good for.
    pub usage: Usage,
}

impl Wanted {
    /// Of a workload.
    pub fn identity(identity: &str) -> Self {
        Self { uris: vec![identity.to_owned()], ..Self::nobody() }
    }

    /// Of a server outside the mesh.
    pub fn server(dns: &str) -> Self {
        Self { dns: vec![dns.to_owned()], usage: Usage::Server, ..Self::nobody() }
    }

    fn nobody() -> Self {
        Self {
            uris: Vec::new(),
            dns: Vec::new(),
            ips: Vec::new(),
            key: Key::Ecdsa,
            validity: Validity::Always,
            usage: Usage::Both,
        }
    }

    /// Signed by itself and by nobody else.
    pub fn self_signed(&self) -> Leaf {
        let (params, key) = self.parameters();
        Leaf::new(&params.self_signed(&key).expect("a certificate"), &key, &[])
    }

    pub(super) fn parameters(&self) -> (CertificateParams, KeyPair) {
        let Self { uris, dns, ips, key, validity, usage } = self;
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        let uris = uris.iter().map(|uri| SanType::URI(uri.as_str().try_into().expect("an ASCII identity")));
        let dns = dns.iter().map(|dns| SanType::DnsName(dns.as_str().try_into().expect("an ASCII name")));
        params.subject_alt_names = uris.chain(dns).chain(ips.iter().map(|ip| SanType::IpAddress(*ip))).collect();
        params.distinguished_name = name("a workload");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = match usage {
            Usage::Both => vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
            Usage::Client => vec![ExtendedKeyUsagePurpose::ClientAuth],
            Usage::Server => vec![ExtendedKeyUsagePurpose::ServerAuth],
            Usage::Other => vec![ExtendedKeyUsagePurpose::CodeSigning],
        };
        let (now, hour) = (OffsetDateTime::now_utc(), time::Duration::HOUR);
        match validity {
            Validity::Always => {}
            Validity::Expired => (params.not_before, params.not_after) = (now - 2 * hour, now - hour),
            Validity::NotYet => (params.not_before, params.not_after) = (now + hour, now + 2 * hour),
            Validity::For(left) => (params.not_before, params.not_after) = (now - hour, now + *left),
        }
        let key = match key {
            Key::Ecdsa => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256),
            Key::Rsa => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048),
        };
        (params, key.expect("a key"))
    }
}

/// A certificate and its key.
pub struct Leaf {
    /// The certificate and the authorities between it and the root, PEM.
    pub certificate: String,
    /// Its key, PEM.
    pub key: String,
    /// The certificate as it goes over the wire.
    pub der: CertificateDer<'static>,
    /// The same with the authorities between it and the root.
    pub chain: Vec<CertificateDer<'static>>,
    secret: PrivateKeyDer<'static>,
}

impl Leaf {
    pub(super) fn new(certificate: &Certificate, key: &KeyPair, between: &[(String, CertificateDer<'static>)]) -> Self {
        let der = certificate.der().clone();
        Self {
            certificate: between.iter().fold(certificate.pem(), |all, (pem, _)| all + pem),
            key: key.serialize_pem(),
            chain: std::iter::once(der.clone()).chain(between.iter().map(|(_, der)| der.clone())).collect(),
            der,
            secret: PrivateKeyDer::try_from(key.serialize_der()).expect("PKCS 8"),
        }
    }

    /// Its key as rustls takes it.
    pub fn key_der(&self) -> PrivateKeyDer<'static> {
        self.secret.clone_key()
    }
}

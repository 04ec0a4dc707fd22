//! What a certificate says of its holder, in the forms in which Envoy prints and matches it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{Algorithm, SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;

use super::name;

/// A certificate's holder. Parsed when somebody asks: RBAC, or a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// URI SANs: the SPIFFE ID.
    pub uri_sans: Box<[Box<str>]>,
    /// DNS SANs.
    pub dns_sans: Box<[Box<str>]>,
    /// IP SANs in text form.
    pub ip_sans: Box<[Box<str>]>,
    /// E-mail SANs.
    pub email_sans: Box<[Box<str>]>,
    /// Distinguished name (RFC 2253), empty in SVIDs.
    pub subject: Box<str>,
    /// The issuer's.
    pub issuer: Box<str>,
    /// Lower-case hexadecimal.
    pub serial: Box<str>,
    /// First second.
    pub not_before: SystemTime,
    /// Last second.
    pub not_after: SystemTime,
}

/// Nobody.
impl Default for Peer {
    fn default() -> Self {
        Self {
            uri_sans: Box::default(),
            dns_sans: Box::default(),
            ip_sans: Box::default(),
            email_sans: Box::default(),
            subject: Box::default(),
            issuer: Box::default(),
            serial: Box::default(),
            not_before: UNIX_EPOCH,
            not_after: UNIX_EPOCH,
        }
    }
}

impl Peer {
    /// Reads a certificate; `None` where it is none.
    pub fn of(der: &[u8]) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(der).ok()?;
        let sans = |pick: fn(&GeneralName<'_>) -> Option<Box<str>>| -> Box<[Box<str>]> {
            let extension = parsed.subject_alternative_name().ok().flatten();
            extension.iter().flat_map(|e| &e.value.general_names).filter_map(pick).collect()
        };
        Some(Self {
            uri_sans: sans(|name| match name {
                GeneralName::URI(uri) => Some((*uri).into()),
                _ => None,
            }),
            dns_sans: sans(|name| match name {
                GeneralName::DNSName(dns) => Some((*dns).into()),
                _ => None,
            }),
            ip_sans: sans(|name| match name {
                GeneralName::IPAddress(bytes) => ip(bytes).map(|ip| ip.to_string().into()),
                _ => None,
            }),
            email_sans: sans(|name| match name {
                GeneralName::RFC822Name(mail) => Some((*mail).into()),
                _ => None,
            }),
            subject: name::rfc2253(parsed.subject()).into(),
            issuer: name::rfc2253(parsed.issuer()).into(),
            serial: serial(&parsed),
            not_before: at(parsed.validity().not_before.timestamp()),
            not_after: at(parsed.validity().not_after.timestamp()),
        })
    }
}

/// The serial number of a certificate, as in [`Peer::serial`].
pub(crate) fn serial_of(der: &[u8]) -> Option<Box<str>> {
    X509Certificate::from_der(der).ok().map(|(_, parsed)| serial(&parsed))
}

/// Whole bytes without leading zeros.
fn serial(parsed: &X509Certificate<'_>) -> Box<str> {
    let bytes = parsed.raw_serial();
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    match &bytes[zeros..] {
        [] => "0".into(),
        bytes => hex(bytes).into(),
    }
}

/// SHA-256 of a certificate, lower-case hexadecimal.
pub fn sha256(der: &[u8]) -> String {
    fingerprint(&SHA256, der)
}

/// SHA-1 of a certificate: a name for it in old lists, no more.
pub(crate) fn sha1(der: &[u8]) -> String {
    fingerprint(&SHA1_FOR_LEGACY_USE_ONLY, der)
}

fn fingerprint(algorithm: &'static Algorithm, der: &[u8]) -> String {
    hex(digest(algorithm, der).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// PEM, percent-encoded for a header as Envoy does.
pub fn pem(der: &[u8]) -> String {
    let mut out = String::from("-----BEGIN%20CERTIFICATE-----%0A");
    // 48 bytes are a line of 64 characters.
    for line in der.chunks(48) {
        let line = STANDARD.encode(line).replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
        out.push_str(&line);
        out.push_str("%0A");
    }
    out.push_str("-----END%20CERTIFICATE-----%0A");
    out
}

/// A chain of certificates, as [`pem`] writes each.
pub fn chain_pem<'a>(chain: impl Iterator<Item = &'a [u8]>) -> String {
    chain.map(pem).collect()
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(|b| IpAddr::V4(Ipv4Addr::from(b)));
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(|b| IpAddr::V6(Ipv6Addr::from(b)))).ok()
}

/// Before 1970 nothing was valid.
fn at(seconds: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType, SerialNumber};

    use super::*;

    fn certificate() -> Vec<u8> {
        let mut params = CertificateParams::new(vec!["client.example".into()]).unwrap();
        params.subject_alt_names.push(SanType::URI("spiffe://default/client".try_into().unwrap()));
        params.subject_alt_names.push(SanType::IpAddress("127.0.0.1".parse().unwrap()));
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "acme, inc");
        params.distinguished_name.push(DnType::CommonName, "client");
        params.serial_number = Some(SerialNumber::from_slice(&[0x0a, 0x8c, 0x34]));
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn as_envoy_prints_it() {
        let der = certificate();
        let peer = Peer::of(&der).unwrap();
        assert_eq!(peer.uri_sans, ["spiffe://default/client".into()].into());
        assert_eq!(peer.dns_sans, ["client.example".into()].into());
        assert_eq!(peer.ip_sans, ["127.0.0.1".into()].into());
        assert_eq!((&*peer.subject, &*peer.serial), ("CN=client,O=acme\\, inc", "0a8c34"));
        assert_eq!(peer.issuer, peer.subject);
        assert!(Peer::of(b"nothing").is_none());
        assert_eq!(sha256(&der).len(), 64);
        assert_eq!(sha1(b"abc"), "a9993e364706816aba3e25717850c26c9cd0d89d");
        assert_eq!(sha256(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn pem_as_a_header_takes_it() {
        let body = |der: &[u8]| {
            let pem = pem(der);
            let inner = pem.strip_prefix("-----BEGIN%20CERTIFICATE-----%0A").unwrap();
            inner.strip_suffix("-----END%20CERTIFICATE-----%0A").unwrap().to_owned()
        };
        assert_eq!(body(b"Man"), "TWFu%0A");
        assert_eq!(body(b"Ma"), "TWE%3D%0A");
        assert_eq!(body(b"M"), "TQ%3D%3D%0A");
        assert_eq!(body(&[0xfb, 0xff]), "%2B%2F8%3D%0A");
        assert_eq!(body(&[0; 49]).split("%0A").map(str::len).collect::<Vec<_>>(), [64, 8, 0]);
    }
}

//! Which certificate a client is shown: by the server name it asks for, then by what it can verify.
//!
//! As Envoy's `DefaultTlsCertificateSelector`: a certificate of that very name, then one of the wildcard above it, and
//! among those ECDSA where the client can, else RSA. Where none carries the name (in a mesh none does: identities are
//! URIs), or none was asked for, all are looked at.

use std::sync::Arc;

use config::model::tls::{DownstreamTls, Identity, SanKind};
use hashbrown::HashMap;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{SignatureAlgorithm, SignatureScheme};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::notes;

/// All certificates of a context; never empty.
#[derive(Debug)]
pub(super) struct Selector {
    all: Box<[Arc<Identity>]>,
    /// Which of them carry a name; wildcards begin with a dot.
    named: HashMap<Box<str>, Vec<usize>>,
    require_sni: bool,
    /// A certificate that does not carry the name is chosen by key, as if none had been asked for; else it is the first.
    full_scan: bool,
}

impl Selector {
    pub(super) fn new(all: Box<[Arc<Identity>]>, tls: &DownstreamTls) -> Self {
        Self::of(all, tls.require_sni, tls.full_scan_certs_on_sni_mismatch)
    }

    fn of(all: Box<[Arc<Identity>]>, require_sni: bool, full_scan: bool) -> Self {
        let mut named: HashMap<Box<str>, Vec<usize>> = HashMap::new();
        for (at, identity) in all.iter().enumerate() {
            for name in names(identity) {
                let pattern = name.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(&name);
                named.entry(pattern.into()).or_default().push(at);
            }
        }
        Self { all, named, require_sni, full_scan }
    }

    fn select(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<&Arc<Identity>> {
        let of = |pattern: &str| {
            let places = self.named.get(pattern).map_or(&[][..], Vec::as_slice);
            best(places.iter().filter_map(|at| self.all.get(*at)), schemes)
        };
        let by_name = name.and_then(|name| {
            let parent = name.char_indices().skip(1).find(|(_, c)| *c == '.').map(|(at, _)| &name[at..]);
            of(name).or_else(|| parent.filter(|parent| parent.len() > 1).and_then(of))
        });
        let first = || {
            let mismatch = name.is_some() && !self.full_scan;
            self.all.first().filter(|first| mismatch && first.certified.key.choose_scheme(schemes).is_some())
        };
        by_name.or_else(first).or_else(|| best(self.all.iter(), schemes)).or_else(|| self.all.first())
    }
}

impl ResolvesServerCert for Selector {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name();
        if self.require_sni && name.is_none() {
            notes::lacks_server_name();
            return None;
        }
        let identity = self.select(name, hello.signature_schemes())?;
        notes::presents(identity);
        Some(Arc::clone(&identity.certified))
    }
}

/// The first whose key can sign so that the client can verify it; ECDSA before any other.
fn best<'a>(
    candidates: impl Iterator<Item = &'a Arc<Identity>>,
    schemes: &[SignatureScheme],
) -> Option<&'a Arc<Identity>> {
    let mut other = None;
    for identity in candidates {
        let key = &identity.certified.key;
        if key.choose_scheme(schemes).is_none() {
            continue;
        }
        if key.algorithm() == SignatureAlgorithm::ECDSA {
            return Some(identity);
        }
        other = other.or(Some(identity));
    }
    other
}

/// DNS names; the common name where there are no alternative names at all (RFC 6125 §6.4.4).
fn names(identity: &Identity) -> Vec<String> {
    if !identity.facts.names.is_empty() {
        let dns = identity.facts.names.iter().filter(|(kind, _)| *kind == SanKind::Dns);
        return dns.map(|(_, name)| name.to_ascii_lowercase()).collect();
    }
    let parsed = identity.chain().first().and_then(|der| X509Certificate::from_der(der).ok());
    let Some((_, parsed)) = parsed else { return Vec::new() };
    if parsed.subject_alternative_name().ok().flatten().is_some() {
        return Vec::new();
    }
    let common = parsed.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
    common.filter(|name| !name.is_empty()).map(str::to_ascii_lowercase).into_iter().collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519};

    use super::*;

    const ECDSA: SignatureScheme = SignatureScheme::ECDSA_NISTP256_SHA256;
    const ED25519: SignatureScheme = SignatureScheme::ED25519;

    /// Ed25519 stands for every key that is not ECDSA.
    fn identity(sans: &[&str], common: &str, ecdsa: bool) -> Arc<Identity> {
        let key = KeyPair::generate_for(if ecdsa { &PKCS_ECDSA_P256_SHA256 } else { &PKCS_ED25519 }).unwrap();
        let mut params = CertificateParams::new(sans.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>()).unwrap();
        params.distinguished_name.push(DnType::CommonName, common);
        let certificate = params.self_signed(&key).unwrap();
        let der = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        Arc::new(Identity::new(vec![certificate.der().clone()], &der).unwrap())
    }

    #[test]
    fn by_name_and_then_by_key() {
        let all = [
            identity(&["a.example"], "x", false),
            identity(&["a.example"], "x", true),
            identity(&["*.b.example"], "x", false),
            identity(&[], "C.example", true),
            identity(&["d.example"], "hidden.example", false),
        ];
        let selector = Selector::of(all.clone().into(), false, true);
        let chosen = |name: Option<&str>, schemes: &[SignatureScheme]| {
            let found = selector.select(name, schemes).unwrap();
            all.iter().position(|identity| Arc::ptr_eq(identity, found)).unwrap()
        };
        let both = [ECDSA, ED25519];
        assert_eq!(chosen(Some("a.example"), &both), 1, "ECDSA where the client can");
        assert_eq!(chosen(Some("a.example"), &[ED25519]), 0);
        assert_eq!(chosen(Some("x.b.example"), &both), 2);
        assert_eq!(chosen(Some("c.example"), &both), 3);
        assert_eq!(chosen(Some("hidden.example"), &both), 1, "a common name beside alternative names is no name");
        assert_eq!(chosen(Some("b.example"), &both), 1, "a wildcard is not its own parent");
        assert_eq!(chosen(Some("y.x.b.example"), &both), 1, "nor does it cover two labels");
        assert_eq!(chosen(Some("x.b.example"), &[ECDSA]), 1, "of another name rather than one that can't be verified");
        let picky = Selector::of(all.clone().into(), false, false);
        assert!(Arc::ptr_eq(picky.select(Some("nobody"), &both).unwrap(), &all[0]), "the first, as in Envoy");
        assert!(Arc::ptr_eq(picky.select(Some("nobody"), &[ECDSA]).unwrap(), &all[1]), "if the client can verify it");
        assert_eq!((chosen(None, &both), chosen(None, &[ED25519]), chosen(None, &[])), (1, 0, 0));
    }
}

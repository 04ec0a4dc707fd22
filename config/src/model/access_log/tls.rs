//! Operators about TLS: `%DOWNSTREAM_PEER_URI_SAN%`, `%UPSTREAM_TLS_VERSION%` and their like.

/// What of which side is printed; `-` where that side is plain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsOperator {
    /// The endpoint's side instead of the client's.
    pub upstream: bool,
    /// The certificate that we presented instead of the peer's; of no concern to facts about the session.
    pub local: bool,
    /// What.
    pub fact: Fact,
    /// `(format)` of a date.
    pub format: Option<Box<str>>,
}

/// One fact about a certificate or a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // each is Envoy's operator of the same name
pub enum Fact {
    UriSan,
    DnsSan,
    IpSan,
    EmailSan,
    OtherNameSan,
    Subject,
    Issuer,
    Serial,
    Fingerprint1,
    Fingerprint256,
    ChainFingerprints1,
    ChainFingerprints256,
    ChainSerials,
    Cert,
    CertValidFrom,
    CertValidUntil,
    SessionId,
    Cipher,
    Version,
}

impl TlsOperator {
    /// The operators that Envoy 1.40 has, and no others.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let (upstream, rest) = match name.split_once('_')? {
            ("DOWNSTREAM", rest) => (false, rest),
            ("UPSTREAM", rest) => (true, rest),
            _ => return None,
        };
        let (party, fact) = rest.split_once('_')?;
        let (local, fact) = match party {
            "PEER" => (false, peer(fact).filter(|fact| !upstream || of_endpoint(*fact))?),
            "LOCAL" => (true, own(fact).filter(|fact| !upstream || of_endpoint(*fact) && *fact != Fact::Subject)?),
            "TLS" => (false, session(fact)?),
            _ => return None,
        };
        Some(Self { upstream, local, fact, format: None })
    }

    /// Whether `(format)` may follow.
    pub(super) fn takes_format(&self) -> bool {
        matches!(self.fact, Fact::CertValidFrom | Fact::CertValidUntil)
    }
}

fn peer(name: &str) -> Option<Fact> {
    Some(match name {
        "ISSUER" => Fact::Issuer,
        "SERIAL" => Fact::Serial,
        "FINGERPRINT_1" => Fact::Fingerprint1,
        "FINGERPRINT_256" => Fact::Fingerprint256,
        "CHAIN_FINGERPRINTS_1" => Fact::ChainFingerprints1,
        "CHAIN_FINGERPRINTS_256" => Fact::ChainFingerprints256,
        "CHAIN_SERIALS" => Fact::ChainSerials,
        "CERT" => Fact::Cert,
        "CERT_V_START" => Fact::CertValidFrom,
        "CERT_V_END" => Fact::CertValidUntil,
        _ => return own(name),
    })
}

fn own(name: &str) -> Option<Fact> {
    Some(match name {
        "URI_SAN" => Fact::UriSan,
        "DNS_SAN" => Fact::DnsSan,
        "IP_SAN" => Fact::IpSan,
        "EMAIL_SAN" => Fact::EmailSan,
        "OTHERNAME_SAN" => Fact::OtherNameSan,
        "SUBJECT" => Fact::Subject,
        _ => return None,
    })
}

fn session(name: &str) -> Option<Fact> {
    Some(match name {
        "SESSION_ID" => Fact::SessionId,
        "CIPHER" => Fact::Cipher,
        "VERSION" => Fact::Version,
        _ => return None,
    })
}

/// Of an endpoint's certificate Envoy prints less.
fn of_endpoint(fact: Fact) -> bool {
    use Fact as F;
    match fact {
        F::UriSan | F::DnsSan | F::IpSan | F::Subject | F::Issuer | F::Cert | F::CertValidFrom | F::CertValidUntil => {
            true
        }
        F::EmailSan
        | F::OtherNameSan
        | F::Serial
        | F::Fingerprint1
        | F::Fingerprint256
        | F::ChainFingerprints1
        | F::ChainFingerprints256
        | F::ChainSerials
        | F::SessionId
        | F::Cipher
        | F::Version => false,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn envoys_operators_and_no_others() {
        let of = |name: &str| TlsOperator::parse(name).map(|o| (o.upstream, o.local, o.fact));
        assert_eq!(of("DOWNSTREAM_PEER_URI_SAN"), Some((false, false, Fact::UriSan)));
        assert_eq!(of("DOWNSTREAM_LOCAL_SUBJECT"), Some((false, true, Fact::Subject)));
        assert_eq!(of("UPSTREAM_PEER_CERT_V_END"), Some((true, false, Fact::CertValidUntil)));
        assert_eq!(of("UPSTREAM_TLS_SESSION_ID"), Some((true, false, Fact::SessionId)));
        for name in [
            "UPSTREAM_LOCAL_SUBJECT",
            "UPSTREAM_PEER_SERIAL",
            "UPSTREAM_PEER_EMAIL_SAN",
            "DOWNSTREAM_LOCAL_ISSUER",
            "DOWNSTREAM_TLS_CURVE",
            "MIDSTREAM_TLS_VERSION",
            "DOWNSTREAM",
            "TLS_VERSION",
        ] {
            assert_eq!(of(name), None, "{name}");
        }
        assert!(TlsOperator::parse("DOWNSTREAM_PEER_CERT_V_START").unwrap().takes_format());
        assert!(!TlsOperator::parse("DOWNSTREAM_PEER_CERT").unwrap().takes_format());
    }
}

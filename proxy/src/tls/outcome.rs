//! What a handshake came to: counted, and noted for logs.

use std::time::Instant;

use config::verify::{Distrust, VerifyError};
use rustls::{CertificateError, CipherSuite, NamedGroup, ProtocolVersion, SignatureScheme};

use super::Facts;
use super::error::TlsError;
use super::notes::Notes;
use crate::error::TlsFailure;
use crate::metrics::{Scope, SslStat};
use crate::report::flow::TlsSide;

/// A session is there. Certificates are kept where `keep`.
pub(crate) fn complete(facts: &Facts, notes: Notes, keep: bool) -> TlsSide {
    TlsSide {
        version: Some(facts.version),
        suite: Some(facts.suite),
        complete: Some(Instant::now()),
        has_certificate: !facts.peer_certificates.is_empty(),
        chain: if keep { facts.peer_certificates.clone() } else { Box::default() },
        presented: notes.presented.filter(|_| keep),
        ..TlsSide::default()
    }
}

/// There is none, for this reason.
pub(crate) fn failed(error: &TlsError, notes: Notes, keep: bool) -> TlsSide {
    TlsSide {
        has_certificate: notes.refused.is_some(),
        chain: notes.refused.filter(|_| keep).into_iter().collect(),
        presented: notes.presented.filter(|_| keep),
        ..TlsSide::failed(error.reason())
    }
}

/// The reason in one word.
pub(crate) fn failure(error: &TlsError, notes: &Notes) -> TlsFailure {
    if notes.lacks_server_name {
        return TlsFailure::NoServerName;
    }
    match error {
        TlsError::Io(_) | TlsError::Closed => TlsFailure::Closed,
        TlsError::NoCertificate => TlsFailure::NoCertificate,
        TlsError::Refused(refused) => refusal(refused),
        TlsError::Certificate(CertificateError::BadEncoding) => TlsFailure::Unreadable,
        TlsError::Certificate(_) => TlsFailure::NotTrusted,
        TlsError::PeerAlert(_) => TlsFailure::Alert,
        TlsError::Hello(_)
        | TlsError::ServerName(_)
        | TlsError::Protocol(_)
        | TlsError::TooLarge(_)
        | TlsError::Unexpected(_)
        | TlsError::Exhausted => TlsFailure::Protocol,
    }
}

fn refusal(error: &VerifyError) -> TlsFailure {
    match error {
        VerifyError::NoCertificate => TlsFailure::NoCertificate,
        VerifyError::Unreadable(_) => TlsFailure::Unreadable,
        VerifyError::Expired { .. } => TlsFailure::Expired,
        VerifyError::NotYetValid { .. } => TlsFailure::NotYetValid,
        VerifyError::Usage { .. } => TlsFailure::Usage,
        VerifyError::NotTrusted { why, .. } => match why {
            Distrust::Issuer | Distrust::Other => TlsFailure::NotTrusted,
            Distrust::Expired => TlsFailure::Expired,
            Distrust::Revoked => TlsFailure::Revoked,
        },
        VerifyError::Trust(_) => TlsFailure::NotTrusted,
        VerifyError::Name { .. } => TlsFailure::Name,
        VerifyError::Svid { .. } | VerifyError::TrustDomain { .. } => TlsFailure::TrustDomain,
        VerifyError::Pin { .. } => TlsFailure::Pin,
    }
}

/// Counts a session (Envoy: `ContextImpl::logHandshake`).
pub(crate) fn count_session(stats: &Scope<SslStat>, facts: &Facts, notes: &Notes) {
    stats.inc(SslStat::Handshake);
    if facts.resumed {
        stats.inc(SslStat::SessionReused);
    }
    if facts.peer_certificates.is_empty() {
        stats.inc(SslStat::NoCertificate);
    }
    let version = match facts.version {
        ProtocolVersion::TLSv1_3 => Some(SslStat::VersionTls13),
        ProtocolVersion::TLSv1_2 => Some(SslStat::VersionTls12),
        _ => None,
    };
    let each = [version, cipher(facts.suite), facts.group.and_then(curve), notes.signed.and_then(sigalg)];
    each.into_iter().flatten().for_each(|stat| stats.inc(stat));
}

/// Counts a failed handshake (Envoy: `SslSocket::drainErrorQueue`): each in one counter, a peer that went away in none.
pub(crate) fn count_failure(stats: &Scope<SslStat>, failure: TlsFailure) {
    let stat = match failure {
        TlsFailure::NoCertificate => SslStat::FailVerifyNoCert,
        TlsFailure::Name => SslStat::FailVerifySan,
        TlsFailure::Pin => SslStat::FailVerifyCertHash,
        TlsFailure::Unreadable
        | TlsFailure::Expired
        | TlsFailure::NotYetValid
        | TlsFailure::Usage
        | TlsFailure::NotTrusted
        | TlsFailure::TrustDomain
        | TlsFailure::Revoked => SslStat::FailVerifyError,
        TlsFailure::Alert | TlsFailure::Protocol | TlsFailure::NoServerName => SslStat::ConnectionError,
        TlsFailure::Limit | TlsFailure::NotReady | TlsFailure::Timeout | TlsFailure::Closed => return,
    };
    stats.inc(stat);
}

fn cipher(suite: CipherSuite) -> Option<SslStat> {
    Some(match suite {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => SslStat::CipherAes128Gcm,
        CipherSuite::TLS13_AES_256_GCM_SHA384 => SslStat::CipherAes256Gcm,
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => SslStat::CipherChaCha20,
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 => SslStat::CipherEcdsaAes128Gcm,
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 => SslStat::CipherEcdsaAes256Gcm,
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 => SslStat::CipherEcdsaChaCha20,
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => SslStat::CipherRsaAes128Gcm,
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 => SslStat::CipherRsaAes256Gcm,
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => SslStat::CipherRsaChaCha20,
        _ => return None,
    })
}

fn curve(group: NamedGroup) -> Option<SslStat> {
    Some(match group {
        NamedGroup::X25519MLKEM768 => SslStat::CurveX25519MlKem768,
        NamedGroup::X25519 => SslStat::CurveX25519,
        NamedGroup::secp256r1 => SslStat::CurveP256,
        NamedGroup::secp384r1 => SslStat::CurveP384,
        NamedGroup::secp521r1 => SslStat::CurveP521,
        _ => return None,
    })
}

fn sigalg(scheme: SignatureScheme) -> Option<SslStat> {
    Some(match scheme {
        SignatureScheme::ECDSA_NISTP256_SHA256 => SslStat::SigalgEcdsaP256,
        SignatureScheme::ECDSA_NISTP384_SHA384 => SslStat::SigalgEcdsaP384,
        SignatureScheme::ECDSA_NISTP521_SHA512 => SslStat::SigalgEcdsaP521,
        SignatureScheme::ED25519 => SslStat::SigalgEd25519,
        SignatureScheme::RSA_PSS_SHA256 => SslStat::SigalgRsaPssSha256,
        SignatureScheme::RSA_PSS_SHA384 => SslStat::SigalgRsaPssSha384,
        SignatureScheme::RSA_PSS_SHA512 => SslStat::SigalgRsaPssSha512,
        SignatureScheme::RSA_PKCS1_SHA256 => SslStat::SigalgRsaPkcs1Sha256,
        SignatureScheme::RSA_PKCS1_SHA384 => SslStat::SigalgRsaPkcs1Sha384,
        SignatureScheme::RSA_PKCS1_SHA512 => SslStat::SigalgRsaPkcs1Sha512,
        _ => return None,
    })
}

//! Trusted certificates, and paths to them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{
    CertRevocationList, EndEntityCert, ExpirationPolicy, KeyUsage, RevocationCheckDepth, RevocationOptionsBuilder,
    UnknownStatusPolicy, VerifiedPath,
};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::Usage;
use super::certificate::Leaf;
use super::error::{Distrust, VerifyError};
use crate::model::tls::Validation;

/// Certificates that are trusted, parsed once.
pub struct Trust {
    certificates: Box<[CertificateDer<'static>]>,
    /// In the same order.
    anchors: Box<[TrustAnchor<'static>]>,
    /// First and last second of each, since 1970; in the same order.
    validity: Box<[(i64, i64)]>,
    /// Revocation lists that came with them.
    crls: Box<[CertRevocationList<'static>]>,
}

/// Why there is no trust.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// An empty list.
    #[error("no certificate is trusted, so no peer can be")]
    Empty,
    /// One that is none.
    #[error("trusted certificate {index} can't be read: {reason}")]
    Unreadable {
        /// Counted from 0.
        index: usize,
        /// The parser's words.
        reason: String,
    },
}

impl Trust {
    /// Trusts these, roots or intermediates alike (Envoy too accepts a path that ends at any of them).
    ///
    /// # Errors
    /// An empty list, or something that is no certificate.
    pub fn new(certificates: &[CertificateDer<'_>]) -> Result<Self, TrustError> {
        if certificates.is_empty() {
            return Err(TrustError::Empty);
        }
        let parsed = certificates.iter().enumerate().map(|(index, der)| {
            let unreadable = |reason| TrustError::Unreadable { index, reason };
            let anchor = webpki::anchor_from_trusted_cert(der).map_err(|e| unreadable(e.to_string()))?;
            let (_, parsed) = X509Certificate::from_der(der).map_err(|e| unreadable(e.to_string()))?;
            let validity = parsed.validity();
            Ok((anchor.to_owned(), (validity.not_before.timestamp(), validity.not_after.timestamp())))
        });
        let (anchors, validity): (Vec<_>, Vec<_>) = parsed.collect::<Result<Vec<_>, _>>()?.into_iter().unzip();
        Ok(Self {
            anchors: anchors.into(),
            validity: validity.into(),
            crls: Box::default(),
            certificates: certificates.iter().map(|c| c.clone().into_owned()).collect(),
        })
    }

    /// The same, with the revocation lists that stand beside them.
    pub fn with_crls(mut self, crls: Box<[CertRevocationList<'static>]>) -> Self {
        self.crls = crls;
        self
    }

    /// The certificates.
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.certificates
    }

    /// When the first of them expires.
    pub fn not_after(&self) -> Option<SystemTime> {
        let first = self.validity.iter().map(|(_, last)| *last).min()?;
        Some(UNIX_EPOCH + Duration::from_secs(u64::try_from(first).unwrap_or(0)))
    }

    /// The subjects of the trusted certificates, as DER, for a server's CertificateRequest.
    pub fn subjects(&self) -> impl Iterator<Item = &[u8]> {
        self.anchors.iter().map(|a| a.subject.as_ref())
    }

    /// Whether this very certificate is trusted.
    fn pins(&self, der: &CertificateDer<'_>) -> bool {
        self.certificates.iter().any(|c| c.as_ref() == der.as_ref())
    }

    /// The leaf is itself trusted, or there is a path from it to a trusted certificate (RFC 5280).
    pub(super) fn check(
        &self,
        leaf: &Leaf<'_>,
        intermediates: &[CertificateDer<'_>],
        rules: &Rules<'_>,
    ) -> Result<(), VerifyError> {
        let more = rules.validation.crls.iter().flat_map(|crls| crls.0.iter());
        let crls: Vec<&CertRevocationList<'_>> = self.crls.iter().chain(more).collect();
        // A revoked leaf is not trusted because it stands in the list.
        if crls.is_empty() && self.pins(leaf.der) {
            return Ok(());
        }
        let entity = EndEntityCert::try_from(leaf.der).map_err(|e| VerifyError::Unreadable(e.to_string()))?;
        let mut now = rules.now;
        for _ in 0..TIMES {
            let error = match self.path(&entity, intermediates, (rules, &crls, now)) {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            now = match error {
                // Each certificate is then judged by a time at which it was valid.
                webpki::Error::CertExpired { not_after, .. } if rules.validation.allow_expired => not_after,
                webpki::Error::CertNotValidYet { not_before, .. } if rules.validation.allow_expired => not_before,
                error => return Err(untrusted(leaf, &error)),
            };
        }
        Err(untrusted(leaf, &webpki::Error::UnknownIssuer))
    }

    fn path(
        &self,
        entity: &EndEntityCert<'_>,
        intermediates: &[CertificateDer<'_>],
        (rules, crls, now): (&Rules<'_>, &[&CertRevocationList<'_>], UnixTime),
    ) -> Result<(), webpki::Error> {
        let usage = match rules.usage {
            Usage::Server => KeyUsage::server_auth(),
            Usage::Client => KeyUsage::client_auth(),
        };
        let depth = match rules.validation.leaf_crl_only {
            true => RevocationCheckDepth::EndEntity,
            false => RevocationCheckDepth::Chain,
        };
        let expiry = match rules.validation.allow_expired {
            true => ExpirationPolicy::Ignore,
            false => ExpirationPolicy::Enforce,
        };
        // Without a list of the issuer's, nothing is known of a certificate: it is refused, as by BoringSSL.
        let revocation = RevocationOptionsBuilder::new(crls).ok().map(|builder| {
            let builder = builder.with_depth(depth).with_status_policy(UnknownStatusPolicy::Deny);
            builder.with_expiration_policy(expiry).build()
        });
        let suits = |path: &VerifiedPath<'_>| self.suits(path, rules);
        let algorithms = webpki::ALL_VERIFICATION_ALGS;
        entity
            .verify_for_usage(algorithms, &self.anchors, intermediates, now, usage, revocation, Some(&suits))
            .map(|_| ())
    }

    /// What webpki leaves to its caller: the trusted certificate's own dates, and the length of the path.
    fn suits(&self, path: &VerifiedPath<'_>, rules: &Rules<'_>) -> Result<(), webpki::Error> {
        let most = rules.validation.max_depth.map_or(usize::MAX, |most| most as usize);
        if path.intermediate_certificates().count() > most {
            return Err(webpki::Error::MaximumPathDepthExceeded);
        }
        if rules.validation.allow_expired {
            return Ok(());
        }
        let anchor = path.anchor();
        let same = |a: &TrustAnchor<'_>| {
            a.subject == anchor.subject && a.subject_public_key_info == anchor.subject_public_key_info
        };
        let now = i64::try_from(rules.now.as_secs()).unwrap_or(i64::MAX);
        let at = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)));
        // A root that was renewed with its key stands there twice: one that is valid is enough.
        let mut verdict = Ok(());
        for (first, last) in self.anchors.iter().zip(&self.validity).filter(|(a, _)| same(a)).map(|(_, dates)| *dates) {
            verdict = match now {
                _ if now > last => Err(webpki::Error::CertExpired { time: rules.now, not_after: at(last) }),
                _ if now < first => Err(webpki::Error::CertNotValidYet { time: rules.now, not_before: at(first) }),
                _ => return Ok(()),
            };
        }
        verdict
    }
}

/// Certificates that may be out of date in one path, with `allow_expired_certificate`.
const TIMES: usize = 12;

/// What a path is judged by.
pub(super) struct Rules<'a> {
    pub(super) validation: &'a Validation,
    pub(super) usage: Usage,
    pub(super) now: UnixTime,
}

fn untrusted(leaf: &Leaf<'_>, error: &webpki::Error) -> VerifyError {
    use webpki::Error as E;
    let why = match error {
        E::UnknownIssuer => Distrust::Issuer,
        E::CertExpired { .. } | E::CertNotValidYet { .. } => Distrust::Expired,
        E::CertRevoked => Distrust::Revoked,
        _ => Distrust::Other,
    };
    VerifyError::NotTrusted { leaf: leaf.label(), reason: reason(error), why }
}

impl std::fmt::Debug for Trust {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trust").field("certificates", &self.certificates.len()).finish()
    }
}

/// The usual reasons in words; the leaf's own dates and usage were checked before.
fn reason(error: &webpki::Error) -> String {
    use webpki::Error as E;
    match error {
        E::UnknownIssuer => "no trusted certificate issued it (wrong CA, or an intermediate is missing)".to_owned(),
        E::CertExpired { .. } => "a certificate in its chain has expired".to_owned(),
        E::CertNotValidYet { .. } => "a certificate in its chain is not valid yet".to_owned(),
        E::CaUsedAsEndEntity => {
            "it is a CA certificate, and not itself in the trust list (pin exactly this certificate)".to_owned()
        }
        E::EndEntityUsedAsCa => "a certificate in its chain is no CA".to_owned(),
        E::NameConstraintViolation => "a CA in its chain may not issue its names".to_owned(),
        E::CertRevoked => "a certificate in its chain is revoked".to_owned(),
        E::MaximumPathDepthExceeded => "its chain is longer than max_verify_depth allows".to_owned(),
        E::PathLenConstraintViolated => "its chain is longer than a CA in it allows".to_owned(),
        other => other.to_string(),
    }
}

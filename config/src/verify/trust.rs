//! Trusted certificates, and paths to them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{CertRevocationList, EndEntityCert, KeyUsage};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::Usage;
use super::certificate::Leaf;
use super::error::VerifyError;

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
    pub(super) fn pins(&self, der: &CertificateDer<'_>) -> bool {
        self.certificates.iter().any(|c| c.as_ref() == der.as_ref())
    }

    /// A path from the leaf to a trusted certificate (RFC 5280).
    pub(super) fn build_path(
        &self,
        leaf: &Leaf<'_>,
        intermediates: &[CertificateDer<'_>],
        usage: Usage,
        now: UnixTime,
    ) -> Result<(), VerifyError> {
        let entity = EndEntityCert::try_from(leaf.der).map_err(|e| VerifyError::Unreadable(e.to_string()))?;
        let usage = match usage {
            Usage::Server => KeyUsage::server_auth(),
            Usage::Client => KeyUsage::client_auth(),
        };
        let path = entity.verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            &self.anchors,
            intermediates,
            now,
            usage,
            None,
            None,
        );
        path.map(|_| ()).map_err(|e| VerifyError::NotTrusted { leaf: leaf.label(), reason: reason(&e) })
    }
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
        E::PathLenConstraintViolated => "its chain is longer than a CA in it allows".to_owned(),
        other => other.to_string(),
    }
}

//! Why a peer is refused.

use super::Usage;
use super::certificate::Label;
use super::trust::TrustError;

/// Why a chain is not trusted: each has an alert of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distrust {
    /// Nobody who is trusted issued it.
    Issuer,
    /// A certificate in its chain has expired, or is not valid yet.
    Expired,
    /// A certificate in its chain is revoked.
    Revoked,
    /// Anything else.
    Other,
}

/// Why a peer is refused: which check, which certificate, which names.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The peer sent none.
    #[error("the peer sent no certificate")]
    NoCertificate,
    /// Not a certificate.
    #[error("the peer's certificate can't be read: {0}")]
    Unreadable(String),
    /// Its time is over.
    #[error("{leaf} expired at {not_after}")]
    Expired {
        /// Which.
        leaf: Label,
        /// Its last second.
        not_after: String,
    },
    /// Its time has not come.
    #[error("{leaf} is not valid before {not_before}")]
    NotYetValid {
        /// Which.
        leaf: Label,
        /// Its first second.
        not_before: String,
    },
    /// It is for something else.
    #[error("{leaf} is not for {usage}: its {extension} does not allow it")]
    Usage {
        /// Which.
        leaf: Label,
        /// What it was used for.
        usage: Usage,
        /// The extension that forbids it.
        extension: &'static str,
    },
    /// No chain to a trusted certificate.
    #[error("{leaf} is not trusted: {reason}")]
    NotTrusted {
        /// Which.
        leaf: Label,
        /// The path builder's words.
        reason: String,
        /// What kind of reason that is.
        why: Distrust,
    },
    /// Not a leaf as SPIFFE wants it (X509-SVID section 5.2).
    #[error("{leaf} is no X.509-SVID: {reason}")]
    Svid {
        /// Which.
        leaf: Label,
        /// What it breaks.
        reason: &'static str,
    },
    /// Its trust domain has no bundle here, or no more.
    #[error("{leaf} is of trust domain \"{domain}\", which is not trusted (there are bundles of: {known})")]
    TrustDomain {
        /// Which.
        leaf: Label,
        /// Its own.
        domain: String,
        /// Those that are trusted.
        known: String,
    },
    /// Not one of those that are pinned.
    #[error("{leaf} matches neither verify_certificate_hash nor verify_certificate_spki")]
    Pin {
        /// Which.
        leaf: Label,
    },
    /// It carries none of the names wanted.
    #[error("{leaf} carries none of the names wanted: wanted {wanted}, it has {found}")]
    Name {
        /// Which.
        leaf: Label,
        /// In words.
        wanted: String,
        /// Its names.
        found: String,
    },
    /// Nothing is trusted.
    #[error(transparent)]
    Trust(#[from] TrustError),
}

/// The same words: rustls prints the errors of verifiers with `Debug` only.
impl std::fmt::Debug for VerifyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

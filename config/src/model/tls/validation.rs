//! Whom to trust, and the names a peer must carry (`CertificateValidationContext`).

use std::sync::Arc;
use std::time::SystemTime;

use webpki::CertRevocationList;

use super::{SanMatch, SecretRef, WatchedFile};
use crate::reject::Unsupported;
use crate::verify::Trust;

/// Where the validation comes from.
#[derive(Clone, Debug)]
pub enum ValidationSource {
    /// It is in the context.
    Inline(Arc<Validation>),
    /// A secret of SDS.
    Sds {
        /// The secret.
        secret: Arc<SecretRef>,
        /// What it is merged over (`combined_validation_context.default_validation_context`).
        default: Arc<PartialValidation>,
    },
}

impl ValidationSource {
    /// The whole of it, with what the reference leads to; `None`: the secret is not there yet.
    ///
    /// # Errors
    /// It can't be verified by: see [`Incomplete`]. Nobody may be let in then.
    pub fn resolve<'a>(
        &self,
        find: impl FnOnce(&SecretRef) -> Option<&'a Arc<PartialValidation>>,
    ) -> Option<Result<Arc<Validation>, Incomplete>> {
        match self {
            Self::Inline(validation) => Some(Ok(Arc::clone(validation))),
            Self::Sds { secret, default } => find(secret).map(|found| default.overlaid(found).complete().map(Arc::new)),
        }
    }
}

/// Whom to trust, whole.
#[derive(Clone, Debug)]
pub struct Validation {
    /// What a chain is judged by.
    pub trusted: Trusted,
    /// Any one must match; empty: any name.
    pub subject_alt_names: Box<[SanMatch]>,
    /// The leaf must be one of these.
    pub pins: Pins,
    /// `allow_expired_certificate`.
    pub allow_expired: bool,
    /// `trust_chain_verification: ACCEPT_UNTRUSTED`: whoever fails a check is let in all the same, as in Envoy. The SPIFFE
    /// validator knows no such thing.
    pub accept_untrusted: bool,
    /// `max_verify_depth`: intermediates at most.
    pub max_depth: Option<u32>,
    /// Revoked certificates, beside those that the trust list has with it.
    pub crls: Option<Arc<Crls>>,
    /// `only_verify_leaf_cert_crl`.
    pub leaf_crl_only: bool,
    /// `suppress_client_ca_list`: clients are not told whom we trust.
    pub hide_authorities: bool,
}

/// What a chain is judged by.
#[derive(Clone, Debug)]
pub enum Trusted {
    /// `trusted_ca`, `system_root_certs`: it ends at one of these.
    Ca(Arc<Trust>),
    /// SPIFFECertValidatorConfig: it ends at one of its own trust domain's.
    Spiffe(Arc<SpiffeTrust>),
    /// There is no CA: a chain is not looked at, as in Envoy.
    Anyone,
}

/// Bundles by trust domain; the leaf's is the only one that counts.
#[derive(Clone, Debug, Default)]
pub struct SpiffeTrust(pub(crate) Box<[(Arc<str>, Arc<Trust>)]>);

impl SpiffeTrust {
    /// From bundles with distinct names.
    pub fn new(mut bundles: Vec<(Arc<str>, Arc<Trust>)>) -> Self {
        bundles.sort_by(|(a, _), (b, _)| a.cmp(b));
        Self(bundles.into())
    }

    /// The bundle of a trust domain.
    pub fn bundle(&self, trust_domain: &str) -> Option<&Arc<Trust>> {
        let found = self.0.binary_search_by(|(name, _)| (**name).cmp(trust_domain)).ok()?;
        self.0.get(found).map(|(_, bundle)| bundle)
    }

    /// All, sorted by name.
    pub fn bundles(&self) -> &[(Arc<str>, Arc<Trust>)] {
        &self.0
    }
}

/// `verify_certificate_hash` and `verify_certificate_spki`: one of either list is enough.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pins {
    /// SHA-256 of the certificate.
    pub certificates: Box<[[u8; 32]]>,
    /// SHA-256 of its SubjectPublicKeyInfo.
    pub keys: Box<[[u8; 32]]>,
}

impl Pins {
    /// None are set.
    pub fn is_empty(&self) -> bool {
        self.certificates.is_empty() && self.keys.is_empty()
    }
}

/// Certificate revocation lists, parsed once.
pub struct Crls(pub(crate) Box<[CertRevocationList<'static>]>);

impl std::fmt::Debug for Crls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Crls({})", self.0.len())
    }
}

/// A `CertificateValidationContext` as it stands: a secret, or what one is merged over.
#[derive(Clone, Debug, Default)]
pub struct PartialValidation {
    /// `trusted_ca` or `system_root_certs`.
    pub ca: Option<Arc<Trust>>,
    /// `custom_validator_config`; it takes the place of `ca`.
    pub spiffe: Option<Arc<SpiffeTrust>>,
    /// `match_typed_subject_alt_names` and the deprecated `match_subject_alt_names`.
    pub subject_alt_names: Box<[SanMatch]>,
    /// Pins.
    pub pins: Pins,
    /// `allow_expired_certificate`.
    pub allow_expired: bool,
    /// `trust_chain_verification`.
    pub accept_untrusted: bool,
    /// `max_verify_depth`.
    pub max_depth: Option<u32>,
    /// `crl`.
    pub crls: Option<Arc<Crls>>,
    /// `only_verify_leaf_cert_crl`.
    pub leaf_crl_only: bool,
    /// `suppress_client_ca_list`.
    pub hide_authorities: bool,
    /// Something in it narrows the peers in a way that this version can't: nobody is let in.
    pub unsupported: Option<Unsupported>,
    /// Files it was read from.
    pub files: Box<[WatchedFile]>,
}

/// Why a validation can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Incomplete {
    /// Names mean nothing where anybody may claim them.
    #[error("SAN-based verification of peer certificates without trusted CA is insecure and not allowed")]
    NamesWithoutCa,
    /// Nor does a revocation list.
    #[error("Failed to load CRL without trusted CA")]
    CrlWithoutCa,
    /// Nor does leniency.
    #[error("Certificate validity period is always ignored without trusted CA")]
    ExpiryWithoutCa,
    /// See there.
    #[error("{0} is not supported")]
    Unsupported(Unsupported),
}

impl PartialValidation {
    /// `over` merged over this one, as protobuf's MergeFrom: what is set in `over` wins, lists are joined.
    pub fn overlaid(&self, over: &Self) -> Self {
        let Self {
            ca,
            spiffe,
            subject_alt_names,
            pins,
            allow_expired,
            accept_untrusted,
            max_depth,
            crls,
            leaf_crl_only,
            hide_authorities,
            unsupported,
            files,
        } = over;
        Self {
            ca: ca.as_ref().or(self.ca.as_ref()).cloned(),
            spiffe: spiffe.as_ref().or(self.spiffe.as_ref()).cloned(),
            subject_alt_names: joined(&self.subject_alt_names, subject_alt_names),
            pins: Pins {
                certificates: joined(&self.pins.certificates, &pins.certificates),
                keys: joined(&self.pins.keys, &pins.keys),
            },
            allow_expired: *allow_expired || self.allow_expired,
            accept_untrusted: *accept_untrusted || self.accept_untrusted,
            max_depth: max_depth.or(self.max_depth),
            crls: crls.as_ref().or(self.crls.as_ref()).cloned(),
            leaf_crl_only: *leaf_crl_only || self.leaf_crl_only,
            hide_authorities: *hide_authorities || self.hide_authorities,
            unsupported: unsupported.as_ref().or(self.unsupported.as_ref()).cloned(),
            files: joined(&self.files, files),
        }
    }

    /// The whole, if it makes sense as it stands.
    ///
    /// # Errors
    /// See [`Incomplete`].
    pub fn complete(&self) -> Result<Validation, Incomplete> {
        if let Some(unsupported) = &self.unsupported {
            return Err(Incomplete::Unsupported(unsupported.clone()));
        }
        let trusted = match (&self.spiffe, &self.ca) {
            (Some(spiffe), _) => Trusted::Spiffe(Arc::clone(spiffe)),
            (None, Some(ca)) => Trusted::Ca(Arc::clone(ca)),
            (None, None) if !self.subject_alt_names.is_empty() => return Err(Incomplete::NamesWithoutCa),
            (None, None) => Trusted::Anyone,
        };
        if matches!(trusted, Trusted::Anyone) && self.crls.is_some() {
            return Err(Incomplete::CrlWithoutCa);
        }
        if matches!(trusted, Trusted::Anyone) && self.allow_expired {
            return Err(Incomplete::ExpiryWithoutCa);
        }
        Ok(Validation {
            trusted,
            subject_alt_names: self.subject_alt_names.clone(),
            pins: self.pins.clone(),
            allow_expired: self.allow_expired,
            accept_untrusted: self.accept_untrusted,
            max_depth: self.max_depth,
            crls: self.crls.clone(),
            leaf_crl_only: self.leaf_crl_only,
            hide_authorities: self.hide_authorities,
        })
    }

    /// When the first of the trusted certificates expires.
    pub fn not_after(&self) -> Option<SystemTime> {
        let bundles = self.spiffe.iter().flat_map(|spiffe| spiffe.bundles()).map(|(_, bundle)| bundle);
        bundles.chain(&self.ca).filter_map(|trust| trust.not_after()).min()
    }
}

impl Validation {
    /// Trusts whoever one of these certificates issued.
    pub fn by_ca(trust: Arc<Trust>) -> Self {
        Self {
            trusted: Trusted::Ca(trust),
            subject_alt_names: Box::default(),
            pins: Pins::default(),
            allow_expired: false,
            accept_untrusted: false,
            max_depth: None,
            crls: None,
            leaf_crl_only: false,
            hide_authorities: false,
        }
    }

    /// A client is asked for its certificate.
    pub fn asks(&self) -> bool {
        !matches!(self.trusted, Trusted::Anyone) || !self.pins.is_empty() || self.accept_untrusted
    }

    /// A client without certificate is refused whatever `require_client_certificate` says: so does Envoy where the SPIFFE
    /// validator, names or pins are configured.
    pub fn demands_certificate(&self) -> bool {
        let narrowed = !self.subject_alt_names.is_empty() || !self.pins.is_empty();
        matches!(self.trusted, Trusted::Spiffe(_)) || (narrowed && !self.accept_untrusted)
    }

    /// All trust lists in it.
    pub fn trusts(&self) -> impl Iterator<Item = &Arc<Trust>> {
        let (one, many) = match &self.trusted {
            Trusted::Ca(trust) => (Some(trust), &[][..]),
            Trusted::Spiffe(spiffe) => (None, spiffe.bundles()),
            Trusted::Anyone => (None, &[][..]),
        };
        one.into_iter().chain(many.iter().map(|(_, bundle)| bundle))
    }
}

fn joined<T: Clone>(first: &[T], second: &[T]) -> Box<[T]> {
    first.iter().chain(second).cloned().collect()
}

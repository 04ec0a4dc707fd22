//! Is the peer who it should be? Pure code: certificates, names and a time in, a verdict out.
//!
//! Used by everyone who speaks TLS here: the bootstrap request, the xDS stream, the admin listener, meshes. The order
//! of the checks is fixed: the leaf's own dates and usage, its chain, its names; the first that fails is named.
//!
//! A leaf that is itself in the trust list is trusted as it stands, whatever its basic constraints say. Kuma's control
//! plane makes itself a self-signed certificate with `CA:TRUE`, which path building (rightly) refuses for a leaf.

mod certificate;
mod error;
pub(crate) mod explain;
pub mod rustls;
mod san;
mod spiffe;
mod trust;

#[cfg(test)]
mod tests;

pub use certificate::Label;
pub use error::{Distrust, VerifyError};
pub use san::matches as san_matches;
pub(crate) use san::names;
pub use spiffe::{SpiffeError, SpiffeId};
pub use trust::{Trust, TrustError};

use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::model::tls::{SanKind, SpiffeTrust, Trusted, Validation};
use certificate::Leaf;
use trust::Rules;

/// What the peer's certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// The peer is a TLS server.
    Server,
    /// The peer is a TLS client.
    Client,
}

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Server => "TLS servers",
            Self::Client => "TLS clients",
        })
    }
}

/// Which names the leaf must carry.
#[derive(Clone, Copy, Debug)]
pub enum Names<'a> {
    /// Those of the validation (`match_typed_subject_alt_names`); an empty list takes any name, as in Envoy.
    Configured,
    /// The name or address that was dialled (RFC 9525), instead.
    Server(&'a ServerName<'a>),
}

/// What the peer sent.
#[derive(Clone, Copy, Debug)]
pub struct Presented<'a> {
    /// Its own certificate.
    pub leaf: &'a CertificateDer<'a>,
    /// Those after it.
    pub intermediates: &'a [CertificateDer<'a>],
}

/// Verifies a chain.
///
/// # Errors
/// The first check that fails, with the certificate and names concerned.
pub fn verify(
    validation: &Validation,
    presented: Presented<'_>,
    usage: Usage,
    names: Names<'_>,
    now: UnixTime,
) -> Result<(), VerifyError> {
    let leaf = Leaf::parse(presented.leaf)?;
    match judge(validation, &leaf, presented.intermediates, (usage, names, now)) {
        // As in Envoy; its SPIFFE validator does not know of it.
        Err(_) if validation.accept_untrusted && !matches!(validation.trusted, Trusted::Spiffe(_)) => Ok(()),
        verdict => verdict,
    }
}

/// Whether a client's chain that was let in is also one that the validation vouches for: not where anybody is let in, and
/// what `ACCEPT_UNTRUSTED` let in has to pass the checks after all. As Envoy's `peerCertificateValidated`.
pub fn vouches(validation: &Validation, presented: Presented<'_>, now: UnixTime) -> bool {
    let judges = !matches!(validation.trusted, Trusted::Anyone) || !validation.pins.is_empty();
    let passes = || {
        let leaf = Leaf::parse(presented.leaf)?;
        judge(validation, &leaf, presented.intermediates, (Usage::Client, Names::Configured, now))
    };
    judges && (!validation.accept_untrusted || passes().is_ok())
}

fn judge(
    validation: &Validation,
    leaf: &Leaf<'_>,
    intermediates: &[CertificateDer<'_>],
    (usage, names, now): (Usage, Names<'_>, UnixTime),
) -> Result<(), VerifyError> {
    let trust = match &validation.trusted {
        Trusted::Ca(trust) => Some(&**trust),
        Trusted::Spiffe(spiffe) => {
            leaf.check_svid()?;
            Some(bundle(spiffe, leaf)?)
        }
        Trusted::Anyone => None,
    };
    if let Some(trust) = trust {
        if !validation.allow_expired {
            leaf.check_dates(now)?;
        }
        leaf.check_usage(usage)?;
        trust.check(leaf, intermediates, &Rules { validation, usage, now })?;
    }
    let spiffe = matches!(validation.trusted, Trusted::Spiffe(_));
    // The SPIFFE validator looks at URIs alone, and at no pins.
    let wanted = validation.subject_alt_names.iter().filter(|wanted| !spiffe || wanted.kind == SanKind::Uri);
    match names {
        Names::Configured if wanted.clone().next().is_some() => san::check(leaf, wanted)?,
        Names::Configured => {}
        Names::Server(name) => leaf.check_server_name(name)?,
    }
    match validation.pins.is_empty() || spiffe {
        true => Ok(()),
        false => leaf.check_pins(&validation.pins),
    }
}

/// The bundle of the leaf's own trust domain, as Envoy's SPIFFE validator finds it: by the first URI.
fn bundle<'a>(spiffe: &'a SpiffeTrust, leaf: &Leaf<'_>) -> Result<&'a Trust, VerifyError> {
    let domain = leaf.trust_domain().unwrap_or_default();
    spiffe.bundle(domain).map(|bundle| &**bundle).ok_or_else(|| {
        let known: Vec<&str> = spiffe.bundles().iter().map(|(name, _)| &**name).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        VerifyError::TrustDomain { leaf: leaf.label(), domain: san::tame(domain), known }
    })
}

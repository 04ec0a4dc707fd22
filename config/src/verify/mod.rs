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
pub use error::VerifyError;
pub use san::matches as san_matches;
pub(crate) use san::names;
pub use spiffe::{SpiffeError, SpiffeId};
pub use trust::{Trust, TrustError};

use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::model::tls::{Trusted, Validation};
use certificate::Leaf;

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
    let Trusted::Ca(trust) = &validation.trusted else {
        return Err(VerifyError::Trust(TrustError::Empty));
    };
    leaf.check_dates(now)?;
    leaf.check_usage(usage)?;
    if !trust.pins(presented.leaf) {
        trust.build_path(&leaf, presented.intermediates, usage, now)?;
    }
    match (names, &*validation.subject_alt_names) {
        (Names::Configured, []) => Ok(()),
        (Names::Configured, wanted) => san::check(&leaf, wanted),
        (Names::Server(name), _) => leaf.check_server_name(name),
    }
}

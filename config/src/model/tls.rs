//! TLS as configured: certificates, peer validation, versions (`transport_sockets.tls.v3`).
//!
//! A context names its certificates and trust anchors inline or by reference to SDS; what a reference leads to is in
//! the snapshot. [`ValidationSource::resolve`] makes one whole of a reference and what stands beside it.

mod identity;
mod parameters;
mod san;
mod secret;
mod validation;

pub use identity::{Facts, Identity, IdentityError};
pub use parameters::{Parameters, Resumption, Tickets};
pub use san::{Pattern, SanKind, SanMatch, StringMatch};
pub use secret::{GrpcSource, ParsedSecret, Secret, SecretRef, SecretSource, TicketKeys, WatchedFile};
pub use validation::{Crls, Incomplete, PartialValidation, Pins, SpiffeTrust, Trusted, Validation, ValidationSource};

use std::sync::Arc;

/// A DownstreamTlsContext. Two with the same [`id`](Self::id) are the same.
#[derive(Clone, Debug)]
pub struct DownstreamTls {
    /// Certificates, chosen per client by key type; never empty.
    pub certificates: Certificates,
    /// How a client is verified; `None`: it is not, and not asked unless a certificate is required.
    pub validation: Option<ValidationSource>,
    /// A client without certificate is refused. Envoy's SPIFFE validator refuses it anyway
    /// ([`Validation::demands_certificate`]).
    pub require_client_certificate: bool,
    /// A client without SNI is refused.
    pub require_sni: bool,
    /// ALPN, in order of preference; without a common one the handshake goes on without (as in Envoy).
    pub alpn: Box<[Box<[u8]>]>,
    /// Versions, suites, groups.
    pub parameters: Parameters,
    /// Which sessions may be resumed.
    pub resumption: Resumption,
    /// The client's order of cipher suites counts instead of ours.
    pub prefer_client_ciphers: bool,
    /// Where no certificate is for the name asked for, the key type is still chosen among all of them, instead of the
    /// first certificate being taken.
    pub full_scan_certs_on_sni_mismatch: bool,
    /// xxh3-128 of its encoded form.
    pub id: u128,
}

/// An UpstreamTlsContext. Two with the same [`id`](Self::id) are the same.
#[derive(Clone, Debug)]
pub struct UpstreamTls {
    /// Our certificates; Envoy takes one at most, an empty `Inline` is none.
    pub certificates: Certificates,
    /// How the server is verified; `None`: not at all, as in Envoy.
    pub validation: Option<ValidationSource>,
    /// The name sent; `None`: none is.
    pub sni: Option<Arc<str>>,
    /// The endpoint's host name is sent, where it has one, instead of [`sni`](Self::sni).
    pub auto_host_sni: bool,
    /// The certificate must carry the name that is sent, instead of matching the names of the validation.
    pub auto_sni_san_validation: bool,
    /// ALPN, in order of preference.
    pub alpn: Box<[Box<[u8]>]>,
    /// Versions, suites, groups.
    pub parameters: Parameters,
    /// Sessions kept for resumption; Envoy's default is 1, zero turns resumption off.
    pub max_session_keys: u32,
    /// xxh3-128 of its encoded form.
    pub id: u128,
}

impl PartialEq for UpstreamTls {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

/// Where certificates come from.
#[derive(Clone, Debug)]
pub enum Certificates {
    /// They are in the context.
    Inline(Box<[Arc<Identity>]>),
    /// They are secrets of SDS.
    Sds(Box<[Arc<SecretRef>]>),
}

impl Certificates {
    /// Those in the context.
    pub fn inline(&self) -> &[Arc<Identity>] {
        match self {
            Self::Inline(identities) => identities,
            Self::Sds(_) => &[],
        }
    }

    /// Those of SDS.
    pub fn secrets(&self) -> &[Arc<SecretRef>] {
        match self {
            Self::Inline(_) => &[],
            Self::Sds(secrets) => secrets,
        }
    }
}

impl DownstreamTls {
    /// All secrets it waits for.
    pub fn secrets(&self) -> impl Iterator<Item = &Arc<SecretRef>> {
        let tickets = match &self.resumption.tickets {
            Tickets::Sds(secret) => Some(secret),
            Tickets::Off | Tickets::Own | Tickets::Keys(_) => None,
        };
        secrets(&self.certificates, self.validation.as_ref()).chain(tickets)
    }
}

impl UpstreamTls {
    /// All secrets it waits for.
    pub fn secrets(&self) -> impl Iterator<Item = &Arc<SecretRef>> {
        secrets(&self.certificates, self.validation.as_ref())
    }
}

fn secrets<'a>(
    certificates: &'a Certificates,
    validation: Option<&'a ValidationSource>,
) -> impl Iterator<Item = &'a Arc<SecretRef>> {
    let validation = match validation {
        Some(ValidationSource::Sds { secret, .. }) => Some(secret),
        Some(ValidationSource::Inline(_)) | None => None,
    };
    certificates.secrets().iter().chain(validation)
}

pub(crate) mod proto;

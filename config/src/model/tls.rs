//! TLS as configured: certificates, peer validation, versions (`transport_sockets.tls.v3`).

use std::fmt;
use std::sync::Arc;

use regex::Regex;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// A DownstreamTlsContext with inline secrets.
#[derive(Clone, Debug)]
pub struct DownstreamTls {
    /// Certificates, chosen per client by key type.
    pub certificates: Box<[Arc<Identity>]>,
    /// How the client is verified; `None`: not asked.
    pub validation: Option<Arc<Validation>>,
    /// A client without certificate is refused.
    pub require_client_certificate: bool,
    /// ALPN, in order of preference.
    pub alpn: Box<[Box<[u8]>]>,
    /// TLS 1.2 allowed.
    pub tls12: bool,
    /// TLS 1.3 allowed.
    pub tls13: bool,
}

/// A certificate chain and its key. The key never shows in `Debug`.
pub struct Identity {
    /// Leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// The leaf's key.
    pub key: PrivateKeyDer<'static>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("chain", &self.chain.len()).field("key", &"[redacted]").finish()
    }
}

/// Trust anchors and the names a peer must carry.
#[derive(Clone, Debug)]
pub struct Validation {
    /// Trusted certificates.
    pub trusted_ca: Vec<CertificateDer<'static>>,
    /// Any one must match; empty: any name.
    pub subject_alt_names: Box<[SanMatch]>,
}

/// One `match_typed_subject_alt_names` entry.
#[derive(Clone, Debug)]
pub struct SanMatch {
    /// Kind of name.
    pub kind: SanKind,
    /// Matcher of its value.
    pub matcher: StringMatch,
}

/// `SubjectAltNameMatcher.SanType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SanKind {
    /// DNS name.
    Dns,
    /// URI (SPIFFE ID).
    Uri,
    /// IP address in text form.
    Ip,
    /// E-mail address.
    Email,
}

/// `type.matcher.v3.StringMatcher`.
#[derive(Clone, Debug)]
pub struct StringMatch {
    /// The pattern.
    pub pattern: Pattern,
    /// ASCII case is ignored (not for regexes).
    pub ignore_case: bool,
}

/// The pattern of a [`StringMatch`].
#[derive(Clone, Debug)]
pub enum Pattern {
    /// Equal.
    Exact(Box<str>),
    /// Starts with.
    Prefix(Box<str>),
    /// Ends with.
    Suffix(Box<str>),
    /// Contains.
    Contains(Box<str>),
    /// RE2 full match.
    Regex(Box<Regex>),
}

pub(crate) mod proto;

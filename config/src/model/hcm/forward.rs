//! What is believed of a request's `x-forwarded-…` headers, and what is told on.

use std::net::IpAddr;

use http::{HeaderName, StatusCode};

use crate::model::chain::Cidr;

/// `internal_address_config`. Without one, no address is internal, as in Envoy since 1.33.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InternalAddresses {
    /// `unix_sockets`: peers on pipes are.
    pub unix_sockets: bool,
    /// `cidr_ranges`.
    pub ranges: Box<[Cidr]>,
}

impl InternalAddresses {
    /// Whether a client is internal.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.ranges.iter().any(|range| range.contains(address))
    }
}

/// One of `original_ip_detection_extensions`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OriginalIp {
    /// `envoy.http.original_ip_detection.xff`.
    Xff {
        /// Whose word is taken.
        trusted: TrustedProxies,
        /// `skip_xff_append`; Envoy's default is true here.
        skip_append: bool,
    },
    /// `envoy.http.original_ip_detection.custom_header`.
    CustomHeader {
        /// `header_name`.
        name: HeaderName,
        /// `allow_extension_to_set_address_as_trusted`.
        trusted: bool,
        /// `reject_with_status`, if the header has no address; `None`: the next extension is asked.
        reject: Option<StatusCode>,
    },
}

/// Whose entries of `x-forwarded-for` are passed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrustedProxies {
    /// The last so many.
    Hops(u32),
    /// Those from these networks.
    Networks(Box<[Cidr]>),
}

/// `request_id_extension` (`envoy.request_id.uuid`), with Envoy's defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestId {
    /// `pack_trace_reason`: why a request is traced stands in its id.
    pub pack_trace_reason: bool,
    /// `use_request_id_for_trace_sampling`.
    pub use_for_sampling: bool,
}

impl Default for RequestId {
    fn default() -> Self {
        Self { pack_trace_reason: true, use_for_sampling: true }
    }
}

/// `scheme_header_transformation`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SchemeHeader {
    /// The scheme stays.
    #[default]
    Keep,
    /// `scheme_to_overwrite`: `http` (false) or `https` (true).
    Overwrite {
        /// It is https.
        https: bool,
    },
    /// `match_upstream`: that of the upstream's transport.
    MatchUpstream,
}

/// `forward_client_cert_details`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ForwardClientCert {
    /// Removed.
    #[default]
    Sanitize,
    /// Passed on, if the connection is mutual TLS.
    ForwardOnly,
    /// Ours is appended, if the connection is mutual TLS.
    AppendForward,
    /// Replaced by ours, if the connection is mutual TLS.
    SanitizeSet,
    /// Passed on whatever the connection is.
    AlwaysForwardOnly,
}

/// `set_current_client_cert_details`; `By`, `Hash` are always told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CertDetails {
    /// `Subject`.
    pub subject: bool,
    /// `Cert`.
    pub cert: bool,
    /// `Chain`.
    pub chain: bool,
    /// `DNS`.
    pub dns: bool,
    /// `URI`.
    pub uri: bool,
    /// `Issuer`.
    pub issuer: bool,
    /// How an element is written.
    pub format: XfccFormat,
}

/// `ForwardClientCertFormat`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum XfccFormat {
    /// `By=…;Hash=…`.
    #[default]
    Text,
    /// A JSON object.
    Json,
}

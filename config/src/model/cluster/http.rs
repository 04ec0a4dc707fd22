//! How a cluster's endpoints speak HTTP (`envoy.extensions.upstreams.http.v3.HttpProtocolOptions`).

use http::HeaderName;

use crate::model::hcm::{CommonHttp, Http1Options, Http2Options};

/// The HTTP settings of a cluster. Without any, HTTP/1 is spoken with Envoy's defaults.
#[derive(Clone, Debug, Default)]
pub struct HttpOptions {
    /// Which version.
    pub protocol: UpstreamProtocol,
    /// Settings of both versions.
    pub common: CommonHttp,
    /// Settings of HTTP/1.
    pub http1: Http1Options,
    /// Settings of HTTP/2.
    pub http2: Http2Options,
    /// A bad message of HTTP/1 ends its request only (`override_stream_error_on_invalid_http_message`).
    pub http1_stream_error: bool,
    /// The same of HTTP/2.
    pub http2_stream_error: bool,
    /// `upstream_http_protocol_options`.
    pub auto_sni: Option<Box<AutoSni>>,
}

/// Which HTTP is spoken with endpoints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UpstreamProtocol {
    /// `explicit_http_config.http_protocol_options`, and Envoy's default.
    #[default]
    Http1,
    /// `explicit_http_config.http2_protocol_options`: with prior knowledge.
    Http2,
    /// `use_downstream_protocol_config`: the client's.
    Downstream {
        /// What is spoken where there is no client (health checks): HTTP/2, as its options are given.
        http2: bool,
    },
    /// `auto_config`: what the endpoint chooses by ALPN, HTTP/2 preferred; the cluster's transport is TLS.
    Auto,
}

impl UpstreamProtocol {
    /// HTTP/2 is spoken, where no client says otherwise and nothing is negotiated.
    pub const fn is_http2_alone(self) -> bool {
        match self {
            Self::Http2 | Self::Downstream { http2: true } => true,
            Self::Http1 | Self::Downstream { http2: false } | Self::Auto => false,
        }
    }
}

/// `UpstreamHttpProtocolOptions`: names of TLS taken from the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AutoSni {
    /// `auto_sni`: the SNI is the request's authority.
    pub sni: bool,
    /// `auto_san_validation`: the certificate must be for the request's authority.
    pub san_validation: bool,
    /// `override_auto_sni_header`: taken instead of the authority, where the request has it.
    pub header: Option<HeaderName>,
}

/// `track_cluster_stats` and `track_timeout_budgets`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrackStats {
    /// `timeout_budgets`.
    pub timeout_budgets: bool,
    /// `request_response_sizes`.
    pub request_response_sizes: bool,
    /// `per_endpoint_stats`.
    pub per_endpoint: bool,
}

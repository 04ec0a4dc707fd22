//! Services that this proxy itself calls, through a cluster: collectors of logs and spans.

use std::sync::Arc;
use std::time::Duration;

/// A gRPC service behind a cluster (`core.v3.GrpcService` with `envoy_grpc`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GrpcService {
    /// Cluster name.
    pub cluster: Arc<str>,
    /// `:authority`; empty: the cluster's name.
    pub authority: Box<str>,
    /// Most time for one call; `None`: the caller's own bound.
    pub timeout: Option<Duration>,
    /// `initial_metadata`: name (lower-case) and value.
    pub metadata: Box<[(Box<str>, Box<str>)]>,
}

/// An HTTP service behind a cluster (`core.v3.HttpService`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HttpService {
    /// Cluster name.
    pub cluster: Arc<str>,
    /// `host[:port]` of the URI.
    pub authority: Box<str>,
    /// Path of the URI, with its query; at least `/`.
    pub path: Box<str>,
    /// Whether the URI is of `https`.
    pub https: bool,
    /// Most time for one call.
    pub timeout: Duration,
    /// `request_headers_to_add`: name (lower-case) and value.
    pub headers: Box<[(Box<str>, Box<str>)]>,
}

pub(crate) mod proto;

//! HTTP filters: what is done with requests before they are sent on, and with their answers
//! (`HttpConnectionManager.http_filters` without the router).
//!
//! The order is the configuration's on the way of the request, and the reverse of it on the way of the answer.

mod buffer;
mod common;
mod compressor;
mod cors;
mod fault;
mod grpc_stats;
mod header_mutation;
mod health_check;
mod local_rate_limit;
mod matched;
mod rate_limit;
mod rbac;
mod set_metadata;

use std::sync::Arc;

pub use self::buffer::{Buffer, BufferPerRoute};
pub use self::compressor::{
    Brotli, BrotliMode, Compressor, CompressorPerRoute, Direction, Gzip, GzipStrategy, Library, RequestDirection,
    ResponseDirection, Zstd,
};
pub use self::cors::CorsPolicy;
pub use self::fault::{Abort, Delay, Fault, FaultKeys, Limit};
pub use self::grpc_stats::{GrpcMethods, GrpcStats};
pub use self::header_mutation::{HeaderMutator, Mutations, QueryMutation};
pub use self::health_check::HealthCheck;
pub use self::local_rate_limit::{Descriptor, DescriptorEntry, LocalRateLimit, TokenBucket, VirtualHostLimits};
pub use self::matched::{Matched, Skip};
pub use self::rate_limit::{MaskedAddress, MetadataEntry, MetadataFrom, RateLimit, RateLimitAction};
pub use self::rbac::HttpRbac;
pub use self::set_metadata::MetadataNote;

/// One of `http_filters`.
#[derive(Clone, Debug)]
pub struct HttpFilter {
    /// Its name, by which routes refer to it; it may stand several times.
    pub name: Arc<str>,
    /// It runs only where a route has something for it.
    pub disabled: bool,
    /// What it does.
    pub config: FilterConfig,
}

/// What a filter does.
#[derive(Clone, Debug)]
pub enum FilterConfig {
    /// `envoy.filters.http.local_ratelimit`
    LocalRateLimit(Arc<LocalRateLimit>),
    /// `envoy.filters.http.fault`
    Fault(Arc<Fault>),
    /// `envoy.filters.http.compressor`
    Compressor(Arc<Compressor>),
    /// `envoy.filters.http.rbac`
    Rbac(Arc<HttpRbac>),
    /// `envoy.filters.http.cors`; its policies stand at the routes.
    Cors,
    /// `envoy.filters.http.header_mutation`
    HeaderMutation(Arc<HeaderMutator>),
    /// `envoy.filters.http.health_check`
    HealthCheck(Arc<HealthCheck>),
    /// `envoy.filters.http.buffer`
    Buffer(Buffer),
    /// `envoy.filters.http.grpc_stats`
    GrpcStats(Arc<GrpcStats>),
    /// `envoy.filters.http.set_metadata`
    SetMetadata(Arc<[MetadataNote]>),
    /// `envoy.extensions.common.matching.v3.ExtensionWithMatcher`
    Matched(Arc<Matched>),
}

/// What a route, its virtual host, its configuration or its weighted cluster has for a filter
/// (`typed_per_filter_config`). A filter for which it is not meant goes by its own configuration.
#[derive(Clone, Debug)]
pub enum PerRoute {
    /// `route.v3.FilterConfig.disabled`: the filter does not run.
    Disabled,
    /// `LocalRateLimit`
    LocalRateLimit(Arc<LocalRateLimit>),
    /// `HTTPFault`
    Fault(Arc<Fault>),
    /// `CompressorPerRoute`
    Compressor(Arc<CompressorPerRoute>),
    /// `RBACPerRoute`
    Rbac(Arc<HttpRbac>),
    /// `CorsPolicy`
    Cors(Arc<CorsPolicy>),
    /// `HeaderMutationPerRoute`
    HeaderMutation(Arc<Mutations>),
    /// `BufferPerRoute`
    Buffer(BufferPerRoute),
    /// `set_metadata.v3.Config`
    SetMetadata(Arc<[MetadataNote]>),
    /// `ExtensionWithMatcherPerRoute`
    Matched(Arc<Skip>),
}

/// `RuntimeFeatureFlag`: a switch that the runtime may turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeFlag {
    /// `runtime_key`; empty: none.
    pub key: Arc<str>,
    /// Without a value in the runtime.
    pub default: bool,
}

pub(crate) mod proto;
#[cfg(test)]
mod tests;

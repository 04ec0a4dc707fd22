//! Where a request is forwarded to, and how (`RouteAction`).

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, StatusCode};

use super::{
    HashPolicy, HeaderKey, HeaderMutation, HeaderMutations, RegexRewrite, RetryPolicy, RewriteTemplate,
    RuntimeFraction, Substitution,
};
use crate::model::http_filter::{PerRoute, RateLimit};
use crate::model::metadata::Fields;

/// `RouteAction`.
#[derive(Clone, Debug)]
pub struct Forward {
    /// `cluster_specifier`.
    pub cluster: ClusterSpecifier,
    /// `cluster_not_found_response_code`.
    pub cluster_not_found: StatusCode,
    /// `rate_limits`.
    pub rate_limits: Box<[RateLimit]>,
    /// `include_vh_rate_limits`: the virtual host's hold too.
    pub include_host_rate_limits: bool,
    /// `metadata_match`: fields of `envoy.lb`.
    pub metadata_match: Option<Fields>,
    /// At most one of `prefix_rewrite`, `regex_rewrite`, `path_rewrite_policy`, `path_rewrite`.
    pub path_rewrite: Option<Box<PathRewrite>>,
    /// `host_rewrite_specifier`.
    pub host_rewrite: Option<Box<HostRewrite>>,
    /// `append_x_forwarded_host`.
    pub append_forwarded_host: bool,
    /// `timeout`: of the whole answer, from the end of the request; `None`: none. Envoy's default is 15 s.
    pub timeout: Option<Duration>,
    /// `idle_timeout`: in the place of the connection manager's `stream_idle_timeout`; zero: none.
    pub idle_timeout: Option<Duration>,
    /// `flush_timeout`: in the place of the connection manager's `stream_flush_timeout`; zero: none.
    pub flush_timeout: Option<Duration>,
    /// `retry_policy` of the route, else of its virtual host.
    pub retry: Option<Arc<RetryPolicy>>,
    /// `request_mirror_policies` of the most specific level that has any.
    pub mirrors: Arc<[Mirror]>,
    /// `priority`.
    pub priority: Priority,
    /// `hash_policy`, in order.
    pub hash: Box<[HashPolicy]>,
    /// `max_grpc_timeout`: `grpc-timeout` is the timeout of a gRPC request, up to this; zero: without bound.
    pub max_grpc_timeout: Option<Duration>,
    /// `grpc_timeout_offset`: so much earlier.
    pub grpc_timeout_offset: Option<Duration>,
    /// `upgrade_configs`, in the place of the connection manager's.
    pub upgrades: Box<[Upgrade]>,
    /// `internal_redirect_policy`.
    pub internal_redirect: Option<Box<InternalRedirect>>,
    /// `max_stream_duration`.
    pub max_stream_duration: Option<Box<MaxStreamDuration>>,
}

/// `cluster_specifier`.
#[derive(Clone, Debug)]
pub enum ClusterSpecifier {
    /// `cluster`.
    Name(Arc<str>),
    /// `cluster_header`: its first value.
    Header(HeaderKey),
    /// `weighted_clusters`.
    Weighted(Arc<WeightedClusters>),
}

/// `WeightedCluster`.
#[derive(Clone, Debug)]
pub struct WeightedClusters {
    /// In order; their weights sum up to at least 1 and fit into 32 bits.
    pub clusters: Box<[WeightedCluster]>,
    /// `runtime_key_prefix`; empty: none.
    pub runtime_prefix: Arc<str>,
    /// `random_value_specifier`.
    pub source: WeightSource,
}

/// `random_value_specifier`: what chooses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WeightSource {
    /// The request's random value.
    Random,
    /// `header_name`: a whole number in a header that stands there once, else the random value.
    Header(HeaderName),
    /// `use_hash_policy`: the route's hash, else the random value.
    Hash,
}

/// `ClusterWeight`.
#[derive(Clone, Debug)]
pub struct WeightedCluster {
    /// `name` or `cluster_header`.
    pub cluster: ClusterRef,
    /// `weight`.
    pub weight: u32,
    /// `runtime_key_prefix`, a dot and the name: what the runtime knows the weight under.
    pub runtime_key: Option<Arc<str>>,
    /// `metadata_match` of the route and of this cluster, which covers the route's.
    pub metadata_match: Option<Fields>,
    /// `request_headers_to_add`, `request_headers_to_remove`.
    pub request_headers: HeaderMutations,
    /// `response_headers_to_add`, `response_headers_to_remove`.
    pub response_headers: HeaderMutations,
    /// `host_rewrite_literal`.
    pub host_rewrite: Option<HeaderValue>,
    /// `typed_per_filter_config`: by the filter's name.
    pub per_filter: Box<[(Arc<str>, PerRoute)]>,
}

/// A cluster by name, or by what a header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClusterRef {
    /// `name`, `cluster`.
    Name(Arc<str>),
    /// `cluster_header`: its first value.
    Header(HeaderKey),
}

/// How the path is rewritten; the query stays.
#[derive(Clone, Debug)]
pub enum PathRewrite {
    /// `prefix_rewrite`: what was matched is replaced by this.
    Prefix(Box<str>),
    /// `regex_rewrite`: every match of the expression.
    Regex(RegexRewrite),
    /// `path_rewrite_policy`: put together from the variables that the path template matched.
    Template(RewriteTemplate),
    /// `path_rewrite`: the whole path; an empty result changes nothing.
    Format(Substitution),
}

/// `host_rewrite_specifier`.
#[derive(Clone, Debug)]
pub enum HostRewrite {
    /// `host_rewrite_literal`.
    Literal(HeaderValue),
    /// `auto_host_rewrite`: the name of the endpoint.
    Auto,
    /// `host_rewrite_header`: its first value.
    Header(HeaderName),
    /// `host_rewrite_path_regex`: out of the path without its query.
    PathRegex(RegexRewrite),
    /// `host_rewrite`; an empty result changes nothing.
    Format(Substitution),
}

/// `RoutingPriority`: which circuit breakers count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Priority {
    /// `DEFAULT`.
    #[default]
    Default,
    /// `HIGH`.
    High,
}

/// `RequestMirrorPolicy`: a copy of the request whose answer nobody waits for.
#[derive(Clone, Debug)]
pub struct Mirror {
    /// `cluster` or `cluster_header`.
    pub cluster: ClusterRef,
    /// `runtime_fraction`; `None`: all.
    pub fraction: Option<RuntimeFraction>,
    /// `trace_sampled`; `None`: as the request itself.
    pub trace_sampled: Option<bool>,
    /// `disable_shadow_host_suffix_append`: the host stays without `-shadow`.
    pub plain_host: bool,
    /// `request_headers_mutations`.
    pub mutations: Box<[HeaderMutation]>,
    /// `host_rewrite_literal`.
    pub host_rewrite: Option<HeaderValue>,
}

/// `UpgradeConfig`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upgrade {
    /// `upgrade_type`, lower-case: `websocket`, `connect`.
    pub kind: Box<str>,
    /// `enabled`.
    pub enabled: bool,
    /// `connect_config`: a CONNECT ends here, and its bytes go to the upstream as they are.
    pub terminate: Option<ConnectConfig>,
}

/// `ConnectConfig`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectConfig {
    /// `allow_post`: a POST is taken as a CONNECT.
    pub allow_post: bool,
}

/// `MaxStreamDuration`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxStreamDuration {
    /// `max_stream_duration`: in the place of the connection manager's; zero: none.
    pub max: Option<Duration>,
    /// `grpc_timeout_header_max`: `grpc-timeout` bounds a request, up to this; zero: without bound.
    pub grpc_header_max: Option<Duration>,
    /// `grpc_timeout_header_offset`: so much earlier.
    pub grpc_header_offset: Option<Duration>,
}

/// `InternalRedirectPolicy`: redirects of upstreams that are followed here.
#[derive(Clone, Debug)]
pub struct InternalRedirect {
    /// `max_internal_redirects`.
    pub max: u32,
    /// `redirect_response_codes`.
    pub codes: Box<[StatusCode]>,
    /// `predicates`: all must hold.
    pub predicates: Box<[RedirectPredicate]>,
    /// `allow_cross_scheme_redirect`.
    pub cross_scheme: bool,
    /// `response_headers_to_copy` into the next request.
    pub copy: Box<[HeaderName]>,
}

/// `predicates` of an [`InternalRedirect`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedirectPredicate {
    /// `allow_listed_routes`: the next route is one of these.
    AllowListed(Box<[Arc<str>]>),
    /// `previous_routes`: the next route is none that was taken before.
    PreviousRoutes,
    /// `safe_cross_scheme`: never from http to https.
    SafeCrossScheme,
}

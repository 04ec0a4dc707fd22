//! Routes: which request goes where, and what is done to it on the way (`config.route.v3.RouteConfiguration`).
//!
//! What lower levels inherit (retry policies, mirrors, buffer limits) is resolved: a route holds what is in force for
//! it, shared with the level it comes from.

mod clusters;
mod forward;
mod hash;
mod matching;
mod mutation;
pub(crate) mod proto;
mod redirect;
mod retry;
mod rewrite;
mod template;

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, StatusCode};

pub use self::forward::{
    ClusterRef, ClusterSpecifier, ConnectConfig, Forward, HostRewrite, InternalRedirect, MaxStreamDuration, Mirror,
    PathRewrite, Priority, RedirectPredicate, Upgrade, WeightSource, WeightedCluster, WeightedClusters,
};
pub use self::hash::{CookieHash, HashPolicy, HashSource};
pub use self::matching::{
    CookieMatch, HeaderKey, HeaderMatch, HeaderTest, PathMatch, QueryMatch, QueryTest, RouteMatch, RuntimeFraction,
    TlsMatch,
};
pub use self::mutation::{AppendAction, HeaderAdd, HeaderFormat, HeaderMutation, HeaderMutations};
pub use self::redirect::{Redirect, RedirectPath, RedirectScheme};
pub use self::retry::{
    BackOff, HostPredicate, RateLimitedBackOff, ResetHeader, ResetHeaderFormat, RetryOn, RetryPolicy, RetryPriority,
};
pub use self::rewrite::{RegexRewrite, SubstitutionError, SubstitutionPart};
pub use self::template::{PathTemplate, RewritePart, RewriteTemplate, TemplateError};

use super::access_log::Template;
use super::http_filter::{PerRoute, RateLimit};
use super::metadata::Metadata;
use super::metadata::proto::Interner;
use super::tracing::RouteTracing;
use crate::reject::{Context, Ignored, Rejection, Unsupported};

/// A route configuration.
#[derive(Clone, Debug, Default)]
pub struct RouteConfiguration {
    /// `name`; empty for an inline one that has none.
    pub name: Arc<str>,
    /// In order; each domain stands in one of them only.
    pub virtual_hosts: Box<[Arc<VirtualHost>]>,
    /// `request_headers_to_add`, `request_headers_to_remove`.
    pub request_headers: HeaderMutations,
    /// `response_headers_to_add`, `response_headers_to_remove`.
    pub response_headers: HeaderMutations,
    /// `most_specific_header_mutations_wins`: the route's mutations are applied last instead of first.
    pub most_specific_last: bool,
    /// `internal_only_headers`: taken off requests that come from outside.
    pub internal_only_headers: Box<[HeaderName]>,
    /// `validate_clusters`; `None`: the default, which is to validate inline configurations only.
    pub validate_clusters: Option<bool>,
    /// `ignore_port_in_host_matching`.
    pub ignore_port: bool,
    /// `vhost_header`: the header that is looked at in the place of the authority.
    pub vhost_header: Option<HeaderName>,
    /// `typed_per_filter_config`: by the filter's name.
    pub per_filter: Box<[(Arc<str>, PerRoute)]>,
    /// `ignore_path_parameters_in_path_matching`: `;…` is cut off the path before it is matched.
    pub ignore_path_parameters: bool,
    /// `metadata`.
    pub metadata: Option<Arc<Metadata>>,
}

/// `VirtualHost`.
#[derive(Clone, Debug)]
pub struct VirtualHost {
    /// `name`, of statistics and logs.
    pub name: Arc<str>,
    /// Lower-case: exact names, `*suffix`, `prefix*`, `*`.
    pub domains: Box<[Box<str>]>,
    /// In order: the first that matches wins.
    pub routes: Box<[Arc<Route>]>,
    /// `typed_per_filter_config`: by the filter's name.
    pub per_filter: Box<[(Arc<str>, PerRoute)]>,
    /// `rate_limits`.
    pub rate_limits: Arc<[RateLimit]>,
    /// `require_tls`.
    pub require_tls: RequireTls,
    /// `virtual_clusters`: classes of requests with statistics of their own.
    pub virtual_clusters: Box<[VirtualCluster]>,
    /// `request_headers_to_add`, `request_headers_to_remove`.
    pub request_headers: HeaderMutations,
    /// `response_headers_to_add`, `response_headers_to_remove`.
    pub response_headers: HeaderMutations,
    /// `include_request_attempt_count`: `x-envoy-attempt-count` towards the upstream.
    pub attempt_count_in_request: bool,
    /// `include_attempt_count_in_response`.
    pub attempt_count_in_response: bool,
    /// `include_is_timeout_retry_header`: `x-envoy-is-timeout-retry` towards the upstream.
    pub timeout_retry_in_request: bool,
    /// `metadata`.
    pub metadata: Option<Arc<Metadata>>,
}

/// `VirtualHost.TlsRequirementType`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RequireTls {
    /// Nobody is redirected.
    #[default]
    None,
    /// Requests from outside.
    ExternalOnly,
    /// All.
    All,
}

/// `VirtualCluster`.
#[derive(Clone, Debug)]
pub struct VirtualCluster {
    /// Of its statistics: `vhost.<virtual host>.vcluster.<name>.…`.
    pub name: Arc<str>,
    /// All must hold; never empty.
    pub headers: Box<[HeaderMatch]>,
}

/// `Route`.
#[derive(Clone, Debug)]
pub struct Route {
    /// `name`; may be empty.
    pub name: Arc<str>,
    /// Which requests.
    pub matches: RouteMatch,
    /// `typed_per_filter_config`: by the filter's name.
    pub per_filter: Box<[(Arc<str>, PerRoute)]>,
    /// What is done with them.
    pub action: Action,
    /// `request_headers_to_add`, `request_headers_to_remove`.
    pub request_headers: HeaderMutations,
    /// `response_headers_to_add`, `response_headers_to_remove`.
    pub response_headers: HeaderMutations,
    /// Bytes of a request's body that are kept for retries and mirrors: `request_body_buffer_limit`, or
    /// `per_request_buffer_limit_bytes`, of the route or of its virtual host.
    pub buffer_limit: Option<BufferLimit>,
    /// `stat_prefix`: statistics under `vhost.<virtual host>.route.<stat_prefix>`.
    pub stat_prefix: Option<Arc<str>>,
    /// `decorator`.
    pub decorator: Option<Box<Decorator>>,
    /// `tracing`.
    pub tracing: Option<Box<RouteTracing>>,
    /// `metadata`.
    pub metadata: Option<Arc<Metadata>>,
}

/// How much of a request's body is kept for another try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BufferLimit {
    /// `request_body_buffer_limit`: this much.
    Exactly(u64),
    /// `per_request_buffer_limit_bytes`: this much, but not more than `per_connection_buffer_limit_bytes`.
    AtMost(u32),
}

/// `Decorator`: the name of the span.
#[derive(Clone, Debug)]
pub struct Decorator {
    /// `operation`; never empty.
    pub operation: Box<str>,
    /// `propagate`: told to the upstream and the client in `x-envoy-decorator-operation`.
    pub propagate: bool,
}

/// What is done with a request.
#[derive(Clone, Debug)]
pub enum Action {
    /// `route`.
    Forward(Arc<Forward>),
    /// `redirect`.
    Redirect(Arc<Redirect>),
    /// `direct_response`.
    Direct(Arc<DirectResponse>),
}

/// `DirectResponseAction`.
#[derive(Clone, Debug)]
pub struct DirectResponse {
    /// 200 to 599.
    pub status: StatusCode,
    /// Empty: none.
    pub body: Bytes,
}

/// Literal text and operators whose absent values are empty, for headers, paths and hosts.
pub type Substitution = Template;

/// What was read, if it can be run, and the fields of it that are not honoured.
pub type Read = (Result<RouteConfiguration, Unsupported>, Box<[Ignored]>);

impl RouteConfiguration {
    /// Reads a `config.route.v3.RouteConfiguration`, and tells which of its fields are not honoured.
    ///
    /// # Errors
    /// As Envoy refuses it. The inner error: a part of it can't be run.
    pub fn read(body: &[u8]) -> Result<Read, Rejection> {
        let mut cx = Context::default();
        let config = cx.decode(body)?;
        let read = proto::configuration(&mut cx, &mut Interner::default(), config)?;
        Ok((read, cx.into_ignored()))
    }
}

//! Tracing: which requests make spans, what they say, and who is told
//! (`HttpConnectionManager.Tracing`, `config.trace.v3`).

use std::sync::Arc;
use std::time::Duration;

use super::access_log::Template;
pub use super::service::{GrpcService, HttpService};

/// Tracing of one HTTP connection manager.
#[derive(Clone, Debug, PartialEq)]
pub struct Tracing {
    /// Which requests.
    pub sampling: Sampling,
    /// Longest path in `http.url`, in bytes.
    pub max_path_length: usize,
    /// Tags of our own, by the order they are set.
    pub custom_tags: Box<[CustomTag]>,
    /// `operation`: the name of spans.
    pub operation: Option<Template>,
    /// `upstream_operation`: the name of spans of upstream attempts.
    pub upstream_operation: Option<Template>,
    /// Each upstream attempt has a span of its own.
    pub spawn_upstream_span: bool,
    /// Those upstream are told of the span (`no_context_propagation` is off).
    pub propagate: bool,
    /// Who is told; `None`: nobody, but requests are still sampled by their `x-request-id`.
    pub provider: Option<Provider>,
}

/// Percentages of requests, 0 to 100.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// Of those with `x-client-trace-id` (runtime: `tracing.client_enabled`).
    pub client: f64,
    /// Of all that nobody forces (runtime: `tracing.random_sampling`).
    pub random: f64,
    /// Of all that would be traced (runtime: `tracing.global_enabled`).
    pub overall: f64,
}

impl Default for Sampling {
    fn default() -> Self {
        Self { client: 100.0, random: 100.0, overall: 100.0 }
    }
}

/// `route.v3.Tracing`: covers the manager's.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteTracing {
    /// Which requests: all three are the route's, 100 % where not said.
    pub sampling: Sampling,
    /// Added to the manager's; of two with one name the route's is taken.
    pub custom_tags: Box<[CustomTag]>,
    /// Covers the manager's.
    pub operation: Option<Template>,
    /// Covers the manager's.
    pub upstream_operation: Option<Template>,
}

/// `type.tracing.v3.CustomTag`.
#[derive(Clone, Debug, PartialEq)]
pub struct CustomTag {
    /// Name.
    pub tag: Box<str>,
    /// Where its value comes from.
    pub value: TagValue,
}

/// Where the value of a tag comes from. Without a value and a default there is no tag.
#[derive(Clone, Debug, PartialEq)]
pub enum TagValue {
    /// Text.
    Literal(Box<str>),
    /// A variable of the environment.
    Environment {
        /// Name.
        name: Box<str>,
        /// Without it.
        default: Option<Box<str>>,
    },
    /// A header of the request.
    Header {
        /// Lower-case name.
        name: Box<str>,
        /// Without it.
        default: Option<Box<str>>,
    },
    /// Metadata.
    Metadata {
        /// Whose.
        of: MetadataOf,
        /// Namespace.
        namespace: Box<str>,
        /// The way down.
        path: Box<[Box<str>]>,
        /// Without it.
        default: Option<Box<str>>,
    },
    /// A format.
    Format(Template),
}

/// Whose metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetadataOf {
    /// What filters noted.
    Request,
    /// The route's.
    Route,
    /// The cluster's.
    Cluster,
    /// The endpoint's.
    Host,
}

/// Who is told of spans, and how.
#[derive(Clone, Debug, PartialEq)]
pub enum Provider {
    /// OpenTelemetry.
    OpenTelemetry(OpenTelemetry),
    /// Zipkin.
    Zipkin(Zipkin),
    /// Datadog.
    Datadog(Datadog),
}

/// `config.trace.v3.OpenTelemetryConfig`.
#[derive(Clone, Debug, PartialEq)]
pub struct OpenTelemetry {
    /// Where spans go; `None`: nowhere, but the context is passed on.
    pub exporter: Option<Exporter>,
    /// `service.name`; Envoy's default is `unknown_service:envoy`.
    pub service_name: Box<str>,
    /// Attributes of the resource that detectors found.
    pub resource: Box<[(Box<str>, Box<str>)]>,
    /// `None`: as the connection manager decides.
    pub sampler: Option<Sampler>,
    /// Most spans that wait.
    pub max_cache_size: usize,
    /// `telemetry.sdk.*` are among the resource's attributes.
    pub sdk_attributes: bool,
    /// `service.name` is among them.
    pub service_attribute: bool,
    /// The scope is named.
    pub scope: bool,
}

/// Where OTLP goes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Exporter {
    /// gRPC.
    Grpc(GrpcService),
    /// HTTP with protobuf.
    Http(HttpService),
}

/// Which spans are exported, beyond what the connection manager says.
#[derive(Clone, Debug, PartialEq)]
pub enum Sampler {
    /// All.
    AlwaysOn,
    /// By the trace's ID: this part of all, 0 to 1.
    Ratio(f64),
    /// As the parent; without one, as the inner one says.
    ParentBased(Box<Sampler>),
}

/// `config.trace.v3.ZipkinConfig`.
#[derive(Clone, Debug, PartialEq)]
pub struct Zipkin {
    /// The collector.
    pub collector: HttpService,
    /// Body of what is sent.
    pub encoding: ZipkinEncoding,
    /// IDs of traces have 128 bits.
    pub long_ids: bool,
    /// The first 32 bits of an ID of 128 are the time.
    pub timestamp_ids: bool,
    /// A client's span and ours are one.
    pub shared_span: bool,
    /// Each hop has spans of its own for client and server (`split_spans_for_request`).
    pub split_spans: bool,
    /// `traceparent` is read and written, too.
    pub w3c: bool,
}

/// Body of a Zipkin report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZipkinEncoding {
    /// JSON, version 2.
    Json,
    /// Protobuf, version 2.
    Proto,
}

/// `config.trace.v3.DatadogConfig`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datadog {
    /// Cluster of the agent.
    pub cluster: Arc<str>,
    /// `Host` of the agent; empty: the cluster's name.
    pub authority: Box<str>,
    /// Name of the service.
    pub service_name: Box<str>,
}

/// Most time for a report to a collector whose configuration names none.
pub const REPORT_TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) mod proto;

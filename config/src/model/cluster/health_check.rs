//! Active health checks (`core.v3.HealthCheck`).

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};

use crate::model::tls::StringMatch;
use crate::reject::Unsupported;

/// One active health check.
#[derive(Clone, Debug, PartialEq)]
pub struct HealthCheck {
    /// Time for one probe.
    pub timeout: Duration,
    /// Time between probes.
    pub interval: Duration,
    /// Random part added to the first probe's start.
    pub initial_jitter: Duration,
    /// Random part added to each interval.
    pub interval_jitter: Duration,
    /// The same in percent of the interval.
    pub interval_jitter_percent: u32,
    /// Interval while unhealthy (`unhealthy_interval`).
    pub unhealthy_interval: Option<Duration>,
    /// Interval for the first probe after turning unhealthy.
    pub unhealthy_edge_interval: Option<Duration>,
    /// Interval for the first probe after turning healthy.
    pub healthy_edge_interval: Option<Duration>,
    /// Interval while the cluster has no traffic; Envoy's default is 60 s.
    pub no_traffic_interval: Duration,
    /// The same, while healthy.
    pub no_traffic_healthy_interval: Option<Duration>,
    /// Failures until unhealthy.
    pub unhealthy_threshold: u32,
    /// Successes until healthy (the first success counts at once).
    pub healthy_threshold: u32,
    /// Keep the probe's connection; Envoy's default is true.
    pub reuse_connection: bool,
    /// Log every failed probe.
    pub always_log_failures: bool,
    /// Log every successful probe.
    pub always_log_successes: bool,
    /// Where events go (`event_logger` file sinks, `event_log_path`).
    pub event_logs: Box<[Arc<str>]>,
    /// What is sent and expected.
    pub probe: Probe,
}

/// What a health check does.
#[derive(Clone, Debug, PartialEq)]
pub enum Probe {
    /// Connect; with `send`, write it and expect every `receive` block in order in the answer.
    Tcp {
        /// Bytes to write.
        send: Option<Box<[u8]>>,
        /// Blocks to find in order.
        receive: Box<[Box<[u8]>]>,
    },
    /// A request and what is expected of its answer.
    Http(Box<HttpProbe>),
    /// `grpc.health.v1.Health/Check`.
    Grpc(Box<GrpcProbe>),
    /// One that this version can't run: the host counts as healthy, and the check is reported as not run.
    Unsupported(Unsupported),
}

/// `http_health_check`.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpProbe {
    /// `host`: the authority; `None`: the cluster's name, unless the endpoint names one.
    pub host: Option<HeaderValue>,
    /// `path`, with query.
    pub path: Arc<str>,
    /// `method`; Envoy's default is GET.
    pub method: Method,
    /// `codec_client_type`.
    pub codec: ProbeCodec,
    /// `send`: the body; empty without.
    pub send: Box<[u8]>,
    /// `receive`: blocks to find in the body, in order.
    pub receive: Box<[Box<[u8]>]>,
    /// `response_buffer_size`: how much of the body is looked at; 0: all. Envoy's default is 1,024 bytes.
    pub response_buffer: u64,
    /// `expected_statuses`; Envoy's default is 200 alone.
    pub expected: Box<[Range<u16>]>,
    /// `retriable_statuses`: failures that count towards the threshold instead of at once.
    pub retriable: Box<[Range<u16>]>,
    /// `service_name_matcher`, for `x-envoy-upstream-healthchecked-cluster` of the answer.
    pub service_name: Option<StringMatch>,
    /// `request_headers_to_remove`, done first.
    pub remove: Box<[HeaderName]>,
    /// `request_headers_to_add`.
    pub add: Box<[ProbeHeader]>,
}

/// `grpc_health_check`.
#[derive(Clone, Debug, PartialEq)]
pub struct GrpcProbe {
    /// `service_name`; empty: the whole server.
    pub service: Box<str>,
    /// `authority`; `None`: the cluster's name, unless the endpoint names one.
    pub authority: Option<HeaderValue>,
    /// `initial_metadata`.
    pub add: Box<[ProbeHeader]>,
}

/// `codec_client_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeCodec {
    /// HTTP1.
    Http1,
    /// HTTP2.
    Http2,
}

/// A header of a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeHeader {
    /// Its name.
    pub name: HeaderName,
    /// Its value, literal.
    pub value: HeaderValue,
    /// What to do where it is there already.
    pub action: ProbeHeaderAction,
}

/// `HeaderValueOption.append_action`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeHeaderAction {
    /// `APPEND_IF_EXISTS_OR_ADD`.
    Append,
    /// `ADD_IF_ABSENT`.
    AddIfAbsent,
    /// `OVERWRITE_IF_EXISTS_OR_ADD`.
    Overwrite,
    /// `OVERWRITE_IF_EXISTS`.
    OverwriteIfExists,
}

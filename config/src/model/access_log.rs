//! Access logs: where lines go, which are written, and what they say (`config.accesslog.v3.AccessLog`).

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub use self::filter::{CelFilter, Comparison, Filter, MetadataTest, Op, ValueTest};
pub use self::http::{
    GrpcForm, HeaderRef, HostSource, MetadataRef, MetadataSource, NameOrder, PathForm, PathSource, ServerName,
};
pub use self::tls::{Fact, TlsOperator};
use super::tracing::Exporter;

/// One access log.
#[derive(Clone, Debug)]
pub struct AccessLog {
    /// Which connections are logged; `None`: all.
    pub filter: Option<Filter>,
    /// Where lines go.
    pub sink: Sink,
    /// What they say.
    pub format: Arc<Format>,
    /// `omit_empty_values`: what is absent is left out instead of `-` or null.
    pub omit_empty: bool,
}

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Sink {
    /// A file (opened for appending, reopened on `SIGUSR1`/`POST /reopen_logs`), also `/dev/stdout`; a Kuma FIFO path
    /// (`…/kuma-al-*.sock`) stands for direct TCP, which the proxy decides.
    File(Arc<Path>),
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// An OpenTelemetry collector.
    OpenTelemetry(Arc<OpenTelemetryLog>),
}

/// `OpenTelemetryAccessLogConfig`, but for what records say.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OpenTelemetryLog {
    /// Where records go.
    pub exporter: Exporter,
    /// `log_name`.
    pub log_name: Box<str>,
    /// `log_name`, `zone_name`, `cluster_name`, `node_name` are among the resource's attributes.
    pub built_in_labels: bool,
    /// Attributes of the resource.
    pub resource: Box<[(Box<str>, Box<str>)]>,
    /// `stat_prefix`; may be empty.
    pub stat_prefix: Box<str>,
    /// `buffer_size_bytes`: so many are sent at once; Envoy's default is 16,384.
    pub buffer_size: usize,
    /// `buffer_flush_interval`; Envoy's default is 1 s.
    pub flush_interval: Duration,
}

/// What a line says.
#[derive(Clone, Debug, PartialEq)]
pub enum Format {
    /// Text; the template carries its own newline.
    Text(Template),
    /// A JSON object; one line.
    Json(Box<[(Box<str>, JsonNode)]>),
    /// A log record of OpenTelemetry.
    Record {
        /// `body`.
        body: Option<JsonNode>,
        /// `attributes`, in order.
        attributes: Box<[(Box<str>, JsonNode)]>,
    },
}

/// A value in a JSON format.
#[derive(Clone, Debug, PartialEq)]
pub enum JsonNode {
    /// A template; a lone operator keeps its type (number, string, null).
    Template(Template),
    /// A number.
    Number(f64),
    /// A boolean.
    Bool(bool),
    /// A nested object.
    Object(Box<[(Box<str>, JsonNode)]>),
    /// A list.
    List(Box<[JsonNode]>),
    /// Null.
    Null,
}

/// Literals and operators in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Template(pub Box<[Piece]>);

/// A part of a [`Template`].
#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    /// Text as it is.
    Literal(Box<str>),
    /// A command operator, `%NAME(argument):length%`.
    Operator {
        /// Which.
        operator: Operator,
        /// Longest value in bytes (`:length`).
        max_length: Option<usize>,
    },
}

/// Envoy's command operators (access_log/usage); those about HTTP are absent on TCP, as Envoy's are.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)] // each is Envoy's operator of the same name
pub enum Operator {
    StartTime(Option<Box<str>>),
    StartTimeLocal(Option<Box<str>>),
    EmitTime(Option<Box<str>>),
    EmitTimeLocal(Option<Box<str>>),
    BytesReceived,
    BytesSent,
    Protocol,
    ResponseCode,
    /// `true`: `(ALLOW_WHITESPACES)`.
    ResponseCodeDetails(bool),
    ConnectionTerminationDetails,
    Duration,
    RequestDuration,
    RequestTxDuration,
    ResponseDuration,
    ResponseTxDuration,
    DownstreamHandshakeDuration,
    RoundtripDuration,
    /// `%COMMON_DURATION(start:end:precision)%`.
    CommonDuration(Box<str>),
    ResponseFlags,
    ResponseFlagsLong,
    UpstreamHost,
    UpstreamHostName,
    UpstreamHostNameWithoutPort,
    UpstreamCluster,
    UpstreamClusterRaw,
    UpstreamLocalAddress,
    UpstreamLocalAddressWithoutPort,
    UpstreamLocalPort,
    UpstreamRemoteAddress,
    UpstreamRemoteAddressWithoutPort,
    UpstreamRemotePort,
    UpstreamTransportFailureReason,
    UpstreamRequestAttemptCount,
    UpstreamConnectionId,
    UpstreamProtocol,
    UpstreamWireBytesSent,
    UpstreamWireBytesReceived,
    UpstreamHeaderBytesSent,
    UpstreamHeaderBytesReceived,
    DownstreamWireBytesSent,
    DownstreamWireBytesReceived,
    DownstreamHeaderBytesSent,
    DownstreamHeaderBytesReceived,
    DownstreamRemoteAddress,
    DownstreamRemoteAddressWithoutPort,
    DownstreamRemotePort,
    DownstreamDirectRemoteAddress,
    DownstreamDirectRemoteAddressWithoutPort,
    DownstreamDirectRemotePort,
    DownstreamLocalAddress,
    DownstreamLocalAddressWithoutPort,
    DownstreamLocalPort,
    DownstreamTransportFailureReason,
    DownstreamDetectedCloseType,
    ConnectionId,
    StreamId,
    RequestedServerName(ServerName),
    RouteName,
    VirtualClusterName,
    FilterChainName,
    Hostname,
    AccessLogType,
    UniqueId,
    Environment(Box<str>),
    Metadata(MetadataRef),
    FilterState(Box<str>),
    UpstreamFilterState(Box<str>),
    TlsJa3Fingerprint,
    TlsJa4Fingerprint,
    /// `%DOWNSTREAM_TLS_…%`, `%DOWNSTREAM_PEER_…%`, `%DOWNSTREAM_LOCAL_…SAN%`, `%UPSTREAM_PEER_…%` and so on.
    Tls(TlsOperator),
    Request(HeaderRef),
    Response(HeaderRef),
    Trailer(HeaderRef),
    RequestHeadersBytes,
    ResponseHeadersBytes,
    ResponseTrailersBytes,
    Path(PathForm),
    QueryParam(Box<str>),
    QueryParams,
    GrpcStatus(GrpcForm),
    LocalReplyBody,
    TraceId,
    SpanId,
    CustomFlags,
    UpstreamConnectionPoolReadyDuration,
    UpstreamHostsAttempted,
    UpstreamHostsAttemptedWithoutPort,
    UpstreamHostNamesAttempted,
    UpstreamHostNamesAttemptedWithoutPort,
    UpstreamConnectionIdsAttempted,
    UpstreamDetectedCloseType,
    UpstreamServerName,
    DownstreamCxRtt,
    /// `%CEL(expression)%`.
    Cel(Arc<CelFilter>),
    /// `%COALESCE({"operators":[…]})%`: the first that is there.
    Coalesce(Box<[Piece]>),
    /// What nothing here can know: always absent. Its name.
    Unknown(Box<str>),
    /// Ours: the decoded Kuma name behind the SNI, `%ZONEGATE_KUMA_NAME%`.
    KumaName,
    /// Ours: why the connection ended, `%ZONEGATE_CLOSE_REASON%`.
    CloseReason,
    /// Ours: the policy that allowed or denied the connection, `%ZONEGATE_RBAC_POLICY%`.
    RbacPolicy,
}

mod filter;
pub mod format;
mod http;
mod operators;
pub(crate) mod proto;
mod tls;

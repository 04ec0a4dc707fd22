//! Access logs: where lines go, which are written, and what they say (`config.accesslog.v3.AccessLog`).

use std::path::Path;
use std::sync::Arc;

pub use self::tls::{Fact, TlsOperator};

/// One access log.
#[derive(Clone, Debug)]
pub struct AccessLog {
    /// Which connections are logged; `None`: all.
    pub filter: Option<Filter>,
    /// Where lines go.
    pub sink: Sink,
    /// What they say.
    pub format: Arc<Format>,
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
}

/// Which connections are logged.
#[derive(Clone, Debug)]
pub enum Filter {
    /// A CEL expression over Envoy's attributes; compiled once.
    Cel(Arc<CelFilter>),
}

/// A compiled CEL expression and its text.
#[derive(Debug)]
pub struct CelFilter {
    /// Source text.
    pub text: Box<str>,
    /// Compiled form.
    pub program: cel::Program,
}

/// What a line says.
#[derive(Clone, Debug, PartialEq)]
pub enum Format {
    /// Text; the template carries its own newline.
    Text(Template),
    /// A JSON object; one line.
    Json(Box<[(Box<str>, JsonNode)]>),
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

/// Envoy's command operators (access_log/usage); those about HTTP print `-` here, as Envoy's do on TCP.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)] // each is Envoy's operator of the same name
pub enum Operator {
    StartTime(Option<Box<str>>),
    StartTimeLocal(Option<Box<str>>),
    EmitTime(Option<Box<str>>),
    BytesReceived,
    BytesSent,
    Protocol,
    ResponseCode,
    ResponseCodeDetails,
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
    RequestedServerName(Option<Box<str>>),
    RouteName,
    VirtualClusterName,
    FilterChainName,
    Hostname,
    AccessLogType,
    UniqueId,
    Environment(Box<str>),
    DynamicMetadata(Box<str>),
    ClusterMetadata(Box<str>),
    UpstreamMetadata(Box<str>),
    FilterState(Box<str>),
    UpstreamFilterState(Box<str>),
    TlsJa3Fingerprint,
    TlsJa4Fingerprint,
    /// `%DOWNSTREAM_TLS_…%`, `%DOWNSTREAM_PEER_…%`, `%DOWNSTREAM_LOCAL_…SAN%`, `%UPSTREAM_PEER_…%` and so on.
    Tls(TlsOperator),
    /// `%REQ(…)%`, `%RESP(…)%`, `%TRAILER(…)%`, `%PATH%`, `%METHOD%`, `%GRPC_STATUS%`, …: print `-` on TCP.
    Http(Box<str>),
    /// Ours: the decoded Kuma name behind the SNI, `%ZONEGATE_KUMA_NAME%`.
    KumaName,
    /// Ours: why the connection ended, `%ZONEGATE_CLOSE_REASON%`.
    CloseReason,
    /// Ours: the policy that allowed or denied the connection, `%ZONEGATE_RBAC_POLICY%`.
    RbacPolicy,
}

pub mod format;
mod operators;
pub(crate) mod proto;
mod tls;

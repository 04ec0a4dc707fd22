//! The HTTP connection manager of the data path
//! (`envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager`).
//!
//! The control plane's own listeners have a smaller one: [`super::http`].

mod forward;
pub(crate) mod proto;
mod protocol;
mod reply;
mod routes;

use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;

pub use forward::{
    CertDetails, ForwardClientCert, InternalAddresses, OriginalIp, RequestId, SchemeHeader, TrustedProxies, XfccFormat,
};
pub use protocol::{CommonHttp, HeaderCase, Http1Options, Http2Options, Keepalive, Underscores};
pub use reply::{LocalReply, ReplyFormat, ReplyMapper};
pub use routes::{RouteRef, RouteSource, Routes};

use super::access_log::AccessLog;
use super::http_filter::HttpFilter;
use super::route::HeaderMutation;
use super::tracing::Tracing;

/// How requests of one filter chain are read, routed and answered.
#[derive(Clone, Debug)]
pub struct Manager {
    /// Prefix of its metrics: `http.<stat_prefix>.…`.
    pub stat_prefix: Arc<str>,
    /// Which HTTP is spoken.
    pub codec: Codec,
    /// Where the routes come from.
    pub routes: Routes,
    /// `http_filters` but for the last, the router.
    pub filters: Box<[HttpFilter]>,
    /// The last filter.
    pub router: Router,
    /// Settings of both versions.
    pub common: CommonHttp,
    /// Settings of HTTP/1.
    pub http1: Http1Options,
    /// Settings of HTTP/2.
    pub http2: Http2Options,
    /// `http1_safe_max_connection_duration`: an HTTP/1 connection whose time is over gets `Connection: close` with its
    /// next answer and no other end.
    pub http1_safe_max_connection_duration: bool,
    /// `max_request_headers_kb`: of all request headers; Envoy's default is 60.
    pub max_request_headers_kb: u32,
    /// `server_name` of the `server:` header; Envoy's default is `envoy`.
    pub server_name: HeaderValue,
    /// What becomes of the `server:` header.
    pub server_header: ServerHeader,
    /// What becomes of the scheme.
    pub scheme: SchemeHeader,
    /// `stream_idle_timeout`: no bytes and no headers either way; Envoy's default is 5 min, `None`: never.
    pub stream_idle_timeout: Option<Duration>,
    /// `stream_flush_timeout`: an answer that is complete here and that the client does not take; Envoy's default is
    /// `stream_idle_timeout`, `None`: never.
    pub stream_flush_timeout: Option<Duration>,
    /// `request_timeout`: the whole request; Envoy's default is none.
    pub request_timeout: Option<Duration>,
    /// `request_headers_timeout`: from the first to the last byte of the headers; Envoy's default is none.
    pub request_headers_timeout: Option<Duration>,
    /// `drain_timeout`: between the first (advisory) GOAWAY and the last; Envoy's default is 5 s.
    pub drain_timeout: Duration,
    /// `drain_timeout_jitter` in percent of it.
    pub drain_timeout_jitter: f64,
    /// `delayed_close_timeout`: how long a closing connection waits for the client's end; Envoy's default is 1 s,
    /// zero: it is closed at once.
    pub delayed_close_timeout: Duration,
    /// `use_remote_address`.
    pub use_remote_address: bool,
    /// `xff_num_trusted_hops`.
    pub xff_num_trusted_hops: u32,
    /// `original_ip_detection_extensions`, in order; none: `x-forwarded-for` as `xff_num_trusted_hops` says.
    pub original_ip: Box<[OriginalIp]>,
    /// `skip_xff_append`.
    pub skip_xff_append: bool,
    /// Which clients are internal.
    pub internal_addresses: InternalAddresses,
    /// `represent_ipv4_remote_address_as_ipv4_mapped_ipv6`, in what is told of the client's address.
    pub represent_ipv4_as_mapped: bool,
    /// `append_x_forwarded_port`.
    pub append_x_forwarded_port: bool,
    /// `append_local_overload`: local replies for overload carry `x-envoy-local-overloaded`.
    pub append_local_overload: bool,
    /// `forward_proto_config`: destination ports from a PROXY protocol header that mean https, and those that mean http.
    pub forward_proto: Option<Box<ForwardProto>>,
    /// `add_proxy_protocol_connection_state`: addresses for PROXY protocol towards upstreams; Envoy's default is true.
    pub add_proxy_protocol_connection_state: bool,
    /// What becomes of `x-forwarded-client-cert`.
    pub xfcc: ForwardClientCert,
    /// What of the client's certificate is told there.
    pub xfcc_details: CertDetails,
    /// `generate_request_id`; Envoy's default is true.
    pub generate_request_id: bool,
    /// `preserve_external_request_id`.
    pub preserve_external_request_id: bool,
    /// `always_set_request_id_in_response`.
    pub always_set_request_id_in_response: bool,
    /// `request_id_extension`.
    pub request_id: RequestId,
    /// `add_user_agent`: `user-agent` of a request without one, `x-envoy-downstream-service-cluster` and `-node`.
    pub add_user_agent: bool,
    /// `via`: appended to both directions' `via` headers.
    pub via: Option<HeaderValue>,
    /// `normalize_path`; Envoy's default is false.
    pub normalize_path: bool,
    /// `merge_slashes`.
    pub merge_slashes: bool,
    /// `path_with_escaped_slashes_action`.
    pub escaped_slashes: EscapedSlashes,
    /// Which port is taken from the host.
    pub strip_port: StripPort,
    /// `strip_trailing_host_dot`.
    pub strip_trailing_host_dot: bool,
    /// `proxy_100_continue`.
    pub proxy_100_continue: bool,
    /// `stream_error_on_invalid_http_message` of HTTP/1 after `override_…`: a bad message does not end the connection.
    pub http1_stream_error: bool,
    /// `stream_error_on_invalid_http_message` of HTTP/2 after `override_…`.
    pub http2_stream_error: bool,
    /// `upgrade_configs`, each type once.
    pub upgrades: Box<[Upgrade]>,
    /// `access_log`.
    pub access_logs: Box<[AccessLog]>,
    /// When a line is written beside at the end.
    pub log: LogOptions,
    /// `local_reply_config`.
    pub local_reply: Option<Arc<LocalReply>>,
    /// `tracing`.
    pub tracing: Option<Arc<Tracing>>,
    /// `early_header_mutation_extensions`: done before the route is looked for.
    pub early_mutations: Box<[HeaderMutation]>,
    /// `proxy_status_config`.
    pub proxy_status: Option<Box<ProxyStatus>>,
}

/// `CodecType`; HTTP/3 is refused, as Envoy does on a TCP listener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Codec {
    /// By ALPN, else by the first bytes.
    #[default]
    Auto,
    /// HTTP/1 only.
    Http1,
    /// HTTP/2 only, with prior knowledge on plain connections.
    Http2,
}

/// `server_header_transformation`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServerHeader {
    /// `OVERWRITE`.
    #[default]
    Overwrite,
    /// `APPEND_IF_ABSENT`.
    AppendIfAbsent,
    /// `PASS_THROUGH`.
    PassThrough,
}

/// `path_with_escaped_slashes_action` (`%2F`, `%5C` and their lower-case forms).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EscapedSlashes {
    /// Taken as they are; also Envoy's default.
    #[default]
    Keep,
    /// 400.
    Reject,
    /// Unescaped, with a redirect (307) there; gRPC requests are refused (400 of Envoy: INTERNAL).
    UnescapeAndRedirect,
    /// Unescaped and forwarded.
    UnescapeAndForward,
}

/// `strip_port_mode` and `strip_matching_host_port`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StripPort {
    /// The host stays as it is.
    #[default]
    Keep,
    /// The listener's own port goes.
    Matching,
    /// Any port goes.
    Any,
}

/// `forward_proto_config`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForwardProto {
    /// `https_destination_ports`.
    pub https: Box<[u16]>,
    /// `http_destination_ports`.
    pub http: Box<[u16]>,
}

/// `UpgradeConfig`.
#[derive(Clone, Debug)]
pub struct Upgrade {
    /// `upgrade_type`, lower-case: `websocket`, `connect`, …
    pub kind: Box<str>,
    /// `enabled`; a route may say otherwise. Envoy's default is true.
    pub enabled: bool,
}

/// `access_log_options`, or their deprecated twins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// `access_log_flush_interval`: also at this interval.
    pub flush_interval: Option<Duration>,
    /// `flush_access_log_on_new_request`: also when the headers are there.
    pub on_new_request: bool,
    /// `flush_log_on_tunnel_successfully_established`: also when an upgrade or CONNECT has come about.
    pub on_tunnel: bool,
}

/// `proxy_status_config` (RFC 9209).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyStatus {
    /// How the proxy is named.
    pub name: ProxyName,
    /// `remove_details`.
    pub remove_details: bool,
    /// `remove_connection_termination_details`.
    pub remove_connection_termination_details: bool,
    /// `remove_response_flags`.
    pub remove_response_flags: bool,
    /// `set_recommended_response_code`.
    pub set_recommended_response_code: bool,
}

/// `ProxyStatusConfig.proxy_name`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ProxyName {
    /// `server_name`, as none is told.
    #[default]
    Server,
    /// The node's id.
    NodeId,
    /// A literal one.
    Literal(Box<str>),
}

/// `envoy.extensions.filters.http.router.v3.Router`.
#[derive(Clone, Debug)]
pub struct Router {
    /// `dynamic_stats`: statistics of clusters by answer; Envoy's default is true.
    pub dynamic_stats: bool,
    /// `start_child_span`.
    pub start_child_span: bool,
    /// `suppress_envoy_headers`: no `x-envoy-…` headers are added.
    pub suppress_envoy_headers: bool,
    /// `strict_check_headers`: requests with a bad one of these get 400.
    pub strict_check_headers: Box<[&'static str]>,
    /// `respect_expected_rq_timeout`: `x-envoy-expected-rq-timeout-ms` sets the timeout too.
    pub respect_expected_rq_timeout: bool,
    /// `suppress_grpc_request_failure_code_stats`.
    pub suppress_grpc_request_failure_code_stats: bool,
    /// `upstream_log`: a line for each attempt.
    pub upstream_logs: Box<[AccessLog]>,
    /// `upstream_log_options`.
    pub upstream_log: UpstreamLogOptions,
}

/// `UpstreamAccessLogOptions`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UpstreamLogOptions {
    /// `flush_upstream_log_on_upstream_stream`: also when the request is on its way.
    pub on_stream: bool,
    /// `upstream_log_flush_interval`: also at this interval.
    pub flush_interval: Option<Duration>,
}

impl Default for Router {
    fn default() -> Self {
        Self {
            dynamic_stats: true,
            start_child_span: false,
            suppress_envoy_headers: false,
            strict_check_headers: Box::default(),
            respect_expected_rq_timeout: false,
            suppress_grpc_request_failure_code_stats: false,
            upstream_logs: Box::default(),
            upstream_log: UpstreamLogOptions::default(),
        }
    }
}

impl Default for Manager {
    /// Envoy's defaults, without routes and filters.
    fn default() -> Self {
        const STREAM_IDLE: Duration = Duration::from_secs(300);
        Self {
            stat_prefix: "".into(),
            codec: Codec::default(),
            routes: Routes::Inline(Arc::default()),
            filters: Box::default(),
            router: Router::default(),
            common: CommonHttp::default(),
            http1: Http1Options::default(),
            http2: Http2Options::default(),
            http1_safe_max_connection_duration: false,
            max_request_headers_kb: 60,
            server_name: HeaderValue::from_static("envoy"),
            server_header: ServerHeader::default(),
            scheme: SchemeHeader::default(),
            stream_idle_timeout: Some(STREAM_IDLE),
            stream_flush_timeout: Some(STREAM_IDLE),
            request_timeout: None,
            request_headers_timeout: None,
            drain_timeout: Duration::from_secs(5),
            drain_timeout_jitter: 0.0,
            delayed_close_timeout: Duration::from_secs(1),
            use_remote_address: false,
            xff_num_trusted_hops: 0,
            original_ip: Box::default(),
            skip_xff_append: false,
            internal_addresses: InternalAddresses::default(),
            represent_ipv4_as_mapped: false,
            append_x_forwarded_port: false,
            append_local_overload: false,
            forward_proto: None,
            add_proxy_protocol_connection_state: true,
            xfcc: ForwardClientCert::default(),
            xfcc_details: CertDetails::default(),
            generate_request_id: true,
            preserve_external_request_id: false,
            always_set_request_id_in_response: false,
            request_id: RequestId::default(),
            add_user_agent: false,
            via: None,
            normalize_path: false,
            merge_slashes: false,
            escaped_slashes: EscapedSlashes::default(),
            strip_port: StripPort::default(),
            strip_trailing_host_dot: false,
            proxy_100_continue: false,
            http1_stream_error: false,
            http2_stream_error: false,
            upgrades: Box::default(),
            access_logs: Box::default(),
            log: LogOptions::default(),
            local_reply: None,
            tracing: None,
            early_mutations: Box::default(),
            proxy_status: None,
        }
    }
}

//! HTTP protocol options, of listeners and clusters alike.

use std::time::Duration;

use crate::model::tls::StringMatch;

/// `config.core.v3.HttpProtocolOptions`.
#[derive(Clone, Debug, PartialEq)]
pub struct CommonHttp {
    /// `idle_timeout`: no request; Envoy's default is 1 h, `None`: never.
    pub idle_timeout: Option<Duration>,
    /// `max_connection_duration`.
    pub max_connection_duration: Option<Duration>,
    /// `max_connection_duration_jitter` in percent of it.
    pub max_connection_duration_jitter: f64,
    /// `max_headers_count`; Envoy's default is 100.
    pub max_headers_count: u32,
    /// `max_response_headers_kb` (clusters); `None`: Envoy's 60 KiB, of HTTP/1 80 KiB.
    pub max_response_headers_kb: Option<u32>,
    /// `max_stream_duration`; `None`: any.
    pub max_stream_duration: Option<Duration>,
    /// `headers_with_underscores_action` (listeners).
    pub underscores: Underscores,
    /// `max_requests_per_connection`; `None`: any number.
    pub max_requests_per_connection: Option<u32>,
}

impl Default for CommonHttp {
    fn default() -> Self {
        Self {
            idle_timeout: Some(Duration::from_secs(3600)),
            max_connection_duration: None,
            max_connection_duration_jitter: 0.0,
            max_headers_count: 100,
            max_response_headers_kb: None,
            max_stream_duration: None,
            underscores: Underscores::default(),
            max_requests_per_connection: None,
        }
    }
}

/// `headers_with_underscores_action`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Underscores {
    /// Passed on.
    #[default]
    Allow,
    /// The request is refused.
    Reject,
    /// The header is dropped.
    Drop,
}

/// `config.core.v3.Http1ProtocolOptions`.
#[derive(Clone, Debug)]
pub struct Http1Options {
    /// `allow_absolute_url`; Envoy's default is true.
    pub allow_absolute_url: bool,
    /// `accept_http_10`.
    pub accept_http_10: bool,
    /// `default_host_for_http_10`.
    pub default_host_for_http_10: Option<Box<str>>,
    /// `header_key_format`.
    pub header_case: HeaderCase,
    /// `enable_trailers`.
    pub enable_trailers: bool,
    /// `allow_chunked_length`.
    pub allow_chunked_length: bool,
    /// `send_fully_qualified_url` (clusters).
    pub send_fully_qualified_url: bool,
    /// `allow_custom_methods`.
    pub allow_custom_methods: bool,
    /// `ignore_http_11_upgrade`: `Upgrade` values that are passed over, beside `h2c`.
    pub ignore_upgrade: Box<[StringMatch]>,
}

impl Default for Http1Options {
    fn default() -> Self {
        Self {
            allow_absolute_url: true,
            accept_http_10: false,
            default_host_for_http_10: None,
            header_case: HeaderCase::default(),
            enable_trailers: false,
            allow_chunked_length: false,
            send_fully_qualified_url: false,
            allow_custom_methods: false,
            ignore_upgrade: Box::default(),
        }
    }
}

/// How names of headers are written on HTTP/1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HeaderCase {
    /// In lower case.
    #[default]
    Lower,
    /// `proper_case_words`: `Content-Type`.
    ProperWords,
    /// `envoy.http.stateful_header_formatters.preserve_case`: as they were received.
    Preserve,
}

/// `config.core.v3.Http2ProtocolOptions`, with Envoy's defaults.
#[derive(Clone, Debug, PartialEq)]
pub struct Http2Options {
    /// `hpack_table_size`: 4096.
    pub hpack_table_size: u32,
    /// `max_concurrent_streams`: 1024.
    pub max_concurrent_streams: u32,
    /// `initial_stream_window_size`: 16 MiB.
    pub initial_stream_window_size: u32,
    /// `initial_connection_window_size`: 24 MiB.
    pub initial_connection_window_size: u32,
    /// `allow_connect`: extended CONNECT (RFC 8441).
    pub allow_connect: bool,
    /// `max_outbound_frames`: 10,000.
    pub max_outbound_frames: u32,
    /// `max_outbound_control_frames`: 1,000.
    pub max_outbound_control_frames: u32,
    /// `max_consecutive_inbound_frames_with_empty_payload`: 1.
    pub max_consecutive_empty_frames: u32,
    /// `max_inbound_priority_frames_per_stream`: 100.
    pub max_priority_frames_per_stream: u32,
    /// `max_inbound_window_update_frames_per_data_frame_sent`: 10.
    pub max_window_updates_per_data_frame: u32,
    /// `connection_keepalive`.
    pub keepalive: Option<Box<Keepalive>>,
    /// `max_header_field_size_kb` of a single header; `None`: only the sum is bounded.
    pub max_header_field_size_kb: Option<u32>,
    /// `disallow_obs_text`: bytes above 0x7f in header values are refused.
    pub disallow_obs_text: bool,
    /// `stream_reset_burst`: 1,000 streams that the client may reset at once.
    pub stream_reset_burst: u64,
    /// `stream_reset_rate`: 33 more each second.
    pub stream_reset_rate: u64,
}

impl Default for Http2Options {
    fn default() -> Self {
        Self {
            hpack_table_size: 4096,
            max_concurrent_streams: 1024,
            initial_stream_window_size: 16 << 20,
            initial_connection_window_size: 24 << 20,
            allow_connect: false,
            max_outbound_frames: 10_000,
            max_outbound_control_frames: 1000,
            max_consecutive_empty_frames: 1,
            max_priority_frames_per_stream: 100,
            max_window_updates_per_data_frame: 10,
            keepalive: None,
            max_header_field_size_kb: None,
            disallow_obs_text: false,
            stream_reset_burst: 1000,
            stream_reset_rate: 33,
        }
    }
}

/// `KeepaliveSettings`.
#[derive(Clone, Debug, PartialEq)]
pub struct Keepalive {
    /// `interval` between PINGs; `None`: none.
    pub interval: Option<Duration>,
    /// `timeout` for the answer.
    pub timeout: Duration,
    /// `interval_jitter` in percent; Envoy's default is 15.
    pub interval_jitter: f64,
    /// `connection_idle_interval`: a PING ahead of a request after so long without any.
    pub connection_idle_interval: Option<Duration>,
}

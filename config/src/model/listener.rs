//! A listener (`envoy.config.listener.v3.Listener`).

use std::sync::Arc;
use std::time::Duration;

use super::access_log::AccessLog;
use super::address::Address;
use super::chain::FilterChain;

/// A listener as configured.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Resource name.
    pub name: Arc<str>,
    /// Hash of everything but the filter chains: while it is equal, a change of chains keeps sockets and connections.
    pub frame_id: u128,
    /// `address`, then `additional_addresses`.
    pub addresses: Box<[Address]>,
    /// Name in metrics, `listener.<stat_name>.…`: `stat_prefix`, else the first address; `:` becomes `_`.
    pub stat_name: Arc<str>,
    /// `traffic_direction`.
    pub direction: Direction,
    /// One socket per worker (`enable_reuse_port`, Envoy's default is true).
    pub reuse_port: bool,
    /// `bind_to_port`: false means no socket of its own.
    pub bind: bool,
    /// `tcp_backlog_size`; Envoy's default on Linux is 4096... `None`: the system's maximum.
    pub backlog: Option<u32>,
    /// Read the ClientHello before choosing a chain; `None`: no `tls_inspector`.
    pub tls_inspector: Option<TlsInspector>,
    /// Expect a PROXY protocol header; `None`: no such listener filter.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// Time for all listener filters; Envoy's default is 15 s, zero: no limit.
    pub listener_filters_timeout: Duration,
    /// Go on without an answer of the listener filters when the time is over.
    pub continue_on_timeout: bool,
    /// `per_connection_buffer_limit_bytes`; Envoy's default is 1 MiB.
    pub buffer_limit: u32,
    /// Chains in order.
    pub chains: Box<[Arc<FilterChain>]>,
    /// `default_filter_chain`.
    pub default_chain: Option<Arc<FilterChain>>,
    /// Listener-level access logs: connections that no chain took, and all others at their end.
    pub access_logs: Box<[AccessLog]>,
    /// `use_original_dst`… is refused; `max_connections` of the listener by RTDS or `None`.
    pub connection_limit: Option<u64>,
    /// One of the control plane's own (`kuma:envoy:admin`, `system_*`, `_kuma:*`): served on the control runtime.
    pub system: bool,
}

/// `traffic_direction`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// UNSPECIFIED.
    #[default]
    Unspecified,
    /// INBOUND.
    Inbound,
    /// OUTBOUND.
    Outbound,
}

/// `tls_inspector`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlsInspector {
    /// Largest ClientHello in bytes; ours by default 64 KiB (Envoy: 16 KiB).
    pub max_hello: u32,
    /// Close instead of treating the bytes as plain when they are not TLS (`close_connection_on_client_hello_parsing_errors`).
    pub close_on_error: bool,
    /// Compute JA3.
    pub ja3: bool,
    /// Compute JA4.
    pub ja4: bool,
}

/// `proxy_protocol` listener filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyProtocol {
    /// A connection without the header is taken as it is.
    pub allow_without: bool,
    /// Version 1 accepted.
    pub v1: bool,
    /// Version 2 accepted.
    pub v2: bool,
    /// `stat_prefix`.
    pub stat_prefix: Option<Arc<str>>,
}

pub(crate) mod proto;

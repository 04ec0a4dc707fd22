//! A filter chain: when it applies and what it does (`config.listener.v3.FilterChain`).

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::hcm::Manager;
use super::http::HttpManager;
use super::rbac::Rbac;
use super::tcp_proxy::TcpProxy;
use super::tls::DownstreamTls;
use crate::reject::Unsupported;

/// One filter chain. Two with the same [`id`](Self::id) behave alike, so connections survive an update that keeps it.
#[derive(Clone, Debug)]
pub struct FilterChain {
    /// `name`; may be empty.
    pub name: Arc<str>,
    /// xxh3-128 of its encoded form.
    pub id: u128,
    /// When it applies.
    pub matches: Match,
    /// TLS on the client's side; `None`: plain or passed through.
    pub tls: Option<Arc<DownstreamTls>>,
    /// Filters before the last.
    pub filters: Box<[NetworkFilter]>,
    /// The last filter.
    pub handler: Handler,
    /// `transport_socket_connect_timeout`.
    pub transport_socket_connect_timeout: Option<Duration>,
}

/// A network filter that passes the connection on or ends it.
#[derive(Clone, Debug)]
pub enum NetworkFilter {
    /// `envoy.filters.network.local_ratelimit`.
    LocalRateLimit(Arc<LocalRateLimit>),
    /// `envoy.filters.network.rbac`.
    Rbac(Arc<Rbac>),
}

/// A token bucket on new connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalRateLimit {
    /// Prefix of its metrics: `local_rate_limit.<stat_prefix>.…`.
    pub stat_prefix: Arc<str>,
    /// Tokens at the start and at most.
    pub max_tokens: u32,
    /// Tokens added at each interval; Envoy's default is 1.
    pub tokens_per_fill: u32,
    /// The interval.
    pub fill_interval: Duration,
    /// `share_key`: buckets with the same key are one.
    pub share_key: Option<Arc<str>>,
    /// `runtime_enabled.default_value`.
    pub enabled: bool,
}

/// What a chain does with a connection in the end.
#[derive(Clone, Debug)]
pub enum Handler {
    /// Forward bytes.
    TcpProxy(Arc<TcpProxy>),
    /// Write these bytes and close (`direct_response`).
    DirectResponse(Bytes),
    /// Serve HTTP.
    Http(Arc<Manager>),
    /// Serve HTTP on the control runtime (the control plane's own listeners).
    System(Arc<HttpManager>),
    /// A filter or transport socket that this version can't run: every connection is refused, counted and named.
    Unsupported(Unsupported),
}

/// `FilterChainMatch`; empty lists match anything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Match {
    /// `destination_port`.
    pub destination_port: Option<u16>,
    /// `prefix_ranges`.
    pub destination: Box<[Cidr]>,
    /// `server_names`, lower-case: exact or `*.suffix`.
    pub server_names: Box<[Arc<str>]>,
    /// `transport_protocol`: empty, `raw_buffer` or `tls`.
    pub transport_protocol: TransportProtocol,
    /// `application_protocols`.
    pub application_protocols: Box<[Box<str>]>,
    /// `direct_source_prefix_ranges`.
    pub direct_source: Box<[Cidr]>,
    /// `source_type`.
    pub source_type: SourceType,
    /// `source_prefix_ranges`.
    pub source: Box<[Cidr]>,
    /// `source_ports`.
    pub source_ports: Box<[u16]>,
}

/// `transport_protocol`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TransportProtocol {
    /// Not asked.
    #[default]
    Any,
    /// `raw_buffer`.
    RawBuffer,
    /// `tls`.
    Tls,
}

/// `FilterChainMatch.ConnectionSourceType`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SourceType {
    /// Not asked.
    #[default]
    Any,
    /// From the same host.
    SameIpOrLoopback,
    /// From elsewhere.
    External,
}

/// An address range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cidr {
    /// Address, bits beyond the prefix cleared.
    pub address: IpAddr,
    /// Length of the prefix in bits.
    pub prefix: u8,
}

impl Cidr {
    /// Whether it holds an address of its own family.
    pub fn contains(self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(net), IpAddr::V4(ip)) => {
                let shift = 32_u32.saturating_sub(u32::from(self.prefix));
                net.to_bits().checked_shr(shift).unwrap_or(0) == ip.to_bits().checked_shr(shift).unwrap_or(0)
            }
            (IpAddr::V6(net), IpAddr::V6(ip)) => {
                let shift = 128_u32.saturating_sub(u32::from(self.prefix));
                net.to_bits().checked_shr(shift).unwrap_or(0) == ip.to_bits().checked_shr(shift).unwrap_or(0)
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

pub(crate) mod proto;

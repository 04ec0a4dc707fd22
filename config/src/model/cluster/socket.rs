//! Sockets towards endpoints.

use std::time::Duration;

use crate::model::address::Address;

/// Socket-level options of upstream connections.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SocketOptions {
    /// `upstream_bind_config.source_address`.
    pub source: Option<Address>,
    /// `upstream_connection_options.tcp_keepalive`: (probes, idle time, interval).
    pub keepalive: Option<(Option<u32>, Option<Duration>, Option<Duration>)>,
    /// `upstream_connection_options.happy_eyeballs_config`.
    pub happy_eyeballs: HappyEyeballs,
}

/// In which order the addresses of an endpoint that has several are tried (RFC 8305 section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HappyEyeballs {
    /// `first_address_family_version`; `None`: that of the first address.
    pub first: Option<IpFamily>,
    /// `first_address_family_count`: so many addresses of it before each one of the other. At least 1, Envoy's default.
    pub count: u32,
}

impl Default for HappyEyeballs {
    fn default() -> Self {
        Self { first: None, count: 1 }
    }
}

/// A version of the Internet protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IpFamily {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

//! Why a connection ended: a closed set that maps exhaustively to a reason, a detail and an Envoy response flag.

use std::fmt;

use sni::client_hello::Refusal;

/// Why a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// Both ends finished, or one finished and the other followed.
    Done,
    /// The client reset the connection.
    DownstreamReset,
    /// The endpoint reset the connection.
    UpstreamReset,
    /// No byte in either direction for `tcp_proxy.idle_timeout`.
    IdleTimeout,
    /// `max_downstream_connection_duration` is over.
    MaxDuration,
    /// The bytes of `direct_response` are written.
    DirectResponse,
    /// No filter chain matches.
    NoFilterChain,
    /// The listener filters did not finish in time.
    HelloTimeout,
    /// The client closed before its ClientHello was complete.
    HelloEof,
    /// The first bytes are not an acceptable ClientHello.
    HelloRefused(Refusal),
    /// The PROXY protocol header is absent or malformed.
    ProxyProtocol,
    /// The listener's connection limit is reached.
    ListenerLimit,
    /// The process' connection limit is reached.
    GlobalLimit,
    /// Too many connections still without a complete ClientHello.
    HelloLimit,
    /// `local_ratelimit` has no token left.
    RateLimited,
    /// No permission, as RBAC decided.
    RbacDenied,
    /// The chain holds a filter that this version can't run.
    Unsupported,
    /// The cluster is not known (any more).
    NoCluster,
    /// The cluster has no endpoint that may be used.
    NoHealthyUpstream,
    /// A circuit breaker of the cluster is open.
    Overflow,
    /// No endpoint could be connected to.
    ConnectFailed(ConnectError),
    /// The listener or chain was removed and its drain time is over.
    Drained,
    /// The endpoint was removed from the cluster, which closes connections then.
    HostRemoved,
    /// No TLS session came about with the client.
    Tls(TlsFailure),
}

/// Why one attempt to connect failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectError {
    /// `cluster.connect_timeout` is over.
    Timeout,
    /// The endpoint refused.
    Refused,
    /// No route to it.
    Unreachable,
    /// This process or host lacks descriptors, ports or memory.
    Local,
    /// The cluster asks for a transport that this version can't run.
    Transport,
    /// Connected, but no TLS session came about.
    Tls(TlsFailure),
    /// Anything else the system said.
    Other,
}

/// Why no TLS session came about. Which certificate and which name is in the text beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsFailure {
    /// Too many handshakes at a time.
    Limit,
    /// A secret that the context needs is not there (yet), or can't be used.
    NotReady,
    /// Not over in time (`transport_socket_connect_timeout`).
    Timeout,
    /// The context requires SNI, and there is none.
    NoServerName,
    /// The peer has no certificate, and must have one.
    NoCertificate,
    /// The peer's certificate can't be read.
    Unreadable,
    /// The peer's certificate, or one above it, has expired.
    Expired,
    /// The peer's certificate is not valid yet.
    NotYetValid,
    /// The peer's certificate is for something else.
    Usage,
    /// No trusted certificate stands above the peer's.
    NotTrusted,
    /// The peer's trust domain is none of ours, or it has no SPIFFE ID.
    TrustDomain,
    /// The peer's certificate carries none of the names wanted.
    Name,
    /// The peer's certificate or key is none of those pinned.
    Pin,
    /// The peer's certificate is revoked.
    Revoked,
    /// The peer ended it with an alert: it refuses us.
    Alert,
    /// No version, cipher suite or group in common, or not TLS at all.
    Protocol,
    /// The peer went away.
    Closed,
}

impl TlsFailure {
    /// All, for those who list them.
    pub const ALL: [Self; 17] = [
        Self::Limit,
        Self::NotReady,
        Self::Timeout,
        Self::NoServerName,
        Self::NoCertificate,
        Self::Unreadable,
        Self::Expired,
        Self::NotYetValid,
        Self::Usage,
        Self::NotTrusted,
        Self::TrustDomain,
        Self::Name,
        Self::Pin,
        Self::Revoked,
        Self::Alert,
        Self::Protocol,
        Self::Closed,
    ];

    /// For logs and metric labels, where the client is the peer.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Limit => "tls_handshake_limit",
            Self::NotReady => "tls_secrets_not_ready",
            Self::Timeout => "tls_timeout",
            Self::NoServerName => "tls_no_server_name",
            Self::NoCertificate => "tls_no_certificate",
            Self::Unreadable => "tls_certificate_unreadable",
            Self::Expired => "tls_certificate_expired",
            Self::NotYetValid => "tls_certificate_not_yet_valid",
            Self::Usage => "tls_certificate_usage",
            Self::NotTrusted => "tls_certificate_not_trusted",
            Self::TrustDomain => "tls_trust_domain",
            Self::Name => "tls_name_mismatch",
            Self::Pin => "tls_pin_mismatch",
            Self::Revoked => "tls_certificate_revoked",
            Self::Alert => "tls_alert",
            Self::Protocol => "tls_protocol_error",
            Self::Closed => "tls_closed",
        }
    }

    /// The same where the endpoint is the peer.
    pub const fn upstream_str(self) -> &'static str {
        match self {
            Self::Limit => "upstream_tls_handshake_limit",
            Self::NotReady => "upstream_tls_secrets_not_ready",
            Self::Timeout => "upstream_tls_timeout",
            Self::NoServerName => "upstream_tls_no_server_name",
            Self::NoCertificate => "upstream_tls_no_certificate",
            Self::Unreadable => "upstream_tls_certificate_unreadable",
            Self::Expired => "upstream_tls_certificate_expired",
            Self::NotYetValid => "upstream_tls_certificate_not_yet_valid",
            Self::Usage => "upstream_tls_certificate_usage",
            Self::NotTrusted => "upstream_tls_certificate_not_trusted",
            Self::TrustDomain => "upstream_tls_trust_domain",
            Self::Name => "upstream_tls_name_mismatch",
            Self::Pin => "upstream_tls_pin_mismatch",
            Self::Revoked => "upstream_tls_certificate_revoked",
            Self::Alert => "upstream_tls_alert",
            Self::Protocol => "upstream_tls_protocol_error",
            Self::Closed => "upstream_tls_closed",
        }
    }
}

impl ConnectError {
    /// For logs and metric labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tls(failure) => failure.upstream_str(),
            Self::Timeout => "connect_timeout",
            Self::Refused => "connection_refused",
            Self::Unreachable => "unreachable",
            Self::Local => "local_resources",
            Self::Transport => "transport_unsupported",
            Self::Other => "connect_error",
        }
    }
}

impl CloseReason {
    /// For logs and metric labels: snake case, one word a cause.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::DownstreamReset => "downstream_reset",
            Self::UpstreamReset => "upstream_reset",
            Self::IdleTimeout => "idle_timeout",
            Self::MaxDuration => "max_duration",
            Self::DirectResponse => "direct_response",
            Self::NoFilterChain => "no_filter_chain",
            Self::HelloTimeout => "hello_timeout",
            Self::HelloEof => "hello_eof",
            Self::HelloRefused(r) => r.as_str(),
            Self::ProxyProtocol => "proxy_protocol",
            Self::ListenerLimit => "listener_limit",
            Self::GlobalLimit => "global_limit",
            Self::HelloLimit => "hello_limit",
            Self::RateLimited => "rate_limited",
            Self::RbacDenied => "rbac_denied",
            Self::Unsupported => "unsupported",
            Self::NoCluster => "no_cluster",
            Self::NoHealthyUpstream => "no_healthy_upstream",
            Self::Overflow => "overflow",
            Self::ConnectFailed(e) => e.as_str(),
            Self::Drained => "drained",
            Self::HostRemoved => "host_removed",
            Self::Tls(failure) => failure.as_str(),
        }
    }

    /// Envoy's `%RESPONSE_FLAGS%` for it; empty where Envoy sets none.
    pub const fn flag(&self) -> ResponseFlag {
        match self {
            Self::NoFilterChain => ResponseFlag::NoRoute,
            Self::NoCluster => ResponseFlag::NoCluster,
            Self::NoHealthyUpstream => ResponseFlag::NoHealthyUpstream,
            Self::Overflow => ResponseFlag::UpstreamOverflow,
            Self::ConnectFailed(_) => ResponseFlag::UpstreamConnectionFailure,
            Self::MaxDuration => ResponseFlag::DurationTimeout,
            Self::GlobalLimit => ResponseFlag::OverloadManager,
            Self::Done
            | Self::DownstreamReset
            | Self::UpstreamReset
            | Self::IdleTimeout
            | Self::DirectResponse
            | Self::HelloTimeout
            | Self::HelloEof
            | Self::HelloRefused(_)
            | Self::ProxyProtocol
            | Self::ListenerLimit
            | Self::HelloLimit
            | Self::RateLimited
            | Self::RbacDenied
            | Self::Unsupported
            | Self::Drained
            | Self::HostRemoved
            | Self::Tls(_) => ResponseFlag::None,
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Envoy's response flags, as far as L4 can set them (`envoy/source/common/stream_info/utility.h`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ResponseFlag {
    /// `-`
    #[default]
    None,
    /// `NR`
    NoRoute,
    /// `NC`
    NoCluster,
    /// `UH`
    NoHealthyUpstream,
    /// `UO`
    UpstreamOverflow,
    /// `UF`
    UpstreamConnectionFailure,
    /// `DT`
    DurationTimeout,
    /// `OM`
    OverloadManager,
}

impl ResponseFlag {
    /// `%RESPONSE_FLAGS%`.
    pub const fn short(self) -> &'static str {
        match self {
            Self::None => "-",
            Self::NoRoute => "NR",
            Self::NoCluster => "NC",
            Self::NoHealthyUpstream => "UH",
            Self::UpstreamOverflow => "UO",
            Self::UpstreamConnectionFailure => "UF",
            Self::DurationTimeout => "DT",
            Self::OverloadManager => "OM",
        }
    }

    /// `%RESPONSE_FLAGS_LONG%`.
    pub const fn long(self) -> &'static str {
        match self {
            Self::None => "-",
            Self::NoRoute => "NoRouteFound",
            Self::NoCluster => "NoClusterFound",
            Self::NoHealthyUpstream => "NoHealthyUpstream",
            Self::UpstreamOverflow => "UpstreamOverflow",
            Self::UpstreamConnectionFailure => "UpstreamConnectionFailure",
            Self::DurationTimeout => "DurationTimeout",
            Self::OverloadManager => "OverloadManagerTerminated",
        }
    }
}

#[cfg(test)]
mod tests {
    /// Every word that this file has for a connection's end is in the document that explains them.
    #[test]
    fn every_reason_is_explained() {
        let document = include_str!("../../docs/operations.md");
        let (reasons, _) = include_str!("error.rs").split_once("impl fmt::Display for CloseReason").unwrap_or_default();
        let words =
            reasons.lines().filter_map(|line| line.split_once("=> \"")?.1.split_once('"')).map(|(word, _)| word);
        let (mut count, mut missing) = (0, Vec::new());
        for word in words {
            count += 1;
            if !document.contains(&format!("`{word}`")) {
                missing.push(word);
            }
        }
        assert!(count > 60 && missing.is_empty(), "{missing:?} of {count}");
    }
}

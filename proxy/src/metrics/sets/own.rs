//! Our own statistics.

use sni::client_hello::Refusal;

use crate::error::{CloseReason, ConnectError};

stat_set! {
    /// `zonegate.…`: process-wide.
    pub enum ZonegateStat at "zonegate." {
        counter AccessLogWritten = "access_log.written",
        counter AccessLogDroppedQueueFull = "access_log.dropped_queue_full",
        counter AccessLogDroppedWriteFailed = "access_log.dropped_write_failed",
        counter AccessLogDroppedConnectFailed = "access_log.dropped_connect_failed",
        counter AccessLogDroppedMalformed = "access_log.dropped_malformed",
        counter AccessLogFilterErrors = "access_log.filter_errors",
        gauge ConfigChainsHeld = "config.chains_held",
        gauge ConfigChainsUnsupported = "config.chains_unsupported",
        gauge ConfigFieldsIgnored = "config.fields_ignored",
        gauge ConfigResourcesRejected = "config.resources_rejected",
        gauge XdsSilent = "xds.silent",
    }
}

stat_set! {
    /// `zonegate.listener.<address>.close.<reason>`: connections by why they ended, `closes_total{reason=…}`.
    pub enum CloseStat at "zonegate.listener." {
        counter Done = "close.done" [when_used],
        counter DownstreamReset = "close.downstream_reset" [when_used],
        counter UpstreamReset = "close.upstream_reset" [when_used],
        counter IdleTimeout = "close.idle_timeout" [when_used],
        counter MaxDuration = "close.max_duration" [when_used],
        counter DirectResponse = "close.direct_response" [when_used],
        counter NoFilterChain = "close.no_filter_chain" [when_used],
        counter HelloTimeout = "close.hello_timeout" [when_used],
        counter HelloEof = "close.hello_eof" [when_used],
        counter ProxyProtocol = "close.proxy_protocol" [when_used],
        counter ListenerLimit = "close.listener_limit" [when_used],
        counter GlobalLimit = "close.global_limit" [when_used],
        counter HelloLimit = "close.hello_limit" [when_used],
        counter RateLimited = "close.rate_limited" [when_used],
        counter Unsupported = "close.unsupported" [when_used],
        counter NoCluster = "close.no_cluster" [when_used],
        counter NoHealthyUpstream = "close.no_healthy_upstream" [when_used],
        counter Overflow = "close.overflow" [when_used],
        counter Drained = "close.drained" [when_used],
        counter HostRemoved = "close.host_removed" [when_used],
        counter NotTls = "close.not_tls" [when_used],
        counter SslV2 = "close.ssl_v2" [when_used],
        counter NotHandshake = "close.not_handshake" [when_used],
        counter NotClientHello = "close.not_client_hello" [when_used],
        counter HelloTooLarge = "close.too_large" [when_used],
        counter VersionTooOld = "close.version_too_old" [when_used],
        counter HelloMalformed = "close.malformed" [when_used],
        counter ConnectTimeout = "close.connect_timeout" [when_used],
        counter ConnectRefused = "close.connection_refused" [when_used],
        counter ConnectUnreachable = "close.unreachable" [when_used],
        counter ConnectLocal = "close.local_resources" [when_used],
        counter ConnectTransport = "close.transport_unsupported" [when_used],
        counter ConnectOther = "close.connect_error" [when_used],
    }
}

impl CloseStat {
    /// The one that counts this reason; all malformed hellos are one.
    pub fn of(reason: &CloseReason) -> Self {
        match reason {
            CloseReason::Done => Self::Done,
            CloseReason::DownstreamReset => Self::DownstreamReset,
            CloseReason::UpstreamReset => Self::UpstreamReset,
            CloseReason::IdleTimeout => Self::IdleTimeout,
            CloseReason::MaxDuration => Self::MaxDuration,
            CloseReason::DirectResponse => Self::DirectResponse,
            CloseReason::NoFilterChain => Self::NoFilterChain,
            CloseReason::HelloTimeout => Self::HelloTimeout,
            CloseReason::HelloEof => Self::HelloEof,
            CloseReason::ProxyProtocol => Self::ProxyProtocol,
            CloseReason::ListenerLimit => Self::ListenerLimit,
            CloseReason::GlobalLimit => Self::GlobalLimit,
            CloseReason::HelloLimit => Self::HelloLimit,
            CloseReason::RateLimited => Self::RateLimited,
            CloseReason::Unsupported => Self::Unsupported,
            CloseReason::NoCluster => Self::NoCluster,
            CloseReason::NoHealthyUpstream => Self::NoHealthyUpstream,
            CloseReason::Overflow => Self::Overflow,
            CloseReason::Drained => Self::Drained,
            CloseReason::HostRemoved => Self::HostRemoved,
            CloseReason::HelloRefused(Refusal::NotTls) => Self::NotTls,
            CloseReason::HelloRefused(Refusal::SslV2) => Self::SslV2,
            CloseReason::HelloRefused(Refusal::NotHandshake { .. }) => Self::NotHandshake,
            CloseReason::HelloRefused(Refusal::NotClientHello { .. }) => Self::NotClientHello,
            CloseReason::HelloRefused(Refusal::TooLarge { .. }) => Self::HelloTooLarge,
            CloseReason::HelloRefused(Refusal::VersionTooOld { .. }) => Self::VersionTooOld,
            CloseReason::HelloRefused(Refusal::Malformed(_)) => Self::HelloMalformed,
            CloseReason::ConnectFailed(ConnectError::Timeout) => Self::ConnectTimeout,
            CloseReason::ConnectFailed(ConnectError::Refused) => Self::ConnectRefused,
            CloseReason::ConnectFailed(ConnectError::Unreachable) => Self::ConnectUnreachable,
            CloseReason::ConnectFailed(ConnectError::Local) => Self::ConnectLocal,
            CloseReason::ConnectFailed(ConnectError::Transport) => Self::ConnectTransport,
            CloseReason::ConnectFailed(ConnectError::Other) => Self::ConnectOther,
        }
    }
}

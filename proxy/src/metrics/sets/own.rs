//! Our own statistics.

use sni::client_hello::Refusal;

use crate::error::{CloseReason, ConnectError, TlsFailure};

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
    /// `zonegate.secret.<name>.…`: secrets, by name and source.
    pub enum SecretStat at "zonegate.secret." {
        gauge NotAfterSeconds = "not_after_seconds" [when_used],
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
        counter RbacDenied = "close.rbac_denied" [when_used],
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
        counter TlsLimit = "close.tls_handshake_limit" [when_used],
        counter TlsNotReady = "close.tls_secrets_not_ready" [when_used],
        counter TlsTimeout = "close.tls_timeout" [when_used],
        counter TlsNoServerName = "close.tls_no_server_name" [when_used],
        counter TlsNoCertificate = "close.tls_no_certificate" [when_used],
        counter TlsUnreadable = "close.tls_certificate_unreadable" [when_used],
        counter TlsExpired = "close.tls_certificate_expired" [when_used],
        counter TlsNotYetValid = "close.tls_certificate_not_yet_valid" [when_used],
        counter TlsUsage = "close.tls_certificate_usage" [when_used],
        counter TlsNotTrusted = "close.tls_certificate_not_trusted" [when_used],
        counter TlsTrustDomain = "close.tls_trust_domain" [when_used],
        counter TlsName = "close.tls_name_mismatch" [when_used],
        counter TlsPin = "close.tls_pin_mismatch" [when_used],
        counter TlsRevoked = "close.tls_certificate_revoked" [when_used],
        counter TlsAlert = "close.tls_alert" [when_used],
        counter TlsProtocol = "close.tls_protocol_error" [when_used],
        counter TlsClosed = "close.tls_closed" [when_used],
        counter UpstreamTlsLimit = "close.upstream_tls_handshake_limit" [when_used],
        counter UpstreamTlsNotReady = "close.upstream_tls_secrets_not_ready" [when_used],
        counter UpstreamTlsTimeout = "close.upstream_tls_timeout" [when_used],
        counter UpstreamTlsNoServerName = "close.upstream_tls_no_server_name" [when_used],
        counter UpstreamTlsNoCertificate = "close.upstream_tls_no_certificate" [when_used],
        counter UpstreamTlsUnreadable = "close.upstream_tls_certificate_unreadable" [when_used],
        counter UpstreamTlsExpired = "close.upstream_tls_certificate_expired" [when_used],
        counter UpstreamTlsNotYetValid = "close.upstream_tls_certificate_not_yet_valid" [when_used],
        counter UpstreamTlsUsage = "close.upstream_tls_certificate_usage" [when_used],
        counter UpstreamTlsNotTrusted = "close.upstream_tls_certificate_not_trusted" [when_used],
        counter UpstreamTlsTrustDomain = "close.upstream_tls_trust_domain" [when_used],
        counter UpstreamTlsName = "close.upstream_tls_name_mismatch" [when_used],
        counter UpstreamTlsPin = "close.upstream_tls_pin_mismatch" [when_used],
        counter UpstreamTlsRevoked = "close.upstream_tls_certificate_revoked" [when_used],
        counter UpstreamTlsAlert = "close.upstream_tls_alert" [when_used],
        counter UpstreamTlsProtocol = "close.upstream_tls_protocol_error" [when_used],
        counter UpstreamTlsClosed = "close.upstream_tls_closed" [when_used],
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
            CloseReason::RbacDenied => Self::RbacDenied,
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
            CloseReason::ConnectFailed(ConnectError::Tls(failure)) => Self::of_endpoint_tls(*failure),
            CloseReason::Tls(failure) => Self::of_client_tls(*failure),
        }
    }

    const fn of_client_tls(failure: TlsFailure) -> Self {
        use TlsFailure as F;
        match failure {
            F::Limit => Self::TlsLimit,
            F::NotReady => Self::TlsNotReady,
            F::Timeout => Self::TlsTimeout,
            F::NoServerName => Self::TlsNoServerName,
            F::NoCertificate => Self::TlsNoCertificate,
            F::Unreadable => Self::TlsUnreadable,
            F::Expired => Self::TlsExpired,
            F::NotYetValid => Self::TlsNotYetValid,
            F::Usage => Self::TlsUsage,
            F::NotTrusted => Self::TlsNotTrusted,
            F::TrustDomain => Self::TlsTrustDomain,
            F::Name => Self::TlsName,
            F::Pin => Self::TlsPin,
            F::Revoked => Self::TlsRevoked,
            F::Alert => Self::TlsAlert,
            F::Protocol => Self::TlsProtocol,
            F::Closed => Self::TlsClosed,
        }
    }

    const fn of_endpoint_tls(failure: TlsFailure) -> Self {
        use TlsFailure as F;
        match failure {
            F::Limit => Self::UpstreamTlsLimit,
            F::NotReady => Self::UpstreamTlsNotReady,
            F::Timeout => Self::UpstreamTlsTimeout,
            F::NoServerName => Self::UpstreamTlsNoServerName,
            F::NoCertificate => Self::UpstreamTlsNoCertificate,
            F::Unreadable => Self::UpstreamTlsUnreadable,
            F::Expired => Self::UpstreamTlsExpired,
            F::NotYetValid => Self::UpstreamTlsNotYetValid,
            F::Usage => Self::UpstreamTlsUsage,
            F::NotTrusted => Self::UpstreamTlsNotTrusted,
            F::TrustDomain => Self::UpstreamTlsTrustDomain,
            F::Name => Self::UpstreamTlsName,
            F::Pin => Self::UpstreamTlsPin,
            F::Revoked => Self::UpstreamTlsRevoked,
            F::Alert => Self::UpstreamTlsAlert,
            F::Protocol => Self::UpstreamTlsProtocol,
            F::Closed => Self::UpstreamTlsClosed,
        }
    }
}

//! Statistics of a listener and its filters (Envoy: `listeners/stats`).

stat_set! {
    /// `listener.<address>.…`
    pub enum ListenerStat at "listener." {
        counter DownstreamCxTotal = "downstream_cx_total" [per_worker],
        gauge DownstreamCxActive = "downstream_cx_active" [per_worker],
        counter DownstreamCxDestroy = "downstream_cx_destroy",
        gauge DownstreamPreCxActive = "downstream_pre_cx_active",
        counter DownstreamCxOverflow = "downstream_cx_overflow",
        counter DownstreamCxOverloadReject = "downstream_cx_overload_reject",
        counter DownstreamCxTransportSocketConnectTimeout = "downstream_cx_transport_socket_connect_timeout",
        counter DownstreamGlobalCxOverflow = "downstream_global_cx_overflow",
        counter DownstreamListenerFilterError = "downstream_listener_filter_error",
        counter DownstreamListenerFilterRemoteClose = "downstream_listener_filter_remote_close",
        counter DownstreamPreCxTimeout = "downstream_pre_cx_timeout",
        counter ExtensionConfigMissing = "extension_config_missing",
        counter NetworkExtensionConfigMissing = "network_extension_config_missing",
        counter NoFilterChainMatch = "no_filter_chain_match",
        histogram ConnectionsAcceptedPerSocketEvent = "connections_accepted_per_socket_event",
        histogram DownstreamCxLengthMs = "downstream_cx_length_ms",
    }
}

stat_set! {
    /// `tls_inspector.…`
    pub enum TlsInspectorStat at "tls_inspector." {
        counter TlsFound = "tls_found",
        counter SniFound = "sni_found",
        counter AlpnFound = "alpn_found",
        counter AlpnNotFound = "alpn_not_found",
        counter SniNotFound = "sni_not_found",
        counter TlsNotFound = "tls_not_found",
        counter ClientHelloTooLarge = "client_hello_too_large",
        histogram BytesProcessed = "bytes_processed",
    }
}

stat_set! {
    /// `proxy_proto.[<stat_prefix>.]…`
    pub enum ProxyProtocolStat at "proxy_proto." {
        counter NotFoundAllowed = "not_found_allowed",
        counter NotFoundDisallowed = "not_found_disallowed",
        counter VersionsV1Disallowed = "versions.v1.disallowed",
        counter VersionsV1Error = "versions.v1.error",
        counter VersionsV1Found = "versions.v1.found",
        counter VersionsV2Disallowed = "versions.v2.disallowed",
        counter VersionsV2Error = "versions.v2.error",
        counter VersionsV2Found = "versions.v2.found",
    }
}

stat_set! {
    /// `local_rate_limit.<prefix>.…`
    pub enum LocalRateLimitStat at "local_rate_limit." {
        counter RateLimited = "rate_limited",
    }
}

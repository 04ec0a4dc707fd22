//! Statistics of HTTP filters, by Envoy's names.

stat_set! {
    /// `<prefix>.http_local_rate_limit.…`
    pub enum HttpLocalRateLimitStat at "" {
        counter Enabled = "enabled",
        counter Enforced = "enforced",
        counter Ok = "ok",
        counter RateLimited = "rate_limited",
        counter ShadowMode = "shadow_mode",
    }
}

stat_set! {
    /// `http.<prefix>.fault.…`
    pub enum FaultStat at "http." {
        counter AbortsInjected = "aborts_injected",
        counter DelaysInjected = "delays_injected",
        counter FaultsOverflow = "faults_overflow",
        counter ResponseRlInjected = "response_rl_injected",
        gauge ActiveFaults = "active_faults",
    }
}

stat_set! {
    /// `http.<prefix>.fault.<downstream cluster>.…`
    pub enum FaultClusterStat at "http." {
        counter AbortsInjected = "aborts_injected" [when_used],
        counter DelaysInjected = "delays_injected" [when_used],
    }
}

stat_set! {
    /// `http.<prefix>.compressor.<name>.<library>.…`: of the client's `Accept-Encoding`.
    pub enum CompressorStat at "http." {
        counter HeaderCompressorUsed = "header_compressor_used",
        counter HeaderCompressorOvershadowed = "header_compressor_overshadowed",
        counter HeaderIdentity = "header_identity",
        counter HeaderNotValid = "header_not_valid",
        counter HeaderWildcard = "header_wildcard",
        counter NoAcceptHeader = "no_accept_header",
        counter NotCompressedEtag = "not_compressed_etag",
    }
}

stat_set! {
    /// `http.<prefix>.compressor.<name>.<library>.[request.|response.]…`
    pub enum CompressionStat at "http." {
        counter Compressed = "compressed",
        counter NotCompressed = "not_compressed",
        counter ContentLengthTooSmall = "content_length_too_small",
        counter TotalUncompressedBytes = "total_uncompressed_bytes",
        counter TotalCompressedBytes = "total_compressed_bytes",
    }
}

stat_set! {
    /// `http.<prefix>.cors.…`
    pub enum CorsStat at "http." {
        counter OriginValid = "origin_valid",
        counter OriginInvalid = "origin_invalid",
    }
}

stat_set! {
    /// `http.<prefix>.health_check.…`
    pub enum HealthCheckStat at "http." {
        counter RequestTotal = "request_total",
        counter Failed = "failed",
        counter Ok = "ok",
        counter CachedResponse = "cached_response",
        counter FailedClusterNotFound = "failed_cluster_not_found",
        counter FailedClusterEmpty = "failed_cluster_empty",
        counter FailedClusterUnhealthy = "failed_cluster_unhealthy",
        counter Degraded = "degraded",
    }
}

stat_set! {
    /// `http.<prefix>.rbac.[<rules prefix>.]policy.<policy>.…`
    pub enum RbacRuleStat at "http." {
        counter Allowed = "allowed" [when_used],
        counter Denied = "denied" [when_used],
        counter ShadowAllowed = "shadow_allowed" [when_used],
        counter ShadowDenied = "shadow_denied" [when_used],
    }
}

stat_set! {
    /// `cluster.<cluster>.grpc.[<service>.<method>.]…`
    pub enum GrpcStat at "cluster." {
        counter Success = "success" [when_used],
        counter Failure = "failure" [when_used],
        counter Total = "total" [when_used],
        counter RequestMessageCount = "request_message_count" [when_used],
        counter ResponseMessageCount = "response_message_count" [when_used],
        counter Code0 = "0" [when_used],
        counter Code1 = "1" [when_used],
        counter Code2 = "2" [when_used],
        counter Code3 = "3" [when_used],
        counter Code4 = "4" [when_used],
        counter Code5 = "5" [when_used],
        counter Code6 = "6" [when_used],
        counter Code7 = "7" [when_used],
        counter Code8 = "8" [when_used],
        counter Code9 = "9" [when_used],
        counter Code10 = "10" [when_used],
        counter Code11 = "11" [when_used],
        counter Code12 = "12" [when_used],
        counter Code13 = "13" [when_used],
        counter Code14 = "14" [when_used],
        counter Code15 = "15" [when_used],
        counter Code16 = "16" [when_used],
        histogram UpstreamRqTime = "upstream_rq_time" [when_used],
    }
}

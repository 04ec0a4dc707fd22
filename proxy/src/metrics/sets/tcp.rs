//! Statistics of a TCP proxy (Envoy: `network_filters/tcp_proxy_filter#statistics`).

stat_set! {
    /// `tcp.<prefix>.…`
    pub enum TcpStat at "tcp." {
        counter DownstreamCxTotal = "downstream_cx_total",
        counter DownstreamCxRxBytesTotal = "downstream_cx_rx_bytes_total",
        counter DownstreamCxTxBytesTotal = "downstream_cx_tx_bytes_total",
        counter IdleTimeout = "idle_timeout",
        counter MaxDownstreamConnectionDuration = "max_downstream_connection_duration",
        counter DownstreamCxNoRoute = "downstream_cx_no_route",
        gauge UpstreamFlushActive = "upstream_flush_active",
        counter UpstreamFlushTotal = "upstream_flush_total",
        counter DownstreamCxDrainClose = "downstream_cx_drain_close",
        counter DownstreamCxOverloadClose = "downstream_cx_overload_close",
        gauge DownstreamCxRxBytesBuffered = "downstream_cx_rx_bytes_buffered",
        gauge DownstreamCxTxBytesBuffered = "downstream_cx_tx_bytes_buffered",
        counter DownstreamFlowControlPausedReadingTotal = "downstream_flow_control_paused_reading_total",
        counter DownstreamFlowControlResumedReadingTotal = "downstream_flow_control_resumed_reading_total",
        counter EarlyDataReceivedCountTotal = "early_data_received_count_total",
        counter RouteDelayedTotal = "route_delayed_total",
        counter OnDemandClusterAttempt = "on_demand_cluster_attempt" [when_used],
        counter OnDemandClusterMissing = "on_demand_cluster_missing" [when_used],
        counter OnDemandClusterSuccess = "on_demand_cluster_success" [when_used],
        counter OnDemandClusterTimeout = "on_demand_cluster_timeout" [when_used],
    }
}

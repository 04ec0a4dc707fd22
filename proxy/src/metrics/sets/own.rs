//! Our own statistics.

stat_set! {
    /// `zonegate.…`: process-wide.
    pub enum ZonegateStat at "zonegate." {
        counter AccessLogWritten = "access_log.written",
        counter AccessLogDroppedQueueFull = "access_log.dropped_queue_full",
        counter AccessLogDroppedWriteFailed = "access_log.dropped_write_failed",
        counter AccessLogDroppedConnectFailed = "access_log.dropped_connect_failed",
        counter AccessLogDroppedMalformed = "access_log.dropped_malformed",
        counter AccessLogFilterErrors = "access_log.filter_errors",
        counter ConfigFieldsIgnored = "config.fields_ignored",
        counter ConfigResourcesRejected = "config.resources_rejected",
        gauge ConfigChainsUnsupported = "config.chains_unsupported",
        gauge XdsSilent = "xds.silent",
    }
}

stat_set! {
    /// `zonegate.listener.<address>.close.<reason>`: connections by why they ended.
    pub enum CloseStat at "zonegate.listener." {
        counter Done = "close.done",
    }
}

//! Statistics of tracers and of exported access logs.

stat_set! {
    /// `tracing.<opentelemetry, zipkin, datadog>.…`
    pub enum TracerStat at "tracing." {
        counter SpansSent = "spans_sent" [when_used],
        counter SpansDropped = "spans_dropped" [when_used],
        counter TimerFlushed = "timer_flushed" [when_used],
        counter ReportsSent = "reports_sent" [when_used],
        counter ReportsDropped = "reports_dropped" [when_used],
        counter ReportsFailed = "reports_failed" [when_used],
        counter ReportsSkippedNoCluster = "reports_skipped_no_cluster" [when_used],
    }
}

stat_set! {
    /// `access_logs.open_telemetry_access_log.[<prefix>.]…`
    pub enum LogExportStat at "access_logs." {
        counter LogsWritten = "logs_written",
        counter LogsDropped = "logs_dropped",
    }
}

//! Statistics of the process and of its control (Envoy: `operations/admin`, `configuration/overview/mgmt_server`).

stat_set! {
    /// `server.…`
    pub enum ServerStat at "server." {
        gauge CompilationSettingsFipsMode = "compilation_settings.fips_mode",
        gauge Concurrency = "concurrency",
        gauge DaysUntilFirstCertExpiring = "days_until_first_cert_expiring",
        counter DebugAssertionFailures = "debug_assertion_failures",
        counter DroppedStatFlushes = "dropped_stat_flushes",
        counter DynamicUnknownFields = "dynamic_unknown_fields",
        counter EnvoyBugFailures = "envoy_bug_failures",
        counter EnvoyNotifications = "envoy_notifications",
        gauge HotRestartEpoch = "hot_restart_epoch",
        gauge HotRestartGeneration = "hot_restart_generation",
        gauge Live = "live",
        counter MainThreadWatchdogMegaMiss = "main_thread.watchdog_mega_miss",
        counter MainThreadWatchdogMiss = "main_thread.watchdog_miss",
        gauge MemoryAllocated = "memory_allocated",
        gauge MemoryHeapSize = "memory_heap_size",
        gauge MemoryPhysicalSize = "memory_physical_size",
        gauge ParentConnections = "parent_connections",
        gauge SecondsUntilFirstOcspResponseExpiring = "seconds_until_first_ocsp_response_expiring",
        gauge State = "state",
        counter StaticUnknownFields = "static_unknown_fields",
        gauge StatsRecentLookups = "stats_recent_lookups",
        gauge TotalConnections = "total_connections",
        gauge Uptime = "uptime",
        gauge Version = "version",
        counter WipProtos = "wip_protos",
        histogram InitializationTimeMs = "initialization_time_ms",
    }
}

stat_set! {
    /// `listener_manager.…`
    pub enum ListenerManagerStat at "listener_manager." {
        counter ListenerAdded = "listener_added",
        counter ListenerCreateFailure = "listener_create_failure",
        counter ListenerCreateSuccess = "listener_create_success",
        counter ListenerInPlaceUpdated = "listener_in_place_updated",
        counter ListenerModified = "listener_modified",
        counter ListenerRemoved = "listener_removed",
        counter ListenerStopped = "listener_stopped",
        gauge TotalFilterChainsDraining = "total_filter_chains_draining",
        gauge TotalListenersActive = "total_listeners_active",
        gauge TotalListenersDraining = "total_listeners_draining",
        gauge TotalListenersWarming = "total_listeners_warming",
        gauge WorkersPinned = "workers_pinned",
        gauge WorkersStarted = "workers_started",
    }
}

stat_set! {
    /// `cluster_manager.…`
    pub enum ClusterManagerStat at "cluster_manager." {
        gauge ActiveClusters = "active_clusters",
        counter ClusterAdded = "cluster_added",
        counter ClusterModified = "cluster_modified",
        counter ClusterRemoved = "cluster_removed",
        counter ClusterUpdated = "cluster_updated",
        counter ClusterUpdatedViaMerge = "cluster_updated_via_merge",
        counter UpdateMergeCancelled = "update_merge_cancelled",
        counter UpdateOutOfMergeWindow = "update_out_of_merge_window",
        gauge WarmingClusters = "warming_clusters",
    }
}

stat_set! {
    /// A subscription: `cluster_manager.cds.…`, `listener_manager.lds.…`
    pub enum SubscriptionStat at "" {
        counter InitFetchTimeout = "init_fetch_timeout",
        counter UpdateAttempt = "update_attempt",
        counter UpdateFailure = "update_failure",
        counter UpdateRejected = "update_rejected",
        counter UpdateSuccess = "update_success",
        gauge UpdateTime = "update_time",
        gauge Version = "version",
        counter ConfigReload = "config_reload" [when_used],
        gauge ConfigReloadTimeMs = "config_reload_time_ms" [when_used],
        histogram UpdateDuration = "update_duration",
    }
}

stat_set! {
    /// `sds.<secret>.…`, beside its [`SubscriptionStat`]
    pub enum SdsStat at "sds." {
        counter KeyRotationFailed = "key_rotation_failed",
    }
}

stat_set! {
    /// `control_plane.…`
    pub enum ControlPlaneStat at "control_plane." {
        gauge ConnectedState = "connected_state",
        gauge PendingRequests = "pending_requests",
        counter RateLimitEnforced = "rate_limit_enforced",
    }
}

stat_set! {
    /// `filesystem.…`: access logs written to files.
    pub enum FilesystemStat at "filesystem." {
        counter FlushedByTimer = "flushed_by_timer",
        counter ReopenFailed = "reopen_failed",
        counter WriteBuffered = "write_buffered",
        counter WriteCompleted = "write_completed",
        counter WriteFailed = "write_failed",
        gauge WriteTotalBuffered = "write_total_buffered",
    }
}

stat_set! {
    /// `runtime.…`
    pub enum RuntimeStat at "runtime." {
        gauge AdminOverridesActive = "admin_overrides_active",
        gauge DeprecatedFeatureSeenSinceProcessStart = "deprecated_feature_seen_since_process_start",
        counter DeprecatedFeatureUse = "deprecated_feature_use",
        counter LoadError = "load_error",
        counter LoadSuccess = "load_success",
        gauge NumKeys = "num_keys",
        gauge NumLayers = "num_layers",
        counter OverrideDirExists = "override_dir_exists",
        counter OverrideDirNotExists = "override_dir_not_exists",
    }
}

stat_set! {
    /// `overload.…`
    pub enum OverloadStat at "overload." {
        histogram RefreshIntervalDelay = "refresh_interval_delay" [when_used],
    }
}

stat_set! {
    /// `overload.<action>.…`
    pub enum OverloadActionStat at "overload." {
        gauge Active = "active",
        gauge ScalePercent = "scale_percent",
        counter ShrinkCount = "shrink_count" [when_used],
    }
}

stat_set! {
    /// `overload.<resource>.…`
    pub enum OverloadResourceStat at "overload." {
        gauge Pressure = "pressure",
        counter FailedUpdates = "failed_updates",
        counter SkippedUpdates = "skipped_updates",
    }
}

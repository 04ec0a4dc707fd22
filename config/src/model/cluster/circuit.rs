//! Circuit breakers.

/// `circuit_breakers`, by priority.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CircuitBreakers {
    /// Priority DEFAULT.
    pub default: Thresholds,
    /// Priority HIGH.
    pub high: Thresholds,
}

/// Which thresholds count (`core.v3.RoutingPriority`). TCP knows the default only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Priority {
    /// DEFAULT.
    #[default]
    Default,
    /// HIGH.
    High,
}

impl CircuitBreakers {
    /// The thresholds of a priority.
    pub const fn of(&self, priority: Priority) -> Thresholds {
        match priority {
            Priority::Default => self.default,
            Priority::High => self.high,
        }
    }
}

/// `circuit_breakers.thresholds` of one priority.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    /// Open connections to the cluster; default 1024.
    pub max_connections: u32,
    /// Requests and TCP connections that wait for an upstream connection; default 1024.
    pub max_pending: u32,
    /// HTTP requests in flight; default 1024.
    pub max_requests: u32,
    /// Retries in flight; default 3. A retry budget takes its place.
    pub max_retries: u32,
    /// Retries in flight by the requests there are.
    pub retry_budget: Option<RetryBudget>,
    /// Upstream pools (HTTP); `None`: no limit.
    pub max_connection_pools: Option<u32>,
    /// Publish `remaining_*` gauges.
    pub track_remaining: bool,
    /// `per_host_thresholds.max_connections`.
    pub per_host_max_connections: Option<u32>,
}

/// `retry_budget`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryBudget {
    /// Percent of requests active and pending; default 20.
    pub percent: f64,
    /// As many are always allowed; default 3.
    pub min_concurrency: u32,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            max_connections: 1024,
            max_pending: 1024,
            max_requests: 1024,
            max_retries: 3,
            retry_budget: None,
            max_connection_pools: None,
            track_remaining: false,
            per_host_max_connections: None,
        }
    }
}

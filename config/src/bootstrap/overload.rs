//! What is done when the process runs short (`config.overload.v3.OverloadManager`).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// `overload_manager`, and the runtime key that stands for its limit on connections.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overload {
    /// Connections over all listeners (`global_downstream_max_connections`).
    pub max_connections: Option<u64>,
    /// How often resources are looked at; Envoy's default is 1 s.
    pub refresh_interval: Option<Duration>,
    /// What is looked at.
    pub monitors: Box<[Monitor]>,
    /// What is done.
    pub actions: Box<[OverloadAction]>,
}

/// One of `resource_monitors` that is looked at from time to time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Monitor {
    /// Triggers name it so, and statistics.
    pub name: Arc<str>,
    /// What it measures.
    pub resource: MonitoredResource,
}

/// Where a pressure, from 0 to 1, comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MonitoredResource {
    /// `fixed_heap`: the heap's share of so many bytes.
    Heap(u64),
    /// `injected_resource`: what is written in a file.
    Injected(PathBuf),
}

/// One of `actions`.
#[derive(Clone, Debug, PartialEq)]
pub struct OverloadAction {
    /// What is done.
    pub kind: OverloadActionKind,
    /// When: as far as the strongest says.
    pub triggers: Box<[Trigger]>,
}

/// `envoy.overload_actions.…`
#[derive(Clone, Debug, PartialEq)]
pub enum OverloadActionKind {
    /// `stop_accepting_requests`.
    StopAcceptingRequests,
    /// `disable_http_keepalive`.
    DisableHttpKeepalive,
    /// `stop_accepting_connections`.
    StopAcceptingConnections,
    /// `reject_incoming_connections`.
    RejectIncomingConnections,
    /// `shrink_heap`.
    ShrinkHeap,
    /// `reduce_timeouts`.
    ReduceTimeouts(Box<[ScaledTimer]>),
}

impl OverloadActionKind {
    /// Envoy's name.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::StopAcceptingRequests => "envoy.overload_actions.stop_accepting_requests",
            Self::DisableHttpKeepalive => "envoy.overload_actions.disable_http_keepalive",
            Self::StopAcceptingConnections => "envoy.overload_actions.stop_accepting_connections",
            Self::RejectIncomingConnections => "envoy.overload_actions.reject_incoming_connections",
            Self::ShrinkHeap => "envoy.overload_actions.shrink_heap",
            Self::ReduceTimeouts(_) => "envoy.overload_actions.reduce_timeouts",
        }
    }
}

/// One of `triggers`.
#[derive(Clone, Debug, PartialEq)]
pub struct Trigger {
    /// The monitor.
    pub resource: Arc<str>,
    /// The pressure at which it begins to act. Equal to `saturation`: all at once.
    pub from: f64,
    /// The pressure from which on it acts fully.
    pub saturation: f64,
}

impl Trigger {
    /// How far the action is to be taken at this pressure, from 0 to 1.
    pub fn scale(&self, pressure: f64) -> f64 {
        if pressure >= self.saturation {
            1.0
        } else if pressure <= self.from {
            0.0
        } else {
            (pressure - self.from) / (self.saturation - self.from)
        }
    }
}

/// One of `timer_scale_factors`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScaledTimer {
    /// Which.
    pub timer: TimerKind,
    /// How short it becomes at the most.
    pub minimum: ScaledMinimum,
}

/// `TimerType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimerKind {
    /// HTTP_DOWNSTREAM_CONNECTION_IDLE.
    HttpConnectionIdle,
    /// HTTP_DOWNSTREAM_STREAM_IDLE.
    HttpStreamIdle,
    /// TRANSPORT_SOCKET_CONNECT.
    TransportConnect,
    /// HTTP_DOWNSTREAM_CONNECTION_MAX.
    HttpConnectionMax,
    /// HTTP_DOWNSTREAM_STREAM_FLUSH.
    HttpStreamFlush,
}

/// `overload_adjust`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ScaledMinimum {
    /// `min_timeout`.
    Time(Duration),
    /// `min_scale`, percent of the configured time.
    Percent(f64),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn triggers() {
        let at = |from, saturation, pressure| Trigger { resource: "a".into(), from, saturation }.scale(pressure);
        assert_eq!([0.0, 0.94, 0.95, 1.2].map(|pressure| at(0.95, 0.95, pressure)), [0.0, 0.0, 1.0, 1.0]);
        assert_eq!([0.4, 0.5, 0.75, 1.0].map(|pressure| at(0.5, 1.0, pressure)), [0.0, 0.0, 0.5, 1.0]);
    }
}

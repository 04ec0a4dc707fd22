//! The state machine of one host's health check (Envoy: `ActiveHealthCheckSession`), without time or sockets.

use std::time::Duration;

use config::model::cluster::HealthCheck;

use super::Verdict;

/// What a probe meant for the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing.
    Unchanged,
    /// A step towards the other state: the threshold is not reached yet.
    Pending,
    /// The host is healthy now and was not, or the other way round.
    Changed,
}

/// Runs of like outcomes.
#[derive(Debug, Default)]
pub(super) struct Session {
    probed: bool,
    passed: u32,
    failed: u32,
}

impl Session {
    /// No probe was settled yet.
    pub(super) fn is_first(&self) -> bool {
        !self.probed
    }

    /// Counts a probe of a host that counted as `failed` before. The first pass counts at once, so that starting is
    /// fast; so does the first failure of a host that has not passed yet, since such hosts begin as failed.
    pub(super) fn settle(&mut self, check: &HealthCheck, failed: bool, verdict: Verdict) -> Change {
        let first = !std::mem::replace(&mut self.probed, true);
        if verdict.passed() {
            self.failed = 0;
            if !failed {
                return Change::Unchanged;
            }
            self.passed += 1;
            if first || self.passed >= check.healthy_threshold {
                self.passed = 0;
                return Change::Changed;
            }
        } else {
            self.passed = 0;
            if failed {
                return Change::Unchanged;
            }
            self.failed += 1;
            if verdict.is_final() || self.failed >= check.unhealthy_threshold {
                self.failed = 0;
                return Change::Changed;
            }
        }
        Change::Pending
    }
}

/// How long until the next probe.
pub(super) fn interval(check: &HealthCheck, passed: bool, change: Change, traffic: bool) -> Duration {
    let unhealthy = check.unhealthy_interval.unwrap_or(check.interval);
    let base = match (traffic, passed, change == Change::Pending) {
        (false, true, false) => check.no_traffic_healthy_interval.unwrap_or(check.no_traffic_interval),
        (false, _, _) => check.no_traffic_interval,
        (true, true, true) => check.healthy_edge_interval.unwrap_or(check.interval),
        (true, true, false) => check.interval,
        (true, false, true) => check.unhealthy_edge_interval.unwrap_or(unhealthy),
        (true, false, false) => unhealthy,
    };
    with_jitter(base, check.interval_jitter, check.interval_jitter_percent).max(Duration::from_millis(1))
}

/// `base` and a random part of both jitters.
pub(super) fn with_jitter(base: Duration, jitter: Duration, percent: u32) -> Duration {
    let by_percent = base.mul_f64(f64::from(percent) / 100.0).mul_f64(fastrand::f64());
    base + by_percent + jitter.mul_f64(fastrand::f64())
}

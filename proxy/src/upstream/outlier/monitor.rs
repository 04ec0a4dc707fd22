//! What one host's connections have been like: runs of failures, rates, ejections.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use config::model::cluster::OutlierDetection;
use tokio::time::Instant;

use super::Ejection;

/// What became of a connect or a request (Envoy: `Outlier::Result`, `putHttpResponseCode`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// TCP: connected, and no more will be heard (`LocalOriginConnectSuccessFinal`).
    Connected,
    /// HTTP: there is a connection for the request, whose answer is still to come (`LocalOriginConnectSuccess`).
    Ready,
    /// No connection within `connect_timeout` (`LocalOriginTimeout`).
    TimedOut,
    /// No answer within the timeout of the route or the try (`LocalOriginTimeout` with the status that goes downstream).
    NoAnswer(u16),
    /// Refused, unreachable, reset (`LocalOriginConnectFailed`).
    Failed,
    /// An answer with this status; of gRPC, the HTTP status that `grpc-status` in its headers maps to.
    Status(u16),
}

/// Made when outlier detection first hears of a host.
#[derive(Debug, Default)]
pub(crate) struct Monitor {
    run_5xx: AtomicU32,
    run_gateway: AtomicU32,
    run_local: AtomicU32,
    /// Answers, and without `split_external_local_origin_errors` connects too.
    external: Rate,
    /// Connects, with `split_external_local_origin_errors`.
    local: Rate,
    history: Mutex<History>,
}

/// Since the last sweep.
#[derive(Debug, Default)]
pub(super) struct Rate {
    success: AtomicU32,
    total: AtomicU32,
}

/// Written by control work only.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct History {
    /// How often it was ejected.
    pub(crate) ejections: u32,
    /// Factor of the base ejection time.
    backoff: u32,
    jitter: Duration,
    ejected_at: Option<Instant>,
    returned_at: Option<Instant>,
    /// Percent of the last interval, external and local, where there was enough to say (`/clusters`).
    pub(crate) success_rate: [Option<f64>; 2],
}

impl Rate {
    fn count(&self, success: bool) {
        self.total.fetch_add(1, Ordering::Relaxed);
        if success {
            self.success.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// (successes in percent, total) since the last call; `None` when nothing happened.
    pub(super) fn take(&self) -> Option<(f64, u32)> {
        let (success, total) = (self.success.swap(0, Ordering::Relaxed), self.total.swap(0, Ordering::Relaxed));
        (total > 0).then(|| (f64::from(success.min(total)) * 100.0 / f64::from(total), total))
    }
}

impl Monitor {
    /// Counts it; the runs that reached their limit with it.
    pub(super) fn record(&self, config: &OutlierDetection, outcome: Outcome) -> [Option<Ejection>; 2] {
        match (outcome, config.split_external_local_origin_errors) {
            (Outcome::Status(status), _) | (Outcome::NoAnswer(status), false) => self.answered(config, status),
            (Outcome::Connected | Outcome::Ready, true) => self.reached(config, true),
            (Outcome::TimedOut | Outcome::NoAnswer(_) | Outcome::Failed, true) => self.reached(config, false),
            // The answer will say.
            (Outcome::Ready, false) => [None; 2],
            (Outcome::Connected, false) => self.answered(config, 200),
            (Outcome::TimedOut, false) => self.answered(config, 504),
            (Outcome::Failed, false) => self.answered(config, 503),
        }
    }

    fn answered(&self, config: &OutlierDetection, status: u16) -> [Option<Ejection>; 2] {
        let success = !(500..600).contains(&status);
        self.external.count(success);
        let (gateway, any) = (config.consecutive_gateway_failure, config.consecutive_5xx);
        let is_gateway = matches!(status, 502..=504);
        [
            reached(&self.run_gateway, !is_gateway, gateway, Ejection::ConsecutiveGatewayFailure),
            reached(&self.run_5xx, success, any, Ejection::Consecutive5xx),
        ]
    }

    /// Whether the host could be reached at all, counted apart from its answers.
    fn reached(&self, config: &OutlierDetection, success: bool) -> [Option<Ejection>; 2] {
        self.local.count(success);
        let limit = config.consecutive_local_origin_failure;
        [reached(&self.run_local, success, limit, Ejection::ConsecutiveLocalOriginFailure), None]
    }

    /// Begins the run anew.
    pub(super) fn forget_run(&self, ejection: Ejection) {
        match ejection {
            Ejection::Consecutive5xx => self.run_5xx.store(0, Ordering::Relaxed),
            Ejection::ConsecutiveGatewayFailure => self.run_gateway.store(0, Ordering::Relaxed),
            Ejection::ConsecutiveLocalOriginFailure => self.run_local.store(0, Ordering::Relaxed),
            Ejection::SuccessRate
            | Ejection::SuccessRateLocalOrigin
            | Ejection::FailurePercentage
            | Ejection::FailurePercentageLocalOrigin => {}
        }
    }

    /// The counts since the last sweep: external, local.
    pub(super) fn rates(&self) -> [Option<(f64, u32)>; 2] {
        [self.external.take(), self.local.take()]
    }

    /// What happened to the host so far.
    pub(crate) fn history(&self) -> History {
        *self.lock()
    }

    pub(super) fn set_success_rate(&self, origin: usize, rate: Option<f64>) {
        if let Some(slot) = self.lock().success_rate.get_mut(origin) {
            *slot = rate;
        }
    }

    /// The host is ejected now: for longer each time, up to the maximum.
    pub(super) fn ejected(&self, config: &OutlierDetection, now: Instant) {
        let mut history = self.lock();
        history.ejections += 1;
        history.ejected_at = Some(now);
        history.jitter = match config.max_ejection_time_jitter {
            Duration::ZERO => Duration::ZERO,
            jitter => jitter.mul_f64(fastrand::f64()),
        };
        let base = config.base_ejection_time;
        if base.saturating_mul(history.backoff) < config.max_ejection_time.saturating_add(base) {
            history.backoff += 1;
        }
    }

    /// The host is taken back: old failures are forgotten.
    pub(super) fn returned(&self, now: Instant) {
        self.run_5xx.store(0, Ordering::Relaxed);
        self.run_gateway.store(0, Ordering::Relaxed);
        self.run_local.store(0, Ordering::Relaxed);
        self.lock().returned_at = Some(now);
    }

    /// An ejected host has waited long enough.
    pub(super) fn is_due(&self, config: &OutlierDetection, now: Instant) -> bool {
        let history = self.lock();
        let wait = config.base_ejection_time.saturating_mul(history.backoff).min(config.max_ejection_time);
        history.ejected_at.is_none_or(|at| wait + history.jitter <= now.saturating_duration_since(at))
    }

    /// A host that behaved for a whole interval after its return has its next ejection shortened.
    pub(super) fn calm_down(&self, config: &OutlierDetection, now: Instant) {
        let mut history = self.lock();
        if history.returned_at.is_some_and(|at| now.saturating_duration_since(at) >= config.interval) {
            history.backoff = history.backoff.saturating_sub(1);
        }
    }

    fn lock(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts a run; `ejection` when it has just reached its limit.
fn reached(run: &AtomicU32, success: bool, limit: u32, ejection: Ejection) -> Option<Ejection> {
    if success {
        // Mostly it is 0 already: a load is cheaper than a store to a line that all workers share.
        if run.load(Ordering::Relaxed) != 0 {
            run.store(0, Ordering::Relaxed);
        }
        return None;
    }
    (run.fetch_add(1, Ordering::Relaxed) + 1 == limit).then_some(ejection)
}

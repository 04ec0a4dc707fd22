//! Outlier detection (Envoy: `outlier_detection_impl`): what connections and answers tell about a host, and its ejection.

pub(super) mod monitor;
mod statistics;
mod sweep;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use config::model::cluster::OutlierDetection;
use tokio::time::Instant;

pub use monitor::Outcome;

use super::cluster::Cluster;
use super::host::{Flag, Host};
use super::tasks::Running;
use crate::metrics::{ClusterStat, Scope};

/// Why a host is ejected (Envoy: `OutlierEjectionType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ejection {
    /// Failures in a row, all counted as 5xx.
    Consecutive5xx,
    /// Failures in a row that map to 502, 503, 504.
    ConsecutiveGatewayFailure,
    /// Failed connects in a row, with `split_external_local_origin_errors`.
    ConsecutiveLocalOriginFailure,
    /// Success rate far below that of the others.
    SuccessRate,
    /// The same for connects.
    SuccessRateLocalOrigin,
    /// Too many failures in percent.
    FailurePercentage,
    /// The same for connects.
    FailurePercentageLocalOrigin,
}

/// Tells outlier detection how a connect went.
pub(super) fn report(cluster: &Arc<Cluster>, host: &Arc<Host>, outcome: Outcome) {
    let hosts = cluster.peek();
    let Some(config) = hosts.entry().cluster.outlier_detection.as_deref() else { return };
    for ejection in host.monitor().record(config, outcome).into_iter().flatten() {
        // Ejecting rebuilds the hosts: not the worker's business.
        let (weak, host) = (Arc::downgrade(cluster), Arc::clone(host));
        cluster.shared().control.spawn(async move {
            if let Some(cluster) = weak.upgrade() {
                consecutive(&cluster, &host, ejection);
            }
        });
    }
}

/// Starts the sweeps of a cluster.
pub(super) fn start(cluster: &Arc<Cluster>, interval: Duration) -> Running {
    let weak = Arc::downgrade(cluster);
    Running::new(&cluster.shared().control.spawn(async move {
        loop {
            tokio::time::sleep(interval).await;
            let Some(cluster) = weak.upgrade() else { return };
            let Some(config) = cluster.config().outlier_detection.clone() else { return };
            if sweep::sweep(&cluster, &config, Instant::now()) {
                cluster.refresh();
            }
        }
    }))
}

/// A host has failed too often in a row.
fn consecutive(cluster: &Arc<Cluster>, host: &Arc<Host>, ejection: Ejection) {
    let Some(config) = cluster.config().outlier_detection.clone() else { return };
    let hosts = cluster.hosts();
    if host.has(Flag::FailedOutlierCheck) || !hosts.hosts().any(|h| Arc::ptr_eq(h, host)) {
        return;
    }
    let ejected = eject(cluster, &config, host, ejection, Instant::now());
    if ejection == Ejection::Consecutive5xx {
        cluster.stats().inc(ClusterStat::OutlierDetectionEjectionsConsecutive5xx);
    }
    // So that another run of failures is seen when this one led to nothing.
    host.monitor().forget_run(ejection);
    if ejected {
        cluster.refresh();
    }
}

/// Ejects a host, if limits and enforcement allow; whether it did. The caller refreshes the cluster.
fn eject(cluster: &Arc<Cluster>, config: &OutlierDetection, host: &Host, ejection: Ejection, now: Instant) -> bool {
    let stats = cluster.stats();
    stats.inc(ejection.detected());
    let hosts = cluster.hosts();
    let ejected = hosts.hosts().filter(|h| h.has(Flag::FailedOutlierCheck)).count();
    let percent = 100.0 * (ejected + 1) as f64 / hosts.hosts().count().max(1) as f64;
    let first = config.always_eject_one_host && ejected == 0;
    let allowed = first || percent <= f64::from(config.max_ejection_percent.min(100));
    if !allowed {
        stats.inc(ClusterStat::OutlierDetectionEjectionsOverflow);
        return false;
    }
    if matches!(ejection, Ejection::Consecutive5xx | Ejection::SuccessRate) {
        stats.inc(ClusterStat::OutlierDetectionEjectionsTotal);
    }
    if fastrand::u32(..100) >= ejection.enforcing(config) || !host.mark(Flag::FailedOutlierCheck, true) {
        return false;
    }
    stats.inc(ClusterStat::OutlierDetectionEjectionsEnforcedTotal);
    stats.inc(ejection.enforced());
    count_active(stats, ejected + 1);
    host.monitor().ejected(config, now);
    tracing::debug!(cluster = %cluster.name(), host = %host.address(), ?ejection, "host ejected");
    true
}

/// Takes a host back; whether it was ejected. The caller refreshes the cluster.
fn uneject(cluster: &Cluster, host: &Host, now: Instant) -> bool {
    if !host.mark(Flag::FailedOutlierCheck, false) {
        return false;
    }
    host.monitor().returned(now);
    let hosts = cluster.hosts();
    count_active(cluster.stats(), hosts.hosts().filter(|h| h.has(Flag::FailedOutlierCheck)).count());
    tracing::debug!(cluster = %cluster.name(), host = %host.address(), "host taken back");
    true
}

/// The active health check passed: with `successful_active_health_check_uneject_host` that ends an ejection.
pub(super) fn check_passed(cluster: &Cluster, host: &Host) -> bool {
    let unejects = cluster.config().outlier_detection.as_ref().is_some_and(|o| o.successful_check_unejects);
    unejects && !host.has(Flag::FailedActiveHc) && uneject(cluster, host, Instant::now())
}

fn count_active(stats: &Scope<ClusterStat>, n: usize) {
    stats.set(ClusterStat::OutlierDetectionEjectionsActive, i64::try_from(n).unwrap_or(i64::MAX));
}

impl Ejection {
    /// Percent of detections that are acted upon.
    fn enforcing(self, config: &OutlierDetection) -> u32 {
        match self {
            Self::Consecutive5xx => config.enforcing_consecutive_5xx,
            Self::ConsecutiveGatewayFailure => config.enforcing_consecutive_gateway_failure,
            Self::ConsecutiveLocalOriginFailure => config.enforcing_consecutive_local_origin_failure,
            Self::SuccessRate => config.enforcing_success_rate,
            Self::SuccessRateLocalOrigin => config.enforcing_local_origin_success_rate,
            Self::FailurePercentage => config.enforcing_failure_percentage,
            Self::FailurePercentageLocalOrigin => config.enforcing_failure_percentage_local_origin,
        }
    }

    const fn detected(self) -> ClusterStat {
        use ClusterStat as S;
        match self {
            Self::Consecutive5xx => S::OutlierDetectionEjectionsDetectedConsecutive5xx,
            Self::ConsecutiveGatewayFailure => S::OutlierDetectionEjectionsDetectedConsecutiveGatewayFailure,
            Self::ConsecutiveLocalOriginFailure => S::OutlierDetectionEjectionsDetectedConsecutiveLocalOriginFailure,
            Self::SuccessRate => S::OutlierDetectionEjectionsDetectedSuccessRate,
            Self::SuccessRateLocalOrigin => S::OutlierDetectionEjectionsDetectedLocalOriginSuccessRate,
            Self::FailurePercentage => S::OutlierDetectionEjectionsDetectedFailurePercentage,
            Self::FailurePercentageLocalOrigin => S::OutlierDetectionEjectionsDetectedLocalOriginFailurePercentage,
        }
    }

    const fn enforced(self) -> ClusterStat {
        use ClusterStat as S;
        match self {
            Self::Consecutive5xx => S::OutlierDetectionEjectionsEnforcedConsecutive5xx,
            Self::ConsecutiveGatewayFailure => S::OutlierDetectionEjectionsEnforcedConsecutiveGatewayFailure,
            Self::ConsecutiveLocalOriginFailure => S::OutlierDetectionEjectionsEnforcedConsecutiveLocalOriginFailure,
            Self::SuccessRate => S::OutlierDetectionEjectionsEnforcedSuccessRate,
            Self::SuccessRateLocalOrigin => S::OutlierDetectionEjectionsEnforcedLocalOriginSuccessRate,
            Self::FailurePercentage => S::OutlierDetectionEjectionsEnforcedFailurePercentage,
            Self::FailurePercentageLocalOrigin => S::OutlierDetectionEjectionsEnforcedLocalOriginFailurePercentage,
        }
    }
}

//! The regular look at all hosts: take back, compare, forgive.

use std::sync::Arc;

use config::model::cluster::OutlierDetection;
use tokio::time::Instant;

use super::statistics::{Sample, failing, low};
use super::{Ejection, eject, uneject};
use crate::metrics::ClusterStat;
use crate::upstream::cluster::Cluster;
use crate::upstream::host::{Flag, Host};

/// Kinds of ejection by rate, for what comes from outside and for what comes from here: too low, failing.
const KINDS: [(Ejection, Ejection); 2] = [
    (Ejection::SuccessRate, Ejection::FailurePercentage),
    (Ejection::SuccessRateLocalOrigin, Ejection::FailurePercentageLocalOrigin),
];

/// One sweep; whether a host's health changed.
pub(super) fn sweep(cluster: &Arc<Cluster>, config: &OutlierDetection, now: Instant) -> bool {
    let set = cluster.hosts();
    // Hosts that outlier detection never heard of have nothing to be told.
    let hosts: Vec<&Arc<Host>> = set.hosts().collect();
    let mut changed = false;
    let mut samples: [Vec<Sample>; 2] = [Vec::new(), Vec::new()];
    for (index, host) in hosts.iter().enumerate() {
        let Some(monitor) = host.heard() else { continue };
        if host.has(Flag::FailedOutlierCheck) && monitor.is_due(config, now) {
            changed |= uneject(cluster, host, now);
        }
        for (origin, rate) in monitor.rates().into_iter().enumerate() {
            let enough = config.success_rate_request_volume.min(config.failure_percentage_request_volume);
            let rate = rate.filter(|_| !host.has(Flag::FailedOutlierCheck));
            monitor.set_success_rate(origin, rate.filter(|r| r.1 >= enough).map(|r| r.0));
            samples[origin].extend(rate.map(|(percent, volume)| (index, percent, volume)));
        }
    }
    let enough_hosts = config.success_rate_minimum_hosts.min(config.failure_percentage_minimum_hosts) as usize;
    if hosts.len() >= enough_hosts {
        for (samples, kinds) in samples.iter().zip(KINDS) {
            for (index, ejection) in verdicts(samples, config, kinds) {
                changed |= hosts.get(index).is_some_and(|host| punish(cluster, config, host, ejection, now));
            }
        }
    }
    for host in hosts.iter().filter(|h| !h.has(Flag::FailedOutlierCheck)) {
        if let Some(monitor) = host.heard() {
            monitor.calm_down(config, now);
        }
    }
    changed
}

fn verdicts(samples: &[Sample], config: &OutlierDetection, kinds: (Ejection, Ejection)) -> Vec<(usize, Ejection)> {
    let low = low(samples, config).into_iter().map(|index| (index, kinds.0));
    let failing = failing(samples, config).into_iter().map(|index| (index, kinds.1));
    low.chain(failing).collect()
}

fn punish(cluster: &Arc<Cluster>, config: &OutlierDetection, host: &Host, ejection: Ejection, now: Instant) -> bool {
    if matches!(ejection, Ejection::SuccessRate | Ejection::SuccessRateLocalOrigin) {
        cluster.stats().inc(ClusterStat::OutlierDetectionEjectionsSuccessRate);
    }
    // Both verdicts may have fallen on it.
    !host.has(Flag::FailedOutlierCheck) && eject(cluster, config, host, ejection, now)
}

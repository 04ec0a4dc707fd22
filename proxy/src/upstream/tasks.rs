//! What runs on the control runtime for one cluster. Most clusters have none of it.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use config::model::address::Address;
use config::model::cluster::{Discovery, LbPolicy};
use config::snapshot::ClusterEntry;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::cluster::Cluster;
use super::dns::{Answers, Lookups};
use super::health::{self, Checks};
use super::host::{Fitness, Host};
use super::outlier;

/// The running work of a cluster and what it has found out.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    checks: Checks,
    lookups: Lookups,
    sweep: Option<(Duration, Running)>,
    /// When each host turned healthy, with slow start.
    healthy_since: HashMap<Address, Instant, RandomState>,
    ramp: Option<Running>,
}

/// A task that ends when this is dropped.
#[derive(Debug)]
pub(super) struct Running(AbortHandle);

impl Running {
    pub(super) fn new(handle: &tokio::task::JoinHandle<()>) -> Self {
        Self(handle.abort_handle())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Tasks {
    /// Makes a place for tasks where the configuration needs one, and ends all where it does not.
    pub(super) fn prepare(tasks: &mut Option<Box<Self>>, entry: &ClusterEntry) {
        let cluster = &entry.cluster;
        let needed = health::check(cluster).is_some()
            || cluster.outlier_detection.is_some()
            || matches!(cluster.discovery, Discovery::Dns { .. })
            || slow_start(entry).is_some();
        if !needed {
            *tasks = None;
        } else if tasks.is_none() {
            *tasks = Some(Box::default());
        }
    }

    /// What hosts are built from besides the configuration: addresses found, and weights while slow start is
    /// configured.
    pub(super) fn inputs(&mut self, entry: &ClusterEntry) -> (&Answers, Option<SlowStart<'_>>) {
        let slow_start = slow_start(entry).map(|(window, aggression, minimum)| {
            let since = RefCell::new(&mut self.healthy_since);
            SlowStart { window, aggression, minimum, since }
        });
        self.lookups.prepare(entry);
        (self.lookups.answers(), slow_start)
    }

    /// The hosts it probes.
    pub(super) fn checks(&self) -> &Checks {
        &self.checks
    }

    /// The names it resolves.
    pub(super) fn lookups(&mut self) -> &mut Lookups {
        &mut self.lookups
    }

    /// Starts and ends tasks so that they fit the hosts now in force.
    pub(super) fn sync(&mut self, cluster: &Arc<Cluster>, entry: &Arc<ClusterEntry>) {
        self.checks.sync(cluster, entry);
        self.lookups.sync(cluster, entry);
        let interval = entry.cluster.outlier_detection.as_ref().map(|o| o.interval);
        if self.sweep.as_ref().map(|(running, _)| *running) != interval {
            self.sweep = interval.map(|interval| (interval, outlier::start(cluster, interval)));
        }
        self.ramp = slow_start(entry).and_then(|(window, ..)| self.ramp(cluster, window));
    }

    /// While hosts are in their window, weights change with time.
    fn ramp(&mut self, cluster: &Arc<Cluster>, window: Duration) -> Option<Running> {
        let hosts = cluster.hosts();
        let present: hashbrown::HashSet<&Address, RandomState> = hosts.hosts().map(|h| h.address()).collect();
        self.healthy_since.retain(|address, _| present.contains(address));
        if !self.healthy_since.values().any(|since| since.elapsed() < window) {
            return None;
        }
        let weak = Arc::downgrade(cluster);
        let pause = (window / 20).max(Duration::from_millis(100));
        Some(Running::new(&cluster.shared().control.spawn(async move {
            tokio::time::sleep(pause).await;
            if let Some(cluster) = weak.upgrade() {
                cluster.refresh();
            }
        })))
    }
}

/// `slow_start_config`: (window, aggression, minimum percent). Other policies ignore it.
fn slow_start(entry: &ClusterEntry) -> Option<(Duration, f64, f64)> {
    let config = entry.cluster.lb_common.as_ref()?.slow_start?;
    let ramps = matches!(entry.cluster.lb, LbPolicy::RoundRobin | LbPolicy::LeastRequest { .. });
    (ramps && !config.0.is_zero()).then_some(config)
}

/// Weights that grow while a host is new (Envoy: `EdfLoadBalancerBase::applySlowStartFactor`).
pub(super) struct SlowStart<'a> {
    window: Duration,
    aggression: f64,
    minimum: f64,
    since: RefCell<&'a mut HashMap<Address, Instant, RandomState>>,
}

impl SlowStart<'_> {
    /// In thousandths of the configured weight.
    pub(super) fn weigh(&self, host: &Host) -> u64 {
        let weight = u64::from(host.weight()) * 1000;
        let mut since = self.since.borrow_mut();
        if host.fitness() != Fitness::Healthy {
            since.remove(host.address());
            return weight;
        }
        let healthy = since.entry(host.address().clone()).or_insert_with(Instant::now).elapsed();
        ((weight as f64 * factor(healthy, self.window, self.aggression, self.minimum)) as u64).max(1)
    }
}

fn factor(healthy: Duration, window: Duration, aggression: f64, minimum: f64) -> f64 {
    if healthy >= window {
        return 1.0;
    }
    let time = healthy.max(Duration::from_millis(1)).as_secs_f64() / window.as_secs_f64();
    let aggression = if aggression > 0.0 { aggression } else { 1.0 };
    time.powf(1.0 / aggression).max(minimum / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The formula of Envoy's documentation: max(min_weight_percent, time_factor ^ (1 / aggression)).
    #[test]
    fn ramps_up() {
        let window = Duration::from_secs(60);
        let at = |seconds, aggression| (factor(Duration::from_secs(seconds), window, aggression, 10.0) * 100.0).round();
        assert_eq!([at(0, 1.0), at(6, 1.0), at(30, 1.0), at(60, 1.0), at(90, 1.0)], [10.0, 10.0, 50.0, 100.0, 100.0]);
        assert_eq!([at(15, 2.0), at(15, 0.5)], [50.0, 10.0]);
    }
}

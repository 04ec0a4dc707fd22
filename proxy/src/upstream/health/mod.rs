//! Active health checks: which hosts are probed, and the task that probes one of them.

pub(super) mod events;
mod session;
mod tcp;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Weak};

use config::model::address::Address;
use config::model::cluster::{Cluster as Config, HealthCheck, Probe};
use config::snapshot::ClusterEntry;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use tokio::time::{Instant, sleep, timeout_at};

use self::events::Event;
use self::session::{Change, Session};
use self::tcp::Prober;
use super::cluster::Cluster;
use super::host::{Flag, Host};
use super::outlier;
use super::tasks::Running;
use crate::metrics::ClusterStat;

/// How one probe ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// As expected.
    Passed,
    /// Refused, closed, reset.
    Network,
    /// Not within the check's `timeout`.
    Timeout,
}

/// The check that is run: Envoy allows one per cluster. `None` too for those this version can't run: hosts then count
/// as healthy.
pub(super) fn check(cluster: &Config) -> Option<&HealthCheck> {
    cluster.health_checks.first().filter(|check| matches!(check.probe, Probe::Tcp { .. }))
}

/// Whether `host` is probed.
pub(super) fn probed(cluster: &Config, host: &Host) -> bool {
    check(cluster).is_some() && !host.detail().health_check.as_ref().is_some_and(|h| h.disabled)
}

/// Where to probe: `health_check_config` may name another address or port.
fn target(host: &Host) -> Address {
    let detail = host.detail();
    let Some(special) = &detail.health_check else { return host.address().clone() };
    let mut address = special.address.clone().unwrap_or_else(|| host.address().clone());
    if let (Address::Socket(socket), Some(port)) = (&mut address, special.port) {
        socket.set_port(port);
    }
    address
}

/// The probes of a cluster that run.
#[derive(Debug, Default)]
pub(super) struct Checks {
    /// What they were started with.
    config: Option<Arc<Config>>,
    /// By host: where it is probed, and the task.
    running: HashMap<Address, (Address, Running), RandomState>,
}

impl Checks {
    /// Probes the hosts now in force, and no others. What runs and did not change goes on.
    pub(super) fn sync(&mut self, cluster: &Arc<Cluster>, entry: &ClusterEntry) {
        let now = check(&entry.cluster);
        if self.config.as_ref().and_then(|c| check(c)) != now {
            self.running.clear();
            self.config = now.map(|_| Arc::clone(&entry.cluster));
        }
        let Some(config) = &self.config else { return };
        let mut before = std::mem::take(&mut self.running);
        let mut healthy = 0;
        for host in cluster.hosts().hosts().filter(|h| probed(config, h)) {
            healthy += i64::from(!host.has(Flag::FailedActiveHc));
            let target = target(host);
            let running = match before.remove(host.address()) {
                Some((same, running)) if same == target => running,
                _ => {
                    let task = run(Arc::downgrade(cluster), Arc::clone(host), Arc::clone(config), target.clone());
                    Running::new(&cluster.shared().control.spawn(task))
                }
            };
            self.running.insert(host.address().clone(), (target, running));
        }
        cluster.stats().set(ClusterStat::HealthCheckHealthy, healthy);
    }
}

/// Probes one host until it is gone.
async fn run(cluster: Weak<Cluster>, host: Arc<Host>, config: Arc<Config>, target: Address) {
    let Some(check) = check(&config) else { return };
    sleep(session::with_jitter(std::time::Duration::ZERO, check.initial_jitter, 0)).await;
    let mut session = Session::default();
    let mut prober = Prober::new(check, &host, target, config.socket.as_deref());
    let mut early = None;
    loop {
        let verdict = match early.take() {
            Some(verdict) => verdict,
            None => {
                if let Some(cluster) = cluster.upgrade() {
                    cluster.stats().inc(ClusterStat::HealthCheckAttempt);
                }
                prober.probe(Instant::now() + check.timeout).await
            }
        };
        let Some(cluster) = cluster.upgrade() else { return };
        let change = settle(&cluster, &host, check, &mut session, verdict);
        let traffic = cluster.stats().get(ClusterStat::UpstreamCxTotal) > 0;
        drop(cluster);
        let pause = session::interval(check, verdict == Verdict::Passed, change, traffic);
        // A kept connection that the host closes between probes is a failure at once, as in Envoy.
        if timeout_at(Instant::now() + pause, prober.broken()).await.is_ok() {
            early = Some(Verdict::Network);
        }
    }
}

/// Draws the conclusions of a probe: flags, statistics, events, and the hosts sorted anew where it matters.
fn settle(cluster: &Arc<Cluster>, host: &Host, check: &HealthCheck, session: &mut Session, verdict: Verdict) -> Change {
    let stats = cluster.stats();
    let first = session.is_first();
    let failed = host.has(Flag::FailedActiveHc);
    let mut change = session.settle(check, failed, verdict);
    let passed = verdict == Verdict::Passed;
    if change == Change::Changed {
        host.mark(Flag::FailedActiveHc, !passed);
        let event = if passed { Event::AddHealthy { first } } else { Event::EjectUnhealthy { verdict } };
        cluster.shared().sinks.log(check, cluster.name(), host, event);
    }
    if passed {
        stats.inc(ClusterStat::HealthCheckSuccess);
        if !host.has(Flag::FailedActiveHc) {
            host.mark(Flag::ActiveHcTimeout, false);
        }
    } else {
        stats.inc(ClusterStat::HealthCheckFailure);
        stats.inc(ClusterStat::HealthCheckNetworkFailure);
        host.mark(Flag::ActiveHcTimeout, verdict == Verdict::Timeout && host.has(Flag::FailedActiveHc));
        if first || check.always_log_failures {
            cluster.shared().sinks.log(check, cluster.name(), host, Event::Failure { verdict, first });
        }
    }
    // Regarded from now on, one way or the other.
    if host.mark(Flag::PendingActiveHc, false) {
        change = Change::Changed;
    }
    let returned = passed && outlier::check_passed(cluster, host);
    if change == Change::Changed || returned {
        cluster.refresh();
    }
    change
}

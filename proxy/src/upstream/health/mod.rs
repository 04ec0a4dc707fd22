//! Active health checks: which hosts are probed, and the task that probes one of them.

mod client;
pub(super) mod events;
mod grpc;
mod http;
mod prober;
mod session;
mod settle;
mod tcp;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use config::model::address::Address;
use config::model::cluster::{Cluster as Config, HealthCheck, Probe};
use config::snapshot::ClusterEntry;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use tokio::time::{Instant, sleep, timeout_at};

use self::prober::Prober;
use self::session::Session;
use self::settle::settle;
use super::cluster::Cluster;
use super::host::{Flag, Host};
use super::tasks::Running;
use crate::metrics::ClusterStat;

/// How one probe ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// As expected.
    Passed,
    /// As expected, and the answer says `x-envoy-degraded`.
    Degraded,
    /// Not as expected.
    Failed {
        /// Of the answer; 0 for gRPC.
        status: u16,
        /// One of `retriable_statuses`.
        retriable: bool,
        /// The answer says `x-envoy-immediate-health-check-fail`.
        excluded: bool,
    },
    /// Not a probe: an answer to a request said `x-envoy-immediate-health-check-fail`.
    Passive,
    /// Refused, closed, reset.
    Network,
    /// Not within the check's `timeout`.
    Timeout,
}

impl Verdict {
    /// The host is well.
    const fn passed(self) -> bool {
        matches!(self, Self::Passed | Self::Degraded)
    }

    /// A failure that needs no second one (Envoy: neither of the network nor retriable).
    const fn is_final(self) -> bool {
        matches!(self, Self::Failed { retriable: false, .. } | Self::Passive)
    }
}

/// The check that is run: Envoy allows one per cluster. `None` too for those this version can't run: hosts then count
/// as healthy.
pub(super) fn check(cluster: &Config) -> Option<&HealthCheck> {
    cluster.health_checks.first().filter(|check| !matches!(check.probe, Probe::Unsupported(_)))
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
    /// By host.
    running: HashMap<Address, Probed, RandomState>,
}

/// One host that is probed.
#[derive(Debug)]
struct Probed {
    /// Where, and by which name of its own.
    target: (Address, Option<Arc<str>>),
    session: Arc<Mutex<Session>>,
    _task: Running,
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
        let (mut healthy, mut degraded) = (0, 0);
        for host in cluster.hosts().hosts().filter(|h| probed(config, h)) {
            healthy += i64::from(!host.has(Flag::FailedActiveHc));
            degraded += i64::from(host.has(Flag::DegradedActiveHc));
            let name = host.detail().health_check.as_ref().and_then(|h| h.hostname.clone());
            let target = (target(host), name);
            let probed = match before.remove(host.address()) {
                Some(probed) if probed.target == target => probed,
                _ => {
                    let session = Arc::default();
                    let task = run(Arc::downgrade(cluster), Arc::clone(host), Arc::clone(config), Arc::clone(&session));
                    Probed { target, session, _task: Running::new(&cluster.shared().control.spawn(task)) }
                }
            };
            self.running.insert(host.address().clone(), probed);
        }
        cluster.stats().set(ClusterStat::HealthCheckHealthy, healthy);
        if degraded > 0 || cluster.stats().gauge(ClusterStat::HealthCheckDegraded) > 0 {
            cluster.stats().set(ClusterStat::HealthCheckDegraded, degraded);
        }
    }

    /// What the host's probes have been like, and by what configuration, where it is probed.
    fn of(&self, host: &Host) -> Option<(Arc<Config>, Arc<Mutex<Session>>)> {
        let probed = self.running.get(host.address())?;
        Some((Arc::clone(self.config.as_ref()?), Arc::clone(&probed.session)))
    }
}

/// An answer said `x-envoy-immediate-health-check-fail`: the host counts as unhealthy until probes pass again. Without
/// an active health check it means nothing, as in Envoy. For workers: the work is done elsewhere.
pub(super) fn fail_now(cluster: &Arc<Cluster>, host: &Arc<Host>) {
    if !probed(&cluster.peek().entry().cluster, host) {
        return;
    }
    host.mark(Flag::ExcludedViaImmediateHcFail, true);
    let (weak, host) = (Arc::downgrade(cluster), Arc::clone(host));
    cluster.shared().control.spawn(async move {
        let Some(cluster) = weak.upgrade() else { return };
        let found = cluster.lock().as_ref().and_then(|tasks| tasks.checks().of(&host));
        let Some((config, session)) = found else { return };
        if let Some(check) = check(&config) {
            settle(&cluster, &host, check, (&session, Verdict::Passive));
        }
    });
}

fn lock(session: &Mutex<Session>) -> MutexGuard<'_, Session> {
    session.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Probes one host until it is gone.
async fn run(cluster: Weak<Cluster>, host: Arc<Host>, config: Arc<Config>, session: Arc<Mutex<Session>>) {
    let Some(check) = check(&config) else { return };
    let Some(stats) = cluster.upgrade().map(|cluster| Arc::clone(cluster.stats())) else { return };
    let Some(mut prober) = Prober::new((&config, check), &host, target(&host), stats) else { return };
    sleep(session::with_jitter(std::time::Duration::ZERO, check.initial_jitter, 0)).await;
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
        let change = settle(&cluster, &host, check, (&session, verdict));
        let traffic = cluster.stats().get(ClusterStat::UpstreamCxTotal) > 0;
        drop(cluster);
        let pause = session::interval(check, verdict.passed(), change, traffic);
        // A kept connection that the host closes between probes is a failure at once, as in Envoy.
        if timeout_at(Instant::now() + pause, prober.broken()).await.is_ok() {
            early = Some(Verdict::Network);
        }
    }
}

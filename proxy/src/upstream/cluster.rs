//! One cluster at run time.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use config::model;
use config::model::metadata::Fields;
use config::snapshot::ClusterEntry;
use tokio::time::{Instant, sleep};

use super::circuit::Circuit;
use super::clusters::Shared;
use super::health;
use super::host::Host;
use super::host_set::{Built, HostSet, Inputs};
use super::outlier::{self, Outcome};
use super::permit::Pending;
use super::pool::Picked;
use super::subset::Way;
use super::tasks::Tasks;
use super::transport::Transports;
use super::zones;
use crate::metrics::{ClusterStat, Scope};

/// One cluster at run time: it outlives changes of its configuration, as long as its name stays.
#[derive(Debug)]
pub struct Cluster {
    name: Arc<str>,
    hosts: ArcSwap<HostSet>,
    circuit: Circuit,
    stats: Arc<Scope<ClusterStat>>,
    shared: Arc<Shared>,
    /// Held by control work only, while it rebuilds the hosts.
    tasks: Mutex<Option<Box<Tasks>>>,
}

/// What a connection asks of the balancer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pick<'a> {
    /// `metadata_match[envoy.lb]` of the route; chooses the subset.
    pub metadata_match: Option<&'a Fields>,
    /// Hash of whatever the route's hash policy names; without one, hashing balancers choose at random as Envoy does.
    pub hash: Option<u64>,
    /// Hosts that already failed this connection or request: others are preferred, as far as a few attempts find them.
    /// For HTTP, empty without the host predicate `previous_hosts`.
    pub tried: &'a [Arc<Host>],
    /// Further hosts to avoid in retries.
    pub predicates: Predicates<'a>,
    /// `retry_priority` `previous_priorities`, in retries: `update_frequency` (at least 1) and all hosts tried before.
    pub retry_priority: Option<(u32, &'a [Arc<Host>])>,
}

/// `retry_host_predicate`s but `previous_hosts`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Predicates<'a> {
    /// `omit_canary_hosts`.
    pub canary: bool,
    /// `omit_host_metadata`: hosts whose `envoy.lb` metadata holds all of one of these.
    pub metadata: &'a [Fields],
    /// `host_selection_retry_max_attempts`: how often another host is looked for; the last one found is taken then.
    /// `None`: a few times.
    pub attempts: Option<u32>,
}

impl Pick<'_> {
    /// Another host is to be looked for.
    pub(super) fn avoids(&self, host: &Arc<Host>) -> bool {
        let Predicates { canary, metadata, attempts: _ } = self.predicates;
        self.tried.iter().any(|tried| Arc::ptr_eq(tried, host))
            || (canary && host.is_canary())
            || metadata.iter().any(|fields| host.has_metadata(fields))
    }
}

/// Why there is no host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PickError {
    /// The cluster has no endpoint that may be used.
    #[error("no healthy upstream")]
    NoHealthyUpstream,
    /// A circuit breaker is open.
    #[error("circuit breaker open")]
    Overflow,
}

impl Cluster {
    pub(super) fn new(entry: Arc<ClusterEntry>, shared: &Arc<Shared>) -> Arc<Self> {
        let stats = shared.registry.cluster(&entry.cluster.stat_name);
        Arc::new(Self {
            name: Arc::clone(&entry.cluster.name),
            hosts: ArcSwap::from_pointee(HostSet::empty(entry)),
            circuit: Circuit::default(),
            stats,
            shared: Arc::clone(shared),
            tasks: Mutex::new(None),
        })
    }

    /// Resource name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The configuration in force.
    pub fn config(&self) -> Arc<model::cluster::Cluster> {
        Arc::clone(&self.hosts.load().entry().cluster)
    }

    /// The configuration in force, with where it came from.
    pub fn entry(&self) -> Arc<ClusterEntry> {
        Arc::clone(self.hosts.load().entry())
    }

    /// The hosts at this moment.
    pub fn hosts(&self) -> Arc<HostSet> {
        self.hosts.load_full()
    }

    /// The hosts for a short look: cheaper than [`hosts`](Self::hosts), not to be held over an await.
    pub(super) fn peek(&self) -> Guard<Arc<HostSet>> {
        self.hosts.load()
    }

    /// Its statistics.
    pub fn stats(&self) -> &Arc<Scope<ClusterStat>> {
        &self.stats
    }

    /// What is in use of the circuit breakers.
    pub fn circuit(&self) -> &Circuit {
        &self.circuit
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Waits until the names that hosts will come from are resolved for the first time, or can't be: at once in all other
    /// clusters. Envoy holds back the listeners meanwhile. No longer than the cluster's `connect_timeout`.
    pub async fn warmed(&self) {
        /// Between one look and the next: such a wait is rare and short.
        const LOOK: Duration = Duration::from_millis(10);
        if !self.peek().waits() {
            return;
        }
        let end = Instant::now() + self.config().connect_timeout;
        while self.peek().waits() && Instant::now() < end {
            sleep(LOOK).await;
        }
    }

    /// Asks the circuit breakers for one connection; good for all attempts of one downstream connection.
    ///
    /// # Errors
    /// [`PickError::Overflow`] when `max_connections` or `max_pending_requests` is reached. It is counted.
    pub fn admit(self: &Arc<Self>) -> Result<Pending, PickError> {
        Pending::take(self)
    }

    /// Chooses an endpoint.
    ///
    /// # Errors
    /// [`PickError::NoHealthyUpstream`] when none may be used, [`PickError::Overflow`] when the one chosen has as many
    /// connections as `per_host_thresholds` allows. Both are counted.
    pub fn pick(&self, pick: &Pick<'_>) -> Result<Arc<Host>, PickError> {
        let hosts = self.hosts.load();
        let (Picked { host, panic, zone }, way) = hosts.pick(pick);
        if let Some(zone) = zone {
            zone.count(&self.stats);
        }
        if panic {
            self.stats.inc(ClusterStat::LbHealthyPanic);
        }
        match way {
            Some(Way::Selected) => self.stats.inc(ClusterStat::LbSubsetsSelected),
            Some(Way::Fallback) if host.is_some() => self.stats.inc(ClusterStat::LbSubsetsFallback),
            Some(Way::FallbackPanic) if host.is_some() => self.stats.inc(ClusterStat::LbSubsetsFallbackPanic),
            _ => {}
        }
        let Some(host) = host else {
            self.stats.inc(ClusterStat::UpstreamCxNoneHealthy);
            return Err(PickError::NoHealthyUpstream);
        };
        let limit = hosts.entry().cluster.circuit_breakers.as_ref().and_then(|c| c.default.per_host_max_connections);
        if limit.is_some_and(|limit| host.active() >= limit) {
            self.stats.inc(ClusterStat::UpstreamCxOverflow);
            return Err(PickError::Overflow);
        }
        Ok(host)
    }

    /// Tells outlier detection what became of a request or of a connect.
    pub fn report(self: &Arc<Self>, host: &Arc<Host>, outcome: Outcome) {
        outlier::report(self, host, outcome);
    }

    /// An answer of `host` carried `x-envoy-immediate-health-check-fail`: with an active health check it counts as
    /// unhealthy until probes pass again.
    pub fn fail_health_check(self: &Arc<Self>, host: &Arc<Host>) {
        health::fail_now(self, host);
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Option<Box<Tasks>>> {
        // A panic while rebuilding leaves the old hosts in force, which is a sound state.
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over a new configuration.
    pub(super) fn replace(self: &Arc<Self>, entry: Arc<ClusterEntry>) {
        let mut tasks = self.lock();
        self.rebuild(&mut tasks, entry);
    }

    /// Sorts the hosts anew, after their health or addresses have changed.
    pub(super) fn refresh(self: &Arc<Self>) {
        let mut tasks = self.lock();
        self.refresh_with(&mut tasks);
    }

    /// [`refresh`](Self::refresh) for those who hold the lock.
    pub(super) fn refresh_with(self: &Arc<Self>, tasks: &mut Option<Box<Tasks>>) {
        self.rebuild(tasks, self.entry());
    }

    /// Ends what runs for it. Connections live on, unless the configuration says otherwise.
    pub(super) fn retire(&self) {
        drop(self.lock().take());
        let hosts = self.hosts.load();
        hosts.hosts().for_each(|host| host.drain());
        if closes_removed(&hosts.entry().cluster) {
            hosts.hosts().for_each(|host| host.remove());
        }
    }

    fn rebuild(self: &Arc<Self>, tasks: &mut Option<Box<Tasks>>, entry: Arc<ClusterEntry>) {
        Tasks::prepare(tasks, &entry);
        let before = self.hosts.load_full();
        let Built { set, added, removed } = {
            let (answers, slow_start) = match tasks.as_deref_mut() {
                Some(tasks) => tasks.inputs(&entry),
                None => (&super::dns::NONE, None),
            };
            let weigh = |host: &Host| slow_start.as_ref().map_or(u64::from(host.weight()), |s| s.weigh(host));
            let transports = Transports::new(&entry.cluster, &self.shared);
            let peers = self.shared.peers.load();
            let peers = peers.as_deref().filter(|_| !self.is_local()).map(|peers| (peers, &*self.stats));
            HostSet::build(entry, &before, Inputs { answers, weigh: &weigh, peers }, transports)
        };
        let entry = Arc::clone(set.entry());
        self.count(&set, &before, added + removed.len());
        self.hosts.store(Arc::new(set));
        if self.is_local() {
            self.tell_peers();
        }
        removed.iter().for_each(|host| host.drain());
        if closes_removed(&entry.cluster) {
            removed.iter().for_each(|host| host.remove());
        }
        if let Some(tasks) = tasks {
            tasks.sync(self, &entry);
        }
    }

    /// It is the cluster of this process and its like.
    fn is_local(&self) -> bool {
        self.shared.local.get().is_some_and(|local| local.cluster == self.name)
    }

    /// How many proxies like this one there are, and where, matters to all other clusters.
    fn tell_peers(&self) {
        let Some(local) = self.shared.local.get() else { return };
        let hosts = self.hosts.load();
        let threshold = hosts.entry().cluster.lb_common.as_ref().map_or(50.0, |c| c.healthy_panic_threshold);
        let peers = zones::Peers::new(local.locality.clone(), &hosts, threshold);
        if self.shared.peers.load().as_deref().is_some_and(|known| !zones::differ(known, &peers)) {
            return;
        }
        self.shared.peers.store(Some(Arc::new(peers)));
        let Some(clusters) = local.clusters.upgrade() else { return };
        clusters.all().values().filter(|cluster| cluster.name != self.name).for_each(|cluster| cluster.refresh());
    }

    fn count(&self, set: &HostSet, before: &HostSet, changes: usize) {
        let gauge = |stat, n: usize| self.stats.set(stat, i64::try_from(n).unwrap_or(i64::MAX));
        let members = set.membership();
        gauge(ClusterStat::MembershipTotal, members.total);
        gauge(ClusterStat::MembershipHealthy, members.healthy);
        gauge(ClusterStat::MembershipDegraded, members.degraded);
        gauge(ClusterStat::MembershipExcluded, members.excluded);
        if changes > 0 {
            self.stats.inc(ClusterStat::MembershipChange);
        }
        // 1 is what nearly all have: not worth memory in ten thousand clusters.
        if members.max_weight > 1 || self.stats.gauge(ClusterStat::MaxHostWeight) > 1 {
            self.stats.set(ClusterStat::MaxHostWeight, i64::from(members.max_weight));
        }
        let (now, then) = (set.subsets(), before.subsets());
        if now != then {
            gauge(ClusterStat::LbSubsetsActive, now);
            self.stats.add(ClusterStat::LbSubsetsCreated, now.saturating_sub(then) as u64);
            self.stats.add(ClusterStat::LbSubsetsRemoved, then.saturating_sub(now) as u64);
        }
    }
}

fn closes_removed(cluster: &model::cluster::Cluster) -> bool {
    cluster.lb_common.as_ref().is_some_and(|c| c.close_connections_on_host_set_change)
}

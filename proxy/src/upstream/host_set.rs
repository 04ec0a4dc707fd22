//! The hosts of a cluster at one moment: immutable, built by control work, swapped in whole.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;

use config::model::address::{Address, Target};
use config::model::cluster::{Cluster, Discovery};
use config::model::endpoint::{Endpoint, LocalityEndpoints};
use config::snapshot::ClusterEntry;
use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashSet};

use super::balance;
use super::cluster::Pick;
use super::dns::{Answers, Place};
use super::health;
use super::host::{Detail, Fitness, Flag, Host};
use super::pool::{Group, Picked, Pool, Rules};
use super::subset::{self, Way};
use super::transport::Transports;
use super::zones::Peers;
use crate::metrics::{ClusterStat, Scope};

/// All hosts of a cluster, and the configuration they belong to.
#[derive(Debug)]
pub struct HostSet {
    entry: Arc<ClusterEntry>,
    pool: Pool,
    subsets: Option<Box<subset::Index>>,
    /// There is none, and nothing was heard yet of some name.
    waits: bool,
    /// Held here, since TLS statistics vanish with their last holder.
    #[expect(dead_code, reason = "held, not read")]
    transports: Transports,
}

/// Hosts by health, for the `membership_*` gauges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    /// All.
    pub total: usize,
    /// Healthy.
    pub healthy: usize,
    /// Degraded.
    pub degraded: usize,
    /// Not regarded until first probed.
    pub excluded: usize,
    /// The largest weight.
    pub max_weight: u32,
}

/// What hosts are made from besides the configuration.
#[derive(Clone, Copy)]
pub(super) struct Inputs<'a> {
    /// Addresses that names stand for.
    pub(super) answers: &'a Answers,
    /// What a host counts in weighted turns.
    pub(super) weigh: &'a dyn Fn(&Host) -> u64,
    /// For zone-aware routing: the proxies like this one, and where it is counted.
    pub(super) peers: Option<(&'a Peers, &'a Scope<ClusterStat>)>,
}

/// What a rebuild found.
#[derive(Debug)]
pub(super) struct Built {
    /// The new set.
    pub(super) set: HostSet,
    /// Hosts that were not there before.
    pub(super) added: usize,
    /// Hosts that are gone.
    pub(super) removed: Vec<Arc<Host>>,
}

impl HostSet {
    /// A set without hosts.
    pub(super) fn empty(entry: Arc<ClusterEntry>) -> Self {
        Self { entry, pool: Pool::default(), subsets: None, waits: false, transports: Transports::default() }
    }

    /// Joins the endpoints of `entry` with the hosts of `before`, which are kept where the address is the same, and
    /// sorts them by what is known of their health now.
    pub(super) fn build(entry: Arc<ClusterEntry>, before: &Self, inputs: Inputs<'_>, transports: Transports) -> Built {
        let Inputs { answers, weigh, peers } = inputs;
        let (groups, added, removed) = gather(&entry, before, answers, &transports);
        let cluster = &*entry.cluster;
        let by_locality = cluster.lb_common.as_ref().is_some_and(|c| c.locality_weighted)
            && cluster.subsets.as_ref().is_none_or(|s| s.locality_weight_aware);
        // Where localities are weighed, or hosts found by hash, zones do not matter.
        let peers = peers.filter(|_| !by_locality && !balance::hashes(&cluster.lb));
        let rules = Rules { cluster, assignment: &entry.assignment, by_locality, peers, weigh };
        let pool = Pool::new(&groups, rules);
        let subsets = cluster.subsets.as_ref().map(|s| Box::new(subset::Index::new(&groups, s, rules)));
        if balance::hashes(&cluster.lb) && before.pool.prepared() {
            // Somebody uses it: make the table here rather than on a worker.
            pool.prepare(cluster);
        }
        let waits = answers.waiting() && groups.iter().all(|group| group.hosts.is_empty());
        Built { set: Self { entry, pool, subsets, waits, transports }, added, removed }
    }

    /// The configuration.
    pub fn entry(&self) -> &Arc<ClusterEntry> {
        &self.entry
    }

    /// Whether there will be hosts only when names are resolved for the first time.
    pub(super) fn waits(&self) -> bool {
        self.waits
    }

    /// All hosts, whatever their health, by priority.
    pub fn hosts(&self) -> impl Iterator<Item = &Arc<Host>> {
        self.pool.hosts()
    }

    /// Counts by health.
    pub fn membership(&self) -> Membership {
        let mut count = Membership::default();
        for host in self.hosts() {
            count.total += 1;
            count.max_weight = count.max_weight.max(host.weight());
            count.excluded += usize::from(host.is_excluded());
            match host.fitness() {
                Fitness::Healthy => count.healthy += 1,
                Fitness::Degraded => count.degraded += 1,
                Fitness::Unhealthy => {}
            }
        }
        count
    }

    /// How many subsets there are.
    pub fn subsets(&self) -> usize {
        self.subsets.as_ref().map_or(0, |index| index.len())
    }

    pub(super) fn pick(&self, pick: &Pick<'_>) -> (Picked, Option<Way>) {
        let cluster = &*self.entry.cluster;
        match (&self.subsets, &cluster.subsets) {
            (Some(index), Some(settings)) => {
                let (picked, way) = subset::Chooser { index, settings, any: &self.pool, cluster }.pick(pick);
                (picked, Some(way))
            }
            _ => (self.pool.pick(cluster, pick), None),
        }
    }
}

/// The hosts by priority and locality, how many are new, and those that are gone.
fn gather(
    entry: &ClusterEntry,
    before: &HostSet,
    answers: &Answers,
    transports: &Transports,
) -> (Vec<Group>, usize, Vec<Arc<Host>>) {
    let mut gathering = Gathering::new(entry, before, transports);
    for locality in &entry.assignment.localities {
        gathering.add(locality, answers);
    }
    gathering.keep_passing();
    if answers.waiting() {
        gathering.keep_all_unless_replaced();
    }
    let Gathering { groups, added, known, .. } = gathering;
    let removed = known.into_values().filter(|(_, seen)| !seen).map(|(host, _)| Arc::clone(host)).collect();
    (groups, added, removed)
}

/// Groups in the making.
struct Gathering<'a> {
    entry: &'a ClusterEntry,
    transports: &'a Transports,
    /// The configuration before.
    before: &'a Cluster,
    /// Hosts there were, and whether they were found again.
    known: HashMap<&'a Address, (&'a Arc<Host>, bool), RandomState>,
    /// Addresses met, where duplicates do not count (all but STATIC, as in Envoy).
    met: HashSet<Address, RandomState>,
    groups: Vec<Group>,
    /// The last detail made: neighbours mostly agree.
    detail: Option<Arc<Detail>>,
    added: usize,
}

impl<'a> Gathering<'a> {
    fn new(entry: &'a ClusterEntry, before: &'a HostSet, transports: &'a Transports) -> Self {
        let known = before.hosts().map(|host| (host.address(), (host, false))).collect();
        Self {
            entry,
            transports,
            before: &before.entry.cluster,
            known,
            met: HashSet::default(),
            groups: Vec::new(),
            detail: None,
            added: 0,
        }
    }

    fn add(&mut self, locality: &LocalityEndpoints, answers: &Answers) {
        let group = self.group(locality);
        let duplicates_count = matches!(self.entry.cluster.discovery, Discovery::Static(_));
        let single = self.entry.assignment.localities.len() == 1 && locality.endpoints.len() == 1;
        for endpoint in &locality.endpoints {
            for (address, additional) in answers.places(endpoint) {
                if duplicates_count || single || self.met.insert(address.clone()) {
                    let host = self.host(locality, endpoint, (address, additional));
                    self.groups[group].hosts.push(host);
                }
            }
        }
    }

    /// The group of that priority and locality.
    fn group(&mut self, locality: &LocalityEndpoints) -> usize {
        let priority = self.priority(locality);
        let same = |g: &Group| g.priority == priority && g.locality == locality.locality;
        self.groups.iter().position(same).unwrap_or_else(|| {
            self.groups.push(Group {
                priority,
                locality: Arc::clone(&locality.locality),
                weight: locality.weight,
                hosts: Vec::with_capacity(locality.endpoints.len()),
            });
            self.groups.len() - 1
        })
    }

    /// LOGICAL_DNS knows no priorities.
    fn priority(&self, locality: &LocalityEndpoints) -> u32 {
        let logical = matches!(&self.entry.cluster.discovery, Discovery::Dns { dns, .. } if dns.logical);
        if logical { 0 } else { locality.priority }
    }

    fn host(&mut self, locality: &LocalityEndpoints, endpoint: &Endpoint, place: Place<'_>) -> Arc<Host> {
        let (address, additional) = place;
        let detail = self.detail(locality, endpoint, additional);
        if let Some((host, seen)) = self.known.get_mut(&address) {
            *seen = true;
            host.mark(Flag::PendingDynamicRemoval, false);
            host.update(endpoint, &detail);
            clear_unjudged(&self.entry.cluster, host);
            return Arc::clone(host);
        }
        self.added += 1;
        let host = Host::new(address, endpoint.weight, detail);
        host.mark_eds(endpoint.health);
        if health::probed(&self.entry.cluster, &host) {
            host.mark(Flag::FailedActiveHc, true);
            let waits = self.entry.cluster.lb_common.as_ref().is_some_and(|c| c.ignore_new_hosts_until_first_hc);
            host.mark(Flag::PendingActiveHc, waits);
        }
        Arc::new(host)
    }

    fn detail(
        &mut self,
        locality: &LocalityEndpoints,
        endpoint: &Endpoint,
        additional: Cow<'_, [SocketAddr]>,
    ) -> Arc<Detail> {
        let hostname = match (&endpoint.hostname, &endpoint.target) {
            (None, Target::Name { host, .. }) => Some(Arc::clone(host)),
            (hostname, _) => hostname.clone(),
        };
        let detail = Detail {
            locality: Arc::clone(&locality.locality),
            priority: self.priority(locality),
            hostname,
            transport: self.transports.of(endpoint.metadata.as_deref()),
            metadata: endpoint.metadata.clone(),
            additional_addresses: additional.into_owned().into(),
            health_check: endpoint.health_check.clone(),
        };
        match &self.detail {
            Some(last) if **last == detail => Arc::clone(last),
            _ => Arc::clone(self.detail.insert(Arc::new(detail))),
        }
    }

    /// Hosts that are no longer configured stay while their active health check passes, as in Envoy: discovery may be
    /// wrong, a passing probe is not.
    fn keep_passing(&mut self) {
        let dynamic = !matches!(self.entry.cluster.discovery, Discovery::Static(_));
        let checked = health::check(&self.entry.cluster).is_some();
        if !dynamic || !checked {
            return;
        }
        for (host, seen) in self.known.values_mut().filter(|(_, seen)| !*seen) {
            let passes = health::probed(self.before, host) && !host.has(Flag::FailedActiveHc);
            if !passes || host.has(Flag::FailedEdsHealth) {
                continue;
            }
            *seen = true;
            host.mark(Flag::PendingDynamicRemoval, true);
            // It may stay for long: it is spoken to as the cluster says now.
            host.speak(self.transports.of(host.detail().metadata.as_deref()));
            keep(&mut self.groups, host);
        }
    }

    /// Nothing was heard yet of new names: the hosts there were serve on, where there are no others, as Envoy's cluster
    /// does until its successor is warm.
    fn keep_all_unless_replaced(&mut self) {
        if self.groups.iter().any(|group| !group.hosts.is_empty()) {
            return;
        }
        for (host, seen) in self.known.values_mut() {
            *seen = true;
            keep(&mut self.groups, host);
        }
    }
}

/// Puts a host into the group it was in.
fn keep(groups: &mut Vec<Group>, host: &Arc<Host>) {
    let detail = host.detail();
    let same = |g: &&mut Group| g.priority == detail.priority && g.locality == detail.locality;
    match groups.iter_mut().find(same) {
        Some(group) => group.hosts.push(Arc::clone(host)),
        None => groups.push(Group {
            priority: detail.priority,
            locality: Arc::clone(&detail.locality),
            weight: None,
            hosts: vec![Arc::clone(host)],
        }),
    }
}

/// What only an active health check says.
const CHECKED: [Flag; 5] = [
    Flag::FailedActiveHc,
    Flag::DegradedActiveHc,
    Flag::PendingActiveHc,
    Flag::ExcludedViaImmediateHcFail,
    Flag::ActiveHcTimeout,
];

/// Nobody would ever take back what a check or detection no longer configured has said.
fn clear_unjudged(cluster: &Cluster, host: &Host) {
    if !health::probed(cluster, host) {
        for flag in CHECKED {
            host.mark(flag, false);
        }
    }
    if cluster.outlier_detection.is_none() {
        host.mark(Flag::FailedOutlierCheck, false);
    }
}

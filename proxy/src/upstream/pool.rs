//! Hosts by priority and health: what one balancer (of a cluster, or of a subset of it) chooses from.

use std::sync::{Arc, OnceLock};

use config::model::cluster::Cluster;
use config::model::endpoint::{Assignment, Locality};

use super::balance::{self, Line, Shares, Table};
use super::cluster::Pick;
use super::host::{Fitness, Host};
use super::loads::{self, Census, Load, Terms};
use super::locality::Localities;
use super::zones::{Peers, Taken, Zones};
use crate::metrics::{ClusterStat, Scope};

/// Attempts to find a host that was not tried yet, where nothing else is said.
const ATTEMPTS: u32 = 4;

/// How often to look for another host than one to avoid.
fn attempts(pick: &Pick<'_>) -> u32 {
    let tried = u32::try_from(pick.tried.len()).unwrap_or(u32::MAX);
    pick.predicates.attempts.unwrap_or(tried.min(ATTEMPTS))
}

/// All hosts of a balancer.
#[derive(Debug, Default)]
pub(super) struct Pool {
    priorities: Box<[Priority]>,
}

/// The hosts of one priority.
#[derive(Debug)]
struct Priority {
    all: Line,
    /// `None`: all are healthy.
    healthy: Option<Box<Line>>,
    /// `None`: none is degraded.
    degraded: Option<Box<Line>>,
    localities: Option<Box<Localities>>,
    /// With zone-aware routing, of the first priority.
    zones: Option<Box<Zones>>,
    /// For hashing policies; made when first asked, since most clusters are idle.
    table: OnceLock<Option<Box<Table>>>,
    load: Load,
}

/// Hosts of one priority and locality, and the locality's weight there.
#[derive(Debug)]
pub(super) struct Group {
    /// 0 is the highest.
    pub(super) priority: u32,
    /// Where.
    pub(super) locality: Arc<Locality>,
    /// `None`: no load with locality-weighted balancing.
    pub(super) weight: Option<u32>,
    /// The hosts.
    pub(super) hosts: Vec<Arc<Host>>,
}

/// What a pool is made by.
#[derive(Clone, Copy)]
pub(super) struct Rules<'a> {
    /// Policy and common settings.
    pub(super) cluster: &'a Cluster,
    /// Policy of the endpoints.
    pub(super) assignment: &'a Assignment,
    /// Weights of localities count.
    pub(super) by_locality: bool,
    /// For zone-aware routing: the proxies like this one, and where it is counted.
    pub(super) peers: Option<(&'a Peers, &'a Scope<ClusterStat>)>,
    /// What a host counts in weighted turns.
    pub(super) weigh: &'a dyn Fn(&Host) -> u64,
}

/// What came of a choice.
#[derive(Debug, Default)]
pub(super) struct Picked {
    /// The host.
    pub(super) host: Option<Arc<Host>>,
    /// It was chosen without regard to health.
    pub(super) panic: bool,
    /// How zones decided, where they did.
    pub(super) zone: Option<Taken>,
}

impl Pool {
    /// Builds lines and loads from groups.
    pub(super) fn new(groups: &[Group], rules: Rules<'_>) -> Self {
        let count = groups.iter().map(|g| g.priority as usize + 1).max().unwrap_or_default();
        let mut census = vec![Census::default(); count];
        for group in groups {
            group.hosts.iter().for_each(|host| count_host(&mut census[group.priority as usize], host));
        }
        let terms = Terms {
            overprovisioning: rules.assignment.overprovisioning_factor,
            weighted: rules.assignment.weighted_priority_health,
            panic_threshold: rules.cluster.lb_common.as_ref().map_or(50.0, |c| c.healthy_panic_threshold),
        };
        let loads = loads::divide(&census, terms);
        let priorities = (0_u32..)
            .zip(census.iter().zip(loads))
            .map(|(priority, (census, load))| {
                let groups: Vec<&Group> = groups.iter().filter(|g| g.priority == priority).collect();
                Priority::new(&groups, census, load, rules)
            })
            .collect();
        Self { priorities }
    }

    /// All hosts, by priority.
    pub(super) fn hosts(&self) -> impl Iterator<Item = &Arc<Host>> {
        self.priorities.iter().flat_map(|p| p.all.hosts())
    }

    /// Makes the tables now instead of on first use.
    pub(super) fn prepare(&self, cluster: &Cluster) {
        for priority in &self.priorities {
            let _made = priority.table(cluster);
        }
    }

    /// A table was made.
    pub(super) fn prepared(&self) -> bool {
        self.priorities.iter().any(|p| p.table.get().is_some())
    }

    /// Chooses a host.
    pub(super) fn pick(&self, cluster: &Cluster, pick: &Pick<'_>) -> Picked {
        if balance::hashes(&cluster.lb) {
            return self.by_hash(cluster, pick);
        }
        let mut picked = Picked::default();
        for _ in 0..=attempts(pick) {
            let Some((priority, degraded)) = self.priority(None, pick) else { break };
            let fail = cluster.lb_common.as_ref().is_some_and(|c| c.fail_traffic_on_panic);
            picked.panic = priority.load.panic;
            if priority.load.panic && fail {
                return Picked { panic: true, ..Picked::default() };
            }
            let (line, zone) = priority.line(degraded);
            picked.zone = zone;
            let host = line.and_then(|line| balance::choose(&cluster.lb, line));
            picked.host = host.cloned();
            if host.is_none_or(|h| !pick.avoids(h)) {
                break;
            }
        }
        picked
    }

    fn by_hash(&self, cluster: &Cluster, pick: &Pick<'_>) -> Picked {
        let hash = pick.hash.unwrap_or_else(|| fastrand::u64(..));
        let Some((priority, _)) = self.priority(Some(hash), pick) else { return Picked::default() };
        let mut host = None;
        for attempt in 0..=attempts(pick) {
            host = priority.table(cluster).and_then(|table| table.choose(hash, attempt));
            if host.is_none_or(|h| !pick.avoids(h)) {
                break;
            }
        }
        Picked { host: host.cloned(), panic: priority.load.panic, zone: None }
    }

    /// The priority for a hash (or at random), and whether its degraded hosts are meant.
    fn priority(&self, hash: Option<u64>, pick: &Pick<'_>) -> Option<(&Priority, bool)> {
        if let [only] = &*self.priorities
            && only.load.degraded == 0
        {
            return Some((only, false));
        }
        let point = hash.unwrap_or_else(|| fastrand::u64(..)) % 100 + 1;
        let adjusted = pick.retry_priority.and_then(|(frequency, tried)| {
            let loads: Vec<Load> = self.priorities.iter().map(|p| p.load).collect();
            loads::after(&loads, tried.iter().map(|host| host.detail().priority), frequency as usize)
        });
        let load = |at: usize| match &adjusted {
            Some(loads) => loads.get(at).copied().unwrap_or_default(),
            None => self.priorities.get(at).map_or((0, 0), |p| (p.load.healthy, p.load.degraded)),
        };
        let mut sum = 0;
        let mut reached = |load: u8| {
            sum += u64::from(load);
            point <= sum
        };
        let count = self.priorities.len();
        let healthy = (0..count).find(|at| reached(load(*at).0)).map(|at| (at, false));
        let (at, degraded) = healthy.or_else(|| (0..count).find(|at| reached(load(*at).1)).map(|at| (at, true)))?;
        Some((&self.priorities[at], degraded))
    }
}

fn count_host(census: &mut Census, host: &Host) {
    let weight = u64::from(host.weight());
    census.hosts += 1;
    if host.is_excluded() {
        census.excluded += 1;
    } else {
        census.weights.0 += weight;
    }
    match host.fitness() {
        Fitness::Healthy => {
            census.healthy += 1;
            census.weights.1 += weight;
        }
        Fitness::Degraded => {
            census.degraded += 1;
            census.weights.2 += weight;
        }
        Fitness::Unhealthy => {}
    }
}

/// Those of that fitness.
pub(super) fn fit(hosts: &[Arc<Host>], fitness: Fitness) -> Vec<Arc<Host>> {
    hosts.iter().filter(|h| h.fitness() == fitness).cloned().collect()
}

impl Priority {
    fn new(groups: &[&Group], census: &Census, load: Load, rules: Rules<'_>) -> Self {
        let hosts: Vec<Arc<Host>> = groups.iter().flat_map(|g| &g.hosts).cloned().collect();
        let line = |fitness| Box::new(Line::new(fit(&hosts, fitness), rules.weigh));
        Self {
            healthy: (census.healthy < census.hosts).then(|| line(Fitness::Healthy)),
            degraded: (census.degraded > 0).then(|| line(Fitness::Degraded)),
            localities: rules.by_locality.then(|| Box::new(Localities::new(groups, rules))),
            zones: groups.first().filter(|group| group.priority == 0).and_then(|_| Zones::new(groups, rules)),
            table: OnceLock::new(),
            load,
            all: Line::new(hosts, rules.weigh),
        }
    }

    fn healthy(&self) -> &Line {
        self.healthy.as_deref().unwrap_or(&self.all)
    }

    /// The line to choose from, which may be empty.
    fn line(&self, degraded: bool) -> (Option<&Line>, Option<Taken>) {
        if self.load.panic {
            return (Some(&self.all), None);
        }
        if let Some((line, taken)) = self.zones.as_ref().and_then(|zones| zones.line(degraded)) {
            return (Some(line), Some(taken));
        }
        let line = match self.localities.as_ref().and_then(|l| l.line(degraded)) {
            Some(line) => Some(line),
            None if degraded => self.degraded.as_deref(),
            None => Some(self.healthy()),
        };
        (line, None)
    }

    fn table(&self, cluster: &Cluster) -> Option<&Table> {
        let policy = &cluster.lb;
        let make = || {
            let mut shares = Shares::default();
            match &self.localities {
                None if self.load.panic => shares.add(self.all.hosts(), 1.0),
                None => shares.add(self.healthy().hosts(), 1.0),
                Some(localities) => localities.share(self.load.panic, &mut shares),
            }
            Table::new(policy, shares, cluster.lb_common.as_ref().is_some_and(|c| c.hash_by_hostname)).map(Box::new)
        };
        self.table.get_or_init(make).as_deref()
    }
}

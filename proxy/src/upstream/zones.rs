//! Zone-aware routing: to endpoints in one's own locality as far as that leaves load even (Envoy:
//! `ZoneAwareLoadBalancerBase`). It needs to know how many proxies like this one there are, and where.

use std::sync::Arc;

use config::model::endpoint::Locality;

use super::balance::Line;
use super::host::Fitness;
use super::host_set::HostSet;
use super::pool::{Group, Rules, fit};
use crate::metrics::{ClusterStat, Scope};

/// Whole parts.
const ALL: u64 = 10_000;

/// The proxies like this one (the cluster `local_cluster_name`), and where this one is.
#[derive(Debug)]
pub(super) struct Peers {
    own: Locality,
    /// Healthy ones by locality.
    healthy: Vec<(Arc<Locality>, u64)>,
    /// There are some in this proxy's locality.
    near: bool,
    /// Too few of them are healthy to tell anything by them.
    panic: bool,
}

impl Peers {
    pub(super) fn new(own: Locality, hosts: &HostSet, panic_threshold: f64) -> Self {
        let mut healthy: Vec<(Arc<Locality>, u64)> = Vec::new();
        let (mut near, mut regarded, mut fit) = (false, 0_u32, 0_u32);
        for host in hosts.hosts() {
            let locality = Arc::clone(&host.detail().locality);
            near |= *locality == own;
            regarded += u32::from(!host.is_excluded());
            fit += u32::from(host.fitness() != Fitness::Unhealthy);
            let counts = u64::from(host.fitness() == Fitness::Healthy);
            match healthy.iter_mut().find(|(known, _)| *known == locality) {
                Some((_, count)) => *count += counts,
                None => healthy.push((locality, counts)),
            }
        }
        let percent = if regarded == 0 { 0.0 } else { 100.0 * f64::from(fit) / f64::from(regarded) };
        Self { own, healthy, near, panic: percent < panic_threshold }
    }

    fn share(&self, locality: &Locality) -> u64 {
        let total: u64 = self.healthy.iter().map(|(_, count)| count).sum();
        let here = self.healthy.iter().find(|(known, _)| **known == *locality).map_or(0, |(_, count)| *count);
        (ALL * here).checked_div(total).unwrap_or_default()
    }
}

/// How requests of one priority divide over localities.
#[derive(Debug)]
pub(super) struct Zones {
    /// By locality, one's own first where it has endpoints at all: healthy and degraded ones.
    lines: Box<[(Line, Line)]>,
    way: Way,
    /// `routing_enabled`, percent.
    enabled: f64,
}

#[derive(Debug, PartialEq)]
enum Way {
    /// All to one's own.
    Direct,
    /// As much to one's own as it can take, in ten-thousandths; the rest where capacity is left, summed up by locality.
    Residual(u64, Box<[u64]>),
}

/// Which way a choice went, for the statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// All traffic stays near.
    Direct,
    /// This request stays near.
    Sampled,
    /// It goes to another locality.
    Cross,
    /// The same, though none has capacity left.
    NoCapacity,
}

impl Taken {
    /// Counts it as Envoy does.
    pub(super) fn count(self, stats: &Scope<ClusterStat>) {
        match self {
            Self::Direct => stats.inc(ClusterStat::LbZoneRoutingAllDirectly),
            Self::Sampled => stats.inc(ClusterStat::LbZoneRoutingSampled),
            Self::Cross => stats.inc(ClusterStat::LbZoneRoutingCrossZone),
            Self::NoCapacity => {
                stats.inc(ClusterStat::LbZoneRoutingCrossZone);
                stats.inc(ClusterStat::LbZoneNoCapacityLeft);
            }
        }
    }
}

impl Zones {
    /// `None` where requests are not routed so: one locality only, nothing known of proxies near, a small cluster.
    pub(super) fn new(groups: &[&Group], rules: Rules<'_>) -> Option<Box<Self>> {
        let (peers, stats) = rules.peers?;
        stats.inc(ClusterStat::LbRecalculateZoneStructures);
        if groups.len() < 2 || peers.healthy.len() < 2 {
            return None;
        }
        if !peers.near || peers.panic {
            stats.inc(ClusterStat::LbLocalClusterNotOk);
            return None;
        }
        let mut groups = groups.to_vec();
        let near = groups.iter().position(|group| *group.locality == peers.own);
        if let Some(near) = near {
            groups[..=near].rotate_right(1);
        }
        let of = |group: &Group, fitness: Fitness| Line::new(fit(&group.hosts, fitness), rules.weigh);
        let lines: Box<[(Line, Line)]> =
            groups.iter().map(|group| (of(group, Fitness::Healthy), of(group, Fitness::Degraded))).collect();
        let total: u64 = lines.iter().map(|(healthy, _)| healthy.hosts().len() as u64).sum();
        let (enabled, smallest) =
            rules.cluster.lb_common.as_ref().and_then(|common| common.zone_aware).unwrap_or((100.0, 6));
        if total < smallest {
            stats.inc(ClusterStat::LbZoneClusterTooSmall);
            return None;
        }
        let shares: Vec<(u64, u64)> = groups
            .iter()
            .zip(&lines)
            .map(|(group, (healthy, _))| match healthy.hosts().len() as u64 {
                0 => (0, 0),
                here => (peers.share(&group.locality), (ALL * here).checked_div(total).unwrap_or_default()),
            })
            .collect();
        Some(Box::new(Self { lines, way: Way::new(&shares, near.is_some()), enabled }))
    }

    /// The line to choose from; `None`: all localities together, this time.
    pub(super) fn line(&self, degraded: bool) -> Option<(&Line, Taken)> {
        if self.enabled < 100.0 && fastrand::f64() * 100.0 >= self.enabled {
            return None;
        }
        let (at, taken) = match &self.way {
            Way::Direct => (0, Taken::Direct),
            Way::Residual(near, _) if fastrand::u64(..ALL) < *near => (0, Taken::Sampled),
            Way::Residual(_, left) => match left.last() {
                None | Some(0) => (fastrand::usize(..self.lines.len().max(1)), Taken::NoCapacity),
                Some(sum) => {
                    let point = fastrand::u64(..*sum);
                    (left.partition_point(|end| *end <= point), Taken::Cross)
                }
            },
        };
        let (healthy, fallback) = self.lines.get(at)?;
        Some((if degraded { fallback } else { healthy }, taken))
    }
}

impl Way {
    /// From the shares of proxies and endpoints by locality, in ten-thousandths; `near`: the first is one's own.
    fn new(shares: &[(u64, u64)], near: bool) -> Self {
        let own = shares.first().copied().filter(|_| near);
        if own.is_some_and(|(proxies, endpoints)| endpoints > 0 && endpoints >= proxies) {
            return Self::Direct;
        }
        let direct = own.and_then(|(proxies, endpoints)| (endpoints * ALL).checked_div(proxies)).unwrap_or_default();
        let mut sum = 0;
        let left = shares.iter().enumerate().map(|(at, (proxies, endpoints))| {
            // One's own has been given what it can take.
            sum += if at == 0 && near { 0 } else { endpoints.saturating_sub(*proxies) };
            sum
        });
        Self::Residual(direct, left.collect())
    }
}

/// A host of the local cluster changed its place or health.
pub(super) fn differ(a: &Peers, b: &Peers) -> bool {
    a.healthy != b.healthy || a.near != b.near || a.panic != b.panic
}

#[cfg(test)]
#[path = "zones_tests.rs"]
mod tests;

//! Locality-weighted balancing (Envoy: `LocalityWrr`): first a locality by weight and health, then a host in it.

use std::sync::Arc;

use super::balance::{self, Line, Shares, Wheel};
use super::host::{Fitness, Host};
use super::pool::{Group, Rules, fit};

/// Lines by locality, for locality-weighted balancing.
#[derive(Debug)]
pub(super) struct Localities {
    healthy: Option<Choice>,
    degraded: Option<Choice>,
    /// For tables.
    parts: Vec<Part>,
}

/// A locality that has weight.
#[derive(Debug)]
struct Part {
    all: Vec<Arc<Host>>,
    healthy: Vec<Arc<Host>>,
    weight: u32,
}

#[derive(Debug)]
struct Choice {
    lines: Box<[Line]>,
    wheel: Wheel,
}

impl Localities {
    pub(super) fn new(groups: &[&Group], rules: Rules<'_>) -> Self {
        let weighted: Vec<&&Group> = groups.iter().filter(|g| g.weight.is_some_and(|w| w > 0)).collect();
        let hashes = balance::hashes(&rules.cluster.lb);
        let part = |g: &&&Group| Part {
            all: g.hosts.clone(),
            healthy: fit(&g.hosts, Fitness::Healthy),
            weight: g.weight.unwrap_or_default(),
        };
        Self {
            healthy: Choice::new(&weighted, Fitness::Healthy, rules),
            degraded: Choice::new(&weighted, Fitness::Degraded, rules),
            parts: if hashes { weighted.iter().map(part).collect() } else { Vec::new() },
        }
    }

    /// The line of the locality whose turn it is; `None` when no locality has both weight and fit hosts.
    pub(super) fn line(&self, degraded: bool) -> Option<&Line> {
        let choice = if degraded { self.degraded.as_ref() } else { self.healthy.as_ref() }?;
        choice.lines.get(choice.wheel.next())
    }

    /// The hosts' shares by the configured weights, as Envoy's hashing balancers take them.
    pub(super) fn share(&self, panic: bool, shares: &mut Shares) {
        let sum: f64 = self.parts.iter().map(|p| f64::from(p.weight)).sum();
        for part in &self.parts {
            shares.add(if panic { &part.all } else { &part.healthy }, f64::from(part.weight) / sum);
        }
    }
}

impl Choice {
    /// `None` when no locality has both weight and fit hosts.
    fn new(groups: &[&&Group], fitness: Fitness, rules: Rules<'_>) -> Option<Self> {
        let lines: Vec<Line> = groups.iter().map(|g| Line::new(fit(&g.hosts, fitness), rules.weigh)).collect();
        let weights = groups
            .iter()
            .zip(&lines)
            .map(|(g, line)| effective_weight(g, line.hosts().len(), rules.assignment.overprovisioning_factor));
        let wheel = Wheel::new(weights, fastrand::u64(..))?;
        Some(Self { lines: lines.into(), wheel })
    }
}

/// A locality's weight, less where fewer than the overprovisioned part of its hosts is fit
/// (Envoy: `LocalityWrr::effectiveLocalityWeight`), in ten-thousandths.
fn effective_weight(group: &Group, fit: usize, overprovisioning: u32) -> u64 {
    let hosts = group.hosts.iter().filter(|h| !h.is_excluded()).count();
    if hosts == 0 || fit == 0 {
        return 0;
    }
    let available = (f64::from(overprovisioning) / 100.0 * fit as f64 / hosts as f64).min(1.0);
    ((f64::from(group.weight.unwrap_or_default()) * available * 10_000.0).round() as u64).max(1)
}

//! LEAST_REQUEST over active requests; of TCP, over connections.

use std::sync::Arc;

use super::line::Line;
use super::wheel::Wheel;
use crate::upstream::host::Host;

/// Hosts looked at in one weighted choice: bounds the cost in big clusters. The window begins at a random place, so
/// every host has its share.
const WINDOW: usize = 64;

/// Equal weights: the least loaded of `choices` random hosts. Else a host with a probability proportional to
/// weight / (active + 1)^bias, the distribution of Envoy's EDF schedule with those weights.
pub(super) fn choose(line: &Line, choices: u32, bias: f64) -> Option<&Arc<Host>> {
    if let Some(weights) = line.weights() {
        return weighted(line.hosts(), weights, bias);
    }
    let mut best = line.random()?;
    if line.hosts().len() == 1 {
        return Some(best);
    }
    for _ in 1..choices.max(1) {
        let other = line.random()?;
        if other.requests() < best.requests() {
            best = other;
        }
    }
    Some(best)
}

fn weighted<'a>(hosts: &'a [Arc<Host>], weights: &Wheel, bias: f64) -> Option<&'a Arc<Host>> {
    let n = hosts.len();
    let first = fastrand::usize(..n.max(1));
    let window = (0..n.min(WINDOW)).map(|i| (first + i) % n);
    let mut sum = 0.0;
    let mut chosen = None;
    // Weighted reservoir: one pass, no list of weights.
    for index in window {
        let host = &hosts[index];
        let weight = weights.weight(index) as f64 / (f64::from(host.requests()) + 1.0).powf(bias);
        sum += weight;
        if fastrand::f64() * sum < weight {
            chosen = Some(host);
        }
    }
    chosen
}

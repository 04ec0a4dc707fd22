//! The hosts of a cluster at one moment: immutable, built on the control runtime, swapped in whole.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use config::model::address::Address;
use config::model::address::Target;
use config::model::endpoint::Assignment;
use config::model::endpoint::Endpoint;
use config::model::endpoint::LocalityEndpoints;
use hashbrown::HashMap;

use super::cluster::Pick;
use super::host::{Detail, Fitness, Host};

/// All hosts of a cluster.
#[derive(Debug, Default)]
pub struct HostSet {
    hosts: Box<[Arc<Host>]>,
    turn: AtomicUsize,
}

impl HostSet {
    /// Joins an assignment with the hosts there were, which are kept where the address is the same.
    pub(super) fn build(assignment: &Assignment, before: &Self) -> Self {
        let mut known: HashMap<&Address, &Arc<Host>> = before.hosts.iter().map(|h| (h.address(), h)).collect();
        let mut hosts = Vec::with_capacity(assignment.localities.iter().map(|l| l.endpoints.len()).sum());
        for locality in &assignment.localities {
            for endpoint in &locality.endpoints {
                let Target::Address(address) = &endpoint.target else { continue };
                let detail = Arc::new(detail(locality, endpoint));
                let host = match known.remove(address) {
                    Some(host) => Arc::clone(host),
                    None => Arc::new(Host::new(address.clone(), endpoint.weight, Arc::clone(&detail))),
                };
                host.update(endpoint, &detail);
                hosts.push(host);
            }
        }
        Self { hosts: hosts.into(), turn: AtomicUsize::new(0) }
    }

    /// All hosts, whatever their health.
    pub fn hosts(&self) -> &[Arc<Host>] {
        &self.hosts
    }

    pub(super) fn pick(&self, _pick: &Pick<'_>) -> Option<Arc<Host>> {
        let n = self.hosts.len();
        let first = self.turn.fetch_add(1, Ordering::Relaxed);
        (0..n).map(|i| &self.hosts[(first.wrapping_add(i)) % n]).find(|h| h.fitness() == Fitness::Healthy).cloned()
    }
}

fn detail(locality: &LocalityEndpoints, endpoint: &Endpoint) -> Detail {
    Detail {
        locality: Arc::clone(&locality.locality),
        priority: locality.priority,
        hostname: endpoint.hostname.clone(),
        metadata: endpoint.metadata.clone(),
        health_check: endpoint.health_check.clone(),
    }
}

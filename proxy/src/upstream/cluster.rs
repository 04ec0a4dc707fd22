//! One cluster at run time.

use std::sync::Arc;

use arc_swap::ArcSwap;
use config::model;
use config::model::metadata::Fields;
use config::snapshot::ClusterEntry;

use super::circuit::{Circuit, Pending};
use super::host::Host;
use super::host_set::HostSet;

/// One cluster at run time: it outlives changes of its configuration, as long as its name stays.
#[derive(Debug)]
pub struct Cluster {
    name: Arc<str>,
    entry: ArcSwap<ClusterEntry>,
    hosts: ArcSwap<HostSet>,
    circuit: Circuit,
}

/// What a connection asks of the balancer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pick<'a> {
    /// `metadata_match[envoy.lb]` of the route; chooses the subset.
    pub metadata_match: Option<&'a Fields>,
    /// Hash of whatever the route's hash policy names; without one, hashing balancers choose at random as Envoy does.
    pub hash: Option<u64>,
    /// Hosts that already failed this connection: others are preferred.
    pub tried: &'a [Arc<Host>],
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
    pub(super) fn new(entry: Arc<ClusterEntry>, hosts: HostSet) -> Self {
        Self {
            name: Arc::clone(&entry.cluster.name),
            entry: ArcSwap::new(entry),
            hosts: ArcSwap::from_pointee(hosts),
            circuit: Circuit::default(),
        }
    }

    /// Resource name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The configuration in force.
    pub fn config(&self) -> Arc<model::cluster::Cluster> {
        Arc::clone(&self.entry.load().cluster)
    }

    /// The configuration in force, with where it came from.
    pub fn entry(&self) -> Arc<ClusterEntry> {
        self.entry.load_full()
    }

    /// The hosts at this moment.
    pub fn hosts(&self) -> Arc<HostSet> {
        self.hosts.load_full()
    }

    /// What is in use of the circuit breakers.
    pub fn circuit(&self) -> &Circuit {
        &self.circuit
    }

    /// Asks the circuit breakers for one connection.
    ///
    /// # Errors
    /// [`PickError::Overflow`] when `max_connections` or `max_pending_requests` is reached.
    pub fn admit(self: &Arc<Self>) -> Result<Pending, PickError> {
        Pending::take(self)
    }

    /// Chooses an endpoint.
    ///
    /// # Errors
    /// [`PickError::NoHealthyUpstream`] when none may be used.
    pub fn pick(&self, pick: &Pick<'_>) -> Result<Arc<Host>, PickError> {
        self.hosts.load().pick(pick).ok_or(PickError::NoHealthyUpstream)
    }

    pub(super) fn replace(&self, entry: Arc<ClusterEntry>, hosts: HostSet) {
        self.entry.store(entry);
        self.hosts.store(Arc::new(hosts));
    }
}

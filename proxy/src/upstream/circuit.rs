//! Circuit breakers: what of a cluster's budget is in use, by priority (Envoy: `ResourceManagerImpl`).

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use config::model::cluster::{Priority, Thresholds};

use super::cluster::Cluster;
use crate::metrics::ClusterStat;

/// What is in use of a cluster's budget.
#[derive(Debug, Default)]
pub struct Circuit {
    connections: AtomicU32,
    pending: AtomicU32,
    /// What TCP does without; made when first used.
    more: OnceLock<Box<More>>,
}

#[derive(Debug, Default)]
struct More {
    requests: AtomicU32,
    retries: AtomicU32,
    pools: AtomicU32,
    /// Of high priority, in the order of [`Resource`].
    high: [AtomicU32; 5],
}

/// One of the counted resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resource {
    /// `max_connections`.
    Connections,
    /// `max_pending_requests`.
    Pending,
    /// `max_requests`.
    Requests,
    /// `max_retries`, or the retry budget.
    Retries,
    /// `max_connection_pools`.
    Pools,
}

impl Circuit {
    /// Connections open or being opened, of all priorities.
    pub fn connections(&self) -> u32 {
        self.sum(Resource::Connections)
    }

    /// Downstream connections and requests that wait for an upstream connection.
    pub fn pending(&self) -> u32 {
        self.sum(Resource::Pending)
    }

    /// Requests under way.
    pub fn requests(&self) -> u32 {
        self.sum(Resource::Requests)
    }

    fn sum(&self, resource: Resource) -> u32 {
        let count = |priority| self.of(resource, priority).load(Ordering::Relaxed);
        match (resource, self.more.get()) {
            (Resource::Connections | Resource::Pending, None) => count(Priority::Default),
            (_, None) => 0,
            (_, Some(_)) => count(Priority::Default) + count(Priority::High),
        }
    }

    fn of(&self, resource: Resource, priority: Priority) -> &AtomicU32 {
        let more = || self.more.get_or_init(Box::default);
        match (priority, resource) {
            (Priority::Default, Resource::Connections) => &self.connections,
            (Priority::Default, Resource::Pending) => &self.pending,
            (Priority::Default, Resource::Requests) => &more().requests,
            (Priority::Default, Resource::Retries) => &more().retries,
            (Priority::Default, Resource::Pools) => &more().pools,
            (Priority::High, resource) => &more().high[resource as usize],
        }
    }
}

impl Resource {
    const fn open(self, priority: Priority) -> ClusterStat {
        use ClusterStat as S;
        match (self, priority) {
            (Self::Connections, Priority::Default) => S::CircuitBreakersDefaultCxOpen,
            (Self::Pending, Priority::Default) => S::CircuitBreakersDefaultRqPendingOpen,
            (Self::Requests, Priority::Default) => S::CircuitBreakersDefaultRqOpen,
            (Self::Retries, Priority::Default) => S::CircuitBreakersDefaultRqRetryOpen,
            (Self::Pools, Priority::Default) => S::CircuitBreakersDefaultCxPoolOpen,
            (Self::Connections, Priority::High) => S::CircuitBreakersHighCxOpen,
            (Self::Pending, Priority::High) => S::CircuitBreakersHighRqPendingOpen,
            (Self::Requests, Priority::High) => S::CircuitBreakersHighRqOpen,
            (Self::Retries, Priority::High) => S::CircuitBreakersHighRqRetryOpen,
            (Self::Pools, Priority::High) => S::CircuitBreakersHighCxPoolOpen,
        }
    }

    const fn remaining(self, priority: Priority) -> ClusterStat {
        use ClusterStat as S;
        match (self, priority) {
            (Self::Connections, Priority::Default) => S::CircuitBreakersDefaultRemainingCx,
            (Self::Pending, Priority::Default) => S::CircuitBreakersDefaultRemainingPending,
            (Self::Requests, Priority::Default) => S::CircuitBreakersDefaultRemainingRq,
            (Self::Retries, Priority::Default) => S::CircuitBreakersDefaultRemainingRetries,
            (Self::Pools, Priority::Default) => S::CircuitBreakersDefaultRemainingCxPools,
            (Self::Connections, Priority::High) => S::CircuitBreakersHighRemainingCx,
            (Self::Pending, Priority::High) => S::CircuitBreakersHighRemainingPending,
            (Self::Requests, Priority::High) => S::CircuitBreakersHighRemainingRq,
            (Self::Retries, Priority::High) => S::CircuitBreakersHighRemainingRetries,
            (Self::Pools, Priority::High) => S::CircuitBreakersHighRemainingCxPools,
        }
    }
}

/// A resource of one cluster at one priority.
#[derive(Clone, Copy)]
pub(super) struct Budget<'a> {
    cluster: &'a Cluster,
    priority: Priority,
    limits: Thresholds,
}

impl<'a> Budget<'a> {
    pub(super) fn new(cluster: &'a Cluster, priority: Priority) -> Self {
        let hosts = cluster.peek();
        let breakers = hosts.entry().cluster.circuit_breakers.as_deref();
        let limits = breakers.map(|b| b.of(priority)).unwrap_or_default();
        Self { cluster, priority, limits }
    }

    /// Takes one; false when none is left.
    pub(super) fn take(&self, resource: Resource) -> bool {
        let max = self.max(resource);
        let count = self.count(resource);
        let before = count.fetch_add(1, Ordering::Relaxed);
        if before >= max {
            count.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        self.took(resource, before + 1 >= max);
        true
    }

    /// Takes one, be there any left or not; false when there was none.
    pub(super) fn take_anyway(&self, resource: Resource) -> bool {
        let max = self.max(resource);
        let before = self.count(resource).fetch_add(1, Ordering::Relaxed);
        self.took(resource, before + 1 >= max);
        before < max
    }

    pub(super) fn give_back(&self, resource: Resource) {
        let before = self.count(resource).fetch_sub(1, Ordering::Relaxed);
        if before >= self.max(resource) {
            self.cluster.stats().set(resource.open(self.priority), 0);
        }
        self.publish(resource);
    }

    fn took(&self, resource: Resource, full: bool) {
        if full {
            self.cluster.stats().set(resource.open(self.priority), 1);
        }
        self.publish(resource);
    }

    fn count(&self, resource: Resource) -> &'a AtomicU32 {
        self.cluster.circuit().of(resource, self.priority)
    }

    fn max(&self, resource: Resource) -> u32 {
        match resource {
            Resource::Connections => self.limits.max_connections,
            Resource::Pending => self.limits.max_pending,
            Resource::Requests => self.limits.max_requests,
            Resource::Retries => self.limits.retry_budget.map_or(self.limits.max_retries, |budget| {
                let count = |resource| u64::from(self.count(resource).load(Ordering::Relaxed));
                let requests = count(Resource::Requests) + count(Resource::Pending);
                ((budget.percent / 100.0 * requests as f64) as u32).max(budget.min_concurrency)
            }),
            Resource::Pools => self.limits.max_connection_pools.unwrap_or(u32::MAX),
        }
    }

    fn publish(&self, resource: Resource) {
        if self.limits.track_remaining {
            let used = self.count(resource).load(Ordering::Relaxed);
            // What a budget leaves changes with the requests: Envoy says 0 then.
            let budgeted = resource == Resource::Retries && self.limits.retry_budget.is_some();
            let left = if budgeted { 0 } else { self.max(resource).saturating_sub(used) };
            self.cluster.stats().set(resource.remaining(self.priority), i64::from(left));
        }
    }
}

//! Circuit breakers of the default priority: counts and permits that give themselves back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use config::model::cluster::CircuitBreakers;
use tokio_util::sync::CancellationToken;

use super::cluster::{Cluster, PickError};
use super::host::Host;
use crate::metrics::ClusterStat;
use crate::report::flow::TlsSide;

/// What is in use of a cluster's budget.
#[derive(Debug, Default)]
pub struct Circuit {
    connections: AtomicU32,
    pending: AtomicU32,
}

/// One of the counted resources.
#[derive(Clone, Copy)]
enum Resource {
    Connections,
    Pending,
}

impl Circuit {
    /// Connections open or being opened.
    pub fn connections(&self) -> u32 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Downstream connections that wait for an upstream one.
    pub fn pending(&self) -> u32 {
        self.pending.load(Ordering::Relaxed)
    }

    fn count(&self, resource: Resource) -> &AtomicU32 {
        match resource {
            Resource::Connections => &self.connections,
            Resource::Pending => &self.pending,
        }
    }
}

impl Resource {
    const fn max(self, limits: &CircuitBreakers) -> u32 {
        match self {
            Self::Connections => limits.max_connections,
            Self::Pending => limits.max_pending,
        }
    }

    const fn open(self) -> ClusterStat {
        match self {
            Self::Connections => ClusterStat::CircuitBreakersDefaultCxOpen,
            Self::Pending => ClusterStat::CircuitBreakersDefaultRqPendingOpen,
        }
    }

    const fn remaining(self) -> ClusterStat {
        match self {
            Self::Connections => ClusterStat::CircuitBreakersDefaultRemainingCx,
            Self::Pending => ClusterStat::CircuitBreakersDefaultRemainingPending,
        }
    }

    /// Takes one; false when none is left.
    fn take(self, cluster: &Cluster, limits: &CircuitBreakers) -> bool {
        let max = self.max(limits);
        let count = cluster.circuit().count(self);
        let before = count.fetch_add(1, Ordering::Relaxed);
        if before >= max {
            count.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        if before + 1 >= max {
            cluster.stats().set(self.open(), 1);
        }
        self.publish(cluster, limits);
        true
    }

    fn give_back(self, cluster: &Cluster, limits: &CircuitBreakers) {
        let before = cluster.circuit().count(self).fetch_sub(1, Ordering::Relaxed);
        if before >= self.max(limits) {
            cluster.stats().set(self.open(), 0);
        }
        self.publish(cluster, limits);
    }

    fn publish(self, cluster: &Cluster, limits: &CircuitBreakers) {
        if limits.track_remaining {
            let used = cluster.circuit().count(self).load(Ordering::Relaxed);
            cluster.stats().set(self.remaining(), i64::from(self.max(limits).saturating_sub(used)));
        }
    }
}

fn limits(cluster: &Cluster) -> CircuitBreakers {
    cluster.peek().entry().cluster.circuit_breakers.as_deref().copied().unwrap_or_default()
}

/// The right to open one connection to the cluster. Holds one of `max_connections` and one of `max_pending_requests`
/// until it becomes a [`Lease`] or is dropped; good for several attempts.
#[derive(Debug)]
pub struct Pending {
    cluster: Arc<Cluster>,
    /// Not yet turned into a lease.
    held: bool,
    /// Certificates are kept for logs.
    pub(super) keep_certificates: bool,
    /// What became of TLS in the last attempt.
    pub(super) tls: Option<Box<TlsSide>>,
}

impl Pending {
    pub(super) fn take(cluster: &Arc<Cluster>) -> Result<Self, PickError> {
        let limits = limits(cluster);
        if !Resource::Connections.take(cluster, &limits) {
            cluster.stats().inc(ClusterStat::UpstreamCxOverflow);
            return Err(PickError::Overflow);
        }
        if !Resource::Pending.take(cluster, &limits) {
            Resource::Connections.give_back(cluster, &limits);
            cluster.stats().inc(ClusterStat::UpstreamRqPendingOverflow);
            return Err(PickError::Overflow);
        }
        cluster.stats().inc(ClusterStat::UpstreamRqPendingTotal);
        cluster.stats().inc(ClusterStat::UpstreamRqPendingActive);
        Ok(Self { cluster: Arc::clone(cluster), held: true, keep_certificates: false, tls: None })
    }

    /// The cluster it is for.
    pub fn cluster(&self) -> &Arc<Cluster> {
        &self.cluster
    }

    /// Certificates of TLS are to be kept, for logs that ask for them.
    pub fn keep_certificates(&mut self, keep: bool) {
        self.keep_certificates = keep;
    }

    /// What became of TLS in the last attempt, where there was any.
    pub fn take_tls(&mut self) -> Option<Box<TlsSide>> {
        self.tls.take()
    }

    /// It became a lease; nothing can be done with it any more.
    pub fn is_spent(&self) -> bool {
        !self.held
    }

    /// The connection stands: what was pending is now one of the open connections.
    pub(super) fn established(&mut self, attempt: Attempt) -> Lease {
        if self.held {
            self.held = false;
            Resource::Pending.give_back(&self.cluster, &limits(&self.cluster));
            self.cluster.stats().dec(ClusterStat::UpstreamRqPendingActive);
        }
        self.cluster.stats().inc(ClusterStat::UpstreamRqTotal);
        self.cluster.stats().inc(ClusterStat::UpstreamRqActive);
        Lease { attempt, by_peer: false }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if self.held {
            let limits = limits(&self.cluster);
            Resource::Pending.give_back(&self.cluster, &limits);
            Resource::Connections.give_back(&self.cluster, &limits);
            self.cluster.stats().dec(ClusterStat::UpstreamRqPendingActive);
        }
    }
}

/// One connection in the books of its cluster and host, from the attempt to the end.
#[derive(Debug)]
pub(super) struct Attempt {
    cluster: Arc<Cluster>,
    host: Arc<Host>,
    started: Instant,
    connected: bool,
}

impl Attempt {
    pub(super) fn new(cluster: &Arc<Cluster>, host: &Arc<Host>) -> Self {
        host.connecting();
        cluster.stats().inc(ClusterStat::UpstreamCxTotal);
        cluster.stats().inc(ClusterStat::UpstreamCxActive);
        Self { cluster: Arc::clone(cluster), host: Arc::clone(host), started: Instant::now(), connected: false }
    }

    pub(super) fn connected(&mut self) {
        self.connected = true;
        self.cluster.stats().record(ClusterStat::UpstreamCxConnectMs, millis(self.started));
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let stats = self.cluster.stats();
        self.host.closed();
        stats.dec(ClusterStat::UpstreamCxActive);
        stats.inc(ClusterStat::UpstreamCxDestroy);
        if !self.connected {
            self.host.connect_failed();
            stats.inc(ClusterStat::UpstreamCxConnectFail);
        }
    }
}

/// One open connection; dropped when the connection is closed.
#[derive(Debug)]
pub struct Lease {
    attempt: Attempt,
    by_peer: bool,
}

impl Lease {
    /// The cluster.
    pub fn cluster(&self) -> &Arc<Cluster> {
        &self.attempt.cluster
    }

    /// The endpoint.
    pub fn host(&self) -> &Arc<Host> {
        &self.attempt.host
    }

    /// The endpoint closes first: the end will count as remote.
    pub fn closed_by_peer(&mut self) {
        self.by_peer = true;
    }

    /// Cancelled when the endpoint is removed and the cluster closes connections then; `None` for all other clusters,
    /// where there is nothing to wait for.
    pub fn removal(&self) -> Option<&CancellationToken> {
        let closes = |c: &config::model::cluster::LbCommon| c.close_connections_on_host_set_change;
        let watched = self.attempt.cluster.peek().entry().cluster.lb_common.as_deref().is_some_and(closes);
        watched.then(|| self.attempt.host.removed())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let cluster = &self.attempt.cluster;
        Resource::Connections.give_back(cluster, &limits(cluster));
        let stats = cluster.stats();
        stats.dec(ClusterStat::UpstreamRqActive);
        // To Envoy's TCP pool a connection is one request, which its end cuts off.
        stats.inc(ClusterStat::UpstreamCxDestroyWithActiveRq);
        if self.by_peer {
            stats.inc(ClusterStat::UpstreamCxDestroyRemote);
            stats.inc(ClusterStat::UpstreamCxDestroyRemoteWithActiveRq);
        } else {
            stats.inc(ClusterStat::UpstreamCxDestroyLocal);
            stats.inc(ClusterStat::UpstreamCxDestroyLocalWithActiveRq);
        }
        stats.record(ClusterStat::UpstreamCxLengthMs, millis(self.attempt.started));
    }
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

//! Permits of TCP: the right to open a connection, and the connection in the books. They give themselves back.

use std::sync::Arc;
use std::time::Instant;

use config::model::cluster::Priority;
use tokio_util::sync::CancellationToken;

use super::circuit::{Budget, Resource};
use super::cluster::{Cluster, PickError};
use super::connect::ConnectOptions;
use super::host::Host;
use crate::metrics::ClusterStat;
use crate::report::flow::TlsSide;

/// The right to open one connection to the cluster. Holds one of `max_connections` and one of `max_pending_requests`
/// until it becomes a [`Lease`] or is dropped; good for several attempts.
#[derive(Debug)]
pub struct Pending {
    cluster: Arc<Cluster>,
    /// Not yet turned into a lease.
    held: bool,
    /// What connections are opened for.
    pub(super) options: ConnectOptions,
    /// What became of TLS in the last attempt.
    pub(super) tls: Option<Box<TlsSide>>,
}

impl Pending {
    pub(super) fn take(cluster: &Arc<Cluster>) -> Result<Self, PickError> {
        let budget = Budget::new(cluster, Priority::Default);
        if !budget.take(Resource::Connections) {
            cluster.stats().inc(ClusterStat::UpstreamCxOverflow);
            return Err(PickError::Overflow);
        }
        if !budget.take(Resource::Pending) {
            budget.give_back(Resource::Connections);
            cluster.stats().inc(ClusterStat::UpstreamRqPendingOverflow);
            return Err(PickError::Overflow);
        }
        cluster.stats().inc(ClusterStat::UpstreamRqPendingTotal);
        cluster.stats().inc(ClusterStat::UpstreamRqPendingActive);
        Ok(Self { cluster: Arc::clone(cluster), held: true, options: ConnectOptions::default(), tls: None })
    }

    /// The cluster it is for.
    pub fn cluster(&self) -> &Arc<Cluster> {
        &self.cluster
    }

    /// What it is for.
    pub fn set_options(&mut self, options: ConnectOptions) {
        self.options = options;
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
            Budget::new(&self.cluster, Priority::Default).give_back(Resource::Pending);
            self.cluster.stats().dec(ClusterStat::UpstreamRqPendingActive);
        }
        self.cluster.stats().inc(ClusterStat::UpstreamRqTotal);
        self.cluster.stats().inc(ClusterStat::UpstreamRqActive);
        // To Envoy's TCP pool a connection is one request.
        attempt.host.request_started();
        Lease { attempt, by_peer: false }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if self.held {
            let budget = Budget::new(&self.cluster, Priority::Default);
            budget.give_back(Resource::Pending);
            budget.give_back(Resource::Connections);
            self.cluster.stats().dec(ClusterStat::UpstreamRqPendingActive);
        }
    }
}

/// One connection in the books of its cluster and host, from the attempt to the end.
#[derive(Debug)]
pub(super) struct Attempt {
    /// The cluster.
    pub(super) cluster: Arc<Cluster>,
    /// The endpoint.
    pub(super) host: Arc<Host>,
    /// When it began.
    pub(super) started: Instant,
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
        removal(&self.attempt)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let cluster = &self.attempt.cluster;
        Budget::new(cluster, Priority::Default).give_back(Resource::Connections);
        self.attempt.host.request_ended();
        let stats = cluster.stats();
        stats.dec(ClusterStat::UpstreamRqActive);
        count_end(&self.attempt, self.by_peer, true);
    }
}

/// See [`Lease::removal`].
pub(super) fn removal(attempt: &Attempt) -> Option<&CancellationToken> {
    let closes = |c: &config::model::cluster::LbCommon| c.close_connections_on_host_set_change;
    let watched = attempt.cluster.peek().entry().cluster.lb_common.as_deref().is_some_and(closes);
    watched.then(|| attempt.host.removed())
}

/// An established connection is over, `busy` with a request.
pub(super) fn count_end(attempt: &Attempt, by_peer: bool, busy: bool) {
    let stats = attempt.cluster.stats();
    let (destroyed, cut_off) = if by_peer {
        (ClusterStat::UpstreamCxDestroyRemote, ClusterStat::UpstreamCxDestroyRemoteWithActiveRq)
    } else {
        (ClusterStat::UpstreamCxDestroyLocal, ClusterStat::UpstreamCxDestroyLocalWithActiveRq)
    };
    stats.inc(destroyed);
    if busy {
        stats.inc(ClusterStat::UpstreamCxDestroyWithActiveRq);
        stats.inc(cut_off);
    }
    stats.record(ClusterStat::UpstreamCxLengthMs, millis(attempt.started));
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

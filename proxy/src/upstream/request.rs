//! Permits of HTTP: requests, retries, those that wait, pools and pooled connections in the books of their cluster and
//! host. All give themselves back.

use std::sync::Arc;

use config::model::cluster::Priority;
use tokio_util::sync::CancellationToken;

use super::circuit::{Budget, Resource};
use super::cluster::{Cluster, PickError};
use super::host::Host;
use super::permit::{Attempt, count_end, removal};
use crate::metrics::ClusterStat;

/// One request that a connection has taken: one of `max_requests` until it is dropped, with the end of the stream.
#[derive(Debug)]
pub struct RequestPermit {
    cluster: Arc<Cluster>,
    host: Arc<Host>,
    priority: Priority,
}

/// A request that waits for a connection: one of `max_pending_requests`.
#[derive(Debug)]
pub struct Queued {
    cluster: Arc<Cluster>,
    priority: Priority,
}

/// A retry, from the decision until the request is over: one of `max_retries`, or of the retry budget.
#[derive(Debug)]
pub struct RetryPermit {
    cluster: Arc<Cluster>,
    priority: Priority,
}

/// A pool of connections: one of `max_connection_pools`.
#[derive(Debug)]
pub struct PoolPermit {
    cluster: Arc<Cluster>,
    priority: Priority,
}

/// The protocol a pooled connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

impl Cluster {
    /// A connection to `host` takes a request (Envoy: `attachStreamToClient`). Counts `upstream_rq_total`,
    /// `upstream_rq_active` and the host's.
    ///
    /// # Errors
    /// [`PickError::Overflow`] when `max_requests` is reached; counted as `upstream_rq_pending_overflow`, as in Envoy.
    pub fn start_request(self: &Arc<Self>, host: &Arc<Host>, priority: Priority) -> Result<RequestPermit, PickError> {
        if !Budget::new(self, priority).take(Resource::Requests) {
            self.stats().inc(ClusterStat::UpstreamRqPendingOverflow);
            return Err(PickError::Overflow);
        }
        self.stats().inc(ClusterStat::UpstreamRqTotal);
        self.stats().inc(ClusterStat::UpstreamRqActive);
        host.request_started();
        Ok(RequestPermit { cluster: Arc::clone(self), host: Arc::clone(host), priority })
    }

    /// A request has to wait for a connection (Envoy: `newPendingStream`).
    ///
    /// # Errors
    /// [`PickError::Overflow`] when `max_pending_requests` is reached; counted as `upstream_rq_pending_overflow`.
    pub fn queue(self: &Arc<Self>, priority: Priority) -> Result<Queued, PickError> {
        if !Budget::new(self, priority).take(Resource::Pending) {
            self.stats().inc(ClusterStat::UpstreamRqPendingOverflow);
            return Err(PickError::Overflow);
        }
        self.stats().inc(ClusterStat::UpstreamRqPendingTotal);
        self.stats().inc(ClusterStat::UpstreamRqPendingActive);
        Ok(Queued { cluster: Arc::clone(self), priority })
    }

    /// A request is to be tried again.
    ///
    /// # Errors
    /// [`PickError::Overflow`] when `max_retries` or the retry budget is used up; counted as
    /// `upstream_rq_retry_overflow`.
    pub fn admit_retry(self: &Arc<Self>, priority: Priority) -> Result<RetryPermit, PickError> {
        if !Budget::new(self, priority).take(Resource::Retries) {
            self.stats().inc(ClusterStat::UpstreamRqRetryOverflow);
            return Err(PickError::Overflow);
        }
        Ok(RetryPermit { cluster: Arc::clone(self), priority })
    }

    /// A pool of connections to one host is to be made.
    ///
    /// # Errors
    /// [`PickError::Overflow`] when `max_connection_pools` is reached; counted as `upstream_cx_pool_overflow`.
    pub fn admit_pool(self: &Arc<Self>, priority: Priority) -> Result<PoolPermit, PickError> {
        if !Budget::new(self, priority).take(Resource::Pools) {
            self.stats().inc(ClusterStat::UpstreamCxPoolOverflow);
            return Err(PickError::Overflow);
        }
        Ok(PoolPermit { cluster: Arc::clone(self), priority })
    }

    /// A pool wants a new connection. `alone`: it has none and makes none, so that requests would wait for ever; it then
    /// gets one whatever the limit, as in Envoy.
    ///
    /// # Errors
    /// [`PickError::Overflow`] when `max_connections` is reached; counted as `upstream_cx_overflow`.
    pub fn admit_connection(self: &Arc<Self>, priority: Priority, alone: bool) -> Result<ConnectionPermit, PickError> {
        let budget = Budget::new(self, priority);
        let left = if alone { budget.take_anyway(Resource::Connections) } else { budget.take(Resource::Connections) };
        if !left {
            self.stats().inc(ClusterStat::UpstreamCxOverflow);
        }
        if left || alone {
            Ok(ConnectionPermit { cluster: Arc::clone(self), priority })
        } else {
            Err(PickError::Overflow)
        }
    }
}

impl RequestPermit {
    /// The endpoint.
    pub fn host(&self) -> &Arc<Host> {
        &self.host
    }

    /// The cluster.
    pub fn cluster(&self) -> &Arc<Cluster> {
        &self.cluster
    }
}

impl Drop for RequestPermit {
    fn drop(&mut self) {
        Budget::new(&self.cluster, self.priority).give_back(Resource::Requests);
        self.cluster.stats().dec(ClusterStat::UpstreamRqActive);
        self.host.request_ended();
    }
}

impl Queued {
    /// It is given up (Envoy: `upstream_rq_cancelled`).
    pub fn cancel(self) {
        self.cluster.stats().inc(ClusterStat::UpstreamRqCancelled);
    }

    /// The connection that it waited for failed (Envoy: `upstream_rq_pending_failure_eject`).
    pub fn eject(self) {
        self.cluster.stats().inc(ClusterStat::UpstreamRqPendingFailureEject);
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        Budget::new(&self.cluster, self.priority).give_back(Resource::Pending);
        self.cluster.stats().dec(ClusterStat::UpstreamRqPendingActive);
    }
}

impl Drop for RetryPermit {
    fn drop(&mut self) {
        Budget::new(&self.cluster, self.priority).give_back(Resource::Retries);
    }
}

impl Drop for PoolPermit {
    fn drop(&mut self) {
        Budget::new(&self.cluster, self.priority).give_back(Resource::Pools);
    }
}

/// One of `max_connections`, held by a pooled connection from before it is opened.
#[derive(Debug)]
pub struct ConnectionPermit {
    cluster: Arc<Cluster>,
    priority: Priority,
}

impl ConnectionPermit {
    pub(super) fn cluster(&self) -> &Arc<Cluster> {
        &self.cluster
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        Budget::new(&self.cluster, self.priority).give_back(Resource::Connections);
    }
}

/// One pooled connection in the books; dropped when the connection is closed.
#[derive(Debug)]
pub struct PooledLease {
    attempt: Attempt,
    /// Given back last.
    _permit: ConnectionPermit,
    end: ConnectionEnd,
}

/// How a pooled connection ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectionEnd {
    /// The endpoint closed it.
    pub by_peer: bool,
    /// A request was on it.
    pub busy: bool,
    /// Requests that it took.
    pub requests: u32,
}

impl PooledLease {
    pub(super) fn new(attempt: Attempt, permit: ConnectionPermit) -> Self {
        Self { attempt, _permit: permit, end: ConnectionEnd::default() }
    }

    /// The cluster.
    pub fn cluster(&self) -> &Arc<Cluster> {
        &self.attempt.cluster
    }

    /// The endpoint.
    pub fn host(&self) -> &Arc<Host> {
        &self.attempt.host
    }

    /// It speaks that: counted as `upstream_cx_http1_total` or `upstream_cx_http2_total`.
    pub fn speaks(&self, codec: Codec) {
        self.cluster().stats().inc(match codec {
            Codec::Http1 => ClusterStat::UpstreamCxHttp1Total,
            Codec::Http2 => ClusterStat::UpstreamCxHttp2Total,
        });
    }

    /// It is closed.
    pub fn close(mut self, end: ConnectionEnd) {
        self.end = end;
    }

    /// Cancelled when the endpoint is removed and the cluster closes connections then; `None` for all other clusters.
    pub fn removal(&self) -> Option<&CancellationToken> {
        removal(&self.attempt)
    }
}

impl Drop for PooledLease {
    fn drop(&mut self) {
        let ConnectionEnd { by_peer, busy, requests } = self.end;
        count_end(&self.attempt, by_peer, busy);
        self.cluster().stats().record(ClusterStat::UpstreamRqPerCx, u64::from(requests));
    }
}

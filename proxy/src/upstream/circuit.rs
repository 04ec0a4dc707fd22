//! Circuit breakers of the default priority: counts and permits that give themselves back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::cluster::{Cluster, PickError};
use super::host::Host;

/// What is in use of a cluster's budget.
#[derive(Debug, Default)]
pub struct Circuit {
    connections: AtomicU32,
    pending: AtomicU32,
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
}

/// Takes one of `max`; false when none is left.
fn take(count: &AtomicU32, max: u32) -> bool {
    if count.fetch_add(1, Ordering::Relaxed) < max {
        return true;
    }
    count.fetch_sub(1, Ordering::Relaxed);
    false
}

/// The right to open one connection to the cluster. Holds one of `max_connections` and one of `max_pending_requests`
/// until it becomes a [`Lease`] or is dropped; good for several attempts.
#[derive(Debug)]
pub struct Pending {
    cluster: Option<Arc<Cluster>>,
}

impl Pending {
    pub(super) fn take(cluster: &Arc<Cluster>) -> Result<Self, PickError> {
        let config = cluster.config();
        let limits = config.circuit_breakers.as_deref().copied().unwrap_or_default();
        let circuit = cluster.circuit();
        if !take(&circuit.connections, limits.max_connections) {
            return Err(PickError::Overflow);
        }
        if !take(&circuit.pending, limits.max_pending) {
            circuit.connections.fetch_sub(1, Ordering::Relaxed);
            return Err(PickError::Overflow);
        }
        Ok(Self { cluster: Some(Arc::clone(cluster)) })
    }

    /// The cluster it is for; `None` once it became a lease.
    pub fn cluster(&self) -> Option<&Arc<Cluster>> {
        self.cluster.as_ref()
    }

    /// The connection stands: what was pending is now one of the open connections.
    pub(super) fn established(&mut self, host: &Arc<Host>) -> Option<Lease> {
        let cluster = self.cluster.take()?;
        cluster.circuit().pending.fetch_sub(1, Ordering::Relaxed);
        Some(Lease { cluster, host: Arc::clone(host) })
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some(cluster) = &self.cluster {
            cluster.circuit().pending.fetch_sub(1, Ordering::Relaxed);
            cluster.circuit().connections.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// One open connection in the books of its cluster and host; dropped when the connection is closed.
#[derive(Debug)]
pub struct Lease {
    cluster: Arc<Cluster>,
    host: Arc<Host>,
}

impl Lease {
    /// The cluster.
    pub fn cluster(&self) -> &Arc<Cluster> {
        &self.cluster
    }

    /// The endpoint.
    pub fn host(&self) -> &Arc<Host> {
        &self.host
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.host.closed();
        self.cluster.circuit().connections.fetch_sub(1, Ordering::Relaxed);
    }
}

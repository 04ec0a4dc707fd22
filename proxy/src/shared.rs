//! What all connections of one proxy share.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use crate::http::HttpServer;
use arc_swap::ArcSwap;
use config::runtime::Numbers;

use crate::lifecycle::ready::Readiness;
use crate::metrics::{Registry, Scope, TlsInspectorStat};
use crate::overload::Overload;
use crate::report::Sinks;
use crate::tls::Contexts;
use crate::upstream::Clusters;

/// Bounds on what clients can make this process hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections of all listeners together (`envoy.resource_monitors.downstream_connections`); 0: no limit.
    pub connections: u64,
    /// Connections whose ClientHello is not complete yet.
    pub hellos: u32,
    /// TLS handshakes under way with clients, and as many with endpoints; a few ten KiB and one signature each.
    pub handshakes: u32,
    /// Pipes for splice(2), 1 MiB each.
    pub pipes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 0, hellos: 16_384, handshakes: 4096, pipes: 32 }
    }
}

/// What the bootstrap calls this process (`node`); empty where it does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// `node.id`.
    pub id: Box<str>,
    /// `node.cluster`.
    pub cluster: Box<str>,
    /// `node.locality.zone`.
    pub zone: Box<str>,
}

/// What all connections of one proxy share.
#[derive(Debug)]
pub struct Shared {
    /// Clusters and their endpoints.
    pub clusters: Arc<Clusters>,
    /// All metrics.
    pub registry: Arc<Registry>,
    /// Where access logs go.
    pub sinks: Arc<Sinks>,
    /// Bounds.
    pub limits: Limits,
    /// How far actions against overload are taken.
    pub overload: Arc<Overload>,
    /// TLS contexts, those of the clusters too.
    pub tls: Arc<Contexts>,
    /// What serves HTTP; `None`: nothing does, and chains that end in it are refused.
    pub http: Option<Arc<dyn HttpServer>>,
    /// Who we are to those who collect logs and spans.
    node: OnceLock<Node>,
    readiness: OnceLock<Readiness>,
    /// Runtime values in force.
    pub runtime: ArcSwap<Numbers>,
    pub(crate) tls_inspector: Arc<Scope<TlsInspectorStat>>,
    open: AtomicU64,
    hellos: AtomicU32,
    next_id: AtomicU64,
    next_request_id: AtomicU64,
}

impl Shared {
    /// Nothing is open yet.
    pub fn new(
        clusters: Arc<Clusters>,
        registry: Arc<Registry>,
        sinks: Arc<Sinks>,
        limits: Limits,
        http: Option<Arc<dyn HttpServer>>,
    ) -> Arc<Self> {
        let tls_inspector = registry.tls_inspector();
        let tls = Arc::clone(clusters.tls());
        tls.handshakes().limit(limits.handshakes);
        tls.upstream_handshakes().limit(limits.handshakes);
        Arc::new(Self {
            tls,
            clusters,
            registry,
            sinks,
            limits,
            overload: Arc::default(),
            http,
            node: OnceLock::new(),
            readiness: OnceLock::new(),
            runtime: ArcSwap::default(),
            tls_inspector,
            open: AtomicU64::new(0),
            hellos: AtomicU32::new(0),
            next_id: AtomicU64::new(0),
            next_request_id: AtomicU64::new(0),
        })
    }

    /// Says who we are; once, before the first configuration.
    pub fn identify(&self, node: Node) {
        self.sinks.attach(&self.clusters, &self.registry, &node);
        // Said again, it is what it was.
        let _ = self.node.set(node);
    }

    /// Who we are.
    pub fn node(&self) -> Node {
        self.node.get().cloned().unwrap_or_default()
    }

    /// Says who knows whether health checks are failed on purpose; once.
    pub fn attach_readiness(&self, readiness: Readiness) {
        // Said again, it is what it was.
        let _ = self.readiness.set(readiness);
    }

    /// Health checks are to fail: `POST /healthcheck/fail`, or the process is about to end.
    pub fn fails_health_checks(&self) -> bool {
        self.readiness.get().is_some_and(Readiness::fails_health_checks)
    }

    /// Connections open at this moment.
    pub fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    /// `%CONNECTION_ID%` of the next connection.
    pub(crate) fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// A number for the next request, unique within the process.
    pub fn next_request_id(&self) -> u64 {
        self.next_request_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Room for one more connection, until the permit is dropped.
    pub(crate) fn connection(self: &Arc<Self>) -> Option<OpenPermit> {
        let before = self.open.fetch_add(1, Ordering::Relaxed);
        let permit = OpenPermit(Arc::clone(self));
        (self.limits.connections == 0 || before < self.limits.connections).then_some(permit)
    }

    /// Room for one more connection that has not said yet where it wants to go.
    pub(crate) fn hello(&self) -> Option<HelloPermit<'_>> {
        let before = self.hellos.fetch_add(1, Ordering::Relaxed);
        let permit = HelloPermit(self);
        (before < self.limits.hellos).then_some(permit)
    }
}

/// One open connection.
#[derive(Debug)]
pub(crate) struct OpenPermit(Arc<Shared>);

impl Drop for OpenPermit {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One connection whose ClientHello is awaited.
#[derive(Debug)]
pub(crate) struct HelloPermit<'a>(&'a Shared);

impl Drop for HelloPermit<'_> {
    fn drop(&mut self) {
        self.0.hellos.fetch_sub(1, Ordering::Relaxed);
    }
}

//! One connection to an endpoint, and the right to send one request over it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use hyper::client::conn::{http1, http2};
use proxy::report::http::{Protocol, UpstreamConnection};
use proxy::upstream::{Cluster, Host, TransportVersion};
use tokio::sync::Notify;

use super::key::Key;
use super::{Order, Pools};
use crate::upstream::outgoing::Outgoing;

/// What is known of one connection; shared by its driver, the pool and the requests on it.
#[derive(Debug)]
pub(crate) struct Link {
    /// For logs.
    pub(crate) facts: Arc<UpstreamConnection>,
    /// The cluster.
    pub(crate) cluster: Arc<Cluster>,
    /// The endpoint.
    pub(crate) host: Arc<Host>,
    /// The pool's entry it belongs to.
    pub(super) key: Key,
    /// Requests it may still take; 0: it takes no more.
    left: AtomicU32,
    /// Requests on it now.
    busy: AtomicU32,
    /// Requests it took.
    served: AtomicU32,
    /// Requests that it may carry at a time.
    streams: AtomicU32,
    /// Last time that it had nothing to do, in milliseconds since it was connected.
    idle_since: AtomicU64,
    /// It ends when nothing is on it any more.
    draining: AtomicBool,
    /// It was taken out of HTTP.
    taken: AtomicBool,
    /// Its driver has looked at the peer's SETTINGS since there was an answer.
    known: AtomicBool,
    /// What it was opened with.
    pub(super) transport: TransportVersion,
    /// Wakes its driver.
    pub(super) look: Notify,
}

/// The right to send one request: a connection of its own, or a stream of a shared one.
#[derive(Debug)]
pub(crate) struct Conduit {
    /// `None` while it is dropped only.
    sender: Option<Sender>,
    link: Arc<Link>,
    pools: Arc<Pools>,
    /// The connection may take another request.
    whole: bool,
}

/// hyper's end of a connection.
#[derive(Debug)]
pub(crate) enum Sender {
    /// HTTP/1: one request at a time.
    Http1(http1::SendRequest<Outgoing>),
    /// HTTP/2.
    Http2(http2::SendRequest<Outgoing>),
}

/// How many requests a connection may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowance {
    /// `max_requests_per_connection`; `None`: any number.
    pub(super) requests: Option<u32>,
    /// At a time.
    pub(super) streams: u32,
}

impl Link {
    pub(super) fn new(
        facts: UpstreamConnection,
        order: &Order,
        transport: TransportVersion,
        allowance: Allowance,
    ) -> Self {
        Self {
            cluster: Arc::clone(&order.cluster),
            host: Arc::clone(&order.host),
            key: order.key.clone(),
            transport,
            left: AtomicU32::new(allowance.requests.unwrap_or(u32::MAX)),
            busy: AtomicU32::new(0),
            served: AtomicU32::new(0),
            streams: AtomicU32::new(allowance.streams),
            idle_since: AtomicU64::new(0),
            draining: AtomicBool::new(false),
            taken: AtomicBool::new(false),
            known: AtomicBool::new(facts.protocol != Protocol::Http2),
            look: Notify::new(),
            facts: Arc::new(facts),
        }
    }

    /// What is spoken.
    pub(crate) fn protocol(&self) -> Protocol {
        self.facts.protocol
    }

    /// Requests it took so far.
    pub(super) fn served(&self) -> u32 {
        self.served.load(Ordering::Relaxed)
    }

    /// It takes another request now.
    pub(super) fn has_room(&self) -> bool {
        !self.is_draining() && self.busy.load(Ordering::Relaxed) < self.streams.load(Ordering::Relaxed)
    }

    /// It takes no more requests, and ends when it has none.
    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// From now on it takes no more requests.
    pub(super) fn drain(&self) {
        if !self.draining.swap(true, Ordering::Relaxed) {
            self.look.notify_one();
        }
    }

    /// A request is on it.
    pub(super) fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Relaxed) > 0
    }

    /// What the peer's SETTINGS say; whether there is more room than before.
    pub(super) fn allow(&self, streams: u32) -> bool {
        self.streams.swap(streams, Ordering::Relaxed) < streams
    }

    /// It was taken out of HTTP, by an upgrade.
    pub(crate) fn take_over(&self) {
        self.taken.store(true, Ordering::Relaxed);
    }

    /// It was taken out of HTTP.
    pub(super) fn is_taken(&self) -> bool {
        self.taken.load(Ordering::Relaxed)
    }

    /// How long it has had nothing to do; `None`: it has.
    pub(super) fn idle(&self) -> Option<Duration> {
        if self.is_busy() {
            return None;
        }
        let since = Duration::from_millis(self.idle_since.load(Ordering::Relaxed));
        Some(self.facts.connected.elapsed().saturating_sub(since))
    }

    /// Takes one request on; the last that it may take has it drain (and true is said).
    fn begin(&self) -> bool {
        self.busy.fetch_add(1, Ordering::Relaxed);
        self.served.fetch_add(1, Ordering::Relaxed);
        let left = self.left.load(Ordering::Relaxed);
        if left != u32::MAX {
            self.left.store(left.saturating_sub(1), Ordering::Relaxed);
        }
        left == 1
    }

    fn end(&self) {
        // hyper drives HTTP/2 in a task of its own: nobody else tells ours of SETTINGS.
        if !self.known.swap(true, Ordering::Relaxed) {
            self.look.notify_one();
        }
        if self.busy.fetch_sub(1, Ordering::Relaxed) == 1 {
            let millis = self.facts.connected.elapsed().as_millis();
            self.idle_since.store(u64::try_from(millis).unwrap_or(u64::MAX), Ordering::Relaxed);
            if self.is_draining() {
                self.look.notify_one();
            }
        }
    }
}

impl Conduit {
    /// A request begins on the connection.
    pub(super) fn new(sender: Sender, link: Arc<Link>, pools: Arc<Pools>) -> Self {
        if link.begin() {
            link.cluster.stats().inc(proxy::metrics::ClusterStat::UpstreamCxMaxRequests);
            link.drain();
        }
        Self { sender: Some(sender), link, pools, whole: false }
    }

    /// The connection.
    pub(crate) fn link(&self) -> &Arc<Link> {
        &self.link
    }

    /// hyper's end.
    pub(crate) fn sender(&mut self) -> Option<&mut Sender> {
        self.sender.as_mut()
    }

    /// Nothing was sent: the connection is as it was.
    pub(crate) fn spare(&mut self) {
        self.whole = true;
    }

    /// Request and answer are complete: an HTTP/1 connection may take the next one.
    pub(crate) fn finish(mut self) {
        self.whole = true;
    }
}

impl Drop for Conduit {
    fn drop(&mut self) {
        self.link.end();
        let Some(sender) = self.sender.take() else { return };
        match sender {
            // Without its sender, and with an exchange that is not over, hyper closes it.
            Sender::Http1(_) if !self.whole || self.link.is_draining() => self.link.drain(),
            Sender::Http1(sender) => self.pools.give_back(sender, &self.link),
            Sender::Http2(_) => self.pools.has_room(&self.link),
        }
    }
}

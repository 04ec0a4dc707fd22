//! Connections to endpoints, kept for the next request.
//!
//! Each worker has pools of its own: a request never leaves its worker. The lock of a worker's pools is taken by that
//! worker only (and by those who drain), and never held over an await.
//!
//! Our own and neither `pingora-pool` nor hyper-util's: it costs 2.5 µs a request less than the former (http-engine.md
//! §7), and both lack what Envoy's has: requests that wait for any connection, closing by endpoint, limits per connection.

mod driver;
mod entry;
mod key;
mod link;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hyper::client::conn::http1;
use proxy::metrics::current_worker;
use proxy::upstream::{Cluster, Host};
use tokio::sync::oneshot;

use self::entry::{Entry, Ready};
pub(crate) use self::key::{Key, Special, Wire};
pub(crate) use self::link::{Conduit, Link, Sender};
use super::codec::Codec;
use super::outgoing::Outgoing;
use super::reset::{Reason, Reset};

/// All pools of all workers.
#[derive(Debug)]
pub struct Pools {
    /// By worker; the last one is everybody else's.
    workers: Box<[Mutex<Worker>]>,
    next_id: AtomicU64,
}

type Worker = HashMap<Key, Entry, foldhash::fast::RandomState>;

/// What a request asks of the pools.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    /// The cluster.
    pub(crate) cluster: Arc<Cluster>,
    /// The endpoint chosen.
    pub(crate) host: Arc<Host>,
    /// Which connections will do.
    pub(crate) key: Key,
    /// Certificates are kept, for logs that ask for them.
    pub(crate) certificates: bool,
}

impl Pools {
    /// None yet, for so many workers.
    pub fn new(workers: usize) -> Arc<Self> {
        Arc::new(Self { workers: (0..=workers).map(|_| Mutex::default()).collect(), next_id: AtomicU64::new(1) })
    }

    /// A connection that takes one request now: one that is there, else a new one. Circuit breakers are asked; how long
    /// it may take is the caller's to say, beside the connect timeout.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) async fn acquire(self: &Arc<Self>, order: &Order) -> Result<Conduit, Reset> {
        if let Some(conduit) = self.take(order) {
            return Ok(conduit);
        }
        let queued = order.cluster.queue(order.key.priority).map_err(|_| Reset::new(Reason::Overflow))?;
        let mut ticket = self.wait(order, queued);
        match ticket.wait().await {
            Some(answer) => answer,
            // Nobody drops a ticket's other end but a runtime that ends.
            None => Err(Reset::new(Reason::LocalConnectionFailure)),
        }
    }

    /// Closes all that is idle; what is in use ends after its request.
    pub fn drain(&self) {
        for worker in &self.workers {
            lock(worker).values_mut().for_each(Entry::drain);
        }
    }

    /// Connections that are open or being opened.
    pub fn connections(&self) -> usize {
        self.workers.iter().map(|worker| lock(worker).values().map(Entry::connections).sum::<usize>()).sum()
    }

    /// A connection that is there.
    fn take(self: &Arc<Self>, order: &Order) -> Option<Conduit> {
        let mut worker = self.here();
        let entry = worker.get_mut(&order.key)?;
        entry.renew(&order.host);
        let (sender, link) = entry.take()?;
        drop(worker);
        Some(Conduit::new(sender, link, Arc::clone(self)))
    }

    /// Queues a request and opens a connection for it, where those being opened do not do.
    fn wait(self: &Arc<Self>, order: &Order, queued: proxy::upstream::Queued) -> Ticket {
        let (sender, receiver) = oneshot::channel();
        let mut worker = self.here();
        let entry = worker.entry(order.key.clone()).or_insert_with(|| Entry::new(&order.host));
        entry.waiting.push_back(sender);
        self.open(entry, order);
        Ticket { receiver, queued: Some(queued), pools: Arc::clone(self), key: order.key.clone() }
    }

    /// Opens connections until those being opened take all that wait (Envoy: `tryCreateNewConnections`).
    fn open(self: &Arc<Self>, entry: &mut Entry, order: &Order) {
        const AT_ONCE: usize = 3;
        for _ in 0..AT_ONCE {
            let capacity = entry.opening.saturating_mul(Codec::expected(&order.cluster.config(), order.key.wire));
            if entry.waits() <= capacity {
                return;
            }
            let alone = entry.connections() == 0;
            let Ok(permit) = order.cluster.admit_connection(order.key.priority, alone) else { return };
            entry.opening += 1;
            tokio::spawn(driver::run(Arc::clone(self), order.clone(), permit));
        }
    }

    /// A new connection is there (or, of HTTP/2, one has room again).
    fn opened(self: &Arc<Self>, ready: Ready, link: &Arc<Link>, order: &Order) {
        let mut worker = self.here();
        let entry = worker.entry(link.key.clone()).or_insert_with(|| Entry::new(&link.host));
        entry.opening = entry.opening.saturating_sub(1);
        entry.open.push(Arc::clone(link));
        entry.add(ready, link);
        let served = self.serve(entry);
        // ALPN said HTTP/1 where HTTP/2 was hoped for: one connection does not do for all.
        self.open(entry, order);
        drop(worker);
        drop(served);
    }

    /// No connection came about: all that wait for one learn it, as in Envoy.
    fn failed(self: &Arc<Self>, key: &Key, reset: &Reset) {
        let mut worker = self.here();
        let Some(entry) = worker.get_mut(key) else { return };
        entry.opening = entry.opening.saturating_sub(1);
        let waiting = std::mem::take(&mut entry.waiting);
        if entry.is_empty() {
            worker.remove(key);
        }
        drop(worker);
        for ticket in waiting {
            let _gone = ticket.send(Err(reset.clone()));
        }
    }

    /// An HTTP/1 connection is idle again.
    fn give_back(self: &Arc<Self>, sender: http1::SendRequest<Outgoing>, link: &Arc<Link>) {
        let mut worker = self.here();
        let Some(entry) = worker.get_mut(&link.key) else { return };
        entry.add(Ready::Http1(sender), link);
        let served = self.serve(entry);
        drop(worker);
        drop(served);
    }

    /// An HTTP/2 connection may take more.
    fn has_room(self: &Arc<Self>, link: &Arc<Link>) {
        let mut worker = self.here();
        let Some(entry) = worker.get_mut(&link.key) else { return };
        let served = self.serve(entry);
        drop(worker);
        drop(served);
    }

    /// Hands connections to those that wait. What nobody took comes back, to be dropped without the lock.
    #[must_use]
    fn serve(self: &Arc<Self>, entry: &mut Entry) -> Vec<Conduit> {
        let mut refused = Vec::new();
        while entry.waits() > 0 {
            let Some((sender, link)) = entry.take() else { break };
            let mut conduit = Conduit::new(sender, link, Arc::clone(self));
            while let Some(ticket) = entry.waiting.pop_front() {
                match ticket.send(Ok(conduit)) {
                    Ok(()) => break,
                    Err(Ok(back)) if entry.waiting.is_empty() => {
                        refused.push(back);
                        break;
                    }
                    Err(Ok(back)) => conduit = back,
                    Err(Err(_)) => break,
                }
            }
        }
        refused
    }

    /// A connection takes no more requests: nobody is to find it.
    fn forget(self: &Arc<Self>, link: &Arc<Link>) {
        let mut worker = self.here();
        let Some(entry) = worker.get_mut(&link.key) else { return };
        let removed = entry.remove(link);
        drop(worker);
        drop(removed);
    }

    /// A connection is closed. Requests that still wait get another one.
    fn closed(self: &Arc<Self>, link: &Arc<Link>, order: &Order) {
        let mut worker = self.here();
        let Some(entry) = worker.get_mut(&link.key) else { return };
        let removed = entry.remove(link);
        entry.open.retain(|open| !Arc::ptr_eq(open, link));
        self.open(entry, order);
        if entry.is_empty() {
            worker.remove(&link.key);
        }
        drop(worker);
        drop(removed);
    }

    fn here(&self) -> MutexGuard<'_, Worker> {
        let others = self.workers.len() - 1;
        lock(&self.workers[current_worker().unwrap_or(others).min(others)])
    }

    fn id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }
}

/// One request that waits.
struct Ticket {
    receiver: oneshot::Receiver<Result<Conduit, Reset>>,
    queued: Option<proxy::upstream::Queued>,
    pools: Arc<Pools>,
    key: Key,
}

impl Ticket {
    async fn wait(&mut self) -> Option<Result<Conduit, Reset>> {
        let answer = (&mut self.receiver).await.ok();
        let queued = self.queued.take();
        match (&answer, queued) {
            (Some(Err(_)), Some(queued)) => queued.eject(),
            (_, queued) => drop(queued),
        }
        answer
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let Some(queued) = self.queued.take() else { return };
        queued.cancel();
        self.receiver.close();
        // A connection may have come at this very moment: it is as good as new.
        if let Ok(Ok(conduit)) = self.receiver.try_recv() {
            conduit.finish();
        } else if let Some(entry) = self.pools.here().get_mut(&self.key) {
            entry.waiting.retain(|ticket| !ticket.is_closed());
        }
    }
}

/// A lock whose holder panicked is still good: nothing here is left half done.
fn lock(worker: &Mutex<Worker>) -> MutexGuard<'_, Worker> {
    worker.lock().unwrap_or_else(PoisonError::into_inner)
}
